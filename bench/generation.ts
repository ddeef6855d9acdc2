/**
 * `node --import tsx bench/generation.ts [--layers 4] [--width 256] [--vocabulary 1024] [--batch 1] [--tokens
 * 16] [--lengths 64,128,256,512] [--f16] [--profile]`: tokens/s of a GPT-2 with random weights, with the
 * cache of keys and values and without: the compiled forward pass over the whole text so far, whose last
 * logits give the next token. At each length the two take turns; medians. Without a cache the text would grow
 * by a token each time, and be captured anew: it is measured at the length alone. --profile lists the kernels
 * of a step.
 *
 * Measured on llvmpipe (Mesa 26.1), 2 cores that other work shared (load 10), one run: with the cache 2.9,
 * 6.2, 5.1 and 12.8 times as fast at 64, 128, 256 and 512 tokens (53, 42, 32, 23 tokens/s against 18, 6.7,
 * 6.3, 1.8); 8 texts side by side 20 times at 128 tokens, 15 at 512. Three quarters of a step are products of
 * one row (46 dispatches), which are bound by how this driver gathers loads: other kernels for them were 0.36
 * to 1.2 times as fast at 256x768 and 1024x256; at 768x3072, timed once, lanes along k with 8 column groups
 * each were faster (1.8 against 6.9 ms, k contiguous 1.6 against 2.1).
 */
import { parseArgs } from 'node:util';
import { compile, init, manualSeed, noGrad, profile, ready, scope, slice, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { showBytes } from '../common/memory.ts';
import { median } from '../common/statistics.ts';
import { GPT2LMHeadModel } from '../models/index.ts';
import { DecodingSession } from '../models/generation/session.ts';
import { aligned } from './table.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const { values: options } = parseArgs({
  options: {
    layers: text,
    width: text,
    vocabulary: text,
    batch: text,
    tokens: text,
    lengths: text,
    f16: flag,
    profile: flag,
  },
});
const whole = (given: string | undefined, other: number): number => {
  const value = given === undefined ? other : Number(given);
  if (!(Number.isInteger(value) && value > 0))
    throw new Error(`bench/generation: ${given} is no size; give a whole number`);
  return value;
};
const lengths = (options.lengths ?? '64,128,256,512').split(',').map((length) => whole(length, 0));
const [nLayer, nEmbd, vocabSize] = [
  whole(options.layers, 4),
  whole(options.width, 256),
  whole(options.vocabulary, 1024),
];
const [batch, tokens] = [whole(options.batch, 1), whole(options.tokens, 16)];

await init({ restart: true });
const gpu = await ready();
manualSeed(1);
const config = {
  nLayer,
  nEmbd,
  vocabSize,
  nHead: Math.max(1, nEmbd / 64),
  nPositions: Math.max(...lengths) + tokens + 2,
};
const model = GPT2LMHeadModel.fromConfig(config).eval();
if (options.f16) model.to('f16');
const decoder = model.decoder();

/** The last token's logits of the whole text. */
const plain = compile(
  (ids: Tensor): Tensor => {
    const { lastHiddenState } = model.transformer.forward({ inputIds: ids });
    return decoder.logits(slice(lastHiddenState, null, -1));
  },
  { name: 'without a cache', log: () => undefined },
);

async function time(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

console.log(`${gpu.adapter.info.description}, Node ${process.versions.node}`);
const parameters = `${(model.numParameters() / 1e6).toFixed(1)} M parameters, ${options.f16 ? 'f16' : 'f32'}`;
const texts = `${batch} text${batch > 1 ? 's' : ''} side by side`;
console.log(`GPT-2 of ${nLayer} layers, ${nEmbd} wide, vocabulary ${vocabSize}, ${parameters}; ${texts}`);
const rows: string[][] = [];
for (const length of lengths) {
  const prompt = Array.from({ length }, (_, i) => (i * 7) % vocabSize);
  const prompts = Array.from({ length: batch }, () => ({ tokens: prompt }));
  const ids = tensor(
    prompts.map(({ tokens }) => tokens),
    { dtype: 'i32' },
  ).keep();
  const session = new DecodingSession(decoder, batch, length + tokens + 2);
  const next = Array.from({ length: batch }, (_, i) => i % vocabSize);
  const recompute = async (): Promise<void> => {
    using _ = scope();
    await noGrad(() => plain(ids)).data();
  };
  await session.begin(prompts, 'logits');
  await session.append(next, 'logits');
  await recompute();
  const prefill = await time(() => session.begin(prompts, 'logits'));
  const [cached, uncached]: [number[], number[]] = [[], []];
  for (let i = 0; i < tokens; i++) {
    cached.push(await time(() => session.append(next, 'logits')));
    if (i % 4 === 0) uncached.push(await time(recompute));
  }
  const [a, b] = [median(cached), median(uncached)];
  const rate = (milliseconds: number): string => ((1000 * batch) / milliseconds).toFixed(1);
  rows.push([
    String(length),
    prefill.toFixed(1),
    a.toFixed(2),
    rate(a),
    b.toFixed(1),
    rate(b),
    `${(b / a).toFixed(1)}x`,
    showBytes(session.cacheBytes),
  ]);
  if (options.profile) console.log(`${await profile(async () => void (await session.append(next, 'logits')))}`);
  session.free();
}
const head = ['tokens before', 'prompt, ms', 'cached, ms', 'tokens/s', 'without, ms', 'tokens/s', 'gain', 'cache'];
console.log(aligned({ head, rows, text: 0 }));
