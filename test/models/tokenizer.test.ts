import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SafetensorsFile } from '../../models/io/safetensors.ts';
import { BertTokenizer } from '../../models/tokenizer/bert-tokenizer.ts';
import { defaultVocab } from '../../models/tokenizer/bert-files.ts';
import type { EncodeOptions, TextBatch } from '../../models/tokenizer/encode-options.ts';

// Made by test/golden/golden_tokenizer.py with Transformers.
type TextCase = [text: string, ids: number[], offsets: number[], words: number[]];
interface BatchCase {
  inputs: TextBatch;
  options: EncodeOptions;
  config?: Record<string, string>;
  output: Record<string, number[] | number[][]>;
}
interface Golden {
  texts: TextCase[];
  variants: { config: Record<string, boolean>; texts: TextCase[] }[];
  batches: BatchCase[];
  decode: [ids: number[], text: string, withoutSpecial: string, cleanedUp: string][];
  added: { tokens: unknown[]; texts: TextCase[] };
}

const goldenFile = (name: string): URL => new URL(`../golden/${name}`, import.meta.url);
const golden = JSON.parse(await readFile(goldenFile('tokenizer.json'), 'utf8')) as Golden;
const tokenizer = BertTokenizer.default();
const test = suite('tokenizer');

let folder = '';
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
});
test.after.each(async () => {
  await rm(folder, { recursive: true });
});

function compareTexts(subject: BertTokenizer, cases: readonly TextCase[]): void {
  assert.ok(cases.length > 0);
  for (const [text, ids, offsets, words] of cases) {
    const pieces = subject.encodeText(text);
    const label = JSON.stringify(text);
    assert.equal(subject.convertIdsToTokens(pieces.ids), subject.convertIdsToTokens(ids), `tokens of ${label}`);
    assert.equal(pieces.ids, ids, `ids of ${label}`);
    assert.equal(Array.from(subject.idsOf(text)), ids, `ids alone of ${label}`);
    const places = pieces.starts.flatMap((start, index) => [start, pieces.ends[index]!]);
    assert.equal(places, offsets, `offsets of ${label}`);
    assert.equal(pieces.words, words, `words of ${label}`);
  }
}

test('the default vocabulary is that of bert-base-uncased', () => {
  assert.is(tokenizer.vocabSize, 30522);
  const known = { '[PAD]': 0, '[unused0]': 1, '[UNK]': 100, '[CLS]': 101, '[SEP]': 102, '[MASK]': 103, hello: 7592 };
  for (const [token, id] of Object.entries({ ...known, '##s': 2015, the: 1996, '##～': 30521 })) {
    assert.is(tokenizer.convertTokensToIds(token), id);
    assert.is(tokenizer.convertIdsToTokens(id), token);
  }
  assert.is(new Set(defaultVocab()).size, 30522);
  assert.is(tokenizer.convertTokensToIds('no such token'), 100);
  const { padTokenId, unkTokenId, clsTokenId, sepTokenId, maskTokenId, modelMaxLength } = tokenizer;
  assert.equal(
    [padTokenId, unkTokenId, clsTokenId, sepTokenId, maskTokenId, modelMaxLength],
    [0, 100, 101, 102, 103, 512],
  );
});

test('texts give the tokens, places and words of Transformers', () => {
  assert.ok(golden.texts.length > 600);
  compareTexts(tokenizer, golden.texts);
});

test("the padded batch of MiniLM's golden is encoded the same", async () => {
  const { sentences } = JSON.parse(await readFile(goldenFile('minilm.json'), 'utf8')) as { sentences: string[] };
  const file = await SafetensorsFile.open(fileURLToPath(goldenFile('minilm.safetensors')));
  const { shape, inputIds, attentionMask, tokenTypeIds } = tokenizer.encodeToArrays(sentences, { padding: true });
  for (const [name, values] of Object.entries({
    input_ids: inputIds,
    attention_mask: attentionMask,
    token_type_ids: tokenTypeIds,
  })) {
    const golden = await file.read(name);
    assert.equal([golden.shape, golden.data], [shape, values], name);
  }
  await file.close();
});

test('a repeated text gives the same from the cache of words', () => {
  compareTexts(tokenizer, golden.texts.slice(0, 50));
});

for (const { config, texts } of golden.variants) {
  test(`settings ${JSON.stringify(config)} are those of Transformers`, () => {
    compareTexts(BertTokenizer.fromVocab(defaultVocab(), config), texts);
  });
}

for (const { inputs, options, config, output } of golden.batches) {
  const title = `${JSON.stringify(options)} ${JSON.stringify(config ?? {})} of ${inputs.length}`;
  test(`batch ${title}`, () => {
    const subject = config ? BertTokenizer.fromVocab(defaultVocab(), config) : tokenizer;
    const all = { returnOffsets: true, returnSpecialTokensMask: true, returnWordIds: true };
    const { shape, ...arrays } = subject.encodeToArrays(inputs, { ...options, ...all });
    assert.equal(shape, [output['inputIds']!.length, (output['inputIds']![0] as number[]).length]);
    assert.equal(Object.keys(arrays).sort(), Object.keys(output).sort());
    for (const [name, array] of Object.entries(arrays)) assert.equal(Array.from(array), output[name]!.flat(), name);
  });
}

test('ids decode to the texts of Transformers', () => {
  for (const [ids, text, withoutSpecial, cleanedUp] of golden.decode) {
    assert.is(tokenizer.decode(ids), text);
    assert.is(tokenizer.decode(Int32Array.from(ids), { skipSpecialTokens: true }), withoutSpecial);
    assert.is(tokenizer.decode(ids, { cleanUpTokenizationSpaces: true }), cleanedUp);
  }
  assert.is(tokenizer.decode([]), '');
  assert.throws(() => tokenizer.decode([30522]), 'token id 30522 is not in the vocabulary: ids go from 0 to 30521');
  assert.throws(() => tokenizer.decode([-1]), 'token id -1 is not in the vocabulary');
  assert.throws(() => tokenizer.decode([1.5]), 'token id 1.5 is not in the vocabulary');
});

test('added tokens match as in Transformers', async () => {
  await tokenizer.save(folder);
  const path = join(folder, 'tokenizer.json');
  const json = JSON.parse(await readFile(path, 'utf8')) as { added_tokens: unknown[] };
  await writeFile(path, JSON.stringify({ ...json, added_tokens: golden.added.tokens }));
  const subject = await BertTokenizer.fromPretrained(folder);
  assert.is(subject.vocabSize, 30528);
  compareTexts(subject, golden.added.texts);
});

test('save and fromPretrained give the same tokenizer, from tokenizer.json and from vocab.txt', async () => {
  const settings = { do_lower_case: false, model_max_length: 64, truncation_side: 'left', padding_side: 'left' };
  const saved = BertTokenizer.fromVocab(defaultVocab(), settings);
  await saved.save(folder);
  const sample = golden.texts.slice(0, 120).map(([text]) => text);
  const options = { padding: true, truncation: true, maxLength: 9, returnOffsets: true };
  const expected = saved.encodeToArrays(sample, options);
  const config = (): Promise<string> => readFile(join(folder, 'tokenizer_config.json'), 'utf8');
  const written = await config();
  const fromJson = await BertTokenizer.fromPretrained(folder);
  assert.equal(fromJson.encodeToArrays(sample, options), expected);
  await fromJson.save(folder);
  assert.is(await config(), written, 'the same bytes, in the same order');
  await rm(join(folder, 'tokenizer.json'));
  const fromVocab = await BertTokenizer.fromPretrained(folder);
  assert.equal(fromVocab.encodeToArrays(sample, options), expected);
  assert.is(fromVocab.modelMaxLength, 64);
  assert.is((await readFile(join(folder, 'vocab.txt'), 'utf8')).split('\n')[7592], 'hello');
});

test('the longest row comes from config.json where the tokenizer does not say', async () => {
  await BertTokenizer.fromVocab(defaultVocab()).save(folder);
  assert.is((await BertTokenizer.fromPretrained(folder)).modelMaxLength, Infinity);
  await writeFile(join(folder, 'config.json'), '{"max_position_embeddings": 128}');
  assert.is((await BertTokenizer.fromPretrained(folder)).modelMaxLength, 128);
});

test('truncation without maxLength is to the length the model takes', () => {
  const { shape } = tokenizer.encodeToArrays('word '.repeat(600), { truncation: true });
  assert.equal(shape, [1, 512]);
});

test('a lone surrogate is left out like a control character', () => {
  assert.equal(tokenizer.tokenize('a\ud800b \udc00'), tokenizer.tokenize('ab'));
});

const bad: [name: string, batch: unknown, options: EncodeOptions, message: RegExp][] = [
  ['no texts', [], {}, /^there are no texts to encode: pass at least one$/],
  ['undefined', ['a', undefined], {}, /^text 1 is undefined: texts to encode must be strings$/],
  ['a hole', new Array<string>(1), {}, /^text 0 is undefined/],
  ['a number', ['a', 'b', 7], {}, /^text 2 is number/],
  ['nothing at all', undefined, {}, /^text 0 is undefined/],
  ['null in a pair', [['a', null]], {}, /^text 0, the second of its pair, is null/],
  ['a triple', [['a', 'b', 'c']], {}, /^text 0 is a list of 3: pairs have two texts/],
  ['texts for words', ['a b'], { isSplitIntoWords: true }, /^text 0 is no list of words/],
  ['a number for a word', [['a', 3]], { isSplitIntoWords: true }, /^word 1 of text 0 is number/],
  ['no room', ['a'], { maxLength: 1 }, /^maxLength 1 leaves no room for the 2 special tokens: use at least 3$/],
  ['no room for a pair', [['a', 'b']], { maxLength: 2 }, /^maxLength 2 leaves no room for the 3 special tokens/],
  ['maxLength 0', ['a'], { maxLength: 0 }, /^maxLength must be a whole number of at least 1, got 0$/],
  ['maxLength NaN', ['a'], { maxLength: NaN }, /^maxLength must be a whole number/],
  ['maxLength alone', ['a'], { maxLength: 8, padding: true }, /^maxLength 8 has no effect here: add truncation/],
  ['ragged rows', ['a', 'a b'], {}, /^rows have 3 to 4 tokens: pass padding: true/],
  [
    'too long to pad',
    ['a b c d'],
    { padding: 'max_length', maxLength: 4 },
    /^a row has 6 tokens, more than maxLength 4/,
  ],
  ['only_second alone', ['a b c'], { truncation: 'only_second', maxLength: 3 }, /"only_second" needs pairs of texts/],
  [
    'too little to cut',
    [['a', 'b c d e']],
    { truncation: 'only_first', maxLength: 6 },
    /must drop 2 tokens but the first text has 1/,
  ],
  ['unknown strategy', ['a'], { truncation: 'first' as 'only_first' }, /^truncation must be true, false/],
  ['unknown padding', ['a'], { padding: 'max' as 'longest' }, /^padding must be true, false/],
  ['stride alone', ['a'], { truncation: true, stride: 1 }, /^stride needs returnOverflowingTokens/],
  [
    'stride too large',
    ['a b c d'],
    { truncation: true, maxLength: 4, stride: 2, returnOverflowingTokens: true },
    /^stride 2 must be smaller than the 2/,
  ],
  [
    'both texts cut',
    [['a b c d', 'e f g h']],
    { truncation: true, maxLength: 7, returnOverflowingTokens: true },
    /cannot cut both texts of pair 0/,
  ],
  [
    'odd multiple',
    ['a'],
    { truncation: true, maxLength: 10, padding: true, padToMultipleOf: 8 },
    /^maxLength 10 is no multiple/,
  ],
  ['multiple alone', ['a'], { padToMultipleOf: 8 }, /^padToMultipleOf needs padding/],
];
for (const [name, batch, options, message] of bad) {
  test(`refuses ${name}`, () => {
    assert.throws(
      () => tokenizer.encodeToArrays(batch as TextBatch, options),
      (error: Error) => message.test(error.message) && !error.message.includes('\n'),
    );
  });
}

const badFiles: [name: string, files: Record<string, string>, message: RegExp][] = [
  ['a folder without a tokenizer', {}, /has neither tokenizer\.json nor vocab\.txt/],
  ['a tokenizer.json that is no JSON', { 'tokenizer.json': '{"a":' }, /tokenizer\.json is not valid JSON/],
  ['a tokenizer.json that is a list', { 'tokenizer.json': '[]' }, /holds an array where a JSON object is needed/],
  ['another tokenizer', { 'tokenizer.json': '{"model":{"type":"BPE"}}' }, /is no BERT tokenizer: its model is "BPE"/],
  ['an empty vocab.txt', { 'vocab.txt': '' }, /vocab\.txt is empty/],
  ['a token twice', { 'vocab.txt': '[PAD]\na\na\n' }, /vocab\.txt has "a" on lines 2 and 3/],
  ['a vocabulary without [SEP]', { 'vocab.txt': '[PAD]\n[UNK]\n[CLS]\n[MASK]\n' }, /vocab\.txt has no \[SEP\]/],
];
for (const [name, files, message] of badFiles) {
  test(`refuses ${name}`, async () => {
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
    const error = await BertTokenizer.fromPretrained(folder).then(
      () => new Error('it was accepted'),
      (reason: Error) => reason,
    );
    assert.match(error.message, message);
    assert.not.match(error.message, /\n/);
  });
}

test.run();
