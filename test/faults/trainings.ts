// Random models, batches and options of training. The Trainer's steps, compiled, must be those that a plain
// loop takes op by op; a run that was cut off and resumed, or whose layers are computed twice, must be the
// same to the bit; the folder it leaves must hold the model that it trained.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { addLora, loadModel } from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { schedule, scheduleNames } from '../../train/optim/schedules.ts';
import { toDevice } from '../../train/objectives/task.ts';
import type { HostBatch, TrainingTask } from '../../train/objectives/task.ts';
import { trainerOptions } from '../../train/trainer/settings.ts';
import type { TrainerSettings } from '../../train/trainer/settings.ts';
import { train } from '../../train/trainer/trainer.ts';
import type { TrainableModel, TrainingRun } from '../../train/trainer/trainer.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { Choices, generatorFamilies, randomGenerator } from '../support/random-model.ts';
import type { DrawnModel, RandomGenerator } from '../support/random-model.ts';

export const name = 'random trainings';

/** Of a loss and of a gradient's norm: sums in another order, over a few steps that build on each other. */
const tolerance = 1e-3;
/** Of the way that the weights went. Where gradients are 0 (biases of keys), Adam steps by rounding alone. */
const wayTolerance = 5e-3;

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome> {
  const tally = new Tally();
  const families = short ? generatorFamilies.filter((_, i) => i % 8 === seed % 8) : generatorFamilies;
  for (let round = 0; round < (short ? 1 : 4); round++)
    for (const [i, family] of families.entries()) {
      const number = 1000 * seed + 100 * round + i;
      await tally.try(`training ${number}, ${family}`, () => check(number, family));
    }
  return tally.outcome();
}

interface Drawn {
  readonly drawn: DrawnModel;
  /** What is trained: the model, or an adapter on it. */
  readonly trained: TrainableModel;
  readonly task: TrainingTask;
}

async function check(number: number, family: string): Promise<void> {
  const choices = new Choices(number, 3);
  const steps = choices.between(3, 6);
  const settings: TrainerSettings = {
    steps,
    learningRate: choices.of([1e-3, 1e-2]),
    schedule: choices.of(scheduleNames),
    warmupSteps: choices.of([0, 1, 2]),
    minRate: choices.of([0, 0.1]),
    weightDecay: choices.of([0, 0.1]),
    betas: [0.9, choices.of([0.95, 0.999])],
    maxGradNorm: choices.of([0, 0.1, 1]),
    accumulate: choices.of([1, 1, 2, 3]),
    ema: choices.of([0, 0, 0.9]),
    seed: choices.between(0, 99),
    saveEvery: choices.between(1, steps - 1),
  };
  const lora = choices.maybe<object | undefined>(0.3, () => ({ r: 2, targetModules: 'all-linear' }), undefined);
  const rows = { batch: choices.between(1, 3), lengths: [choices.between(3, 20), choices.between(3, 20)] };
  const make = (): Drawn => {
    const drawn = randomGenerator(number, family);
    const model = drawn.model as RandomGenerator & TrainableModel;
    const trained = lora ? (addLora(model, lora) as unknown as TrainableModel) : model;
    return { drawn, trained, task: taskOf(drawn, number, rows) };
  };
  const base = mkdtempSync(join(tmpdir(), 'tapeform-random-training-'));
  const fail = (what: string): never => {
    throw new Error(`${what}\n  ${JSON.stringify({ ...settings, lora, rows })}\n  ${make().drawn.text}`);
  };
  const runIn = (folder: string, { task, trained }: Drawn, more: Partial<TrainingRun> = {}, extra = {}) => {
    const options = { ...settings, ...extra };
    return train({ model: trained, task, options, output: join(base, folder), quiet: true, ...more });
  };
  const weightsIn = (folder: string): Buffer =>
    readFileSync(join(base, folder, lora ? 'adapter_model.safetensors' : 'model.safetensors'));
  try {
    const whole = make();
    const first = await weightsOf(whole.trained);
    const { steps: records } = await runIn('whole', whole);
    const last = await weightsOf(whole.trained);
    const losses = records.map(({ loss }) => loss);

    const loop = make();
    const plain = await plainLosses(loop, settings);
    const apart = distance(await weightsOf(loop.trained), last) / distance(first, last);
    for (const [i, { loss, gradNorm }] of plain.entries()) {
      const off = Math.abs(loss - losses[i]!) / Math.max(1, Math.abs(loss));
      if (!(off <= tolerance)) fail(`step ${i + 1} has the loss ${losses[i]}; op by op ${loss}`);
      const norm = records[i]!.gradNorm;
      if (!(Math.abs(norm - gradNorm) <= 10 * tolerance * Math.max(1e-3, gradNorm)))
        fail(`step ${i + 1} has gradients of norm ${norm}; op by op ${gradNorm}`);
    }
    if (!(apart <= wayTolerance)) fail(`weights are ${apart} of their way from those op by op`);

    const cut = choices.between(settings.saveEvery! + 1, steps);
    const onStep = ({ step }: { readonly step: number }): void => {
      if (step === cut) throw new Error('cut off');
    };
    await runIn('cut', make(), { callbacks: [{ onStep }] }).catch((error: unknown) => {
      if (!(error instanceof Error && error.message === 'cut off')) throw error;
    });
    const resumed = await runIn('cut', make(), { resume: true });
    const same = (what: string, found: readonly number[], folder: string): void => {
      if (String(found) !== String(losses)) fail(`${what}, losses are ${found.join(' ')}, not ${losses.join(' ')}`);
      if (!weightsIn(folder).equals(weightsIn('whole'))) fail(`${what}, the weights are others`);
    };
    same(
      `cut off at step ${cut} and resumed`,
      resumed.steps.map(({ loss }) => loss),
      'cut',
    );
    const twice = await runIn('twice', make(), {}, { gradientCheckpointing: true });
    same(
      'with layers computed twice',
      twice.steps.map(({ loss }) => loss),
      'twice',
    );

    if (lora || settings.ema) return;
    const loaded = (await loadModel(join(base, 'whole'))) as unknown as RandomGenerator;
    const [ours, theirs] = [await logitsOf(whole.drawn, whole.drawn.model), await logitsOf(whole.drawn, loaded)];
    const off = ours.findIndex((x, i) => x !== theirs[i]);
    if (ours.length !== theirs.length || off >= 0)
      fail(`logit ${off} of the folder is ${theirs[off]}, not ${ours[off]}`);
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

async function weightsOf(model: Module): Promise<Float32Array> {
  const each = await Promise.all(model.parameters().map((x) => x.data()));
  return Float32Array.from(each.flatMap((values) => Array.from(values, Number)));
}

const distance = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + Math.abs(x - b[i]!), 0);

/** The Trainer's steps as a program of one's own would take them. */
async function plainLosses({ trained, task }: Drawn, settings: TrainerSettings) {
  const options = trainerOptions(settings);
  const { accumulate, betas, maxGradNorm, minRate, steps, warmupSteps, weightDecay } = options;
  manualSeed(options.seed);
  const optimizer = new AdamW(decayGroups(trained.namedParameters(), weightDecay), { lr: 1, betas });
  const rate = schedule(options.schedule, { warmupSteps, totalSteps: steps, minRate });
  (trained as Module).train();
  const found: { loss: number; gradNorm: number }[] = [];
  for (let step = 0; step < steps; step++) {
    using _ = scope();
    const batches = await Promise.all(Array.from({ length: accumulate }, (_, i) => task.batch(step * accumulate + i)));
    const labels = batches.reduce((sum, { counts }) => sum + counts['loss']!, 0);
    const parts = batches.map((batch) => {
      const part = task.losses(toDevice(batch))['loss']!.mul(batch.counts['loss']! / labels);
      part.backward();
      return part;
    });
    optimizer.lr = options.learningRate * rate(step);
    optimizer.step({ maxNorm: maxGradNorm > 0 ? maxGradNorm : 1e30 });
    optimizer.zeroGrad();
    const values = await Promise.all(parts.map((part) => part.item()));
    found.push({ loss: values.reduce((a, b) => a + b, 0), gradNorm: await optimizer.gradNorm.item() });
  }
  return found;
}

/** Batches of random tokens, of two lengths, with labels left out here and there. */
function taskOf(
  { model, vocabSize, isSeq2Seq }: DrawnModel,
  number: number,
  { batch, lengths }: { readonly batch: number; readonly lengths: readonly number[] },
): TrainingTask {
  return {
    name: 'random',
    batchesPerEpoch: 4,
    batch(index): HostBatch {
      const choices = new Choices(number, 100 + index);
      const length = lengths[index % lengths.length]!;
      const shape = [batch, length];
      const ids = (): Int32Array =>
        Int32Array.from({ length: batch * length }, () => choices.between(3, vocabSize - 1));
      const inputIds = ids();
      const labels = (isSeq2Seq ? ids() : inputIds.slice()).map((id) => (choices.chance(0.2) ? -100 : id));
      labels[1] = 5; // there must be one
      const counted = labels.filter((id, i) => id >= 0 && (isSeq2Seq || i % length > 0)).length;
      return {
        arrays: { inputIds: { data: inputIds, shape }, labels: { data: labels, shape } },
        counts: { loss: counted },
        tokens: batch * length,
      };
    },
    losses: ({ inputIds, labels }) => {
      const forward = model.forward.bind(model) as unknown as (inputs: object) => { readonly loss: Tensor };
      return { loss: forward({ inputIds, labels, outputLogits: false }).loss };
    },
  };
}

async function logitsOf({ vocabSize, isSeq2Seq }: DrawnModel, model: RandomGenerator): Promise<number[]> {
  using _ = scope();
  model.eval();
  const inputIds = tensor([[3, vocabSize - 1, 4, 5, 7]], { dtype: 'i32' });
  const forward = model.forward.bind(model) as unknown as (inputs: object) => { readonly logits: Tensor };
  const { logits } = noGrad(() => forward({ inputIds, ...(isSeq2Seq ? { decoderInputIds: inputIds } : {}) }));
  return Array.from((await logits.data()) as Float32Array);
}
