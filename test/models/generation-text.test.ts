// Text in, text out: pieces, stop strings, special tokens, what ends a text, generation_config.json.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  BertModel,
  generateText,
  GPT2LMHeadModel,
  loadModel,
  readGenerationConfig,
  streamText,
  Tokenizer,
  writeGenerationConfig,
} from '../../models/index.ts';
import type { GenerationOptions, Generative } from '../../models/index.ts';
import { StopMatcher } from '../../models/generation/stop.ts';
import { Random } from '../../common/random.ts';
import { failure, rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { scriptedModel } from '../support/scripted-model.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('generation of text');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});

const tokenizer = Tokenizer.gpt2();
const end = tokenizer.eosTokenId!;
const prompt = 'Once upon';

/** Says the text after the prompt, and then the end of texts. */
function modelOf(text: string, config: Generative['config'] = {}): Generative {
  const lead = new Array<number>(tokenizer.idsOf(prompt).length - 1).fill(0);
  const last = new Array<number>(8).fill(end);
  return scriptedModel([...lead, ...tokenizer.idsOf(text), ...last], tokenizer.vocabSize, config);
}

async function pieces(
  model: Generative,
  options: GenerationOptions,
): Promise<{ text: string; finish: string | undefined; parts: string[] }> {
  const parts: string[] = [];
  let finish: string | undefined;
  for await (const piece of streamText(model, tokenizer, prompt, options)) {
    parts.push(piece.text);
    finish = piece.finish;
  }
  return { text: parts.join(''), finish, parts };
}

const story = ' a time there was a naïve café owner 🙂🙃 who said: "Stop here"\n\nThe end.';

test('pieces joined are the text; whole characters only; the tokenizer knows what ends a text', async () => {
  const model = modelOf(story);
  const { text, finish, parts } = await pieces(model, { maxNewTokens: 60 });
  assert.equal([text, finish], [story, 'eos']);
  assert.ok(parts.length > 20 && parts.every((part) => !part.includes('\uFFFD')));
  const [whole] = await generateText(model, tokenizer, prompt, { maxNewTokens: 60 });
  assert.equal([whole!.text, whole!.finish, whole!.tokens.at(-1)], [story, 'eos', end]);
});

test('a character that was not completed is marked', async () => {
  const bytes = tokenizer.idsOf(' 🙃');
  const { text } = await pieces(modelOf(' 🙃'), { maxNewTokens: bytes.length - 1 });
  assert.match(text, /\uFFFD$/);
});

for (const [stopStrings, want] of [
  [['\n\n'], story.slice(0, -'\n\nThe end.'.length)],
  ['re"\n\nTh', ' a time there was a naïve café owner 🙂🙃 who said: "Stop he'],
  [['🙃', 'nobody'], ' a time there was a naïve café owner 🙂'],
  [['afé owner', 'fé'], ' a time there was a naïve ca'], // the first to be complete
  [[' a'], ''],
  [['The end?', 'owner 🙂🙂'], story],
] as const) {
  test(`stop strings ${JSON.stringify(stopStrings)}`, async () => {
    const model = modelOf(story);
    const options: GenerationOptions = { maxNewTokens: 60, stopStrings: stopStrings as string | string[] };
    const { text, finish } = await pieces(model, options);
    assert.equal([text, finish], [want, want === story ? 'eos' : 'stop']);
    const [whole] = await generateText(model, tokenizer, prompt, options);
    assert.equal([whole!.text, whole!.finish], [text, finish]);
    if (finish === 'stop') assert.ok(whole!.tokens.length < 40);
  });
}

test('nothing of a stop string is ever given, whatever the pieces', () => {
  const random = new Random(4);
  const letters = (count: number): string => Array.from({ length: count }, () => 'ab'[random.int(2)]).join('');
  for (let round = 0; round < 2000; round++) {
    const text = letters(random.int(14));
    const stops = Array.from({ length: 1 + random.int(3) }, () => letters(1 + random.int(5)));
    const matcher = new StopMatcher(stops);
    let given = '';
    for (let at = 0; at < text.length;) {
      const size = 1 + random.int(4);
      given += matcher.push(text.slice(at, at + size));
      at += size;
      if (matcher.found) break;
    }
    given += matcher.end();
    const places = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    // The first stop string to be complete ends the text; pieces may complete several at once, of which the
    // first to begin counts.
    if (places.length === 0) assert.is(given, text);
    else
      assert.ok(
        matcher.found && text.startsWith(given) && stops.every((stop) => !given.includes(stop)),
        JSON.stringify({ text, stops, given }),
      );
  }
});

test('an empty prompt begins with the token that begins texts', async () => {
  const script = [...tokenizer.idsOf('Hello there.'), end];
  const model = scriptedModel(script, tokenizer.vocabSize);
  const [text] = await generateText(model, tokenizer, '', {});
  assert.is(text!.text, 'Hello there.');
  assert.match(
    await failure(
      generateText(scriptedModel(script, tokenizer.vocabSize), { ...spread(), bosTokenId: undefined }, '', {}),
    ),
    /^generate: the prompt is empty; begin with/,
  );
});

/** The tokenizer as a plain object, some of it to be replaced. */
const spread = () => ({
  vocabSize: tokenizer.vocabSize,
  idsOf: (text: string) => tokenizer.idsOf(text),
  decodeStream: (options: { readonly skipSpecialTokens?: boolean } = {}) => tokenizer.decodeStream(options),
});

test('a text gets the tokens that its tokenizer puts before each, but no second time; ids do not', async () => {
  const begins = { ...spread(), bosTokenId: end, eosTokenId: end, template: { before: [end], after: [] } };
  const model = scriptedModel([...tokenizer.idsOf('no Yes'), end], tokenizer.vocabSize);
  const prompts = ['x', '<|endoftext|>x', tokenizer.idsOf('x')];
  const texts = await generateText(model, begins, prompts, {});
  assert.equal(
    texts.map(({ text }) => text),
    [' Yes', ' Yes', 'no Yes'],
  );
});

test('ids that only the model has are no text; a tokenizer with more ids is refused', async () => {
  const wide = scriptedModel([...tokenizer.idsOf('Good morning'), 50300, end], 50304);
  const [text] = await generateText(wide, tokenizer, 'x', {});
  assert.is(text!.text, 'Good morning');
  const narrow = scriptedModel([1, 2], 100);
  assert.match(
    await failure(generateText(narrow, tokenizer, 'x', {})),
    /^generate: the tokenizer has 50257 ids, the model a vocabulary of 100; use the tokenizer .* was trained with$/,
  );
  assert.match(await failure(streamText(narrow, tokenizer, 'x', {}).next()), /^generate: the tokenizer has 50257 ids/);
});

test("the model's config says what ends a text, options before it", async () => {
  const comma = tokenizer.idsOf(' time')[0]!;
  const model = modelOf(story, { eosTokenId: [comma] });
  const [byModel] = await generateText(model, tokenizer, prompt, { maxNewTokens: 50 });
  assert.equal([byModel!.text, byModel!.finish], [' a time', 'eos']);
  const [free] = await generateText(model, tokenizer, prompt, { maxNewTokens: 5, eosTokenId: null });
  assert.equal([free!.finish, free!.tokens.length], ['length', 5]);
});

/** The options that the file has, and what is said of them. */
async function read(json: unknown): Promise<{ options: GenerationOptions; lines: string[] }> {
  const lines: string[] = [];
  await writeFile(join(folder, 'generation_config.json'), JSON.stringify(json));
  const options = await readGenerationConfig(folder, { log: (line) => void lines.push(line) });
  return { options, lines };
}

test('generation_config.json: read, written, keys without effect kept, mistakes named', async () => {
  assert.equal(await readGenerationConfig(folder), {});
  const path = join(folder, 'generation_config.json');
  const json = {
    _from_model_config: true,
    begin_suppress_tokens: [5, 6],
    do_sample: true,
    eos_token_id: [50256],
    max_new_tokens: 9,
    pad_token_id: null,
    penalty_alpha: 0,
    temperature: 0.7,
    transformers_version: '5.23.0',
    use_cache: false,
  };
  const { options, lines } = await read(json);
  assert.equal(lines, []);
  assert.equal(options, {
    beginSuppressTokens: [5, 6],
    doSample: true,
    eosTokenId: [50256],
    maxNewTokens: 9,
    penaltyAlpha: 0,
    temperature: 0.7,
    extra: { _from_model_config: true, pad_token_id: null, transformers_version: '5.23.0', use_cache: false },
  });
  await writeGenerationConfig(folder, { ...options, seed: 3, topP: 0.9 });
  assert.equal(JSON.parse(await readFile(path, 'utf8')), { ...json, top_p: 0.9 });
  const [text] = await generateText(modelOf(story), tokenizer, prompt, { ...options, doSample: false });
  assert.is(text!.tokens.length, 9);
  await rejects(read({ top_p: 3 }), /generation_config\.json: top_p is 3: /);
  await rejects(
    read({ sequence_bias: { '(1, 2)': -1 } }),
    /generation_config\.json: sequence_bias is {"\(1, 2\)":-1}: /,
  );
  await rejects(read([1]), /generation_config\.json holds an array where a JSON object is needed/);
});

test('generation_config.json: keys that nobody knows are named in one line, and written back', async () => {
  const json = { max_new_tokens: 3, min_lenght: 5, repetition_penality: 1.2, toString: 1 };
  const { options, lines } = await read(json);
  assert.equal(lines, [
    `${join(folder, 'generation_config.json')}: min_lenght, repetition_penality, toString: no setting of generation, ` +
      'without effect; check the spelling',
  ]);
  await writeGenerationConfig(folder, options);
  assert.equal(JSON.parse(await readFile(join(folder, 'generation_config.json'), 'utf8')), json);
});

test('generation_config.json: goes with a model of another class that is saved over, else stays', async () => {
  const small = { vocabSize: 20, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2, maxPositionEmbeddings: 8 };
  const place = join(folder, 'over');
  const path = join(place, 'generation_config.json');
  await GPT2LMHeadModel.fromConfig({ vocabSize: 20, nEmbd: 8, nLayer: 1, nHead: 2 }).savePretrained(place);
  await writeFile(path, '{"max_new_tokens":3}');
  await GPT2LMHeadModel.fromConfig({ vocabSize: 21, nEmbd: 8, nLayer: 1, nHead: 2 }).savePretrained(place);
  assert.is(await readFile(path, 'utf8'), '{"max_new_tokens":3}');
  await BertModel.fromConfig({ ...small, intermediateSize: 8 }).savePretrained(place);
  assert.not.ok(existsSync(path));
});

test('generation_config.json: what is not here is refused by name, when texts are asked for', async () => {
  const { options, lines } = await read({ penalty_alpha: 0.6, top_k: 4 });
  assert.equal(lines, []);
  await rejects(
    generateText(modelOf(story), tokenizer, prompt, options),
    /^generate: penaltyAlpha 0.6 asks for contrastive search, which is not here; set it to null$/,
  );
  const [text] = await generateText(modelOf(story), tokenizer, prompt, {
    ...options,
    topK: null,
    penaltyAlpha: null,
    maxNewTokens: 2,
  } as unknown as GenerationOptions);
  assert.is(text!.text, ' a time');
});

test('generation_config.json: nothing is drawn unless the file says so, as in Transformers', async () => {
  assert.is((await read({ temperature: 0.7 })).options.doSample, false);
  assert.is((await read({ temperature: 0.7, do_sample: true })).options.doSample, true);
  assert.is((await read({ num_beams: 2 })).options.doSample, undefined);
});

test('generation_config.json: real numbers are written with a point, which Transformers asks for', async () => {
  await writeGenerationConfig(folder, {
    repetitionPenalty: 2,
    topK: 2,
    sequenceBias: [[[5, 6], -3]],
    exponentialDecayLengthPenalty: [2, 2],
  });
  const text = await readFile(join(folder, 'generation_config.json'), 'utf8');
  assert.match(text, /"repetition_penalty": 2\.0,/);
  assert.match(text, /"top_k": 2\n/);
  assert.match(text.replaceAll(/\s/g, ''), /"sequence_bias":\[\[\[5,6\],-3\.0\]\]/);
});

test('a folder without generation_config.json has its settings in config.json', async () => {
  const marian = goldenFile('tiny-marian');
  assert.equal(await readGenerationConfig(marian), { forcedEosTokenId: 0 });
});

test('generation_config.json goes along with a model that is loaded and saved, byte for byte', async () => {
  const model = GPT2LMHeadModel.fromConfig({ vocabSize: 9, nEmbd: 8, nHead: 1, nLayer: 0, nPositions: 8 });
  const [from, to] = [join(folder, 'from'), join(folder, 'to')];
  await model.savePretrained(from);
  await (await GPT2LMHeadModel.fromPretrained(from)).savePretrained(to);
  await rejects(readFile(join(to, 'generation_config.json')), /ENOENT/);
  const text = '{ "temperature": 1.0,\n "unheard_of": [1.50], "use_cache": null, "top_p": 3 }';
  await writeFile(join(from, 'generation_config.json'), text);
  const loaded = await loadModel(from);
  await loaded.savePretrained(to);
  assert.is(await readFile(join(to, 'generation_config.json'), 'utf8'), text);
});

test('maxTime ends texts with the token that is being made', async () => {
  const model = modelOf(story);
  const [text] = await generateText(model, tokenizer, prompt, { maxNewTokens: 30, maxTime: 0 });
  assert.equal([text!.tokens.length, text!.finish], [1, 'time']);
  const [best] = await generateText(model, tokenizer, prompt, { maxNewTokens: 30, maxTime: 0, numBeams: 2 });
  assert.is(best!.tokens.length, 1);
  const [whole] = await generateText(model, tokenizer, prompt, { maxNewTokens: 30, maxTime: 1e6 });
  assert.is(whole!.finish, 'eos');
});

test.run();
