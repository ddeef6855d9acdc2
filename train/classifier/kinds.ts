import { mean } from '../../common/statistics.ts';
import { padText, printable, textWidth } from '../../common/printable.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import type { Target } from '../data/read-table.ts';
import type { AnswerKind } from '../data/read-targets.ts';
import { accuracy, classificationReport, f1Score, majorityBaseline, usualAverage } from '../metrics/classification.ts';
import { multiLabelAveragePrecision } from '../metrics/curves.ts';
import { multiLabelHammingLoss, multiLabelReport, multiLabelScores } from '../metrics/multi-label.ts';
import { meanSquaredError, pearson, r2Score, spearman } from '../metrics/regression.ts';
import { takeRows } from '../metrics/rows.ts';
import { scoreLines, scoreOf } from '../report/test-scores.ts';
import type { TestScores } from '../report/test-scores.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import type { ClassifierData } from './data.ts';
import { mostProbable } from './predict.ts';
import { classScores, labelScores, numberScores } from './test-scores.ts';
import { reached } from './thresholds.ts';

type Config = SequenceClassificationModel['config'];
type Rows = readonly (readonly number[])[];

export interface Tested {
  readonly lines: readonly string[];
  readonly scores: TestScores;
}

/**
 * What differs between one class a text, a score, and several labels. Scores are those of `scoreExamples`.
 */
export interface Kind {
  /** As reports of training show it. */
  readonly taskName: string;
  readonly problemType: NonNullable<Config['problemType']>;
  /** What the loss is, for the drawing of its curve. */
  readonly lossLabel: string;
  /** The number of an evaluation that tells most, and its name. */
  readonly tells: readonly [key: string, name: string];
  evaluate(truth: readonly Target[], scores: Rows, config: Config): Evaluation;
  /** The test part beside a baseline, in lines and for the run's report. */
  report(data: ClassifierData, scores: Rows, config: Config): Tested;
  /** One text's answer in words. */
  show(scores: readonly number[], config: Config): string;
}

const classification: Kind = {
  taskName: 'classification',
  problemType: 'single_label_classification',
  lossLabel: 'cross-entropy, nats',
  tells: ['accuracy', 'accuracy'],
  evaluate(truth, scores, { numLabels }) {
    const [classes, predicted] = [truth as readonly number[], mostProbable(scores)];
    return { accuracy: accuracy(classes, predicted), f1: f1Score(classes, predicted, usualAverage(numLabels)) };
  },
  report(data, scores) {
    const { labels, test: texts } = data;
    const judged = scoringOf(data);
    const { truth, scoring, baseline, what } = judged;
    const predicted = mostProbable(scores);
    return {
      lines: [
        classificationReport(truth, predicted, { labels, digits: 3 }).trimEnd(),
        '',
        `${what} ${f1Score(truth, predicted, scoring).toFixed(3)}; ` +
          `always "${printable(labels[baseline.label]!)}" would have ` +
          `${baseline.f1.toFixed(3)}, accuracy ${baseline.accuracy.toFixed(3)}`,
      ],
      scores: classScores({ ...judged, texts, labels, probabilities: scores, predicted }),
    };
  },
  show(scores, { labels }) {
    const names = labels.map(printable);
    const width = names.reduce((most, name) => Math.max(most, textWidth(name)), 0);
    const [best] = mostProbable([scores]);
    return `${padText(names[best!]!, width)}  ${scores[best!]!.toFixed(3)}`;
  },
};

/** How classes on the test part are judged. */
export function scoringOf({ labels, train, test }: ClassifierData) {
  const [truth, seen] = [test, train].map((part) => part.map(({ label }) => label as number));
  const scoring = usualAverage(labels.length);
  const what = scoring.average === 'binary' ? `F1 of ${printable(labels[1]!)}` : 'macro F1';
  return { truth: truth!, scoring, baseline: majorityBaseline(seen!, truth!, scoring), what };
}

const first = (rows: readonly Target[]): number[] => rows.map((row) => (row as readonly number[])[0]!);

/** NaN of fewer than two rows, and where all have one score. */
const ofTwo = (score: typeof pearson, x: readonly number[], y: readonly number[]): number =>
  x.length < 2 ? NaN : score(x, y);

const regression: Kind = {
  taskName: 'regression',
  problemType: 'regression',
  lossLabel: 'mean squared error',
  tells: ['pearson', "Pearson's correlation"],
  evaluate(truth, scores) {
    const [x, y] = [first(truth), first(scores)];
    const all = { pearson: ofTwo(pearson, x, y), spearman: ofTwo(spearman, x, y), r2: r2Score(x, y) };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => Number.isFinite(value)));
  },
  report(data, scores) {
    const truth = first(data.test.map(({ label }) => label));
    const seen = first(data.train.map(({ label }) => label));
    const middle = mean(seen);
    const found = first(scores);
    const metrics = {
      Pearson: (x: readonly number[], y: readonly number[]) => ofTwo(pearson, x, y),
      Spearman: (x: readonly number[], y: readonly number[]) => ofTwo(spearman, x, y),
      MSE: meanSquaredError,
      R2: r2Score,
    };
    const each = Object.values(metrics);
    const always = truth.map(() => middle);
    const table = {
      title: 'Scores',
      columns: Object.keys(metrics),
      rows: [
        {
          name: 'this model',
          scores: each.map((of) => scoreOf(truth.length, (rows) => of(takeRows(truth, rows), takeRows(found, rows)))),
        },
        { name: `always the mean, ${middle.toFixed(3)}`, scores: each.map((of) => ({ value: of(truth, always) })) },
      ],
    };
    return { lines: [scoreLines(table)], scores: numberScores(table, data.test, truth, found) };
  },
  show: ([score]) => score!.toFixed(3),
};

/** Of a model that keeps none, or other ones than it has labels: 0.5. */
function thresholdsOf({ extra, numLabels }: Config): readonly number[] {
  const kept = extra['thresholds'];
  const isKept = Array.isArray(kept) && kept.length === numLabels && kept.every((x) => typeof x === 'number');
  return isKept ? (kept as number[]) : new Array<number>(numLabels).fill(0.5);
}

const multiLabel: Kind = {
  taskName: 'multi-label classification',
  problemType: 'multi_label_classification',
  lossLabel: 'binary cross-entropy, nats',
  tells: ['microF1', 'micro F1'],
  evaluate(truth, scores, config) {
    const predicted = reached(scores, thresholdsOf(config));
    const f1 = (average: 'micro' | 'macro'): number => multiLabelScores(truth as Rows, predicted, { average }).f1;
    return { microF1: f1('micro'), macroF1: f1('macro') };
  },
  report(data, scores, config) {
    const [truth, seen] = [data.test, data.train].map((part) => part.map(({ label }) => label as readonly number[]));
    const { usual, frequencies } = mostFrequent(seen!);
    const line = (name: string, predicted: Rows, by: Rows) => {
      const f1 = (['micro', 'macro', 'samples'] as const).map(
        (average) => multiLabelScores(truth!, predicted, { average }).f1,
      );
      const others = [multiLabelHammingLoss(truth!, predicted), multiLabelAveragePrecision(truth!, by)];
      return { name, scores: [...f1, ...others].map((value) => ({ value })) };
    };
    const thresholds = thresholdsOf(config);
    const isTuned = thresholds.some((threshold) => threshold !== 0.5);
    const halves = thresholds.map(() => 0.5);
    const names = data.labels.filter((_, j) => usual[j] === 1).map(printable);
    const rows = [
      ...(isTuned ? [line('thresholds tuned', reached(scores, thresholds), scores)] : []),
      line('threshold 0.5', reached(scores, halves), scores),
      line(
        `always ${names.join(', ')}`,
        truth!.map(() => usual),
        truth!.map(() => frequencies),
      ),
    ];
    const columns = ['micro F1', 'macro F1', 'samples F1', 'hamming loss', 'average precision'];
    const table = { title: 'Scores', columns, rows };
    const predicted = reached(scores, thresholds);
    const report = multiLabelReport(truth!, predicted, { labels: data.labels, digits: 3 });
    return {
      lines: [report.trimEnd(), '', scoreLines(table)],
      scores: labelScores(table, data.test, data.labels, truth!, predicted),
    };
  },
  show(scores, config) {
    const thresholds = thresholdsOf(config);
    const names = config.labels.flatMap((name, j) =>
      scores[j]! >= thresholds[j]! ? [`${printable(name)} ${scores[j]!.toFixed(3)}`] : [],
    );
    return names.length > 0 ? names.join(', ') : '(no label)';
  },
};

/**
 * The labels that rows have most often, as many as a row has in the mean, at least one; and all frequencies.
 */
export function mostFrequent(rows: Rows): { readonly usual: number[]; readonly frequencies: number[] } {
  const frequencies = rows[0]!.map((_, j) => rows.reduce((sum, row) => sum + row[j]!, 0) / rows.length);
  const count = Math.max(1, Math.round(frequencies.reduce((a, b) => a + b, 0)));
  const order = frequencies.map((_, j) => j).sort((a, b) => frequencies[b]! - frequencies[a]! || a - b);
  const chosen = new Set(order.slice(0, count));
  return { usual: frequencies.map((_, j) => Number(chosen.has(j))), frequencies };
}

export const kinds: Record<AnswerKind, Kind> = { classification, regression, 'multi-label': multiLabel };

/** The kind of a model, as its config.json says. */
export function kindOf({ problemType }: Config): Kind {
  return Object.values(kinds).find((kind) => kind.problemType === problemType) ?? classification;
}
