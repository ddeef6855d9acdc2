import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  accuracy,
  areaUnderCurve,
  averagePrecision,
  binarize,
  bootstrap,
  calibrationError,
  entityReport,
  entityScores,
  logLoss,
  multiClassRocAuc,
  meanOf,
  multiLabelScores,
  ndcg,
  pairedSignificance,
  pearson,
  rankByScore,
  reciprocalRank,
  rocAuc,
  rowsOf,
  takeRows,
  topKAccuracy,
} from '../../train/metrics/index.ts';
import { failureOf, metricCases } from '../support/metric-cases.ts';

const test = suite('train/metrics: labels and scores');

for (const name of ['label-metrics.json', 'sequence-labels.json', 'rankings.json', 'statistics.json']) {
  test(`${name}: equal to the reference implementation`, () => {
    const failures = metricCases(name).flatMap((found) => failureOf(found) ?? []);
    assert.equal(failures, []);
  });
}

test('typed arrays and rows of a flat array do as arrays do', () => {
  const scores = Float32Array.of(0.75, 0.25, 0.5, 0.5);
  assert.is(rocAuc(Uint8Array.of(1, 0, 1, 0), scores), 0.875);
  assert.is(topKAccuracy(Int32Array.of(0, 1), rowsOf(scores, 2), { k: 1 }), 1);
  assert.equal(
    binarize([1, 0], 2).map((row) => Array.from(row)),
    [
      [0, 1],
      [1, 0],
    ],
  );
});

test('the log loss of a Float32Array keeps from 0 by the epsilon of float32, as scikit-learn', () => {
  // log_loss([1, 0], np.array([0, 0.5], np.float32)) and of float64
  assert.ok(Math.abs(logLoss([1, 0], Float32Array.of(0, 0.5)) - 8.317766) < 1e-5);
  assert.ok(Math.abs(logLoss([1, 0], [0, 0.5]) - 18.3684) < 1e-5);
});

test('rows without entities have a report, where seqeval fails', () => {
  assert.match(entityReport([['O']], [['O']]), /micro avg +0\.00 +0\.00 +0\.00 +0\n +macro avg +nan/);
});

test('a ranking made of scores; an empty one', () => {
  assert.equal(Array.from(rankByScore([0.5, 2, 0.5, 1], 3)), [1, 3, 0]);
  const queries = [
    { ranking: rankByScore([0, 1]), relevance: new Set([0]) },
    { ranking: [], relevance: new Set([0]) },
  ];
  assert.is(reciprocalRank(queries).mean, 0.25);
});

test('an interval of a metric that some resamples leave undefined is NaN and says how many', () => {
  const yTrue = [0, 0, 0, 1];
  const area = (rows: Int32Array): number => rocAuc(takeRows(yTrue, rows), takeRows([1, 2, 3, 4], rows));
  const found = bootstrap(4, area, { resamples: 50, method: 'percentile' });
  assert.ok(found.undefinedResamples > 0 && Number.isNaN(found.low));
  assert.throws(
    () => pairedSignificance(2, (rows) => area(rows.map((row) => row % 2))),
    'pairedSignificance: the metric of all rows is NaN; take one that any rows define',
  );
  // Equal rows leave BCa nothing to go by, as in scipy.
  assert.ok(Number.isNaN(bootstrap(3, meanOf([1, 1, 1]), { resamples: 9 }).low));
  assert.is(bootstrap(3, meanOf([1, 1, 1]), { resamples: 9, method: 'percentile' }).low, 1);
});

test('bad input is refused with the first bad row', () => {
  const cases: [() => unknown, string][] = [
    [() => rocAuc([0, 1, 1], [0, 1]), 'rocAuc: yTrue has 3 rows but yScore has 2; pass one of each a row'],
    [() => rocAuc([0, 1, 1], [0, NaN, NaN]), 'rocAuc: yScore[1] is NaN; scores must be finite numbers'],
    [() => rocAuc([0, 1, 2], [0, 1, 2]), 'yTrue[2] is a third label, 2; say by positiveLabel which the scores are for'],
    [() => rocAuc([0, 2, 2], [0, 1, 2]), 'rocAuc: positiveLabel 1 does not occur; the labels are 0 and 2'],
    [() => rocAuc([0, 1], [0, 1], { maxFpr: 0 }), 'rocAuc: maxFpr must be above 0 and at most 1, got 0'],
    [() => averagePrecision([], []), 'averagePrecision: yTrue is empty; pass at least one row'],
    [() => logLoss([0, 1], [2.5, 0.5]), 'logLoss: yProba[0] is 2.5; pass probabilities from 0 to 1, not logits'],
    [
      () =>
        logLoss(
          [0, 1],
          [
            [0.5, 0.5],
            [0.5, 0.25],
          ],
        ),
      'logLoss: yProba[1] sums to 0.75',
    ],
    [
      () =>
        logLoss(
          [0, 2],
          [
            [0.5, 0.5],
            [0.5, 0.5],
          ],
        ),
      'yTrue[1] is 2; with 2 columns, labels are 0 to 1',
    ],
    [() => topKAccuracy([0, 1], [[1, 2], [1]], { k: 1 }), 'yScore[1] has 1 values but yScore[0] has 2'],
    [() => multiLabelScores([[0, 1]], [[0, 2]], { average: 'micro' }), 'yPred[0][1] is 2; give 1 where a label holds'],
    [() => accuracy([0], [0], { sampleWeight: [-1] }), 'accuracy: sampleWeight[0] is -1; weights must be finite'],
    [() => accuracy([0], [0], { sampleWeight: [0] }), 'accuracy: all weights are 0; give some row a weight above 0'],
    [() => pearson([1, 2], [1, Infinity]), 'pearson: y[1] is Infinity; scores must be finite numbers'],
    [() => pearson([1], [1]), 'pearson: a correlation needs two rows at least, got 1'],
    [() => calibrationError([0], [0.5], { numBins: 0 }), 'calibrationError: numBins must be a positive integer, got 0'],
    [() => entityScores([['O'], ['O']], [['O'], []]), 'entityScores: yTrue[1] has 1 tags but yPred[1] has 0'],
    [() => entityScores([['O']], [['U-PER']]), 'yPred[0][0] is "U-PER"; a tag is O or, as B-PER, a type with B, I, E'],
    [() => entityScores([['E-X']], [['O']], { scheme: 'IOB2' }), 'yTrue[0][0] is "E-X"; the scheme has the marks I, O'],
    [
      () => entityScores([['O']], [['O']], { scheme: 'auto' }),
      'yTrue has the marks O, of no scheme; name it in scheme',
    ],
    [() => ndcg([{ ranking: ['a', 'a'], relevance: new Set() }]), 'queries[0].ranking[1] is "a" again; rank a'],
    [() => ndcg([{ ranking: [], relevance: new Map([['a', NaN]]) }]), 'ndcg: queries[0] grades "a" with NaN'],
    [() => rankByScore([1, NaN]), 'rankByScore: scores[1] is NaN'],
    [() => bootstrap(1, meanOf([1])), 'bootstrap: rows must be an integer from 2 up, got 1'],
    [() => bootstrap(2, meanOf([1, 2]), { confidenceLevel: 95 }), 'confidenceLevel must be between 0 and 1, got 95'],
    [() => areaUnderCurve([0, 2, 1], [0, 1, 1]), 'areaUnderCurve: x[2] turns back; x must rise or fall throughout'],
    [
      () =>
        multiClassRocAuc(
          [0, 1],
          [
            [0.5, 0.5],
            [0.5, 0.5],
          ],
          { multiClass: 'ovo', sampleWeight: [1, 1] },
        ),
      'sampleWeight has no meaning with ovo; use ovr',
    ],
  ];
  for (const [call, says] of cases) assert.throws(call, says);
});

test.run();
