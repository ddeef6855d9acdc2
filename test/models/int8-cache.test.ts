// Keys and values in 8 bits: what decoding computes with them is what the model computes with keys and values
// that were rounded by the formula in float64, however a text is read and whatever is done with the cache.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, manualSeed, noGrad, ready, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import {
  Gemma2ForCausalLM,
  generate,
  KeyValueCache,
  LlamaForCausalLM,
  loadModel,
  runWithHooks,
} from '../../models/index.ts';
import type { CacheDtype, GenerationOptions, Generative, LlamaSettings } from '../../models/index.ts';
import { DecodingSession } from '../../models/generation/session.ts';
import type { CausalLM } from '../../models/transformer/causal-lm.ts';
import { failure, rejects } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { inEightBits } from '../support/int8-tokens.ts';
import { runScript } from '../support/script.ts';

const test = suite('cache in 8 bits');

const vocabSize = 61;
const settings = {
  ...{ vocabSize, hiddenSize: 32, intermediateSize: 48, numHiddenLayers: 2, numAttentionHeads: 4 },
  ...{ numKeyValueHeads: 2, maxPositionEmbeddings: 300, initializerRange: 0.25, padTokenId: 0, eosTokenId: null },
};
const llama = (more: LlamaSettings = {}): CausalLM => {
  manualSeed(3);
  return LlamaForCausalLM.fromConfig({ ...settings, ...more }).eval();
};
const windowed = (): CausalLM => {
  manualSeed(3);
  const own = { headDim: 80, slidingWindow: 20, queryPreAttnScalar: 8, attnLogitSoftcapping: 5 };
  return Gemma2ForCausalLM.fromConfig({ ...settings, ...own }).eval();
};
const numbers = new Random(4);
const ids = (count: number): number[] => Array.from({ length: count }, () => numbers.int(vocabSize));
const sessionOf = (model: Generative, batch: number, cacheDtype: CacheDtype = 'int8'): DecodingSession =>
  new DecodingSession(model.decoder(), batch, 32, undefined, cacheDtype);

/**
 * Logits behind each token of a text with keys and values rounded: layer by layer, since those of a layer
 * depend on how the layers before it were rounded.
 */
async function reference(model: CausalLM, text: readonly number[]): Promise<Float32Array> {
  const inputs = { inputIds: tensor([text], { dtype: 'i32' }) };
  const rounded = new Map<string, Tensor>();
  const run = (found: Map<string, Tensor>): Tensor => {
    const hook = (x: Tensor, name: string): Tensor | undefined => {
      if (!rounded.has(name)) found.set(name, x);
      return rounded.get(name);
    };
    return noGrad(() => runWithHooks(model, inputs, [[/attn\.hook_(rot_k|v)$/, hook]])).logits;
  };
  for (let layer = 0; layer < settings.numHiddenLayers; layer++) {
    const found = new Map<string, Tensor>();
    run(found);
    for (const [name, x] of found) {
      if (!name.startsWith(`blocks.${layer}.`)) continue;
      const { data } = inEightBits({ shape: x.shape, data: Float64Array.from(await x.data(), Number) });
      rounded.set(name, tensor(Float32Array.from(data), { shape: x.shape }));
    }
  }
  assert.is(rounded.size, 2 * settings.numHiddenLayers);
  return (await run(new Map()).data()) as Float32Array;
}

/** Reads prompts of these lengths in chunks, then appends tokens; compares all logits with the reference. */
async function compare(model: CausalLM, lengths: readonly number[]): Promise<void> {
  const texts = lengths.map(ids);
  const session = sessionOf(model, texts.length);
  const seen = [
    await session.begin(
      texts.map((tokens) => ({ tokens: [...tokens] })),
      'logits',
    ),
  ];
  for (let step = 0; step < 3; step++) {
    const next = ids(texts.length);
    next.forEach((id, i) => texts[i]!.push(id));
    seen.push(await session.append(next, 'logits'));
  }
  session.free();
  for (const [i, text] of texts.entries()) {
    const want = (await reference(model, text)).slice(-4 * vocabSize);
    const got = seen.flatMap((logits) => Array.from(logits).slice(i * vocabSize, (i + 1) * vocabSize));
    const error = largestDifference(got, want);
    if (!(error <= 3e-5)) throw new Error(`row ${i} of ${text.length} tokens: logits differ by ${error}`);
    const { logits } = noGrad(() => model.forward({ inputIds: tensor([text], { dtype: 'i32' }) }));
    const whole = (await logits.data()).slice(-4 * vocabSize);
    const lost = largestDifference(got, whole);
    assert.ok(lost > 1e-4 && lost < 0.3, `rounding changes logits by ${lost}`);
  }
}

test('grouped queries; prompts of several lengths in chunks, across a growth of the cache', () =>
  compare(llama(), [90, 17, 1]));

test('sliding windows, capped scores, heads of more than one word of steps', () => compare(windowed(), [70, 21]));

test('op by op as compiled', async () => {
  const model = llama();
  const text = ids(20);
  const cache = new KeyValueCache(1, 32, 'int8');
  const read = (part: readonly number[]) =>
    noGrad(() => {
      const { logits } = model.forward({ inputIds: tensor([part], { dtype: 'i32' }), cache });
      cache.advance(tensor([part.length], { dtype: 'i32' }));
      return logits;
    });
  await read(text.slice(0, 12)).data();
  const rest = await read(text.slice(12)).data();
  assert.ok(largestDifference(rest, (await reference(model, text)).slice(-8 * vocabSize)) <= 3e-5);
  cache.free();
});

test('rows that change places; tokens taken back; what a dialogue holds', async () => {
  const model = llama();
  const [text, other, more] = [ids(15), ids(15), ids(3)];
  const session = sessionOf(model, 2);
  await session.begin([{ tokens: other }, { tokens: text }], 'logits');
  const both = await session.append([more[0]!, more[0]!], 'logits', [1, 1]);
  const want = (await reference(model, [...text, more[0]!])).slice(-vocabSize);
  for (const row of [0, 1])
    assert.ok(largestDifference(Array.from(both).slice(row * vocabSize, (row + 1) * vocabSize), want) <= 3e-5);
  session.free();

  const alone = sessionOf(model, 1);
  await alone.begin([{ tokens: text }], 'logits', true);
  await alone.look(other.slice(0, 4), 5, 'logits');
  alone.rewind(text.length + 1);
  const behind = await alone.look(more, 3, 'logits');
  const whole = [...text, other[0]!, ...more];
  assert.ok(largestDifference(behind, (await reference(model, whole)).slice(-3 * vocabSize)) <= 3e-5);
  const again = await alone.begin([{ tokens: [...whole, 5] }], 'logits', true);
  assert.ok(largestDifference(again, (await reference(model, [...whole, 5])).slice(-vocabSize)) <= 3e-5);
  alone.free();
});

test('memory: 68 bytes for each 64 numbers, in f32 256 and in f16 128; half models take it, too', async () => {
  const wide = { hiddenSize: 128, numAttentionHeads: 2, numKeyValueHeads: 2 };
  const bytesOf = async (model: CausalLM, dtype: CacheDtype): Promise<readonly [number, ArrayLike<number>]> => {
    const session = new DecodingSession(model.decoder(), 1, 100, undefined, dtype);
    const logits = await session.begin([{ tokens: [3, 9, 4, 21, 7] }], 'logits');
    const { cacheBytes } = session;
    session.free();
    return [cacheBytes, logits];
  };
  const heads = 2 * settings.numHiddenLayers * wide.numKeyValueHeads * 100;
  const model = llama(wide);
  const [whole, plain] = await bytesOf(model, undefined);
  assert.is(whole, 256 * heads);
  const [bytes, logits] = await bytesOf(model, 'int8');
  assert.is(bytes, 68 * heads);
  if (!(await ready()).target.f16) return;
  model.to('f16');
  const [halved, plainHalf] = await bytesOf(model, undefined);
  assert.is(halved, 128 * heads);
  const [half, rough] = await bytesOf(model, 'int8');
  assert.is(half, 68 * heads);
  // Keys that f16 rounds first fall on other bytes now and then, so that only the sizes compare.
  const [lostHalf, lost] = [largestDifference(rough, plainHalf), largestDifference(logits, plain)];
  assert.ok(lostHalf < 2 * lost && lost < 0.3, `8 bits change logits by ${lostHalf} in f16, by ${lost} in f32`);
});

test('generate: growth, guesses, another model that guesses, a batch, beams; sessions are kept apart', async () => {
  const model = llama();
  const prompt = ids(9);
  const own = { maxNewTokens: 30 };
  const texts = async (of: readonly number[][], options: GenerationOptions): Promise<(readonly number[])[]> =>
    (await generate(model, of, { ...own, ...options })).map(({ tokens }) => tokens);
  const [before] = await texts([prompt], {});
  const text = [...prompt];
  for (let n = 0; n < own.maxNewTokens; n++) {
    const logits = (await reference(model, text)).slice(-vocabSize);
    text.push(logits.indexOf(Math.max(...logits)));
  }
  const wanted = text.slice(prompt.length);
  const int8 = { cacheDtype: 'int8' } as const;
  for (const options of [{}, { cacheCapacity: 10 }, { promptLookupNumTokens: 4 }, { assistantModel: llama() }])
    assert.equal(await texts([prompt], { ...int8, ...options }), [wanted], Object.keys(options).join());
  assert.equal((await texts([ids(4), prompt], int8))[1], wanted);
  const beams = { ...int8, numBeams: 3, numReturnSequences: 2 };
  const found = await generate(model, [prompt, ids(5)], { ...own, ...beams });
  const [one] = await generate(model, [prompt], { ...own, ...beams });
  assert.equal(found[0]!.tokens, one!.tokens);
  assert.ok(found[0]!.score! >= found[1]!.score!);
  assert.equal((await texts([prompt], {}))[0], before);
});

test('a key that is no number is not lost in the rounding', async () => {
  const model = llama();
  const weight = model.stateDict().get('model.layers.0.self_attn.k_proj.weight')!;
  noGrad(() => assign(weight, tensor(new Float32Array(weight.size).fill(NaN), { shape: weight.shape })));
  const drawn = { cacheDtype: 'int8', doSample: true } as const;
  assert.match(await failure(generate(model, [[1, 2]], drawn)), /^generate: no token has a prob/);
});

test('what 8 bits do not take is refused in one line, and the model goes on without', async () => {
  const narrow = llama({ headDim: 6 });
  await rejects(
    generate(narrow, [[1, 2]], { cacheDtype: 'int8' }),
    /^a cache of int8 takes heads whose size is a multiple of 4 up to 256, and these have 6; leave cacheDtype out/,
  );
  assert.is((await generate(narrow, [[1, 2]], { maxNewTokens: 3 }))[0]!.tokens.length, 3);
  await rejects(generate(narrow, [[1]], { cacheDtype: 'int4' as never }), /^generate: cacheDtype is "int4": .*int8/);
  for (const name of ['tiny-t5', 'tiny-bart']) {
    const seq2seq = (await loadModel(goldenFile(name))) as unknown as Generative;
    await rejects(
      generate(seq2seq, [[1, 2]], { cacheDtype: 'int8' }),
      /^generate: cacheDtype int8 is for models that go on from a prompt, and this one reads a source; leave it out$/,
    );
  }
});

test('generate.ts and chat.ts have the flag', async () => {
  const model = 'models/pretrained/gpt-small';
  const flags = ['--greedy', '--max-new-tokens', '3', '--cache-dtype'];
  const run = (value: string) => runScript(['train/generate.ts', '--model', model, ...flags, value, 'My fellow']);
  const done = await run('int8');
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /^My fellow./);
  const refused = await run('int4');
  assert.is(refused.code, 2);
  assert.match(refused.stderr, /--cache-dtype/);
  const help = await runScript(['train/chat.ts', '--help']);
  assert.match(help.stdout, /--cache-dtype NAME/);
});

test.run();
