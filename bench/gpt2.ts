/**
 * `node --import tsx bench/gpt2.ts [--reduced | --full] [--ops]`: GPT-2 124M with random weights, a forward pass and a training step. Reduced, the default on a
 * software driver: 2 of the 12 layers, 128 tokens, one text, a vocabulary of 8192. Full: 12 layers, 4 texts of 1024 tokens. Medians; each figure of one run compares
 * with the others of that run only. --layers, --tokens, --batch and --vocabulary replace single sizes; --ops lists the dispatches of a training step by op.
 */
import { parseArgs } from 'node:util';
import { manualSeed, ready } from '../autograd/index.ts';
import { gpt2Config } from '../models/index.ts';
import type { GPT2Config } from '../models/index.ts';
import { dispatchTable, recordDispatches } from './gpt2/dispatches.ts';
import { bestMatmul, measure } from './gpt2/measure.ts';
import { compile } from './gpt2/program.ts';
import { gpt2Work, once } from './gpt2/work.ts';
import type { Work } from './gpt2/work.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const { values: options } = parseArgs({
  options: {
    reduced: flag,
    full: flag,
    ops: flag,
    layers: text,
    tokens: text,
    batch: text,
    vocabulary: text,
    repeats: text,
  },
});

const gpu = await ready();
const full = options.full || (!gpu.target.software && !options.reduced);
const size = (given: string | undefined, other: number): number => {
  const value = given === undefined ? other : Number(given);
  if (!(Number.isInteger(value) && value > 0)) throw new Error(`bench/gpt2: ${given} is no size; give a whole number`);
  return value;
};
const layers = size(options.layers, full ? 12 : 2);
const length = size(options.tokens, full ? 1024 : 128);
const batch = size(options.batch, full ? 4 : 1);
const vocabSize = size(options.vocabulary, full ? 50257 : 8192);
const repeats = size(options.repeats, full ? 10 : 5);
const configOf = (nLayer: number): GPT2Config => gpt2Config('gpt2', { nLayer, vocabSize });
const narrow = gpt2Config('gpt2', { nLayer: layers, nEmbd: 96, vocabSize: 64 });

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const print = (label: string, value: string): void => console.log(`${label.padEnd(26)} ${value}`);

manualSeed(1);
const work = gpt2Work(configOf(layers), batch, length);
const small = gpt2Work(narrow, 1, 32);
print('adapter', `${gpu.adapter.info.description}, Node ${process.versions.node}`);
print(
  'model',
  `GPT-2, ${layers} layers, vocabulary ${vocabSize}: ${(work.parameters / 1e6).toFixed(1)} M parameters; ${batch} x ${length} tokens, f32`,
);
print('mode', compile ? 'compiled' : 'immediate: this checkout has no compile');

const ceiling = await bestMatmul(
  [...[full ? 4096 : 512].map((n) => [n, n, n] as const), [batch * length, 768, 3072], [batch * length, 3072, 768]],
  repeats,
);
print('best matmul', `${(ceiling.rate / 1e9).toFixed(1)} GFLOP/s at ${ceiling.shape}`);

/** Host time is taken from a narrow model of as many dispatches: a software driver computes on the same processor, and would be counted in. */
async function report(name: string, pick: (work: Work) => Work['train'], flops: number): Promise<void> {
  const [step, thin] = [pick(work), pick(small)];
  const program = compile?.(step);
  const recorded = await recordDispatches(() => once(step, work.inputIds));
  const { milliseconds, peakBytes } = await measure(() => once(program ?? step, work.inputIds), repeats);
  const thinProgram = compile?.(thin) ?? thin;
  const { host } = await measure(() => once(thinProgram, small.inputIds), 4 * repeats);
  const plan = program?.explain();
  const dispatches = plan?.dispatches ?? recorded.length;
  const rate = flops / (milliseconds / 1e3);
  console.log(`\n${name}`);
  print('  dispatches', `${dispatches}${plan ? `, immediate ${recorded.length}` : ''}`);
  print('  time', `${milliseconds.toFixed(1)} ms, ${((1e3 * work.tokens) / milliseconds).toFixed(0)} tokens/s`);
  print('  host', `${((1e3 * host) / dispatches).toFixed(1)} us a dispatch`);
  print(
    '  model flops',
    `${(rate / 1e9).toFixed(1)} GFLOP/s, ${((100 * rate) / ceiling.rate).toFixed(0)}% of the best matmul`,
  );
  print('  peak memory', `${mib(peakBytes)}${plan ? `, planned ${mib(plan.plannedPeakBytes)}` : ''}`);
}

await report('forward', ({ forward }) => forward, work.forwardFlops);
await report('training step', ({ train }) => train, 3 * work.forwardFlops);
print('  of it', `${mib(work.stateBytes)} parameters, gradients and moments`);

const recorded = await recordDispatches(() => once(work.train, work.inputIds));
if (layers !== 12) {
  // All layers are alike, so that one more tells of twelve.
  const more = gpt2Work(configOf(layers + 1), batch, length);
  const each = (await recordDispatches(() => once(more.train, more.inputIds))).length - recorded.length;
  print('  dispatches of 12 layers', `${recorded.length + (12 - layers) * each}, immediate, ${each} a layer`);
}
if (options.ops) console.log(`\ndispatches of a training step, immediate\n${dispatchTable(recorded)}`);
