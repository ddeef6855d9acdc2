/**
 * What a GPU that need not be at hand would run of a training step, kernel by kernel, and the time that a
 * stated model predicts. Nothing runs, and no parameter takes memory:
 *
 *   npx tsx bench/plan.ts --device h100 --model gpt2-124m --batch 16 --length 1024 --dtype f16
 *   npx tsx bench/plan.ts --device llvmpipe --layers 1 --batch 1 --length 64 --dtype f32 --measure
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { compile, init, profile, zeros } from '../autograd/index.ts';
import { totalsByKernel } from '../gpu/index.ts';
import { main, parseOptions, UsageError } from '../train/cli/cli.ts';
import { devices } from './plan/devices.ts';
import type { DeviceName } from './plan/devices.ts';
import { lowerFor, models, stepOf } from './plan/program.ts';
import type { ModelName, Work } from './plan/program.ts';
import { assumptions } from './plan/roofline.ts';
import { kernelTable, planOf, totalsTable } from './plan/table.ts';
import { aligned, markdown } from './table.ts';

const command = {
  name: 'plan',
  summary: 'Shows what a described GPU would run of a training step, and how long by a stated model.',
  usage: 'npx tsx bench/plan.ts',
  options: {
    device: { type: 'choice', choices: Object.keys(devices) as DeviceName[], default: 'h100', help: 'the GPU' },
    model: { type: 'choice', choices: Object.keys(models) as ModelName[], default: 'gpt2-124m', help: 'the model' },
    batch: { type: 'int', default: 16, min: 1, help: 'rows' },
    length: { type: 'int', default: 1024, min: 1, help: 'tokens of a row' },
    dtype: { type: 'choice', choices: ['f16', 'f32'], default: 'f16', help: 'type of products' },
    layers: { type: 'int', min: 1, help: "layers; default the model's" },
    vocabulary: { type: 'int', min: 1, help: "tokens that there are; default the model's" },
    dropout: { type: 'number', min: 0, max: 0.99, help: "probability of dropping; default the model's" },
    forward: { type: 'boolean', help: 'a forward pass in place of the step' },
    measure: {
      type: 'boolean',
      help: "with llvmpipe: also runs it on this machine's adapter, whose times stand beside; choose small sizes",
    },
    record: { type: 'path', help: 'file in markdown to whose table the totals are added' },
    name: { type: 'string', help: 'what the row of totals is called; default what was planned' },
  },
} as const;

/** Milliseconds of each kernel in one replay on this machine's adapter. */
async function measured(work: Work): Promise<Map<string, number>> {
  const step = compile(stepOf(work), { name: 'step' });
  const inputIds = zeros([work.batch, work.length], { dtype: 'i32' });
  step(inputIds);
  const { dispatches } = await profile(() => step(inputIds));
  return new Map(totalsByKernel(dispatches).map(({ name, milliseconds }) => [name, milliseconds]));
}

const run = async (): Promise<void> => {
  const { values: options } = parseOptions(command);
  const { measure, record, name, device: deviceName, ...work } = options;
  if (measure && deviceName !== 'llvmpipe') throw new UsageError(`${command.name}: --measure needs --device llvmpipe`);
  // May start the process again, and so comes before the plan.
  if (measure) await init({ restart: true });
  const device = devices[deviceName];
  const plan = planOf(lowerFor(device.target, work), device);
  const table = kernelTable(plan, measure ? await measured(work) : undefined);
  const what =
    `${device.name}, ${work.model}, ${work.batch} x ${work.length}, ${work.dtype}, ` +
    `${work.forward ? 'forward' : 'training step'}${work.dropout === undefined ? '' : `, dropout ${work.dropout}`}`;
  const totals = totalsTable(name ?? what, plan, work.batch * work.length);
  console.log(`${what}\n\n${aligned(totals)}\n\n${aligned(table)}`);
  if (record !== undefined) {
    const lines = markdown(totals).split('\n');
    const known = existsSync(record) && readFileSync(record, 'utf8').includes(lines[0]!);
    appendFileSync(record, `${(known ? lines.slice(2) : lines).join('\n')}\n`);
  }
  console.log(
    `\nassumed:\n${assumptions.map((line) => `- ${line}`).join('\n')}\nfigures of the device: ${device.source}`,
  );
  process.exit(0); // else the device would be opened, or stay so
};

main(run, { device: false });
