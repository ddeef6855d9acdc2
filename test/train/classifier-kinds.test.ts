import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, tensor } from '../../autograd/index.ts';
import { BertConfig, BertForSequenceClassification, BertTokenizer, pipeline } from '../../models/index.ts';
import {
  balancedClassWeights,
  checkImbalance,
  imbalances,
  lossOf,
  positiveWeights,
} from '../../train/classifier/imbalance.ts';
import { fineTune } from '../../train/classifier/fine-tune.ts';
import { makeRare } from '../../train/classifier/compare-imbalance.ts';
import type { ClassifierData } from '../../train/classifier/data.ts';
import { mostFrequent } from '../../train/classifier/kinds.ts';
import { bestThreshold, bestThresholds, reached } from '../../train/classifier/thresholds.ts';
import { endlessBatches } from '../../train/data/batches.ts';
import type { Target } from '../../train/data/read-table.ts';
import { readTable } from '../../train/data/read-table.ts';
import { findKind, readLabelSets, readScores } from '../../train/data/read-targets.ts';
import { tokenise } from '../../train/data/tokenised.ts';
import type { FineTuneOptions } from '../../train/trainer/epochs.ts';
import type { Callback } from '../../train/trainer/callback.ts';
import { failure } from '../support/failure.ts';
import { lossesIn } from '../support/script.ts';

const test = suite('kinds of labels');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-kinds-'));
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

/** Fails unless reading a file is refused with one line, its path first. */
async function rejects(reading: Promise<unknown>, path: string, rest: string): Promise<void> {
  assert.is(await failure(reading), `${path}${rest}`);
}

test('the kind of labels is found', async () => {
  const kindOf = async (name: string, text: string, options = {}): Promise<string> =>
    (await findKind(file(name, text), options)).kind;
  assert.is(await kindOf('k1.csv', 'text,label\na,1\nb,2\n'), 'classification');
  assert.is(await kindOf('k2.csv', 'text,label\na,1\nb,2.5\n'), 'regression');
  assert.is(await kindOf('k3.csv', 'text,label\na,1.0\nb,2.0\n'), 'classification');
  assert.is(await kindOf('k4.csv', 'text,label\na,v\nb,w\nc,2.5\n'), 'classification');
  assert.is(await kindOf('k5.csv', 'text,label\na,nan\nb,2.5\n'), 'regression');
  assert.is(await kindOf('k6.jsonl', '{"text":"a","label":[]}\n'), 'multi-label');
  assert.is(await kindOf('k7.csv', 'text,x,y\na,0,1\n', { labelColumns: ['x', 'y'] }), 'multi-label');
  assert.is(await kindOf('k8.csv', 'text,label\na,x;y\n', { labelSeparator: ';' }), 'multi-label');
  const { because } = await findKind(file('k2.csv', 'text,label\na,1\nb,2.5\n'));
  assert.is(because, '2 of 2 labels are numbers, as 2.5 on line 3');
});

test('scores, several labels and pairs are read', async () => {
  const scores = await readScores(file('s.csv', 'text,label\na,4.5\nb,-1e-1\nc, 3 \n'));
  assert.equal(
    scores.map(({ label }) => label),
    [[4.5], [-0.1], [3]],
  );
  const expected = { labels: ['x', 'y'], examples: ['a', 'b', 'c'].map((text, i) => ({ text, label: rows[i]! })) };
  assert.equal(
    await readLabelSets(file('m.csv', 'text,label\na,y; x\nb,\nc,y;y\n'), { labelSeparator: ';' }),
    expected,
  );
  const lists = '{"text":"a","label":["y","x"]}\n{"text":"b","label":[]}\n{"text":"c","label":["y"]}\n';
  assert.equal(await readLabelSets(file('m.jsonl', lists)), expected);
  const columns = { labelColumns: ['x', 'y'] };
  assert.equal(await readLabelSets(file('c.csv', 'text,x,y\na,1,1\nb,0,0\nc,0,1\n'), columns), expected);
});

const rows = [
  [1, 1],
  [0, 0],
  [0, 1],
];

test('bad rows are refused with their number', async () => {
  for (const [i, score] of ['nan', 'Infinity', 'good', '', '1e39', '0x10'].entries()) {
    const path = file(`bad${i}.csv`, `text,label\na,0.5\nb,${score}\n`);
    const rest = `:3: "label" is "${score}"; the score of a regression must be a finite number`;
    await rejects(readScores(path), path, rest);
  }
  const pairs = file('pairs.csv', 'a,b,label\nx,y,1\nx, ,0\n');
  const sides = { textColumn: 'a', textPairColumn: 'b' };
  const mend = ':3: "b" is empty, and a pair needs two texts; fill it or take the row out';
  for (const read of [readTable, readScores]) await rejects(read(pairs, sides), pairs, mend);
  await rejects(readLabelSets(pairs, { ...sides, labelColumns: ['label'] }), pairs, mend);
  const many = file('many.csv', 'text,label,x\na,p;q,1\nb,r,2\n');
  await rejects(
    readLabelSets(many, { labelSeparator: ';', labels: ['p', 'q'] }),
    many,
    ':3: unknown label "r"; the labels are p, q',
  );
  await rejects(readLabelSets(many, { labelColumns: ['x'] }), many, ':3: "x" is "2"; a column of labels holds 0 or 1');
  await rejects(
    readLabelSets(many),
    many,
    ':2: "label" is "p;q", no list of labels; say what stands between labels as labelSeparator',
  );
});

test('thresholds by hand', () => {
  // From 0.3 up: 2 of 3 right, all found: F1 0.8. From 0.9 up: 1 of 1 right, half found: 0.667.
  assert.is(bestThreshold([0, 1, 0, 1], [0.1, 0.3, 0.4, 0.9]), 0.2);
  // All apart: half-way between the classes.
  assert.is(bestThreshold([0, 0, 1], [0.25, 0.5, 1]), 0.75);
  // All positive: from the least score up, and below it down to 0.
  assert.is(bestThreshold([1, 1], [0.5, 0.75]), 0.25);
  assert.is(bestThreshold([0, 0], [0.2, 0.9]), 0.5);
  const scores = [
    [0.25, 0.5],
    [1, 0.25],
  ];
  assert.equal(bestThresholds([[0, 1], [1, 0]], scores), [0.625, 0.375]); // prettier-ignore
  assert.equal(reached(scores, [0.25, 0.3]), [[1, 1], [1, 0]]); // prettier-ignore
  assert.equal(mostFrequent(rows).usual, [0, 1]);
});

/** Logits and float64 losses of single rows. */
const logits = [
  [2, -1],
  [0.5, 0.25],
  [-3, 1],
];
const logSoftmax = (row: readonly number[], j: number): number =>
  row[j]! - Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));

test('weights are those of scikit-learn, losses those of float64', async () => {
  assert.equal([...balancedClassWeights([0, 0, 0, 1], 2)], [Math.fround(4 / 6), 2]);
  assert.equal([...balancedClassWeights([0, 0], 3)], [Math.fround(1 / 3), 1, 1]);
  assert.equal([...positiveWeights([[1, 0], [0, 0], [0, 1], [0, 1]])], [3, 1]); // prettier-ignore

  const classes = [0, 0, 1];
  const own = { focalGamma: 1.5, focalAlpha: 0.75 };
  const loss = async (imbalance: 'weights' | 'focal', labels: readonly Target[]): Promise<number> => {
    const target = tensor(typeof labels[0] === 'number' ? Int32Array.from(classes) : Float32Array.from(labels.flat()), {
      shape: typeof labels[0] === 'number' ? [3] : [3, 2],
    });
    return lossOf(labels, 2, { imbalance, ...own })!(tensor(logits), target).item();
  };
  const close = (value: number, expected: number): void => assert.ok(Math.abs(value - expected) < 1e-6, `${value}`);
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const nll = classes.map((label, i) => -logSoftmax(logits[i]!, label));
  const weights = classes.map((label) => [3 / 4, 3 / 2][label]!);
  close(await loss('weights', classes), sum(nll.map((x, i) => weights[i]! * x)) / sum(weights));
  const focused = nll.map((x, i) => [0.25, 0.75][classes[i]!]! * (1 - Math.exp(-x)) ** 1.5 * x);
  close(await loss('focal', classes), sum(focused) / 3);
  const cells = rows.flatMap((row, i) => row.map((y, j) => ({ y, j, x: logits[i]![j]! })));
  const log = (x: number): number => -Math.log1p(Math.exp(-x)); // log sigmoid
  const binary = cells.map(({ y, j, x }) => -(y === 1 ? [2, 0.5][j]! * log(x) : log(-x)));
  close(await loss('weights', rows), sum(binary) / 6);
  const binaryFocal = cells.map(({ y, x }) => {
    const p = y === 1 ? log(x) : log(-x);
    return -(y === 1 ? 0.75 : 0.25) * (1 - Math.exp(p)) ** 1.5 * p;
  });
  close(await loss('focal', rows), sum(binaryFocal) / 6);
});

test('what does not go together is refused', () => {
  const own = { focalGamma: 2 };
  assert.throws(() => checkImbalance('regression', 1, { imbalance: 'focal', ...own }), /scores have no classes/);
  assert.throws(() => checkImbalance('multi-label', 3, { imbalance: 'resample', ...own }), /use weights or focal/);
  const alpha = { ...own, focalAlpha: 0.25 };
  assert.throws(() => checkImbalance('classification', 3, { imbalance: 'focal', ...alpha }), /of two classes/);
  assert.throws(() => checkImbalance('classification', 2, { imbalance: 'weights', ...alpha }), /--imbalance focal/);
});

test('drawn epochs have as many batches, and rare examples often', () => {
  const { batchesPerEpoch, indices } = endlessBatches([5, 5, 5, 5], { batchSize: 2, seed: 1, sampler: (i) => i % 2 });
  assert.is(batchesPerEpoch, 2);
  const drawn = [0, 1].flatMap((i) => [...indices(i)]).sort();
  assert.equal(drawn, [0, 0, 1, 1]);
});

test('the comparison thins what it trains on and weighs what it tests on', () => {
  const part = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ text: `${i}`, label: Number(i % 4 === 0) }));
  const data: ClassifierData = {
    kind: 'classification',
    labels: ['other', 'rare'],
    train: part(160),
    validation: part(20),
    test: part(20),
    origin: [],
    samples: [],
  };
  const options = { positive: 'rare', ratio: 20, negatives: 60, seed: 3 };
  const { train, test: tested, testWeights } = makeRare(data, options);
  assert.equal([train.length, train.filter(({ label }) => label === 1).length], [63, 3]);
  assert.equal(makeRare(data, options).train, train);
  const negatives = tested.filter(({ label }) => label === 0).length;
  const weight = tested.reduce((sum, { label }, i) => sum + label * testWeights[i]!, 0);
  assert.ok(Math.abs(weight - negatives / 20) < 1e-9);
  assert.throws(() => makeRare(data, { ...options, positive: 'rear' }), /no class "rear"/);
});

const tokenizer = BertTokenizer.default();
const options: FineTuneOptions = {
  epochs: 2,
  batchSize: 8,
  learningRate: 0.01,
  weightDecay: 0,
  schedule: 'constant',
  warmupRatio: 0,
  maxGradNorm: 1,
  seed: 1,
  saveEvery: 0,
};

/** A tiny model of one kind. */
function tiny(problemType: BertConfig['problemType'], labels: readonly string[]): BertForSequenceClassification {
  manualSeed(2);
  const sizes = { hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 8 };
  const config = { vocabSize: tokenizer.vocabSize, maxPositionEmbeddings: 16, problemType, labels };
  return new BertForSequenceClassification(BertConfig.create({ ...sizes, ...config }));
}

const words = ['red', 'blue', 'green', 'black', 'white', 'small', 'large', 'old'];
const texts = (label: (i: number) => Target) =>
  tokenise(
    tokenizer,
    words.flatMap((word) => [0, 1].map((i) => ({ text: `${word} ${['cat', 'dog'][i]!}`, label: label(i) }))),
    8,
  );

test('each way learns, ends, and goes on to the same bits', async () => {
  for (const imbalance of imbalances.filter((name) => name !== 'none')) {
    const run = (output: string, callbacks: readonly Callback[], resume = false) =>
      fineTune({
        model: tiny('single_label_classification', ['cat', 'dog']),
        tokenizer,
        train: texts((i) => i),
        validation: [],
        options: { ...options, saveEvery: 3 },
        balance: { imbalance, focalGamma: 2 },
        output,
        resume,
        callbacks,
        quiet: true,
      });
    const [whole, stopped] = [join(folder, imbalance), join(folder, `${imbalance}-stopped`)];
    await run(whole, []);
    const stop = (): void => {
      throw new Error('killed');
    };
    assert.is(await failure(run(stopped, [{ onSave: stop }])), 'killed');
    await run(stopped, [], true);
    assert.is(lossesIn(whole).length, 4);
    assert.equal(lossesIn(stopped), lossesIn(whole));
    assert.equal(readFileSync(join(stopped, 'model.safetensors')), readFileSync(join(whole, 'model.safetensors')));
  }
});

test('several labels: thresholds are saved, and the pipeline shows sigmoids; a score is a number', async () => {
  const output = join(folder, 'labels');
  const model = tiny('multi_label_classification', ['cat', 'dog', 'any']);
  const examples = texts((i) => [1 - i, i, 1]);
  await fineTune({
    model,
    tokenizer,
    train: examples,
    validation: examples,
    options,
    output,
    tuneThresholds: true,
    quiet: true,
  });
  const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as { thresholds: number[] };
  assert.is(config.thresholds.length, 3);
  assert.equal(config.thresholds, model.config.extra['thresholds']);
  const classify = await pipeline('text-classification', output);
  const all = await classify('red cat', { topK: null });
  assert.is(all.length, 3);
  assert.ok(all.every(({ score }) => score > 0 && score < 1));

  const scores = join(folder, 'scores');
  const regressor = tiny('regression', ['score']);
  const pairs = tokenise(
    tokenizer,
    words.map((word, i) => ({ text: word, textPair: `${word} cat`, label: [i / 2] })),
    8,
  );
  const { evaluations } = await fineTune({
    model: regressor,
    tokenizer,
    train: pairs,
    validation: pairs,
    options,
    output: scores,
    quiet: true,
  });
  assert.ok(evaluations.at(-1)!.evaluation['loss']! < evaluations[0]!.evaluation['loss']!);
  const score = await pipeline('text-classification', scores);
  const [one] = await score({ text: 'red', textPair: 'red cat' });
  assert.is(one!.label, 'score');
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
