/**
 * What a GPU that need not be at hand would run of a step of training or decoding, kernel by kernel, and the
 * time that a stated model predicts. Nothing runs, and no parameter takes memory:
 *
 *   npx tsx bench/plan.ts --device h100 --model gpt2-124m --batch 16 --length 1024 --dtype f16
 *   npx tsx bench/plan.ts --device llvmpipe --layers 1 --batch 1 --length 64 --dtype f32 --measure
 *   npx tsx bench/plan.ts --device rtx4090 --model llama-1b --step decode --context 1024 --packed q4_0
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { compile, init, profile, setFloat32MatmulPrecision, zeros } from '../autograd/index.ts';
import { totalsByKernel } from '../gpu/index.ts';
import { main, parseOptions, UsageError } from '../train/cli/cli.ts';
import { devices } from './plan/devices.ts';
import type { DeviceName } from './plan/devices.ts';
import { lowerFor, models, packings, prepare, steps } from './plan/program.ts';
import type { ModelName, Work } from './plan/program.ts';
import { assumptions } from './plan/roofline.ts';
import { kernelTable, planOf, totalsTable } from './plan/table.ts';
import { aligned, markdown } from './table.ts';

const command = {
  name: 'plan',
  summary: 'Shows what a described GPU would run of a training or decoding step, and how long.',
  usage: 'npx tsx bench/plan.ts',
  options: {
    device: { type: 'choice', choices: Object.keys(devices) as DeviceName[], default: 'h100', help: 'the GPU' },
    model: { type: 'choice', choices: Object.keys(models) as ModelName[], default: 'gpt2-124m', help: 'the model' },
    step: { type: 'choice', choices: steps, default: 'train', help: 'training, logits of a batch, or the next token' },
    batch: { type: 'int', min: 1, help: 'rows; default 16, of a step of decoding 1' },
    length: { type: 'int', default: 1024, min: 1, help: 'tokens of a row' },
    context: { type: 'int', min: 1, help: 'with --step decode: tokens in the cache, the new one too; default 1024' },
    dtype: { type: 'choice', choices: ['f16', 'f32'], default: 'f16', help: 'type of products' },
    precision: { type: 'choice', choices: ['highest', 'high'], default: 'highest', help: 'of products in f32' },
    packed: { type: 'choice', choices: packings, help: 'with --step decode: what weights are packed as, f32 beside' },
    layers: { type: 'int', min: 1, help: "layers; default the model's" },
    vocabulary: { type: 'int', min: 1, help: "tokens that there are; default the model's" },
    dropout: { type: 'number', min: 0, max: 0.99, help: "probability of dropping; default the model's" },
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
  const prepared = prepare(work);
  const step = compile(prepared.step, { name: 'step' });
  const inputIds = zeros(prepared.shape, { dtype: 'i32' });
  step(inputIds);
  const { dispatches } = await profile(() => step(inputIds));
  return new Map(totalsByKernel(dispatches).map(({ name, milliseconds }) => [name, milliseconds]));
}

const run = async (): Promise<void> => {
  const { values: options } = parseOptions(command);
  const { measure, record, name, device: deviceName, context, precision, ...given } = options;
  const fail = (what: string): never => {
    throw new UsageError(`${command.name}: ${what}`);
  };
  const decodes = given.step === 'decode';
  if (measure && deviceName !== 'llvmpipe') fail('--measure needs --device llvmpipe');
  if (!decodes && (context ?? given.packed) !== undefined) fail('--context and --packed need --step decode');
  if (decodes && given.model === 'bert-base') fail('--step decode needs a model that generates');
  if (precision === 'high' && given.dtype !== 'f32') fail('--precision high needs --dtype f32');
  setFloat32MatmulPrecision(precision);
  const { batch = decodes ? 1 : 16 } = given;
  const work: Work = { ...given, batch, length: decodes ? (context ?? 1024) : given.length };
  // May start the process again, and so comes before the plan.
  if (measure) await init({ restart: true });
  const device = devices[deviceName];
  const plan = planOf(lowerFor(device.target, work), device);
  const table = kernelTable(plan, measure ? await measured(work) : undefined);
  const type = precision === 'high' ? 'f32 by three products of f16' : work.dtype;
  const what =
    `${device.name}, ${work.model}, ${batch} x ${work.length}, ${work.packed ?? type}, ` +
    `${{ train: 'training step', forward: 'forward', decode: 'next token' }[given.step]}` +
    `${work.dropout === undefined ? '' : `, dropout ${work.dropout}`}`;
  const totals = totalsTable(name ?? what, plan, batch * (decodes ? 1 : work.length));
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
