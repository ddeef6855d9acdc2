// Classifiers whose texts leave after the first layers that are sure of them.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { noGrad, tensor } from '../../autograd/index.ts';
import {
  BertConfig,
  BertForSequenceClassification,
  entropyOf,
  exitEarly,
  hasExits,
  loadModel,
} from '../../models/index.ts';
import type { BertSettings } from '../../models/index.ts';
import { classifyTexts, loadTextClassifier } from '../../models/pipelines/text-classification.ts';
import { withExtra } from '../../train/classifier/model.ts';
import { scoreExamples } from '../../train/classifier/predict.ts';
import { exitLogits, exitObjective, exitsAt, largestEntropy, withExits } from '../../train/compress/early-exit.ts';
import { keepLayers } from '../../train/compress/smaller.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import { i32, seededClassifier, values } from '../support/small-bert.ts';

const test = suite('early exit');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-early-exit-'));

const settings = {
  ...{ vocabSize: 30, hiddenSize: 16, numHiddenLayers: 4, numAttentionHeads: 2, intermediateSize: 24 },
  ...{ maxPositionEmbeddings: 12, initializerRange: 0.6 },
};

const bert = (more: BertSettings = {}): BertForSequenceClassification => seededClassifier({ ...settings, ...more });

/** Rows of several lengths. */
const texts = Array.from({ length: 21 }, (_, row) => {
  const random = new Random(row);
  return Array.from({ length: 2 + (row % 9) }, () => 1 + random.int(29));
});
const inputs = {
  inputIds: i32(texts.map((row) => [...row, ...new Array<number>(10 - row.length).fill(0)])),
  attentionMask: i32(texts.map((row) => Array.from({ length: 10 }, (_, i) => Number(i < row.length)))),
};

/** What each off-ramp says, by the definition: of its layer's first token, by its own head. */
async function saidBy(model: BertForSequenceClassification): Promise<number[][][]> {
  const { logits, hiddenStates } = noGrad(() => model.forward({ ...inputs, outputHiddenStates: true }));
  const exits = model.bert.encoder.highway!.map((exit, at) => noGrad(() => exit.forward(hiddenStates![at + 1]!)));
  const all = (await Promise.all([...exits, logits].map((x) => x.tolist()))) as number[][][];
  return texts.map((_, row) => all.map((rows) => rows[row]!));
}

test('entropy is that of the softmax: 0 where one is sure, log L where nothing is known', () => {
  assert.ok(Math.abs(entropyOf([2, 2, 2]) - Math.log(3)) < 1e-12);
  assert.ok(entropyOf([1000, 0]) < 1e-12 && entropyOf([-1000, 1000]) >= 0);
  // As DeeBERT computes it: log A - B / A with A = sum e^x, B = sum x e^x.
  const x = [0.3, -1.2, 2];
  const a = x.reduce((sum, v) => sum + Math.exp(v), 0);
  assert.ok(Math.abs(entropyOf(x) - (Math.log(a) - x.reduce((sum, v) => sum + v * Math.exp(v), 0) / a)) < 1e-12);
});

test('each text leaves at the first off-ramp that is sure, with what it says; the rest go on together', async () => {
  const whole = bert();
  const model = withExits(whole);
  assert.ok(hasExits(model) && !hasExits(whole));
  assert.is(model.bert.encoder.highway!.length, 3);
  const said = await saidBy(model);
  assert.ok(
    largestDifference(said.map((exits) => exits[3]!).flat(), await values(whole.forward(inputs).logits)) < 1e-6,
  );
  const sorted = said.flatMap((exits) => exits.slice(0, 3).map(entropyOf)).sort((a, b) => a - b);
  const kinds = new Set<number>();
  for (const entropy of [0, sorted[5]!, sorted[20]!, sorted[45]!, 1e9]) {
    const wanted = said.map((exits) => exits.slice(0, 3).findIndex((one) => entropyOf(one) < entropy));
    const found = await exitEarly(model, inputs, entropy);
    const layers = wanted.map((at) => (at < 0 ? 4 : at + 1));
    assert.equal(found.layers, layers);
    layers.forEach((count) => kinds.add(count));
    const logits = said.map((exits, row) => exits[layers[row]! - 1]!);
    assert.ok(largestDifference(found.logits.flat(), logits.flat()) < 1e-5);
    assert.equal(exitsAt(said, entropy), { layers, logits });
  }
  assert.equal([...kinds].sort(), [1, 2, 3, 4], 'all ways out were taken');
  // Without a mask: of whole rows.
  const { logits } = await exitEarly(model, { inputIds: inputs.inputIds }, 0);
  assert.ok(largestDifference(logits.flat(), await values(whole.forward({ inputIds: inputs.inputIds }).logits)) < 1e-5);
  await rejects(exitEarly(whole, inputs), /^exitEarly: the BertFor\w+ has no off-ramps; .*$/);
});

test('off-ramps learn alone, or all weights with them', async () => {
  const labels = tensor(Int32Array.from(texts, (_, i) => i % 2));
  for (const joint of [false, true]) {
    const model = withExits(bert());
    const objective = exitObjective(model, { joint });
    assert.equal(objective.parts, ['exit 1', 'exit 2', 'exit 3', ...(joint ? ['labels'] : [])]);
    const losses = objective.losses(inputs, labels, {});
    const said = await saidBy(model);
    for (const [at, name] of objective.parts.entries()) {
      const each = said.map((exits, row) => {
        const own = exits[at]!;
        return Math.log(own.reduce((sum, x) => sum + Math.exp(x), 0)) - own[row % 2]!;
      });
      const mean = each.reduce((a, b) => a + b) / each.length;
      assert.ok(Math.abs((await losses[name]!.item()) - mean) < 1e-5, name);
    }
    Object.values(losses)
      .reduce((a, b) => a.add(b))
      .backward();
    for (const [name, parameter] of model.namedParameters())
      assert.is(parameter.grad !== undefined, joint || name.includes('.highway.'), name);
  }
});

test('saved and loaded with its off-ramps, which pipelines take; misfits are refused', async () => {
  const model = withExits(bert(), 0.4);
  const path = join(folder, 'saved');
  await model.savePretrained(path);
  const loaded = (await loadModel(path)) as BertForSequenceClassification;
  const [a, b] = [await exitEarly(model, inputs), await exitEarly(loaded, inputs)];
  assert.equal(b, a);
  assert.ok(new Set(a.layers).size > 1, a.layers.join());
  const examples = texts.map((row) => ({
    inputIds: Int32Array.from(row),
    tokenTypeIds: new Int32Array(row.length),
    label: 0,
  }));
  const { scores } = await scoreExamples(loaded, examples, { batchSize: 8, padTokenId: 0 });
  const wanted = a.logits.map(([x, y]) => 1 / (1 + Math.exp(y! - x!)));
  assert.ok(
    largestDifference(
      scores.map(([p]) => p!),
      wanted,
    ) < 1e-5,
  );
  const json = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.is(json['early_exit_entropy'], 0.4);
  for (const wrong of [-1, 'all', null])
    throwsOneLine(
      () => BertForSequenceClassification.fromConfig(BertConfig.fromJson({ ...json, early_exit_entropy: wrong }, 'c')),
      /^early_exit_entropy of the config is .*; give a number from 0 up$/,
    );
  for (const [made, line] of [
    [() => withExits(model), /^withExits: the model has off-ramps already; .*$/],
    [() => withExits(bert({ problemType: 'regression', numLabels: 1 })), /^withExits: how sure .*$/],
    [() => withExits(bert({ problemType: 'multi_label_classification' })), /^withExits: how sure .*$/],
    [() => withExits(bert({ numHiddenLayers: 1 })), /^withExits: the model has one layer, .*$/],
    [() => keepLayers(model, [0]), /^keepLayers: the model has off-ramps behind its layers; .*$/],
    [() => exitObjective(bert(), { joint: true }), /^exitObjective: the model has no off-ramps; see withExits$/],
  ] as const)
    throwsOneLine(made, line);
  const other = await loadModel(goldenFile('tiny-distilbert'));
  throwsOneLine(() => withExits(other as never), /^withExits: a \w+ has no off-ramps here; give a BertForSeq.*$/);
});

test('the largest entropy that costs no more than the tolerance', () => {
  // The off-ramp is right about the first two, and surer of the first.
  const said = [
    [
      [3, 0],
      [1, 0],
    ],
    [
      [2, 0],
      [1, 0],
    ],
    [
      [1, 0],
      [0, 1],
    ],
    [
      [0, 0.6],
      [1, 0],
    ],
  ];
  const truth = [0, 0, 1, 0];
  const chosen = largestEntropy(said, truth, 0);
  assert.equal(exitsAt(said, chosen).layers, [1, 1, 2, 2]);
  assert.equal(exitsAt(said, largestEntropy(said, truth, 0.25)).layers, [1, 1, 1, 2]);
  assert.equal(exitsAt(said, largestEntropy(said, truth, 1)).layers, [1, 1, 1, 1]);
});

test('the script: taught, measured, saved; killed and resumed to the bit; refusals', async () => {
  const data = join(folder, 'reviews.csv');
  writeFileSync(data, reviews);
  const base = join(folder, 'base');
  const script = (name: string, args: readonly string[], options = {}) =>
    runScript([`train/${name}.ts`, '--data', data, ...args], options);
  const two = smallClassifier.map((word, i, all) => (all[i - 1] === '--layers' ? '3' : word));
  const trained = await script('finetune-classifier', ['--output', base, '--epochs', '4', ...two]);
  assert.is(trained.code, 0, trained.stderr);
  const training = ['--max-length', '12', '--batch-size', '8', '--learning-rate', '0.01', '--epochs', '2'];
  const output = join(folder, 'exits');
  const args = ['--model', base, ...training];
  const done = await script('early-exit', [...args, '--output', output]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /\nentropy +layers run +left at 1 +left at 2 +left at 3 +faster +accuracy +f1 +loss\n/);
  assert.match(done.stdout, /\n {2}before +100% +0% +0% +100% +1\.00x /);
  assert.match(done.stdout, /\n {2}0\.000 +100% /);
  assert.match(done.stdout, /\n\* \d\.\d{3} +\d+% /);
  const classifier = await loadTextClassifier(output);
  assert.ok(hasExits(classifier.model));
  withExtra(classifier.model, { early_exit_entropy: 1e9 });
  const before = await loadTextClassifier(base);
  const score = async (of: typeof before) => (await classifyTexts(of, ['good good film', 'a bad one'])).flat();
  assert.equal((await score(classifier)).length, 2);
  // The classifier itself did not change.
  withExtra(classifier.model, { early_exit_entropy: 0 });
  const [one, same] = [await score(before), await score(classifier)];
  one.forEach(({ label, score: value }, i) => {
    assert.is(same[i]!.label, label);
    assert.ok(Math.abs(same[i]!.score - value) < 1e-5);
  });
  const rows = [{ inputIds: Int32Array.of(2, 5, 3), tokenTypeIds: new Int32Array(3), label: 0 }];
  const said = await exitLogits(classifier as never, rows, 4);
  assert.equal([said.length, said[0]!.length, said[0]![0]!.length], [1, 3, 2]);

  const killed = join(folder, 'killed');
  const again = [...args, '--joint', '--entropy', '0.3', '--save-every', '3', '--output'];
  const stopped = await script('early-exit', [...again, killed], { killAt: join(killed, 'checkpoint-6') });
  assert.is(stopped.signal, 'SIGKILL', stopped.stderr);
  const joint = await script('early-exit', [...again, join(folder, 'joint')]);
  assert.is(joint.code, 0, joint.stderr);
  await resumesAs(join(folder, 'joint'), killed, () => script('early-exit', [...again, killed, '--resume']));
  refused(await script('early-exit', []), 2, /^early-exit: needs a trained classifier: --model FOLDER; .*$/);
  refused(await script('early-exit', ['--model', output]), 1, /^withExits: the model has off-ramps already; .*$/);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
