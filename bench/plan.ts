/**
 * `npx tsx bench/plan.ts --device h100 --model gpt2-124m --batch 16 --length 1024 --dtype f16`: what a device
 * that need not be at hand would run of a training step (or with --forward of a forward pass), kernel by
 * kernel, and the time that a stated model predicts. Nothing runs, and no parameter takes memory. --layers,
 * --vocabulary and --dropout replace the model's own. --record FILE --name TEXT adds the totals to a table in
 * markdown. With --device llvmpipe, --measure also runs the step on this machine's adapter and puts the
 * measured times beside: choose small sizes.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { compile, init, profile, zeros } from '../autograd/index.ts';
import { devices } from './plan/devices.ts';
import type { DeviceName } from './plan/devices.ts';
import { lowerFor, models, stepOf } from './plan/program.ts';
import type { ModelName, Work } from './plan/program.ts';
import { assumptions } from './plan/roofline.ts';
import { kernelTable, planOf, totalsTable } from './plan/table.ts';
import { aligned, markdown } from './table.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const { values: options } = parseArgs({
  options: {
    device: { ...text, default: 'h100' },
    model: { ...text, default: 'gpt2-124m' },
    batch: { ...text, default: '16' },
    length: { ...text, default: '1024' },
    dtype: { ...text, default: 'f16' },
    layers: text,
    vocabulary: text,
    dropout: text,
    forward: flag,
    measure: flag,
    record: text,
    name: text,
  },
});

/** Ends the script with one line for bad options. */
function fail(message: string): never {
  console.error(`bench/plan: ${message}`);
  process.exit(1);
}

function oneOf<T extends string>(option: string, value: string, names: readonly T[]): T {
  const found = names.find((name) => name === value);
  return found ?? fail(`--${option} ${value} is not known; use ${names.join(', ')}`);
}

function number(option: string, value: string, ok: (x: number) => boolean, kind: string): number {
  const x = Number(value);
  return ok(x) ? x : fail(`--${option} ${value} is no ${kind}`);
}

const size = (option: 'batch' | 'length' | 'layers' | 'vocabulary'): number | undefined =>
  options[option] === undefined
    ? undefined
    : number(option, options[option], (x) => Number.isInteger(x) && x > 0, 'size; give a whole number above 0');

const device = devices[oneOf('device', options.device, Object.keys(devices) as DeviceName[])];
const work: Work = {
  model: oneOf('model', options.model, Object.keys(models) as ModelName[]),
  batch: size('batch')!,
  length: size('length')!,
  dtype: oneOf('dtype', options.dtype, ['f16', 'f32']),
  layers: size('layers'),
  vocabulary: size('vocabulary'),
  dropout:
    options.dropout === undefined
      ? undefined
      : number('dropout', options.dropout, (x) => x >= 0 && x < 1, 'probability; give a number from 0 to below 1'),
  forward: options.forward,
};

/** Milliseconds of each kernel in one replay on this machine's adapter. */
async function measure(): Promise<Map<string, number>> {
  await init({ restart: true });
  const step = compile(stepOf(work), { name: 'step' });
  const inputIds = zeros([work.batch, work.length], { dtype: 'i32' });
  step(inputIds);
  const { dispatches } = await profile(() => step(inputIds));
  const sums = new Map<string, number>();
  for (const { name, milliseconds } of dispatches) sums.set(name, (sums.get(name) ?? 0) + milliseconds);
  return sums;
}

if (options.measure && options.device !== 'llvmpipe') fail('--measure needs --device llvmpipe');
const plan = planOf(lowerFor(device.target, work), device);
const table = kernelTable(plan, options.measure ? await measure() : undefined);
const what =
  `${device.name}, ${work.model}, ${work.batch} x ${work.length}, ${work.dtype}, ` +
  `${work.forward ? 'forward' : 'training step'}${work.dropout === undefined ? '' : `, dropout ${work.dropout}`}`;
const totals = totalsTable(options.name ?? what, plan, work.batch * work.length);
console.log(`${what}\n\n${aligned(totals)}\n\n${aligned(table)}`);
if (options.record) {
  const lines = markdown(totals).split('\n');
  const known = existsSync(options.record) && readFileSync(options.record, 'utf8').includes(lines[0]!);
  appendFileSync(options.record, `${(known ? lines.slice(2) : lines).join('\n')}\n`);
}
console.log(
  `\nassumed:\n${assumptions.map((line) => `- ${line}`).join('\n')}\nfigures of the device: ${device.source}`,
);
process.exit(0);
