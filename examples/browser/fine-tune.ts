// Fine-tunes BERT on labelled texts, stops, goes on, and classifies: all of the page but what is seen. It
// runs in Node as it does in a page; test/browser-page.test.ts checks that a run that was stopped ends the
// same.
import {
  AdamW,
  BertForSequenceClassification,
  BertTokenizer,
  collate,
  compile,
  decayGroups,
  evalMode,
  filesInMemory,
  manualSeed,
  memoryFolder,
  noGrad,
  optimizerFiles,
  predict,
  restoreOptimizer,
  scope,
  stratifiedSplit,
  tokenise,
  zip,
} from '../../index.browser.ts';
import type { ClassificationBatch, TokenisedExample } from '../../index.browser.ts';
import { filesAt } from '../../common/file-access.ts';
import { readJsonFile } from '../../common/json-file.ts';
import { endlessBatches } from '../../train/data/batches.ts';
import { linear as falling } from '../../train/optim/index.ts';
import { readRows } from './table.ts';
import type { Row } from './table.ts';

export interface Settings {
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly seed: number;
}

/** What a run has shown so far. */
export interface Curve {
  /** The loss of each step. */
  readonly losses: number[];
  /** Share of the held-out texts that are classified rightly, after so many steps. */
  readonly accuracies: { readonly step: number; readonly value: number }[];
}

/** A run: the model and where it stands. */
export interface Run {
  readonly model: BertForSequenceClassification;
  readonly tokenizer: BertTokenizer;
  readonly optimizer: AdamW;
  readonly settings: Settings;
  readonly source: string;
  readonly training: readonly TokenisedExample[];
  readonly heldOut: readonly TokenisedExample[];
  /** Steps in all. */
  readonly steps: number;
  readonly curve: Curve;
}

const stateFile = 'run.json';
const weightDecay = 0.01;

export const labelsOf = (rows: readonly Row[]): string[] => [...new Set(rows.map(({ label }) => label))].sort();

/** Starts a run on labelled texts. `base`: the folder of a pretrained BERT. Errors: those of `readRows`. */
export async function startRun(base: string, source: string, settings: Settings): Promise<Run> {
  const labels = labelsOf(readRows(source));
  manualSeed(settings.seed);
  const log = (): void => undefined; // the head is new, of course
  const model = await BertForSequenceClassification.fromPretrained(base, { labels }, { log });
  return runOf(model, await BertTokenizer.fromPretrained(base), source, settings, { losses: [], accuracies: [] });
}

/** Takes up the run that a folder holds; undefined where it holds none. */
export async function resumeRun(folder: string): Promise<Run | undefined> {
  const path = `${folder}/${stateFile}`;
  if ((await filesAt(path).kind(path)) !== 'file') return undefined;
  const { source, settings, curve } = (await readJsonFile(path)) as unknown as Pick<
    Run,
    'source' | 'settings' | 'curve'
  >;
  const model = await BertForSequenceClassification.fromPretrained(folder);
  const run = runOf(model, await BertTokenizer.fromPretrained(folder), source, settings, curve);
  await restoreOptimizer(folder, run.optimizer);
  return run;
}

function runOf(
  model: BertForSequenceClassification,
  tokenizer: BertTokenizer,
  source: string,
  settings: Settings,
  curve: Curve,
): Run {
  const rows = readRows(source);
  const { labels } = model.config;
  const examples = tokenise(
    tokenizer,
    rows.map(({ text, label }) => ({ text, label: labels.indexOf(label) })),
    model.config.maxPositionEmbeddings,
  );
  const [training, heldOut] = split(examples, settings.seed);
  const optimizer = new AdamW(decayGroups(model.namedParameters(), weightDecay), { lr: settings.learningRate });
  const steps = settings.epochs * Math.ceil(training.length / settings.batchSize);
  return { model, tokenizer, optimizer, settings, source, training, heldOut, steps, curve };
}

type Examples = readonly TokenisedExample[];

/** One text of five is held out, of each label as many; none where there are too few. */
function split(examples: Examples, seed: number): readonly [training: Examples, heldOut: Examples] {
  const labels = examples.map(({ label }) => label);
  try {
    const { train, validation } = stratifiedSplit(labels, {
      fractions: { train: 0.8, validation: 0.2, test: 0 },
      seed,
    });
    const pick = (part: readonly number[]): Examples => part.map((i) => examples[i]!);
    return [pick(train), pick(validation)];
  } catch {
    return [examples, []];
  }
}

/**
 * Trains from where the run stands to its end, or until `isStopped`; after each step `onStep` is called. The
 * run is saved into `folder` at its end, and where it stops.
 */
export async function train(run: Run, folder: string, onStep: () => void, isStopped: () => boolean): Promise<void> {
  const { model, optimizer, settings, training, steps, curve, tokenizer } = run;
  const { batchSize, seed, learningRate } = settings;
  const lengths = training.map(({ inputIds }) => inputIds.length);
  const schedule = falling(Math.ceil(steps / 10), steps);
  const step = compile(
    (batch: ClassificationBatch) => {
      const { loss } = model.forward(batch);
      loss!.backward();
      optimizer.step({ maxNorm: 1 });
      optimizer.zeroGrad();
      return loss!.detach();
    },
    { name: 'fine-tuning', maxPrograms: 32, log: () => undefined },
  );
  model.train();
  const { batchesPerEpoch, indices } = endlessBatches(lengths, { batchSize, seed });
  for (let at = curve.losses.length; at < steps && !isStopped(); at++) {
    {
      using _ = scope();
      optimizer.lr = learningRate * schedule(at + 1);
      const batch = indices(at).map((i) => training[i]!);
      curve.losses.push(await step(collate(batch, tokenizer.padTokenId)).item());
    }
    if ((at + 1) % batchesPerEpoch === 0) await evaluate(run);
    onStep();
  }
  model.eval();
  await save(run, folder);
}

async function evaluate({ model, tokenizer, heldOut, curve, settings }: Run): Promise<void> {
  if (heldOut.length === 0) return;
  const { labels } = await predict(model, heldOut, { ...settings, padTokenId: tokenizer.padTokenId });
  const right = labels.filter((label, i) => label === heldOut[i]!.label).length;
  curve.accuracies.push({ step: curve.losses.length, value: right / heldOut.length });
}

/** Model, tokenizer, optimizer and where the run stands, in one save. */
async function save({ model, tokenizer, optimizer, source, settings, curve }: Run, folder: string): Promise<void> {
  const state = { path: `${folder}/${stateFile}`, data: JSON.stringify({ source, settings, curve }) };
  await model.savePretrained(folder, { tokenizer, files: [...optimizerFiles(folder, optimizer), state] });
}

/** The model's folder as a zip archive, which Transformers and `loadModel` read once it is unpacked. */
export async function archive({
  model,
  tokenizer,
}: Pick<Run, 'model' | 'tokenizer'>): Promise<Uint8Array<ArrayBuffer>> {
  const folder = memoryFolder();
  await model.savePretrained(folder, { tokenizer });
  return zip(new Map([...filesInMemory(folder)].map(([name, data]) => [`my-model/${name}`, data])));
}

/** How a model reads a text. */
export interface Reading {
  /** Probability of each label. */
  readonly probabilities: readonly number[];
  readonly tokens: readonly string[];
  /** Attention of each layer and head: [layer][head][from][to]. */
  readonly attention: number[][][][];
}

/** Classifies a text, and tells what attends to what. */
export async function read({ model, tokenizer }: Pick<Run, 'model' | 'tokenizer'>, text: string): Promise<Reading> {
  using _ = scope();
  const { inputIds } = tokenizer.encode([text], { truncation: true, maxLength: model.config.maxPositionEmbeddings });
  const look = () => {
    using _mode = evalMode(model);
    return noGrad(() => model.forward({ inputIds, outputAttentions: true }));
  };
  const { logits, attentions = [] } = look();
  const [probabilities] = (await logits.softmax().tolist()) as number[][];
  const layers = await Promise.all(attentions.map((weights) => weights.tolist() as Promise<number[][][][]>));
  const ids = (await inputIds.tolist()) as number[][];
  return {
    probabilities: probabilities!,
    tokens: tokenizer.convertIdsToTokens(ids[0]!),
    attention: layers.map(([heads]) => heads!),
  };
}
