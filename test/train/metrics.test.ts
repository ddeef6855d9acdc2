import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  accuracy,
  classificationReport,
  confusionMatrix,
  f1Score,
  majorityBaseline,
  perClassScores,
  precision,
  precisionRecallF1,
  recall,
} from '../../train/metrics/classification.ts';
import type { Scores } from '../../train/metrics/classification.ts';
import { goldenFile } from '../support/golden.ts';

const test = suite('train/metrics');

// All expected numbers: scikit-learn 1.9.1. Four classes; class 3 is never predicted.
const yTrue = [0, 1, 2, 2, 1, 0, 3, 2, 1, 1, 0, 2];
const yPred = [0, 2, 2, 2, 1, 0, 1, 1, 1, 0, 0, 2];
const binaryTrue = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0];
const binaryPred = [0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0];

/** Within 1e-12; NaN only where NaN is expected. */
function same(actual: Scores, expected: readonly [number, number, number]): void {
  [actual.precision, actual.recall, actual.f1].forEach((value, i) => {
    const want = expected[i]!;
    if (Number.isNaN(want)) assert.ok(Number.isNaN(value), `score ${i} is ${value}, want NaN`);
    else assert.not(!(Math.abs(value - want) <= 1e-12), `score ${i} is ${value}, want ${want}`);
  });
}

test('accuracy', () => {
  assert.is(accuracy(yTrue, yPred), 8 / 12); // accuracy_score(yTrue, yPred)
  assert.is(accuracy(Int32Array.from(binaryTrue), Uint8Array.from(binaryPred)), 0.75);
});

test('binary scores of either label', () => {
  // precision_recall_fscore_support(binaryTrue, binaryPred, average='binary', pos_label=1 / 0)
  same(precisionRecallF1(binaryTrue, binaryPred), [0.75, 0.6, 2 / 3]);
  same(precisionRecallF1(binaryTrue, binaryPred, { positiveLabel: 0, numLabels: 2 }), [0.75, 0.8571428571428571, 0.8]);
  assert.is(precision(binaryTrue, binaryPred), 0.75);
  assert.is(recall(binaryTrue, binaryPred), 0.6);
  assert.is(f1Score(binaryTrue, binaryPred), 6 / 9);
});

test('micro, macro and weighted averages', () => {
  // precision_recall_fscore_support(yTrue, yPred, average=..., zero_division=0)
  same(precisionRecallF1(yTrue, yPred, { average: 'micro' }), [2 / 3, 2 / 3, 2 / 3]);
  same(precisionRecallF1(yTrue, yPred, { average: 'macro' }), [0.5, 0.5625, 0.5267857142857143]);
  same(
    precisionRecallF1(yTrue, yPred, { average: 'weighted' }),
    [0.6041666666666666, 0.6666666666666666, 0.6309523809523809],
  );
  // precision_recall_fscore_support([0, 2, 2], [0, 2, 0], average='macro'): the absent class 1 does not count
  same(precisionRecallF1([0, 2, 2], [0, 2, 0], { average: 'macro' }), [0.75, 0.75, 2 / 3]);
});

test('numLabels counts classes that do not occur', () => {
  // precision_recall_fscore_support(yTrue, yPred, average='macro', labels=range(5), zero_division=0 / 1)
  same(precisionRecallF1(yTrue, yPred, { average: 'macro', numLabels: 5 }), [0.4, 0.45, 0.42142857142857143]);
  same(
    precisionRecallF1(yTrue, yPred, { average: 'macro', numLabels: 5, zeroDivision: 1 }),
    [0.8, 0.65, 0.6214285714285714],
  );
});

test('zeroDivision of 0, 1 and NaN', () => {
  // precision_recall_fscore_support(yTrue, yPred, average=..., zero_division=1 / np.nan)
  same(precisionRecallF1(yTrue, yPred, { average: 'macro', zeroDivision: 1 }), [0.75, 0.5625, 0.5267857142857143]);
  same(precisionRecallF1(yTrue, yPred, { average: 'macro', zeroDivision: NaN }), [2 / 3, 0.5625, 0.5267857142857143]);
  same(
    precisionRecallF1(yTrue, yPred, { average: 'weighted', zeroDivision: 1 }),
    [0.6875, 0.6666666666666666, 0.6309523809523809],
  );
  same(
    precisionRecallF1(yTrue, yPred, { average: 'weighted', zeroDivision: NaN }),
    [0.6590909090909091, 0.6666666666666666, 0.6309523809523809],
  );
  // precision_recall_fscore_support([0, 1, 0, 1], [0, 0, 0, 0], average='binary', zero_division=0 / 1)
  same(precisionRecallF1([0, 1, 0, 1], [0, 0, 0, 0]), [0, 0, 0]);
  same(precisionRecallF1([0, 1, 0, 1], [0, 0, 0, 0], { zeroDivision: 1 }), [1, 0, 0]);
  // precision_recall_fscore_support([0, 0], [0, 0], average='binary', zero_division=1 / np.nan)
  same(precisionRecallF1([0, 0], [0, 0], { zeroDivision: 1 }), [1, 1, 1]);
  same(precisionRecallF1([0, 0], [0, 0], { zeroDivision: NaN }), [NaN, NaN, NaN]);
});

test('scores of each class with support', () => {
  // precision_recall_fscore_support(yTrue, yPred, average=None, labels=range(5), zero_division=0 / np.nan)
  const expected: [number, number, number, number][] = [
    [0.75, 1, 6 / 7, 3],
    [0.5, 0.5, 0.5, 4],
    [0.75, 0.75, 0.75, 4],
    [0, 0, 0, 1],
    [0, 0, 0, 0],
  ];
  const scores = perClassScores(yTrue, yPred, { numLabels: 5 });
  assert.equal(
    scores.map((s) => s.label),
    [0, 1, 2, 3, 4],
  );
  scores.forEach((s, i) => {
    const [p, r, f, support] = expected[i]!;
    same(s, [p, r, f]);
    assert.is(s.support, support);
  });
  const withNan = perClassScores(yTrue, yPred, { numLabels: 5, zeroDivision: NaN });
  same(withNan[3]!, [NaN, 0, 0]);
  same(withNan[4]!, [NaN, NaN, NaN]);
});

test('confusion matrix has true labels as rows', () => {
  // confusion_matrix(yTrue, yPred) and with labels=range(5)
  const matrix = [
    [3, 0, 0, 0],
    [1, 2, 1, 0],
    [0, 1, 3, 0],
    [0, 1, 0, 0],
  ];
  assert.equal(confusionMatrix(yTrue, yPred), matrix);
  assert.equal(confusionMatrix(yTrue, yPred, { numLabels: 5 }), [...matrix.map((row) => [...row, 0]), [0, 0, 0, 0, 0]]);
});

test('classification report reads as scikit-learn writes it', () => {
  // classification_report(yTrue, yPred, target_names=[...], zero_division=0)
  assert.is(
    classificationReport(yTrue, yPred, { labels: ['red', 'green', 'blue', 'ultramarine blue'] }),
    '                  precision    recall  f1-score   support\n\n             red       0.75      1.00      ' +
      '0.86         3\n           green       0.50      0.50      0.50         4\n            blue       0.75    ' +
      '  0.75      0.75         4\nultramarine blue       0.00      0.00      0.00         1\n\n        accuracy ' +
      '                          0.67        12\n       macro avg       0.50      0.56      0.53        12\n    ' +
      'weighted avg       0.60      0.67      0.63        12\n',
  );
  // classification_report(binaryTrue, binaryPred, target_names=['ham', 'spam'], digits=4)
  assert.is(
    classificationReport(binaryTrue, binaryPred, { labels: ['ham', 'spam'], digits: 4 }),
    '              precision    recall  f1-score   support\n\n         ham     0.7500    0.8571    0.8000      ' +
      '   7\n        spam     0.7500    0.6000    0.6667         5\n\n    accuracy                         ' +
      '0.7500        12\n   macro avg     0.7500    0.7286    0.7333        12\nweighted avg     0.7500    ' +
      '0.7500    0.7444        12\n',
  );
  // classification_report(yTrue, yPred, labels=range(5), target_names=list('abcde'), zero_division=np.nan)
  assert.is(
    classificationReport(yTrue, yPred, { labels: [...'abcde'], zeroDivision: NaN }),
    '              precision    recall  f1-score   support\n\n           a       0.75      1.00      0.86      ' +
      '   3\n           b       0.50      0.50      0.50         4\n           c       0.75      0.75      0.75  ' +
      '       4\n           d        nan      0.00      0.00         1\n           e        nan       nan       ' +
      'nan         0\n\n    accuracy                           0.67        12\n   macro avg       0.67      0.56 ' +
      '     0.53        12\nweighted avg       0.66      0.67      0.63        12\n',
  );
});

test('the report is that of scikit-learn: ties to the even digit, undefined scores skipped', () => {
  interface Case {
    readonly matrix: readonly (readonly number[])[];
    readonly digits: number;
    readonly zeroDivision: number | null;
    readonly labels: readonly string[];
    readonly report: string;
  }
  const cases = JSON.parse(readFileSync(goldenFile('metrics.json'), 'utf8')) as readonly Case[];
  for (const { matrix, digits, zeroDivision, labels, report } of cases) {
    const pairs = matrix.flatMap((row, i) => row.flatMap((n, j) => Array.from({ length: n }, () => [i, j] as const)));
    const found = classificationReport(
      pairs.map(([truth]) => truth),
      pairs.map(([, predicted]) => predicted),
      { labels, digits, zeroDivision: zeroDivision ?? NaN },
    );
    assert.is(found, report);
  }
});

test('a name in a report cannot steer the terminal', () => {
  const report = classificationReport([0, 1], [0, 1], { labels: ['\x1b[2Jham', 'spam\nspam'] });
  assert.match(report, /\\x1b\[2Jham .*\n.*spam\\nspam /);
  assert.throws(() => classificationReport([0], [0], { labels: ['a'], digits: -1 }), 'digits must be a whole number');
});

test('majority baseline takes its label from the training set', () => {
  // precision_recall_fscore_support([0]*6 + [1]*3 + [2], [0]*10, average='macro', zero_division=0)
  const labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2];
  const baseline = majorityBaseline(labels, labels, { average: 'macro' });
  assert.is(baseline.label, 0);
  assert.is(baseline.accuracy, 0.6);
  same(baseline, [0.2, 1 / 3, 0.25]);
  const shifted = majorityBaseline([1, 1, 0], [0, 0, 1, 0]);
  assert.is(shifted.label, 1);
  assert.is(shifted.accuracy, 0.25);
  assert.is(majorityBaseline([2, 1, 1, 2], [1], { average: 'micro' }).label, 1, 'the smaller label of a tie');
});

test('bad input is refused by name', () => {
  assert.throws(
    () => accuracy([0, 1], [0]),
    'accuracy: yTrue has 2 labels but yPred has 1; pass one prediction an example',
  );
  assert.throws(() => f1Score([], []), 'yTrue and yPred are empty; pass at least one example');
  assert.throws(
    () => confusionMatrix([0, 1], [0, 2], { numLabels: 2 }),
    'confusionMatrix: yPred[1] is 2; labels must be an integer from 0 to 1',
  );
  assert.throws(() => accuracy([0, -100], [0, 1]), 'accuracy: yTrue[1] is -100; labels must be an integer from 0 up');
  assert.throws(() => accuracy([0.5], [0]), 'yTrue[0] is 0.5');
  assert.throws(() => accuracy([NaN], [0]), 'yTrue[0] is NaN');
  assert.throws(
    () => f1Score(yTrue, yPred),
    'average "binary" needs two classes, got 4; use average micro, macro or weighted',
  );
  assert.throws(() => f1Score([0, 3], [3, 0]), 'positiveLabel 1 does not occur; the labels are 0 and 3');
  assert.throws(() => confusionMatrix([0], [0], { numLabels: 0 }), 'numLabels must be a positive integer, got 0');
});

test.run();
