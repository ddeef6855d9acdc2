/**
 * `node --import tsx bench/quantized.ts --model FOLDER_OR_GGUF [--tokens 24] [--before 32] [--text FILE]
 * [--windows 8] [--profile]`: a decoder in f32, f16, 8 and 4 bits (a GGUF file's own blocks too, where it has
 * them): memory, bytes read a token, tokens/s. The models take turns, token by token; medians. Logits against
 * those in f32, and with --text the perplexity over windows of 256 tokens of it. --profile lists the kernels
 * of a step.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { init, memory, noGrad, profile, ready, synchronize, tensor } from '../autograd/index.ts';
import { showBytes } from '../common/memory.ts';
import { median } from '../common/statistics.ts';
import { isGguf, loadModel, loadTokenizer } from '../models/index.ts';
import type { CausalLM, Quantization } from '../models/index.ts';
import { logLikelihoods } from '../models/index.ts';
import { DecodingSession } from '../models/generation/session.ts';
import { aligned } from './table.ts';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    tokens: { type: 'string', default: '24' },
    before: { type: 'string', default: '32' },
    text: { type: 'string' },
    windows: { type: 'string', default: '8' },
    kinds: { type: 'string' },
    profile: { type: 'boolean', default: false },
  },
});
if (!options.model) throw new Error('bench/quantized: --model FOLDER_OR_GGUF is missing');
const path = options.model;
const [tokens, before, windows] = [Number(options.tokens), Number(options.before), Number(options.windows)];

await init({ restart: true });
const gpu = await ready();
console.log(`${gpu.adapter.info.description}, Node ${process.versions.node}`);
const tokenizer = await loadTokenizer(path);
const text = options.text
  ? await readFile(options.text, 'utf8')
  : 'The quick brown fox jumps over the lazy dog. '.repeat(40);
const ids = Array.from(tokenizer.idsOf(text.slice(0, 6 * 256 * (windows + 1))));
const prompt = ids.slice(0, before);

/**
 * Bytes of the weights that a step reads: all but the table, of which it reads a row, unless it is the head.
 */
function bytesRead(model: CausalLM): number {
  const table = (model as unknown as { model?: { embedTokens?: { weight: unknown } } }).model?.embedTokens?.weight;
  return model.parameters().reduce((sum, x) => {
    if (x === table && model.lmHead.weight !== table) return sum;
    const { packed, scales, zeros, minimums } = x.quantized ?? { packed: x, scales: undefined };
    return sum + [packed, scales, zeros, minimums].reduce((bytes, part) => bytes + (part?.storage.bytes ?? 0), 0);
  }, 0);
}

interface Contender {
  readonly name: string;
  readonly model: CausalLM;
  readonly session: DecodingSession;
  readonly held: number;
  readonly times: number[];
}

const kinds: readonly (readonly [name: string, quantize?: Quantization])[] = [
  ['f32'],
  ['f16'],
  ['q8_0', 'q8_0'],
  ['q4_1', 'q4_1'],
  ['q4_0', 'q4_0'],
  ...(isGguf(path) ? [['keep', 'keep'] as const] : []),
].filter(([name]) => options.kinds === undefined || options.kinds.split(',').includes(name!)) as never;
const contenders: Contender[] = [];
for (const [name, quantize] of kinds) {
  await synchronize();
  const start = memory().live;
  const model = (await loadModel(path, { quantize, log: () => undefined })) as unknown as CausalLM;
  if (name === 'f16') model.to('f16');
  await synchronize();
  const held = memory().live - start;
  const session = new DecodingSession(model.decoder(), 1, before + tokens + 4);
  await session.begin([{ tokens: prompt }], 'argmax');
  await session.append([ids[before]!], 'argmax');
  contenders.push({ name, model, session, held, times: [] });
}
for (let i = 0; i < tokens; i++) {
  for (const { session, times } of contenders) {
    const start = performance.now();
    await session.append([ids[before + 1 + i]!], 'argmax');
    times.push(performance.now() - start);
  }
}
const logitsOf = async (model: CausalLM): Promise<ArrayLike<number>> =>
  noGrad(() => model.forward({ inputIds: tensor([ids.slice(0, 128)], { dtype: 'i32' }) })).logits.data();
const perplexityOf = async (model: CausalLM): Promise<number> => {
  const rows = Array.from({ length: windows }, (_, i) => ids.slice(256 * i, 256 * (i + 1)));
  const found = await logLikelihoods(
    model,
    rows.map((row) => ({ context: row.slice(0, 1), continuation: row.slice(1) })),
    { batchSize: 2 },
  );
  const sum = found.reduce((total, { logLikelihood }) => total + logLikelihood, 0);
  return Math.exp(-sum / (windows * 255));
};
const base = contenders[0]!;
const expected = await logitsOf(base.model);
const rows: string[][] = [];
for (const { name, model, held, times } of contenders) {
  const found = await logitsOf(model);
  const off = Array.from(found).reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  const time = median(times);
  rows.push([
    name,
    showBytes(held),
    showBytes(bytesRead(model)),
    time.toFixed(1),
    (1000 / time).toFixed(1),
    `${(median(base.times) / time).toFixed(2)}x`,
    off.toExponential(1),
    options.text ? (await perplexityOf(model)).toFixed(4) : '',
  ]);
}
console.log(
  aligned({
    head: ['weights', 'memory', 'read a token', 'ms', 'tokens/s', 'against f32', 'logits differ', 'perplexity'],
    rows,
    text: 0,
  }),
);
if (options.profile)
  for (const { name, session } of contenders)
    console.log(`${name}\n${await profile(async () => void (await session.append([5], 'argmax')))}`);
