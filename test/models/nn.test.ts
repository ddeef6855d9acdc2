// Layers against plain loops in float64, written from the papers' formulas.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad, normal, ones, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  Activation,
  Dropout,
  Embedding,
  FeedForward,
  LayerNorm,
  Linear,
  ModuleList,
  MultiheadAttention,
  RMSNorm,
  Sequential,
  TransformerEncoder,
  TransformerEncoderLayer,
} from '../../models/index.ts';
import type { ActivationName, Module } from '../../models/index.ts';

const test = suite('nn');
type Matrix = number[][];

const matrix = async (x: Tensor): Promise<Matrix> => (await x.tolist()) as Matrix;
const vector = async (x: Tensor): Promise<number[]> => Array.from(await x.data());

function close(actual: Matrix, expected: Matrix, tolerance: number, what: string): void {
  assert.is(actual.length, expected.length, what);
  actual.forEach((row, i) => {
    assert.is(row.length, expected[i]!.length, what);
    row.forEach((value, j) =>
      assert.ok(
        Math.abs(value - expected[i]![j]!) <= tolerance,
        `${what}[${i}][${j}]: ${value}, expected ${expected[i]![j]}`,
      ),
    );
  });
}

const linear = (x: Matrix, weight: Matrix, bias: number[]): Matrix =>
  x.map((row) => weight.map((w, o) => w.reduce((sum, wi, i) => sum + wi * row[i]!, bias[o]!)));

const plus = (x: Matrix, y: Matrix): Matrix => x.map((row, i) => row.map((value, j) => value + y[i]![j]!));

function layerNorm(x: Matrix, weight: number[], bias: number[], eps: number): Matrix {
  return x.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value, i) => ((value - mean) / Math.sqrt(variance + eps)) * weight[i]! + bias[i]!);
  });
}

/** Attention of one batch element, head by head; `allowed` tells whether query i may see key j. */
function attention(q: Matrix, k: Matrix, v: Matrix, heads: number, allowed: (i: number, j: number) => boolean): Matrix {
  const size = q[0]!.length / heads;
  return q.map((query, i) =>
    query.map((_, column) => {
      const from = Math.floor(column / size) * size;
      const scores = k.map((key, j) => {
        let dot = 0;
        for (let d = from; d < from + size; d++) dot += query[d]! * key[d]!;
        return allowed(i, j) ? dot / Math.sqrt(size) : -Infinity;
      });
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return weights.reduce((sum, weight, j) => sum + (weight / total) * v[j]![column]!, 0);
    }),
  );
}

/** Gives every parameter random values: ones and zeros would hide a weight left out. */
function randomise<M extends Module>(module: M): M {
  noGrad(() => module.parameters().forEach((p) => p.assign(normal(p.shape, { std: 0.5 }))));
  return module;
}

async function referenceAttention(
  layer: MultiheadAttention,
  q: Matrix,
  k: Matrix,
  v: Matrix,
  allowed: (i: number, j: number) => boolean,
): Promise<Matrix> {
  const [weight, bias] = [await matrix(layer.inProjWeight), await vector(layer.inProjBias!)];
  const dim = weight[0]!.length;
  const part = (x: Matrix, i: number): Matrix =>
    linear(x, weight.slice(i * dim, (i + 1) * dim), bias.slice(i * dim, (i + 1) * dim));
  const mixed = attention(part(q, 0), part(k, 1), part(v, 2), layer.numHeads, allowed);
  return linear(mixed, await matrix(layer.outProj.weight), await vector(layer.outProj.bias!));
}

test('Linear, LayerNorm and RMSNorm', async () => {
  manualSeed(1);
  const x = normal([3, 5]);
  const values = await matrix(x);
  const layer = randomise(new Linear(5, 2));
  close(
    await matrix(layer.forward(x)),
    linear(values, await matrix(layer.weight), await vector(layer.bias!)),
    1e-5,
    'Linear',
  );
  assert.is(new Linear(5, 2, { bias: false }).bias, undefined);
  const norm = randomise(new LayerNorm(5, { eps: 1e-3 }));
  close(
    await matrix(norm.forward(x)),
    layerNorm(values, await vector(norm.weight), await vector(norm.bias), 1e-3),
    1e-5,
    'LayerNorm',
  );
  const rms = randomise(new RMSNorm(5, { eps: 1e-3 }));
  const weight = await vector(rms.weight);
  const expected = values.map((row) => {
    const scale = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / 5 + 1e-3);
    return row.map((value, i) => (value / scale) * weight[i]!);
  });
  close(await matrix(rms.forward(x)), expected, 1e-5, 'RMSNorm');
});

test('Embedding: rows by index; the padding row starts at 0 and learns nothing', async () => {
  const layer = new Embedding(4, 3, { paddingIdx: 1 });
  const index = tensor(
    [
      [0, 1],
      [3, 1],
    ],
    { dtype: 'i32' },
  );
  const out = layer.forward(index);
  assert.equal(out.shape, [2, 2, 3]);
  const table = await matrix(layer.weight);
  assert.equal(table[1], [0, 0, 0]);
  assert.equal(await out.tolist(), [
    [table[0], table[1]],
    [table[3], table[1]],
  ]);
  out.sum().backward();
  assert.equal(await layer.weight.grad!.tolist(), [
    [1, 1, 1],
    [0, 0, 0],
    [0, 0, 0],
    [1, 1, 1],
  ]);
  assert.throws(() => new Embedding(4, 3, { paddingIdx: 4 }), /paddingIdx 4 is no row of a table of 4; use 0 to 3/);
  assert.throws(
    () => layer.forward(tensor([4], { dtype: 'i32' })),
    /index 4 is out of range for 4 entries.*\(in Embedding\)$/,
  );
});

test('Dropout: off in eval, unbiased in training, the same for one seed', async () => {
  const layer = new Dropout(0.25);
  const x = ones([100, 100]);
  assert.is(layer.eval().forward(x), x);
  layer.train();
  manualSeed(5);
  const first = await vector(layer.forward(x));
  assert.ok(first.every((value) => value === 0 || Math.abs(value - 4 / 3) < 1e-6));
  const kept = first.filter((value) => value !== 0).length / first.length;
  assert.ok(Math.abs(kept - 0.75) < 0.02, `kept ${kept}`); // four deviations are 0.017
  manualSeed(5);
  assert.equal(await vector(layer.forward(x)), first);
  assert.throws(() => new Dropout(1.5), /must lie in \[0, 1\], got 1\.5/);
});

test('activations by their Hugging Face names', async () => {
  const points = [-3, -0.5, 0, 0.7, 2];
  const erf = (x: number): number => {
    // The series converges everywhere and is exact enough for |x| < 3.
    let [term, sum] = [x, x];
    for (let n = 1; n < 60; n++) sum += (term *= (-x * x) / n) / (2 * n + 1);
    return (2 / Math.sqrt(Math.PI)) * sum;
  };
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
  const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  const formulas: Record<ActivationName, (x: number) => number> = {
    gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
    gelu_fast: geluTanh,
    gelu_new: geluTanh,
    gelu_pytorch_tanh: geluTanh,
    quick_gelu: (x) => x * sigmoid(1.702 * x),
    relu: (x) => Math.max(0, x),
    sigmoid,
    silu: (x) => x * sigmoid(x),
    swish: (x) => x * sigmoid(x),
    tanh: Math.tanh,
  };
  for (const [name, formula] of Object.entries(formulas)) {
    const layer = new Activation(name as ActivationName);
    close([await vector(layer.forward(tensor(points)))], [points.map(formula)], 2e-6, name);
  }
  assert.throws(() => new Activation('nope' as ActivationName), /"nope" is unknown; use gelu, /);
});

test('Sequential and ModuleList', async () => {
  const layers = [new Linear(2, 3), new Activation('relu'), new Linear(3, 1)] as const;
  const net = new Sequential(...layers);
  const x = normal([4, 2]);
  assert.equal([...net.stateDict().keys()], ['0.weight', '0.bias', '2.weight', '2.bias']);
  assert.equal(await matrix(net.forward(x)), await matrix(layers[2].forward(layers[1].forward(layers[0].forward(x)))));
  assert.is(net.length, 3);
  assert.is(net.at(-1), layers[2]);
  assert.equal([...net.append(new Dropout(0))].length, 4);
  assert.throws(() => net.at(4), /index 4 is out of range for 4 modules/);
  assert.throws(() => new ModuleList([new Linear(1, 1), 3 as unknown as Linear]), /item 1 is no Module/);
  assert.throws(() => new Sequential(new Linear(2, 3), new Linear(4, 1)).forward(x), /\(in Sequential: 1\)$/);
});

test('FeedForward', async () => {
  manualSeed(2);
  const layer = randomise(new FeedForward(4, 6, { activation: 'relu' }));
  const x = normal([3, 4]);
  const hidden = linear(await matrix(x), await matrix(layer.linear1.weight), await vector(layer.linear1.bias!));
  const active = hidden.map((row) => row.map((value) => Math.max(0, value)));
  const expected = linear(active, await matrix(layer.linear2.weight), await vector(layer.linear2.bias!));
  close(await matrix(layer.forward(x)), expected, 1e-5, 'FeedForward');
});

test('MultiheadAttention: self, cross, masked and causal', async () => {
  manualSeed(3);
  const layer = randomise(new MultiheadAttention(6, 2));
  const [x, memory] = [normal([1, 4, 6]), normal([1, 5, 6])];
  const [xs, ms] = [await matrix(x.squeeze(0)), await matrix(memory.squeeze(0))];
  const all = (): boolean => true;
  const check = async (y: Tensor, expected: Matrix, what: string): Promise<void> =>
    close(await matrix(y.squeeze(0)), expected, 2e-5, what);
  await check(layer.forward(x), await referenceAttention(layer, xs, xs, xs, all), 'self');
  await check(layer.forward(x, { key: memory }), await referenceAttention(layer, xs, ms, ms, all), 'cross');
  await check(
    layer.forward(x, { causal: true }),
    await referenceAttention(layer, xs, xs, xs, (i, j) => j <= i),
    'causal',
  );
  const mask = tensor([true, true, false, true, false]);
  await check(
    layer.forward(x, { key: memory, mask }),
    await referenceAttention(layer, xs, ms, ms, (_, j) => ![2, 4].includes(j)),
    'masked',
  );
  assert.equal([...layer.stateDict().keys()], ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias']);
  assert.throws(() => new MultiheadAttention(6, 4), /dim 6 must be a multiple of numHeads 4/);
  assert.throws(() => layer.forward(normal([4, 6])), /needs \[batch, tokens, 6\], got \[4, 6\]/);
});

for (const normFirst of [false, true]) {
  test(`TransformerEncoderLayer, ${normFirst ? 'pre' : 'post'}-LN`, async () => {
    manualSeed(4);
    const layer = randomise(
      new TransformerEncoderLayer({ dim: 6, numHeads: 3, feedForwardDim: 7, dropout: 0, normFirst }),
    );
    const x = normal([1, 4, 6]);
    const xs = await matrix(x.squeeze(0));
    const norms = await Promise.all(
      [layer.norm1, layer.norm2].map(async (n) => [await vector(n.weight), await vector(n.bias)] as const),
    );
    const norm = (i: number, y: Matrix): Matrix => layerNorm(y, ...norms[i]!, 1e-5);
    const attend = (y: Matrix): Promise<Matrix> => referenceAttention(layer.selfAttn, y, y, y, () => true);
    const [w1, b1, w2, b2] = [
      await matrix(layer.linear1.weight),
      await vector(layer.linear1.bias!),
      await matrix(layer.linear2.weight),
      await vector(layer.linear2.bias!),
    ];
    const forward = (y: Matrix): Matrix =>
      linear(
        linear(y, w1, b1).map((row) => row.map((value) => Math.max(0, value))),
        w2,
        b2,
      );
    let expected: Matrix;
    if (normFirst) {
      const y = plus(xs, await attend(norm(0, xs)));
      expected = plus(y, forward(norm(1, y)));
    } else {
      const y = norm(0, plus(xs, await attend(xs)));
      expected = norm(1, plus(y, forward(y)));
    }
    close(await matrix(layer.forward(x).squeeze(0)), expected, 5e-5, 'layer');
  });
}

test('TransformerEncoder: padding is not seen, every parameter gets a gradient', async () => {
  manualSeed(6);
  const encoder = randomise(
    new TransformerEncoder({ dim: 8, numHeads: 2, numLayers: 2, dropout: 0.1, normFirst: true }),
  ).eval();
  const x = normal([2, 5, 8]);
  const attentionMask = tensor(
    [
      [1, 1, 1, 0, 0],
      [1, 1, 1, 0, 0],
    ],
    { dtype: 'i32' },
  );
  const [full, cut] = [encoder.forward(x, { attentionMask }), encoder.forward(x.slice(null, [0, 3]))];
  close(await matrix(full.slice(null, [0, 3]).reshape([6, 8])), await matrix(cut.reshape([6, 8])), 1e-5, 'padded');
  encoder
    .train()
    .forward(x, { attentionMask })
    .mul(normal([2, 5, 8]))
    .sum()
    .backward();
  for (const [name, parameter] of encoder.namedParameters()) assert.ok(parameter.grad, `gradient of ${name}`);
  assert.ok([...encoder.stateDict().keys()].includes('layers.1.self_attn.in_proj_weight'));
  assert.throws(
    () => encoder.forward(x, { attentionMask: ones([5]) }),
    /an attention mask must be \[batch, keys\].*got \[5\]/,
  );
});

test.run();
