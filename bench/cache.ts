/**
 * `node --import tsx bench/cache.ts --model FOLDER_OR_GGUF [--quantize keep] [--f16] [--lengths 100,1000]
 * [--tokens 16] [--text FILE] [--rows 8] [--context 256]`: a decoder with its cache of keys and values in the
 * type that it computes in, and in 8 bits. The two take turns, token by token, and processor time is counted,
 * of which other work takes none; medians. With --text the perplexity of its last tenth, in rows of --context
 * tokens, each predicted from what the cache holds of those before.
 *
 * What it measured on a software driver is told in docs/results.md.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { init, ready } from '../autograd/index.ts';
import { showBytes } from '../common/memory.ts';
import { mean, median, sampleDeviation } from '../common/statistics.ts';
import { loadModel, loadTokenizer } from '../models/index.ts';
import type { CacheDtype, CausalLM, Quantization } from '../models/index.ts';
import { DecodingSession } from '../models/generation/session.ts';
import { logSoftmax } from '../models/generation/processors.ts';
import { aligned } from './table.ts';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    quantize: { type: 'string' },
    f16: { type: 'boolean', default: false },
    lengths: { type: 'string', default: '100,1000' },
    tokens: { type: 'string', default: '16' },
    text: { type: 'string' },
    rows: { type: 'string', default: '8' },
    context: { type: 'string', default: '256' },
  },
});
if (!options.model) throw new Error('bench/cache: --model FOLDER_OR_GGUF is missing');
const path = options.model;
const [tokens, rows, context] = [Number(options.tokens), Number(options.rows), Number(options.context)];

await init({ restart: true });
const gpu = await ready();
console.log(`${gpu.adapter.info.description}, Node ${process.versions.node}`);
const tokenizer = await loadTokenizer(path);
const quantize = options.quantize as Quantization | undefined;
const model = (await loadModel(path, { quantize, log: () => undefined })) as unknown as CausalLM;
model.eval();
if (options.f16) model.to('f16');
const decoder = model.decoder();
const own = options.f16 ? 'f16' : 'f32';
const kinds: readonly (readonly [name: string, dtype: CacheDtype])[] = [
  [own, undefined],
  ['int8', 'int8'],
];

/** Milliseconds of the processor, all threads together. */
async function processorTime(run: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

const speeds: string[][] = [];
for (const length of options.lengths.split(',').map(Number)) {
  const prompt = Array.from({ length }, (_, i) => (i * 7) % decoder.vocabSize);
  const contenders = kinds.map(([name, dtype]) => ({
    name,
    session: new DecodingSession(decoder, 1, length + tokens + 2, undefined, dtype),
    times: [] as number[],
  }));
  for (const { session } of contenders) {
    await session.begin([{ tokens: prompt }], 'argmax');
    await session.append([1], 'argmax');
  }
  for (let i = 0; i < tokens; i++)
    for (const { session, times } of contenders) times.push(await processorTime(() => session.append([1], 'argmax')));
  const base = contenders[0]!;
  for (const { name, session, times } of contenders) {
    const time = median(times);
    const gain = `${(median(base.times) / time).toFixed(2)}x`;
    const memory = `${((100 * session.cacheBytes) / base.session.cacheBytes).toFixed(1)}%`;
    speeds.push([String(length), name, showBytes(session.cacheBytes), memory, time.toFixed(1), gain]);
  }
  contenders.forEach(({ session }) => session.free());
}
const head = ['tokens before', 'cache', 'memory', `of ${own}`, 'processor, ms a token', `against ${own}`];
console.log(aligned({ head, rows: speeds, text: 2 }));

/** Loss of each row, predicted part by part from what the cache holds. */
async function lossesOf(dtype: CacheDtype, ids: readonly number[]): Promise<number[]> {
  const session = new DecodingSession(decoder, 1, context, undefined, dtype);
  const { vocabSize } = decoder;
  const width = 32;
  const losses: number[] = [];
  for (let row = 0; row < rows; row++) {
    const all = ids.slice(row * context, (row + 1) * context);
    await session.begin([{ tokens: all.slice(0, 1) }], 'argmax');
    const found: number[] = [];
    for (let at = 1; at < context - 1; at += width) {
      const part = all.slice(at, Math.min(at + width, context - 1));
      const logits = (await session.look(part, width, 'logits')) as Float32Array;
      part.forEach((_, i) => {
        const chances = logSoftmax(logits.slice(i * vocabSize, (i + 1) * vocabSize));
        found.push(-chances[all[at + i + 1]!]!);
      });
    }
    losses.push(mean(found));
  }
  session.free();
  return losses;
}

if (options.text) {
  const whole = Array.from(tokenizer.idsOf(await readFile(options.text, 'utf8')));
  const ids = whole.slice(Math.floor(0.9 * whole.length));
  if (ids.length < rows * context)
    throw new Error(`bench/cache: ${ids.length} tokens are too few for ${rows} rows of ${context}; give --rows`);
  const [before, after] = [await lossesOf(undefined, ids), await lossesOf('int8', ids)];
  const changes = after.map((loss, i) => loss - before[i]!);
  const percent = (x: number): string => `${(100 * x).toFixed(3)}%`;
  const perplexity = (losses: readonly number[]): string => Math.exp(mean(losses)).toFixed(4);
  const error = percent(sampleDeviation(changes) / Math.sqrt(rows));
  console.log(
    `perplexity, ${rows} rows of ${context} tokens: ${own} ${perplexity(before)}, int8 ${perplexity(after)}: ` +
      `${percent(Math.expm1(mean(changes)))} more, standard error ${error}`,
  );
}
