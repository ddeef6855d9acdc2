import { printable } from '../../common/printable.ts';
import type { Texts } from '../data/read-table.ts';
import { accuracy, confusionMatrix, f1Score, perClassScores } from '../metrics/classification.ts';
import type { ClassScores, ScoreOptions } from '../metrics/classification.ts';
import { perLabelScores } from '../metrics/multi-label.ts';
import { calibrationBins, calibrationError } from '../metrics/probabilities.ts';
import { takeRows } from '../metrics/rows.ts';
import { scoreOf, shownText } from '../report/test-scores.ts';
import type { ScoreTable, TestSample, TestScores } from '../report/test-scores.ts';

type Rows = readonly (readonly number[])[];

/** Samples of a kind that a report shows. */
const shown = 10;
/** Classes up to which a report shows how they are confused. */
const fewClasses = 50;

export interface ClassTest {
  readonly texts: readonly Texts[];
  readonly truth: readonly number[];
  /** [texts][classes] */
  readonly probabilities: Rows;
  readonly predicted: readonly number[];
  readonly labels: readonly string[];
  /** How the classes are scored by one number, and its name. */
  readonly scoring: ScoreOptions;
  readonly what: string;
  readonly baseline: { readonly label: number; readonly accuracy: number; readonly f1: number };
}

/** The test of a classifier for its run's report. */
export function classScores(test: ClassTest): TestScores {
  const { texts, truth, probabilities, predicted, labels, scoring, what, baseline } = test;
  const of = (score: (truth: readonly number[], predicted: readonly number[]) => number) =>
    scoreOf(truth.length, (rows) => score(takeRows(truth, rows), takeRows(predicted, rows)));
  const sure = (i: number): number => probabilities[i]![predicted[i]!]!;
  const order = [...truth.keys()].sort((a, b) => sure(b) - sure(a));
  const [right, wrong] = [true, false].map((is) => order.filter((i) => (truth[i] === predicted[i]) === is));
  const sample = (i: number): TestSample => ({
    text: sidesOf(texts[i]!),
    answer: `${labels[predicted[i]!]!} ${sure(i).toFixed(3)}`,
    ...(truth[i] === predicted[i] ? {} : { wanted: labels[truth[i]!]! }),
    right: truth[i] === predicted[i],
  });
  return {
    of: `${truth.length.toLocaleString('en')} texts`,
    tables: [
      {
        title: 'Scores',
        columns: ['accuracy', what],
        rows: [
          { name: 'this model', scores: [of(accuracy), of((a, b) => f1Score(a, b, scoring))] },
          {
            name: `always "${printable(labels[baseline.label]!)}"`,
            scores: [{ value: baseline.accuracy }, { value: baseline.f1 }],
          },
        ],
      },
      eachTable('Each class', perClassScores(truth, predicted, { numLabels: labels.length }), labels),
    ],
    ...(labels.length > fewClasses
      ? {}
      : {
          confusion: { labels: [...labels], counts: confusionMatrix(truth, predicted, { numLabels: labels.length }) },
        }),
    calibration: { error: calibrationError(truth, probabilities), bins: calibrationBins(truth, probabilities) },
    samples: [
      { title: 'Mistakes, the surest first', samples: wrong!.slice(0, shown).map(sample) },
      { title: 'Right, the least sure first', samples: right!.slice(-shown).reverse().map(sample) },
    ],
  };
}

/** The test of a model that gives texts a number: the largest errors first. */
export function numberScores(
  table: ScoreTable,
  texts: readonly Texts[],
  truth: readonly number[],
  found: readonly number[],
): TestScores {
  const off = (i: number): number => Math.abs(truth[i]! - found[i]!);
  const order = [...truth.keys()].sort((a, b) => off(b) - off(a));
  const samples = order
    .slice(0, shown)
    .map((i) => ({ text: sidesOf(texts[i]!), answer: found[i]!.toFixed(3), wanted: String(truth[i]!) }));
  return testOf(texts.length, [table], [{ title: 'The largest errors', samples }]);
}

/** The test of a model that gives texts several labels, with the scores of each: most wrong labels first. */
export function labelScores(
  table: ScoreTable,
  texts: readonly Texts[],
  labels: readonly string[],
  truth: Rows,
  found: Rows,
): TestScores {
  const wrong = truth.map((row, i) => row.reduce((sum, value, j) => sum + Number(value !== found[i]![j]), 0));
  const names = (row: readonly number[]): string => labels.filter((_, j) => row[j] === 1).join(', ') || '(no label)';
  const order = [...wrong.keys()].sort((a, b) => wrong[b]! - wrong[a]!);
  const sample = (i: number): TestSample => ({
    text: sidesOf(texts[i]!),
    answer: names(found[i]!),
    wanted: names(truth[i]!),
    right: wrong[i] === 0,
  });
  const each = eachTable('Each label', perLabelScores(truth, found), labels);
  return testOf(
    texts.length,
    [table, each],
    [
      { title: 'Most wrong labels first', samples: order.slice(0, shown).map(sample) },
      {
        title: 'All labels right',
        samples: order
          .filter((i) => wrong[i] === 0)
          .slice(0, shown)
          .map(sample),
      },
    ],
  );
}

function eachTable(title: string, each: readonly ClassScores[], labels: readonly string[]): ScoreTable {
  const rows = each.map(({ label, precision, recall, f1, support }) => ({
    name: `${labels[label]!}, ${support.toLocaleString('en')} texts`,
    scores: [precision, recall, f1].map((value) => ({ value })),
  }));
  return { title, columns: ['precision', 'recall', 'F1'], rows };
}

function testOf(texts: number, tables: readonly ScoreTable[], samples: TestScores['samples']): TestScores {
  return { of: `${texts.toLocaleString('en')} texts`, tables: [...tables], samples };
}

const sidesOf = ({ text, textPair }: Texts): string =>
  textPair === undefined ? shownText(text) : `${shownText(text)}\n${shownText(textPair)}`;
