// Models whose feed-forward parts compute in groups.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, manualSeed, mul, noGrad, randn, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  BertForSequenceClassification,
  changedLayers,
  GroupedLinear,
  Linear,
  loadModel,
  withChangedLayers,
} from '../../models/index.ts';
import type { BertConfig } from '../../models/index.ts';
import { Random } from '../../common/random.ts';
import { InputProducts } from '../../train/compress/gptq.ts';
import { grouped } from '../../train/compress/grouped.ts';
import { keepLayers } from '../../train/compress/smaller.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import { i32, seededClassifier, values } from '../support/small-bert.ts';

const test = suite('grouped layers');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-grouped-'));

const settings = {
  ...{ vocabSize: 30, hiddenSize: 8, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 24 },
  ...{ maxPositionEmbeddings: 14, initializerRange: 0.6 },
};

const bert = (): BertForSequenceClassification => seededClassifier(settings);

const random = new Random(3);
const inputs = { inputIds: i32(Array.from({ length: 16 }, () => Array.from({ length: 9 }, () => random.int(30)))) };
const logitsOf = (model: BertForSequenceClassification): Promise<number[]> =>
  values(noGrad(() => model.forward(inputs).logits));

/** 1 where an output [out] reads an input [into]. */
const reads = (out: number, into: number, groups: number): Float32Array =>
  Float32Array.from({ length: out * into }, (_, at) =>
    Number(Math.floor((Math.floor(at / into) * groups) / out) === (at % into) % groups),
  );

test('a layer in groups is a dense one with zeros, gradients too', async () => {
  manualSeed(0);
  for (const [into, out, groups, shape] of [
    [6, 4, 2, [2, 3]],
    [8, 12, 4, [5]],
    [3, 3, 3, []],
    [4, 6, 1, [1, 1, 2]],
  ] as const) {
    const layer = new GroupedLinear(into, out, groups);
    assert.is(layer.numParameters(), (out * into) / groups + out);
    const dense = new Linear(into, out);
    const own = await values(layer.weight);
    const mask = reads(out, into, groups);
    let at = 0;
    const spread = mask.map((one) => (one === 1 ? own[at++]! : 0));
    assert.is(at, own.length);
    noGrad(() => {
      assign(dense.weight, tensor(spread, { shape: [out, into] }));
      assign(dense.bias!, layer.bias!);
    });
    const x = randn(...shape, into);
    const [a, b] = [layer.forward(x), dense.forward(x)];
    assert.equal(a.shape, [...shape, out]);
    assert.ok(largestDifference(await values(a), await values(b)) < 1e-5);
    mul(a, a).sum().backward();
    mul(b, b).sum().backward();
    const wide = await values(dense.weight.grad!);
    const wanted = wide.filter((_, i) => mask[i] === 1);
    assert.ok(largestDifference(await values(layer.weight.grad!), wanted) < 1e-4);
    assert.ok(largestDifference(await values(layer.bias!.grad!), await values(dense.bias!.grad!)) < 1e-4);
  }
  for (const [into, out, groups] of [
    [6, 4, 3],
    [6, 4, 0],
    [6, 4, 1.5],
  ] as const)
    throwsOneLine(
      () => new GroupedLinear(into, out, groups),
      /^GroupedLinear: \S+ groups do not divide 6 inputs and 4 outputs$/,
    );
});

test('a model that computes in groups already, its units in any order, is found to the rounding', async () => {
  const model = bert();
  for (const [at, { intermediate, output }] of model.bert.encoder.layer.entries()) {
    const order = new Random(at).permutation(24);
    const into = reads(24, 8, 2);
    const from = reads(8, 24, 2);
    const [mixed, back] = [new Float32Array(24 * 8), new Float32Array(8 * 24)];
    order.forEach((unit, place) => {
      for (let i = 0; i < 8; i++) {
        mixed[unit * 8 + i] = into[place * 8 + i]!;
        back[i * 24 + unit] = from[i * 24 + place]!;
      }
    });
    noGrad(() => {
      assign(intermediate.dense.weight, mul(intermediate.dense.weight, tensor(mixed, { shape: [24, 8] })));
      assign(output.dense.weight, mul(output.dense.weight, tensor(back, { shape: [8, 24] })));
    });
  }
  const small = await grouped(model, { groups: 2 });
  assert.is(model.numParameters() - small.numParameters(), 2 * 2 * 8 * 12);
  assert.ok(largestDifference(await logitsOf(small), await logitsOf(model)) < 1e-5);
});

test('by least squares what a layer computes is nearest, and nearer than without', async () => {
  const model = bert();
  const products = new InputProducts();
  await products.add(model, () => void model.forward(inputs));
  const [plain, solved] = [await grouped(model, { groups: 2 }), await grouped(model, { groups: 2, products })];
  // The first layer reads what it read before.
  const read = async (of: BertForSequenceClassification): Promise<[x: Tensor, y: Tensor]> => {
    let found: [Tensor, Tensor] | undefined;
    const { dense } = of.bert.encoder.layer[0]!.intermediate;
    const handle = dense.registerForwardHook((_, [x], y) => {
      found = [x as Tensor, y as Tensor];
    });
    noGrad(() => of.forward(inputs));
    handle.remove();
    return Promise.resolve(found!);
  };
  const [x] = await read(model);
  const [, a] = await read(plain);
  const [, b] = await read(solved);
  // The units are in one order in both, which rows of the biases tell.
  const biases = async (of: BertForSequenceClassification): Promise<number[]> =>
    values((of.bert.encoder.layer[0]!.intermediate.dense as unknown as GroupedLinear).bias!);
  assert.equal(await biases(plain), await biases(solved));
  const whole = model.bert.encoder.layer[0]!.intermediate.dense;
  const stays = await values((plain.bert.encoder.layer[0]!.intermediate.dense as unknown as GroupedLinear).weight);
  const weight = await values(whole.weight);
  // A row of what stays is part of one row of the whole.
  const order = Array.from({ length: 24 }, (_, row) => {
    const group = Math.floor(row / 12);
    const unit = Array.from({ length: 24 }, (_, i) => i).find((i) =>
      [0, 1, 2, 3].every((k) => weight[i * 8 + k * 2 + group] === stays[row * 4 + k]),
    );
    assert.not.equal(unit, undefined);
    return unit!;
  });
  assert.equal(
    [...order].sort((p, q) => p - q),
    Array.from({ length: 24 }, (_, i) => i),
  );
  const wanted = (await values(noGrad(() => whole.forward(x)))) as readonly number[];
  const far = async (y: Tensor): Promise<number> => {
    const own = await values(y);
    return own.reduce((sum, v, i) => sum + (v - wanted[i - (i % 24) + order[i % 24]!]!) ** 2, 0);
  };
  const [without, withIt] = [await far(a), await far(b)];
  assert.ok(withIt < 0.9 * without, `${withIt} of ${without}`);
  // Nearest but for the damping: along the gradient nothing is won.
  const layer = solved.bert.encoder.layer[0]!.intermediate.dense as unknown as GroupedLinear;
  const target = tensor(
    Float32Array.from(wanted, (_, i) => wanted[i - (i % 24) + order[i % 24]!]!),
    { shape: [...b.shape] },
  );
  const error = layer.forward(x).sub(target);
  mul(error, error).sum().backward();
  const trace = (await values(x)).reduce((sum, v) => sum + v * v, 0);
  noGrad(() => assign(layer.weight, layer.weight.sub(layer.weight.grad!.mul(0.25 / trace))));
  const [, moved] = await read(solved);
  assert.ok((await far(moved)) > 0.98 * withIt);
});

test('it learns; saved, loaded, in the config; misfits are refused', async () => {
  const model = await grouped(bert(), { groups: 4 });
  const labels = tensor(Int32Array.from({ length: 16 }, (_, i) => i % 2));
  model.forward({ ...inputs, labels }).loss!.backward();
  for (const [name, { grad }] of model.namedParameters())
    if (!name.includes('position')) assert.ok((await values(grad!)).some((g) => g !== 0) || name.includes('key.bias'));
  const path = join(folder, 'saved');
  await model.savePretrained(path);
  const json = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal((json['grouped'] as Record<string, number>)['encoder.layer.1.output.dense'], 4);
  const loaded = (await loadModel(path)) as BertForSequenceClassification;
  assert.is(Object.keys(changedLayers(loaded.config, 'grouped')).length, 4);
  assert.equal(await logitsOf(loaded), await logitsOf(model));
  // Decoders with gates, too.
  const llama = (await loadModel(goldenFile('tiny-llama'))) as Parameters<typeof grouped>[0];
  assert.ok((await grouped(llama, { groups: 2 })).numParameters() < llama.numParameters());

  for (const groups of [0, 1, 2.5, NaN])
    await rejects(grouped(bert(), { groups }), /^grouped: \S+ groups make no sense; give a whole number from 2 up$/);
  await rejects(grouped(bert(), { groups: 3 }), /^grouped: 3 groups do not divide \S+, whose weight is \[24, 8\]$/);
  await rejects(grouped(model, { groups: 2 }), /^grouped: layers of the model are changed already \(grouped\); .*$/);
  throwsOneLine(() => keepLayers(model, [0]), /^keepLayers: layers of the model are changed already \(grouped\); .*$/);
  await rejects(
    grouped((await loadModel(goldenFile('tiny-gpt2'))) as typeof llama, { groups: 2 }),
    /^grouped: \w+ holds its weights the other way round; give another model$/,
  );
  const wrong = withChangedLayers(bert().config, 'grouped', { 'encoder.layer.0.output.dense': 5 });
  throwsOneLine(
    () => BertForSequenceClassification.fromConfig(wrong),
    /^grouped of the config: .* has 5; of \[8, 24\] it is a whole number from 2 up that divides both$/,
  );
});

test('the script: groups learn the answers of the whole; killed and resumed to the bit; refusals', async () => {
  const data = join(folder, 'reviews.csv');
  writeFileSync(data, reviews);
  const base = join(folder, 'base');
  const script = (name: string, args: readonly string[], options = {}) =>
    runScript([`train/${name}.ts`, '--data', data, ...args], options);
  const trained = await script('finetune-classifier', ['--output', base, '--epochs', '4', ...smallClassifier]);
  assert.is(trained.code, 0, trained.stderr);
  const training = ['--max-length', '12', '--batch-size', '8', '--learning-rate', '0.01', '--epochs', '1'];
  const args = ['--model', base, '--groups', '2', ...training, '--save-every', '3', '--output'];
  const output = join(folder, 'groups');
  const done = await script('prune', [...args, output]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /\nsmaller +0\.\d+ +1\.\d+x .*\nafter +0\.\d+ /);
  assert.ok(Object.keys(changedLayers((await loadModel(output)).config as BertConfig, 'grouped')).length > 0);
  const killed = join(folder, 'killed');
  const stopped = await script('prune', [...args, killed], { killAt: join(killed, 'checkpoint-3') });
  assert.is(stopped.signal, 'SIGKILL', stopped.stderr);
  await resumesAs(output, killed, () => script('prune', [...args, killed, '--resume']));
  refused(
    await script('prune', ['--model', base, '--groups', '2', '--score', 'movement', '--sparsity', '0.5']),
    2,
    /^prune: --groups and --linear-attention are learnt otherwise than --score movement; run one after the other$/,
  );
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
