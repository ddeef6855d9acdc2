/**
 * `node --import tsx bench/gpt2.ts [--reduced | --full] [--f16] [--ops]`: GPT-2 124M with random weights, a
 * forward pass and a training step. Reduced, the default on a software driver: 2 of the 12 layers, 128
 * tokens, one text, a vocabulary of 8192. Full: 12 layers, 4 texts of 1024 tokens. Medians; each figure of
 * one run compares with the others of that run only. --f16: mixed precision. --layers, --tokens, --batch,
 * --vocabulary and --repeats replace single sizes. --ops lists the dispatches of a training step by op, in
 * immediate mode, and the compiled program.
 */
import { parseArgs } from 'node:util';
import { compile, init, manualSeed, ready, statistics, synchronize } from '../autograd/index.ts';
import type { ProgramStatistics, Tensor } from '../autograd/index.ts';
import { showBytes } from '../common/memory.ts';
import { gpt2Config } from '../models/index.ts';
import type { GPT2Config } from '../models/index.ts';
import { dispatchTable, recordDispatches } from './gpt2/dispatches.ts';
import { bestMatmul, measure } from './gpt2/measure.ts';
import { gpt2Work, once } from './gpt2/work.ts';
import type { Work } from './gpt2/work.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const { values: options } = parseArgs({
  options: {
    reduced: flag,
    full: flag,
    f16: flag,
    ops: flag,
    layers: text,
    tokens: text,
    batch: text,
    vocabulary: text,
    repeats: text,
  },
});

await init({ restart: true });
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

const print = (label: string, value: string): void => console.log(`${label.padEnd(26)} ${value}`);

type Step = (inputIds: Tensor) => Tensor;
type Pick = (work: Work) => Step;
const [forward, train]: [Pick, Pick] = [(work) => work.forward, (work) => work.train];

interface Program {
  readonly run: Step;
  readonly statistics: ProgramStatistics;
  readonly explain: () => Promise<string>;
}

/** A step captured and replayed once. */
async function compiled(step: Step, work: Work): Promise<Program> {
  const run = compile(step, { name: 'step' });
  once(run, work.inputIds);
  await ready();
  await synchronize();
  return { run, statistics: statistics(run.programs[0]!), explain: run.explain };
}

const count = async (step: Step, work: Work): Promise<number> =>
  (await recordDispatches(() => once(step, work.inputIds))).length;

manualSeed(1);
const work = gpt2Work(configOf(layers), batch, length, options.f16);
// Host time is taken from a narrow model of as many dispatches: a software driver computes on the same
// processor, and would be counted in.
const small = gpt2Work(narrow, 1, 32, options.f16);
print('adapter', `${gpu.adapter.info.description}, Node ${process.versions.node}`);
print(
  'model',
  `GPT-2, ${layers} layers, vocabulary ${vocabSize}: ${(work.parameters / 1e6).toFixed(1)} M parameters; ` +
    `${batch} x ${length} tokens, ${options.f16 ? 'mixed f16' : 'f32'}`,
);
const square = full ? 4096 : 512;
const ceiling = await bestMatmul(
  [
    [square, square, square],
    [batch * length, 768, 3072],
    [batch * length, 3072, 768],
  ],
  repeats,
  options.f16 ? 'f16' : 'f32',
);
print('best matmul', `${(ceiling.rate / 1e9).toFixed(1)} GFLOP/s at ${ceiling.shape}`);

/** Medians of one way of running a step; `thin` is the narrow model's, for the host. */
async function report(mode: string, step: Step, thin: Step, dispatches: number, flops: number): Promise<void> {
  const { milliseconds, peakBytes } = await measure(() => once(step, work.inputIds), repeats);
  const { host } = await measure(() => once(thin, small.inputIds), 4 * repeats);
  const rate = flops / (milliseconds / 1e3);
  print(
    `  ${mode}`,
    `${dispatches} dispatches, ${milliseconds.toFixed(1)} ms, ` +
      `${((1e3 * work.tokens) / milliseconds).toFixed(0)} tokens/s, ` +
      `${(rate / 1e9).toFixed(1)} GFLOP/s (${((100 * rate) / ceiling.rate).toFixed(0)}% of the best matmul), ` +
      `host ${((1e3 * host) / dispatches).toFixed(1)} us a dispatch, peak ${showBytes(peakBytes)}`,
  );
}

async function both(name: string, pick: Pick, flops: number): Promise<Program> {
  console.log(`\n${name}`);
  await report('immediate', pick(work), pick(small), await count(pick(work), work), flops);
  const [program, thin] = [await compiled(pick(work), work), await compiled(pick(small), small)];
  const { dispatches, planned, lowerBound } = program.statistics;
  await report('compiled', program.run, thin.run, dispatches, flops);
  const state = name === 'forward' ? 4 * work.parameters : work.stateBytes;
  const [total, least] = [state + planned, state + lowerBound];
  const kept = name === 'forward' ? 'parameters' : 'parameters and moments';
  print(
    '  memory',
    `${showBytes(state)} ${kept} + ${showBytes(planned)} planned (${showBytes(lowerBound)} the least): ` +
      `${((100 * total) / least - 100).toFixed(1)}% above the least of both`,
  );
  return program;
}

await both('forward', forward, work.forwardFlops);
const step = await both('training step', train, 3 * work.forwardFlops);
if (layers !== 12) {
  // All layers are alike, so that one more tells of twelve.
  const more = gpt2Work(configOf(layers + 1), batch, length, options.f16);
  const of12 = (few: number, one: number): string => `${few + (12 - layers) * (one - few)} (${one - few} a layer)`;
  const [few, one] = [await count(work.train, work), await count(more.train, more)];
  const after = (await compiled(more.train, more)).statistics.dispatches;
  print(
    '  dispatches of 12 layers',
    `immediate ${of12(few, one)}, compiled ${of12(step.statistics.dispatches, after)}`,
  );
}
if (options.ops) {
  console.log(`\nimmediate\n${dispatchTable(await recordDispatches(() => once(work.train, work.inputIds)))}`);
  console.log(`\n${await step.explain()}`);
}
