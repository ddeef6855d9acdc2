import { join } from 'node:path';
import {
  detectAnomaly,
  getFloat32MatmulPrecision,
  manualSeed,
  randomState,
  setFloat32MatmulPrecision,
  setRandomState,
} from '../../autograd/index.ts';
import { disk } from '../../common/file-system.ts';
import { claimFolder } from '../../common/lock.ts';
import { histogram, mean } from '../../common/statistics.ts';
import type { Histogram } from '../../common/statistics.ts';
import { currentGroup } from '../../distributed/environment.ts';
import type { ModelConfig, Module, PreTrainedModel, SaveOptions } from '../../models/index.ts';
import { Interrupted, onInterrupt } from '../cli/interrupt.ts';
import { trainingBegins, trainingEnds } from '../cli/turns.ts';
import { schedule } from '../optim/schedules.ts';
import type { HostBatch, TrainingTask } from '../objectives/task.ts';
import { isEvaluation, isStep, progressBar } from './callback.ts';
import type { Callback, EvaluationRecord, StepRecord } from './callback.ts';
import {
  checkFinished,
  checkIdentity,
  checkpointsKept,
  checkResume,
  checkWhole,
  latestCheckpoint,
  markStarted,
  readFinalState,
  readTrainingState,
  removeCheckpoints,
  restoreTraining,
  saveTraining,
  writeState,
} from './run-state.ts';
import type { Resume, Resumption, SavedState, TrainingState } from './run-state.ts';
import type { Evaluation } from './evaluate.ts';
import { trainerOptions } from './settings.ts';
import type { TrainerSettings } from './settings.ts';
import { tokenizerFingerprint } from '../data/corpus/text-tokenizer.ts';
import { Replicas } from './replicas.ts';
import { removeResult } from '../report/result-file.ts';
import { readLog, RunLog } from './run-log.ts';
import { runInfo, writeRunInfo } from './run-info.ts';
import { TrainingStep } from './step.ts';
import { MemoryWatch } from './step-memory.ts';
import type { StepMemory } from './step-memory.ts';
import { tensorBoard } from './tensorboard.ts';

/** A model that is written to folders and read from them again. */
export type TrainableModel = Module &
  Pick<PreTrainedModel<ModelConfig>, 'configText' | 'savePretrained' | 'loadWeights'>;

export interface TrainingRun {
  readonly model: TrainableModel;
  readonly task: TrainingTask;
  readonly options: TrainerSettings;
  /**
   * The run's folder: at the end the model itself in the Hugging Face layout; best/, checkpoints on the way,
   * log, curves, report.
   */
  readonly output: string;
  readonly tokenizer?: SaveOptions['tokenizer'];
  /** Measures the model, with dropout off and averaged weights where `ema` asks for them; see `evaluator`. */
  readonly evaluate?: () => Promise<Evaluation>;
  /** The number that tells which model is best; default the least loss. */
  readonly best?: { readonly name: string; readonly mode: 'min' | 'max' };
  /** Further facts that the run depends on, besides its options and the model: `{ data: hash }`. */
  readonly identity?: Readonly<Record<string, unknown>>;
  /**
   * Go on from the latest checkpoint in `output`; a run that has reached its end is only read. Refused where
   * options, data, tokenizer or model are not those that the run began with, unless it is 'anyway'.
   */
  readonly resume?: Resume;
  /** The command that goes on after Ctrl-C, of a script that has one; without it messages name `resume`. */
  readonly resumeCommand?: string;
  readonly callbacks?: readonly Callback[];
  /** Draws no progress bar. */
  readonly quiet?: boolean;
}

const logFile = 'log.jsonl';
/** Steps in a row that mixed precision may skip: from 2^16 down to a loss scale of 2^-8. */
const longestSkip = 24;

export interface TrainingResult {
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  readonly best: TrainingState['best'];
  /** What the first steps had on the device; none where the run had ended before. */
  readonly memory?: StepMemory;
}

/**
 * Trains a model: AdamW with a schedule, clipping, accumulation, mixed precision, moving averages; evaluates,
 * keeps the best model and the last, writes a log, curves and a report. Batches are functions of their number
 * and random numbers are counted, so a run that was stopped (Ctrl-C, kill -9, a power cut) and resumed has,
 * bit for bit, the losses of one never stopped.
 *
 * In a process group (`tapeform launch`, `initProcessGroup`) all processes call this alike and train one
 * model: each takes a share of every batch. The first alone evaluates and writes; all return the same, with
 * the weights that training ended with.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const rows = blockWindows(corpusOf([[1, 2, 3, 4, 5, 6, 7, 8]], 10), { length: 4, seed: 0 });
 * const task = causalLM({ model, rows, batchSize: 2 });
 * await train({ model, task, options: { steps: 3, learningRate: 1e-3 }, output: 'runs/tiny' });
 */
export async function train(run: TrainingRun): Promise<TrainingResult> {
  const precision = getFloat32MatmulPrecision();
  try {
    return await trainInGroup(run);
  } finally {
    setFloat32MatmulPrecision(precision); // which the run may have set
  }
}

async function trainInGroup(run: TrainingRun): Promise<TrainingResult> {
  const group = await currentGroup();
  await trainingBegins(group);
  if (group && group.rank > 0) {
    const result = await trainLocked(run, new Replicas(group));
    await trainingEnds(group);
    return result;
  }
  const lock = await claimFolder(run.output, 'training');
  try {
    return await trainLocked(run, group && new Replicas(group));
  } finally {
    lock.release();
  }
}

/** Where a run begins: as rank 0 finds it, with the model's weights, in all processes. */
async function begin(
  { model, output, ...run }: TrainingRun,
  identity: TrainingState['identity'],
  replicas: Replicas | undefined,
): Promise<Resumption & { readonly saved?: SavedState }> {
  const find = async (): Promise<Awaited<ReturnType<typeof begin>>> => {
    const found = await checkResume('train', output, run.resume, run.resumeCommand !== undefined);
    const { checkpoint } = found;
    if (checkpoint === undefined) return found;
    await checkWhole(checkpoint, output);
    const saved = await readTrainingState(checkpoint);
    checkIdentity(saved.identity, identity, checkpoint, run.resume, run.resumeCommand !== undefined);
    await model.loadWeights(checkpoint);
    return { ...found, saved };
  };
  if (!replicas) return find();
  await replicas.compare(identity);
  const told = await replicas.fromFirst(find);
  if (!told.finished) await replicas.shareWeights(model);
  return told;
}

async function trainLocked(run: TrainingRun, replicas: Replicas | undefined): Promise<TrainingResult> {
  const { model, task, output, tokenizer, evaluate, best: judge = { name: 'loss', mode: 'min' } } = run;
  /** One process evaluates, shows and writes. */
  const isFirst = !replicas || replicas.rank === 0;
  const options = trainerOptions(run.options);
  const { steps: total, accumulate, evaluateEvery, saveEvery, histogramEvery, patience } = options;
  const facts = { model: describe(model), ...(tokenizer ? { tokenizer: tokenizerFingerprint(tokenizer) } : {}) };
  const identity = defined({ task: task.name, ...runIdentity(options), ...facts, ...run.identity });

  const { checkpoint, finished, saved } = await begin(run, identity, replicas);
  if (finished) return finishedRun(run, identity, isFirst);
  let state: TrainingState = { step: 0, seconds: 0, sinceBest: 0, identity };
  manualSeed(options.seed);
  if (options.precision === 'high') setFloat32MatmulPrecision('high');
  if (options.gradientCheckpointing) model.gradientCheckpointingEnable();
  const watch = await MemoryWatch.of(model);
  const step = new TrainingStep(model, task, options, replicas);
  const { optimizer, scaler } = step;
  if (saved) {
    const { random, ...rest } = saved;
    if (isFirst) await restoreTraining(checkpoint!, saved, optimizer, scaler);
    const groups = optimizer.snapshot().groups.flatMap(({ steps, tensors }) => [steps, ...tensors]);
    await replicas?.share([...groups, ...(scaler ? [scaler.state] : [])]);
    setRandomState(random);
    state = { ...rest, identity };
  }
  replicas?.ownRandom(randomState());

  // Loaded here: what draws would be a quarter of the time in which a script answers --help or an error.
  const { writeReport } = await import('../report/run-report.ts');
  if (isFirst) {
    await disk.makeFolder(output);
    await removeCheckpoints(output, checkpoint ? checkpointsKept : 0);
    await markStarted(output);
    await removeResult(output);
  }
  const path = join(output, logFile);
  const log = isFirst ? await RunLog.open(path, saved?.step) : RunLog.unwritten(path, saved?.step);
  const about = { name: task.name, identity, parameters: model.numParameters(), lossLabel: task.lossLabel };
  const info = await runInfo({ ...about, best: evaluate && judge });
  if (isFirst) await writeRunInfo(output, info);
  const clock = new Clock(state.seconds, log.records.at(-1)?.time);
  const board = isFirst ? tensorBoard(output, info, log.records, clock.time()) : undefined;
  const shown = run.quiet ? [] : [progressBar(task, total, accumulate)];
  const callbacks = board ? [board, ...shown, ...(run.callbacks ?? [])] : [];
  const rate = schedule(options.schedule, {
    warmupSteps: options.warmupSteps,
    totalSteps: total,
    minRate: options.minRate,
  });
  let interrupted = false;
  let ended = false;
  const stopListening = onInterrupt(() => {
    // Several processes stop after the same step, when all know of it.
    if (replicas && !ended) replicas.stop = true;
    else interrupted = true;
    if (!isFirst) return;
    const when = ended ? 'when the model is saved' : 'after this step';
    process.stderr.write(`\nstopping ${when}; Ctrl-C again quits without saving\n`);
  });

  const makeBatches = async (index: number): Promise<HostBatch[]> => {
    const batches: HostBatch[] = [];
    for (let i = 0; i < accumulate; i++) batches.push(await task.batch(index * accumulate + i));
    return batches;
  };
  const batchesOf = (index: number): Promise<HostBatch[]> =>
    replicas && task.followsModel ? replicas.batchesFromFirst(() => makeBatches(index)) : makeBatches(index);
  const saveModel = (folder: string): Promise<void> => model.savePretrained(folder, { tokenizer });
  const report = (): Promise<void> => writeReport(output, { info, steps: log.steps, evaluations: log.evaluations });
  const isDue = (every: number): boolean => every > 0 && state.step % every === 0;

  /** Measures the model, and keeps it where it is the best so far. */
  const evaluateNow = async (
    evaluate: () => Promise<Evaluation>,
  ): Promise<Pick<TrainingState, 'best' | 'sinceBest'> & { readonly record: EvaluationRecord }> => {
    const evaluation = await evaluate();
    const better = isBetter(evaluation, judge, state.best?.value);
    if (better) await saveModel(join(output, 'best'));
    const best = better ? { step: state.step, value: evaluation[judge.name]! } : state.best;
    const sinceBest = better ? 0 : state.sinceBest + 1;
    state = { ...state, seconds: clock.seconds() };
    const record = { step: state.step, evaluation, seconds: state.seconds, time: clock.time() };
    log.append(record);
    for (const { onEvaluation } of callbacks) await onEvaluation?.(record);
    return { ...(best ? { best } : {}), sinceBest, record };
  };

  model.train();
  try {
    for (const { onStart } of callbacks) await onStart?.(state.step);
    const ahead = !task.followsModel;
    // What a callback does at a step may look at the model, which must not be further then.
    const late = ahead && !replicas && !run.callbacks?.some(({ onStep }) => onStep);
    let upcoming = ahead ? batchesOf(state.step) : undefined;
    let stopEarly = false;
    let skips = 0;

    const start = async (index: number): Promise<StartedStep> => {
      const lr = (optimizer.lr = options.learningRate * rate(index));
      const batches = await (upcoming ?? batchesOf(index));
      const random = randomState();
      const isShown = histogramEvery > 0 && (index + 1) % histogramEvery === 0;
      const histograms = isShown && isFirst ? await histogramsOf(model, step, batches) : undefined;
      if (isShown) setRandomState(random);
      watch.before();
      const results = step.run(batches);
      // Made while the device works on this one.
      upcoming = ahead && index + 1 < total ? batchesOf(index + 1) : undefined;
      upcoming?.catch(() => undefined); // thrown where it is awaited
      return { batches, random, lr, histograms, results };
    };
    const settle = async ({ batches, random, lr, histograms, results }: StartedStep): Promise<void> => {
      const { losses, measures, gradNorm, skipped, scale, stop } = await results();
      if (stop) interrupted = true;
      watch.behind();
      const loss = Object.values(losses).reduce((a, b) => a + b, 0);
      skips = skipped ? skips + 1 : 0;
      // In mixed precision an overflow lowers the loss scale, and the step is skipped.
      if (skipped ? !scaler || skips > longestSkip : !Number.isFinite(loss))
        throw new Error(await explainFailure(step, batches, random, state.step + 1, loss, lr, output));

      state = { ...state, step: state.step + 1, seconds: clock.seconds() };
      const record: StepRecord = {
        step: state.step,
        loss,
        ...(Object.keys(losses).length > 1 ? { losses } : {}),
        lr,
        gradNorm,
        ...(skipped ? { skipped: 1 } : {}),
        ...(scale === undefined ? {} : { scale }),
        ...measuresOf(batches, measures),
        tokens: batches.reduce((sum, { tokens }) => sum + tokens, 0),
        seconds: state.seconds,
        time: clock.time(),
      };
      log.append(record);
      for (const { onStep } of callbacks) await onStep?.(record);
      if (histograms) board?.histograms(record, histograms);
    };

    // A step's numbers are read when the next one is on the device, so that the device never waits; but where
    // something is to be done between the two, and while steps fail.
    let pending: StartedStep | undefined;
    while (state.step < total && !stopEarly) {
      if (!pending || !interrupted) {
        const last = pending;
        const begun = state.step + (last ? 1 : 0);
        pending = await start(begun).catch(async (error: unknown) => {
          if (last) await settle(last); // whose line comes first
          throw error;
        });
        if (last) await settle(last);
        const isBetween = [evaluate ? evaluateEvery : 0, saveEvery].every((every) => !every || (begun + 1) % every);
        if (late && watch.isDone && isBetween && skips === 0 && begun + 1 < total && !interrupted) continue;
      }
      await settle(pending);
      pending = undefined;

      if (evaluate && (isDue(evaluateEvery) || state.step === total)) {
        const make = (): ReturnType<typeof evaluateNow> => optimizer.withAverages(() => evaluateNow(evaluate));
        const told = await (replicas ? replicas.fromFirst(make) : make());
        state = { ...state, best: told.best, sinceBest: told.sinceBest };
        if (!isFirst) log.append(told.record);
        stopEarly = patience > 0 && state.sinceBest >= patience;
        if (isFirst && state.step < total) await report();
      }
      if (interrupted || (isDue(saveEvery) && state.step < total)) {
        log.sync();
        let folder = output;
        if (isFirst) {
          folder = await saveTraining(output, state, optimizer, saveModel, scaler);
          for (const { onSave } of callbacks) await onSave?.(folder);
        }
        await replicas?.group.barrier({ timeout: Infinity });
        if (interrupted)
          throw new Interrupted(isFirst ? stopped(run, state.step, total, folder) : 'stopped with rank 0');
      }
    }
    ended = true;
  } finally {
    // At the end it goes on to listen: a signal must not end the process before the model is saved.
    if (!ended) stopListening();
    for (const { onEnd } of callbacks) await onEnd?.();
    log.close();
  }
  try {
    if (isFirst) {
      await optimizer.withAverages(() => saveModel(output));
      await report();
      await writeState(output, state);
      await removeCheckpoints(output);
    }
    await replicas?.group.barrier({ timeout: Infinity });
  } finally {
    stopListening();
  }
  if (interrupted && isFirst) throw new Interrupted(stopped(run, state.step, total, output));
  const used = watch.report(step);
  return { steps: log.steps, evaluations: log.evaluations, best: state.best, ...(used && { memory: used }) };
}

/** A step that the device works on, and what it was begun with. */
interface StartedStep {
  readonly batches: readonly HostBatch[];
  readonly random: ReturnType<typeof randomState>;
  readonly lr: number;
  /** Of weights and gradients, where this step shows them. */
  readonly histograms: ReadonlyMap<string, Histogram> | undefined;
  readonly results: ReturnType<TrainingStep['run']>;
}

/** What a step begins with: its weights, and their gradients, by TensorBoard's names. */
async function histogramsOf(
  model: Module,
  step: TrainingStep,
  batches: readonly HostBatch[],
): Promise<ReadonlyMap<string, Histogram>> {
  const found = new Map<string, Histogram>();
  for (const [name, parameter] of model.namedParameters())
    if (parameter.requiresGrad) found.set(`weights/${name}`, histogram(await parameter.data()));
  for (const [name, gradient] of await step.gradients(model, batches))
    found.set(`gradients/${name}`, histogram(gradient));
  return found;
}

/** Reads the result of a run that has reached its end. */
async function finishedRun(
  { model, output }: TrainingRun,
  identity: TrainingState['identity'],
  isFirst: boolean,
): Promise<TrainingResult> {
  const state = await readFinalState(output);
  checkFinished(state.identity, identity, output);
  await model.loadWeights(output);
  if (isFirst) await removeCheckpoints(output); // of which a kill may have left a part
  const records = readLog(join(output, logFile));
  return { steps: records.filter(isStep), evaluations: records.filter(isEvaluation), best: state.best };
}

/** Options that decide what a run computes; how often it saves, what it shows and keeps is its own affair. */
function runIdentity({
  saveEvery: _,
  histogramEvery: __,
  gradientCheckpointing: ___,
  ...options
}: ReturnType<typeof trainerOptions>): Record<string, unknown> {
  return options;
}

/** The means of what batches say of themselves, and what the step measured. */
function measuresOf(
  batches: readonly HostBatch[],
  measured: Readonly<Record<string, number>>,
): Pick<StepRecord, 'measures'> {
  const names = Object.keys(batches[0]!.measures ?? {});
  const values = (name: string): number[] => batches.map(({ measures }) => measures![name]!);
  const measures = { ...Object.fromEntries(names.map((name) => [name, mean(values(name))])), ...measured };
  return Object.keys(measures).length === 0 ? {} : { measures };
}

/** As JSON has it. */
function defined(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function describe(model: TrainableModel): object {
  return { class: model.constructor.name, ...(JSON.parse(model.configText()) as object) };
}

function isBetter(evaluation: Evaluation, { name, mode }: NonNullable<TrainingRun['best']>, best?: number): boolean {
  const value = evaluation[name];
  if (value === undefined)
    throw new Error(
      `train: the evaluation has no "${name}" to tell the best model by, only ${Object.keys(evaluation).join(', ')}`,
    );
  if (Number.isNaN(value)) return false;
  return best === undefined || (mode === 'min' ? value < best : value > best);
}

/** How to go on: by the script's own command where it has one, else by the option of `train`. */
function stopped({ resumeCommand }: TrainingRun, step: number, total: number, folder: string): string {
  const mend = resumeCommand ? `go on with: ${resumeCommand}` : 'to go on, call again with resume: true';
  return `stopped at step ${step} of ${total}, saved in ${folder}; ${mend}`;
}

/**
 * The weights are still those before the step, since it was skipped, and so was the next one: it is taken
 * again op by op, with the same random numbers, to find what failed first.
 */
async function explainFailure(
  step: TrainingStep,
  batches: readonly HostBatch[],
  random: ReturnType<typeof randomState>,
  number: number,
  loss: number,
  lr: number,
  output: string,
): Promise<string> {
  const found = await detectAnomaly(() => {
    setRandomState(random);
    step.replay(batches);
  });
  const what = Number.isFinite(loss) ? 'a gradient became infinite or NaN' : `the loss became ${loss}`;
  const first = found
    ? `; first in ${found.op} [${found.shape.join(', ')}] (${found.where}): ${found.count} elements are not finite`
    : '';
  const checkpoint = await latestCheckpoint(output);
  const rest = checkpoint ? `; ${checkpoint} is from before` : '';
  return (
    `step ${number}: ${what}${first}; lower the learning rate (now ${lr}), warm up longer or clip the ` +
    `gradients${rest}`
  );
}

/**
 * Seconds of training, and times that never go back, although the computer's clock may be set back between a
 * stop and its resumption.
 */
class Clock {
  private readonly origin: number;
  private last: number;

  constructor(seconds: number, last = 0) {
    this.origin = performance.now() / 1000 - seconds;
    this.last = last;
  }

  seconds(): number {
    return Number((performance.now() / 1000 - this.origin).toFixed(3));
  }

  time(): number {
    this.last = Math.max(this.last, Date.now());
    return this.last;
  }
}
