import { join } from 'node:path';
import { alignTable, meanAndDeviation } from '../../common/text-table.ts';
import { Random } from '../../common/random.ts';
import { paddingOf } from '../../models/index.ts';
import type { Example, Target } from '../data/read-table.ts';
import { tokenise } from '../data/tokenised.ts';
import type { KeptPart, TokenisedExample } from '../data/tokenised.ts';
import { f1Score } from '../metrics/classification.ts';
import { averagePrecision, precisionRecallCurve } from '../metrics/curves.ts';
import type { Panel } from '../report/panel.ts';
import type { FineTuneOptions } from '../trainer/epochs.ts';
import { canResume } from '../trainer/run-state.ts';
import type { ClassifierData } from './data.ts';
import { fineTune } from './fine-tune.ts';
import type { ImbalanceOptions } from './imbalance.ts';
import { makeClassifier } from './model.ts';
import type { ModelChoice } from './model.ts';
import { scoreExamples } from './predict.ts';
import { bestThreshold } from './thresholds.ts';

export interface RareOptions {
  /** The label that is made rare. */
  readonly positive: string;
  /** Examples of other labels for each of the positive one. */
  readonly ratio: number;
  /** The most negatives to train on. */
  readonly negatives: number;
  readonly seed: number;
}

/** Examples of two classes, of which 1 is rare. */
export interface RareData {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  /** Not thinned: few positives would tell little. `testWeights` make them as rare as elsewhere. */
  readonly test: readonly Example[];
  readonly testWeights: Float64Array;
}

/**
 * One label against all others, thinned at random to 1 in `ratio` where it trains and validates, one example
 * at least. Error: no such label, or a part without one of the two.
 */
export function makeRare(data: ClassifierData, { positive, ratio, negatives, seed }: RareOptions): RareData {
  const rare = data.labels.indexOf(positive);
  if (data.kind !== 'classification' || rare < 0)
    throw new Error(`there is no class "${positive}"; the labels are ${data.labels.slice(0, 12).join(', ')}`);
  const [train, validation, test] = [data.train, data.validation, data.test].map((part) =>
    part.map((example) => ({ ...example, label: Number(example.label === rare) })),
  );
  const random = new Random(seed, 2 ** 33);
  const thin = (part: readonly Example[], most: number): Example[] => {
    const [many, few] = [0, 1].map((label) => random.shuffle(part.filter((example) => example.label === label)));
    const kept = many!.slice(0, most);
    return random.shuffle([...kept, ...few!.slice(0, Math.max(1, Math.round(kept.length / ratio)))]);
  };
  for (const [name, part] of Object.entries({ train, validation, test }))
    for (const label of [0, 1])
      if (!part!.some((example) => example.label === label))
        throw new Error(
          `the ${name} part has no example ${label === 1 ? 'of' : 'beside'} "${positive}"; give more data`,
        );
  const count = test!.reduce((sum, { label }) => sum + label, 0);
  const weight = (test!.length - count) / ratio / count;
  return {
    train: thin(train!, negatives),
    validation: thin(validation!, Infinity),
    test: test!,
    testWeights: Float64Array.from(test!, ({ label }) => (label === 1 ? weight : 1)),
  };
}

export type Method = ImbalanceOptions['imbalance'];

/** What one model reached on the test part. */
export interface Outcome {
  readonly method: Method;
  readonly seed: number;
  readonly averagePrecision: number;
  readonly f1AtHalf: number;
  /** At the threshold that is best on the validation part. */
  readonly f1Tuned: number;
  readonly threshold: number;
  /** Precision at recalls of 0, 0.01, ..., 1. */
  readonly precision: readonly number[];
}

export interface CompareOptions extends ModelChoice {
  readonly keep: KeptPart;
  readonly balance: ImbalanceOptions;
  readonly training: FineTuneOptions;
  readonly output: string;
  readonly resume: boolean;
}

/** Trains one model with one method, in a folder of its own, and tests it. */
export async function tryMethod(data: RareData, options: CompareOptions): Promise<Outcome> {
  const { balance, training, output, seed, maxLength, keep } = options;
  const method = balance.imbalance;
  const labels = ['other', 'rare'];
  const { model, tokenizer } = await makeClassifier(options, { kind: 'classification', labels, pairs: false });
  const read = (part: readonly Example[]) => tokenise(tokenizer, part, maxLength, keep);
  const validation = read(data.validation);
  const folder = join(output, `${method}-${seed}`);
  await fineTune({
    model,
    tokenizer,
    train: read(data.train),
    validation,
    options: training,
    balance,
    output: folder,
    resume: options.resume && (await canResume(folder)),
    identity: { maxLength, keep },
    quiet: true,
  });
  const score = async (part: readonly TokenisedExample<Target>[]): Promise<number[]> => {
    const { scores } = await scoreExamples(model, part, {
      batchSize: training.batchSize,
      padTokenId: paddingOf({ model, tokenizer }),
    });
    return scores.map((row) => row[1]!);
  };
  const threshold = bestThreshold(
    validation.map(({ label }) => label),
    await score(validation),
  );
  const scores = await score(read(data.test));
  const truth = data.test.map(({ label }) => label);
  const weights = { sampleWeight: data.testWeights };
  const f1 = (from: number): number => {
    const predicted = scores.map((value) => Number(value >= from));
    return f1Score(truth, predicted, { ...weights, numLabels: 2 });
  };
  const { precision, recall } = precisionRecallCurve(truth, scores, weights);
  return {
    method,
    seed,
    averagePrecision: averagePrecision(truth, scores, weights),
    f1AtHalf: f1(0.5),
    f1Tuned: f1(threshold),
    threshold,
    precision: atRecalls(precision, recall),
  };
}

/** The precision where recall first reaches 0, 0.01, ..., 1, from the highest threshold down. */
function atRecalls(precision: Float64Array, recall: Float64Array): number[] {
  return Array.from({ length: 101 }, (_, i) => {
    const at = recall.findLastIndex((value) => value >= i / 100 - 1e-9);
    // Recall 0 is where nothing counts as positive; the first example that does tells more.
    return precision[at === recall.length - 1 ? at - 1 : at]!;
  });
}

/** Means and standard deviations over the seeds, a line for each method. */
export function outcomesTable(outcomes: readonly Outcome[]): string {
  const rows = byMethod(outcomes).map(([method, own]) => [
    method,
    ...(['averagePrecision', 'f1AtHalf', 'f1Tuned'] as const).map((key) => meanAndDeviation(own.map((o) => o[key]))),
  ]);
  return alignTable(['', 'average precision', 'F1 at 0.5', 'F1 at the tuned threshold'], rows, new Set([1, 2, 3]));
}

/** Precision against recall, the mean over the seeds, a curve for each method. */
export function outcomesPanel(outcomes: readonly Outcome[], ratio: number): Panel {
  const seeds = new Set(outcomes.map(({ seed }) => seed)).size;
  return {
    title: `1 in ${ratio + 1} is positive: mean of ${seeds} seeds`,
    xLabel: 'recall',
    yLabel: 'precision',
    yDomain: [0, 1],
    series: byMethod(outcomes).map(([name, own]) => ({
      name,
      points: own[0]!.precision.map(
        (_, i) => [i / 100, own.reduce((sum, { precision }) => sum + precision[i]!, 0) / own.length] as const,
      ),
    })),
  };
}

function byMethod(outcomes: readonly Outcome[]): [Method, Outcome[]][] {
  const methods = [...new Set(outcomes.map(({ method }) => method))];
  return methods.map((method) => [method, outcomes.filter((outcome) => outcome.method === method)]);
}
