import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { along, broadcast, build, elementwise, get, lines, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, i32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

type Options = { readonly reduction?: 'mean' | 'sum' | 'none' };

function reduce(losses: Nd, reduction = 'mean'): Nd {
  if (reduction === 'none') return losses;
  const sum = total([...losses.data]);
  return build([], () => (reduction === 'sum' ? sum : sum / losses.data.length));
}

/** Losses of two numbers, by each reduction and at the edges. */
function pairs(
  op: string,
  run: (x: Tensor, y: Tensor, options: Options) => Tensor,
  of: (x: number, y: number) => number,
  note = '',
  target: InputSpec = f32([3, 5]),
  second = true,
): OpCase[] {
  const loss = (inputs: readonly InputSpec[], reduction: Options['reduction'], more: Partial<OpCase> = {}): OpCase => ({
    op,
    note: `${note} ${reduction ?? 'default'}`,
    inputs,
    run: (x, y) => run(x!, y!, { reduction }),
    ref: (x, y) => reduce(elementwise(of, x!, y!), reduction),
    ...more,
  });
  const like = (shape: readonly number[], dtype = target.dtype): InputSpec => ({ ...target, shape, dtype });
  return [
    loss([f32([3, 5]), target], 'none', { second }),
    loss([f32([3, 5]), target], undefined),
    loss([f32([2]), like([2])], 'sum'),
    loss([f32([0]), like([0])], 'sum'),
    loss([f32([]), like([])], 'mean'),
    loss([f16([6]), like([6], 'f16')], 'mean', { strided: false, loose: 2 }), // losses are rounded, then their mean
  ];
}

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const bce = (x: number, y: number, w = 1): number => w * y * softplus(-x) + (1 - y) * softplus(x);
const huber = (delta: number) => (x: number, y: number) => {
  const size = Math.abs(x - y);
  return size <= delta ? size ** 2 / 2 : delta * (size - delta / 2);
};
const smooth = (beta: number) => (x: number, y: number) => {
  const size = Math.abs(x - y);
  return size < beta ? size ** 2 / 2 / beta : size - beta / 2;
};
const focalOf = (p: number, gamma: number): number => -((1 - p) ** gamma) * Math.log(p);
/** alpha weighs the positives; without it all weigh 1. */
const focalBinary = (gamma: number, alpha?: number) => (x: number, y: number) => {
  const p = y === 1 ? sigmoid(x) : sigmoid(-x);
  return (alpha === undefined ? 1 : y === 1 ? alpha : 1 - alpha) * focalOf(p, gamma);
};

/** Probability of each class. */
const probabilities = (x: Nd): Nd =>
  lines(x, 1, (row) => {
    const powers = row.map((v) => Math.exp(v));
    return powers.map((v) => v / total(powers));
  });

const focalClasses = (gamma: number, reduction: Options['reduction'], weighted: boolean): OpCase => ({
  op: 'focal',
  note: `classes, gamma ${gamma} ${reduction}`,
  inputs: [f32([5, 3]), i32([5], 0, 2), ...(weighted ? [f32([3], 0.2, 2)] : [])],
  run: (x, t, alpha) => tf.focal(x!, t!, { gamma, reduction, alpha }),
  ref: (x, t, alpha) => {
    const p = probabilities(x!);
    return reduce(
      build([5], ([i]) => (alpha ? get(alpha, [get(t!, [i!])]) : 1) * focalOf(get(p, [i!, get(t!, [i!])]), gamma)),
      reduction,
    );
  },
  second: gamma === 2,
});

const labels = values([1, 0, 1, 1, 0], { differentiable: false });

const cosine = (inputs: readonly InputSpec[], axis = 1, more: Partial<OpCase> = {}): OpCase => ({
  op: 'cosineSimilarity',
  note: `axis ${axis}`,
  inputs,
  run: (a, b) => tf.cosineSimilarity(a!, b!, axis === 1 ? {} : { axis }),
  ref: (a, b) => {
    const shape = broadcast(a!.shape, b!.shape);
    const at = axis < 0 ? axis + shape.length : axis;
    const [x, y] = [build(shape, (index) => get(a!, index)), build(shape, (index) => get(b!, index))];
    const norm = (v: Nd): Nd => along(v, [at], (list) => Math.max(1e-8, Math.sqrt(total(list.map((u) => u * u)))));
    const dot = along(
      elementwise((u, v) => u * v, x, y),
      [at],
      total,
    );
    return elementwise((d, u, v) => d / (u * v), dot, norm(x), norm(y));
  },
  ...more,
});

export const cases: readonly OpCase[] = [
  ...pairs('mse', tf.mse, (x, y) => (x - y) ** 2),
  ...pairs('l1', tf.l1, (x, y) => Math.abs(x - y), '', f32([3, 5]), false),
  ...pairs('huber', tf.huber, huber(1), '', f32([3, 5]), false),
  ...pairs(
    'huber',
    (x, y, o) => tf.huber(x, y, { ...o, delta: 0.6 }),
    huber(0.6),
    'delta 0.6',
    f32([3, 5]),
    false,
  ).slice(0, 1),
  ...pairs('smoothL1', tf.smoothL1, smooth(1), '', f32([3, 5]), false),
  ...pairs(
    'smoothL1',
    (x, y, o) => tf.smoothL1(x, y, { ...o, beta: 0.6 }),
    smooth(0.6),
    'beta 0.6',
    f32([3, 5]),
    false,
  ).slice(0, 1),
  ...pairs(
    'smoothL1',
    (x, y, o) => tf.smoothL1(x, y, { ...o, beta: 0 }),
    (x, y) => Math.abs(x - y),
    'beta 0',
    f32([3, 5]),
    false,
  ).slice(0, 1),
  ...pairs('klDiv', tf.klDiv, (x, t) => t * (Math.log(t) - x), '', f32([3, 5], 0.1, 1)),
  ...pairs(
    'klDiv',
    (x, t, o) => tf.klDiv(x, t, { ...o, logTarget: true }),
    (x, t) => Math.exp(t) * (t - x),
    'logTarget',
  ),
  {
    op: 'klDiv',
    note: 'targets of 0',
    inputs: [values([-1, -2, -3]), values([0, 1, 0], { differentiable: false })],
    run: (x, t) => tf.klDiv(x!, t!, { reduction: 'none' }),
    ref: (x, t) => elementwise((u, v) => (v === 0 ? 0 : v * (Math.log(v) - u)), x!, t!),
  },
  {
    op: 'klDiv',
    note: 'batchMean',
    inputs: [f32([3, 5]), f32([3, 5], 0.1, 1)],
    run: (x, t) => tf.klDiv(x!, t!, { reduction: 'batchMean' }),
    ref: (x, t) => build([], () => total([...elementwise((u, v) => v * (Math.log(v) - u), x!, t!).data]) / 3),
  },
  ...pairs('bceWithLogits', tf.bceWithLogits, bce, '', f32([3, 5], 0, 1)),
  {
    op: 'bceWithLogits',
    note: 'large logits',
    inputs: [values([100, -100, 1000, -1000, 0]), labels],
    run: (x, t) => tf.bceWithLogits(x!, t!, { reduction: 'none' }),
    ref: (x, t) => elementwise((u, v) => bce(u, v), x!, t!),
    step: 1e-5,
  },
  {
    op: 'bceWithLogits',
    note: 'weight and posWeight',
    inputs: [f32([4, 3]), f32([4, 3], 0, 1), f32([4, 1], 0.2, 2), f32([3], 0.2, 2)],
    run: (x, t, weight, posWeight) => tf.bceWithLogits(x!, t!, { weight, posWeight }),
    ref: (x, t, weight, posWeight) =>
      reduce(elementwise((u, v, w, p) => w * bce(u, v, p), x!, t!, weight!, posWeight!)),
    second: true,
  },
  {
    op: 'focal',
    note: 'binary',
    inputs: [f32([5]), labels],
    run: (x, t) => tf.focal(x!, t!),
    ref: (x, t) => reduce(elementwise(focalBinary(2), x!, t!)),
    second: true,
  },
  {
    op: 'focal',
    note: 'binary, gamma 0',
    inputs: [f32([5]), labels],
    run: (x, t) => tf.focal(x!, t!, { gamma: 0, reduction: 'none' }),
    ref: (x, t) => elementwise(focalBinary(0), x!, t!),
  },
  {
    op: 'focal',
    note: 'binary, gamma 0.5, alpha 0.3',
    inputs: [f32([5]), labels],
    run: (x, t) => tf.focal(x!, t!, { gamma: 0.5, alpha: 0.3, reduction: 'sum' }),
    ref: (x, t) => reduce(elementwise(focalBinary(0.5, 0.3), x!, t!), 'sum'),
  },
  {
    op: 'focal',
    note: 'large logits',
    inputs: [values([50, -50, 90, -90, 0]), labels],
    run: (x, t) => tf.focal(x!, t!, { gamma: 0.5, reduction: 'none' }),
    ref: (x, t) =>
      elementwise(
        (u, v) => {
          const z = v === 1 ? -u : u;
          return Math.max(sigmoid(z), 1e-20) ** 0.5 * softplus(z);
        },
        x!,
        t!,
      ),
    step: 1e-5,
  },
  {
    op: 'focal',
    inputs: [f16([5]), { ...labels, dtype: 'f16' }],
    run: (x, t) => tf.focal(x!, t!),
    ref: (x, t) => reduce(elementwise(focalBinary(2), x!, t!)),
    strided: false,
  },
  focalClasses(2, 'mean', false),
  focalClasses(2, 'none', true),
  focalClasses(0, 'sum', false),
  focalClasses(0.5, 'mean', true),
  cosine([f32([3, 5]), f32([3, 5])], 1, { second: true }),
  cosine([f32([3, 5]), f32([5])], -1),
  cosine([f32([4, 1, 3]), f32([1, 2, 3])], 2),
  cosine([f32([7]), f32([7])], 0),
  cosine([f32([2, 3], 1e5, 1e6), f32([2, 3], 1e5, 1e6)]),
  cosine([f16([3, 5]), f16([3, 5])], 1, { strided: false }),
  cosine([values([0, 0, 0, 1, 2, 3], { shape: [2, 3] }), f32([2, 3])], 1, { note: 'a zero vector', grad: false }),
];

const [x, y] = [(): Tensor => tf.zeros([2, 3]), (): Tensor => tf.zeros([2])];

export const errors: readonly ErrorCase[] = [
  ...(['mse', 'l1', 'huber', 'smoothL1', 'klDiv', 'bceWithLogits', 'focal'] as const).map((op) => ({
    op,
    run: () => tf[op](x(), y()),
    says: /\[2, 3\].*\[2\]/,
  })),
  { op: 'mse', run: () => tf.mse(tf.zeros([2], { dtype: 'i32' }), y()), says: /i32/ },
  { op: 'huber', run: () => tf.huber(y(), y(), { delta: 0 }), says: /delta.*0/ },
  { op: 'smoothL1', run: () => tf.smoothL1(y(), y(), { beta: -1 }), says: /beta.*-1/ },
  { op: 'bceWithLogits', run: () => tf.bceWithLogits(y(), y(), { weight: tf.zeros([3, 1]) }), says: /\[2\].*\[3, 2\]/ },
  { op: 'focal', run: () => tf.focal(x(), tf.tensor([0, 3], { dtype: 'i32' })), says: /label 3/ },
  { op: 'focal', run: () => tf.focal(x(), tf.tensor([0, 1], { dtype: 'i32' }), { alpha: 0.25 }), says: /alpha.*0\.25/ },
  { op: 'focal', run: () => tf.focal(y(), y(), { gamma: -1 }), says: /gamma.*-1/ },
  { op: 'focal', run: () => tf.focal(y(), y(), { alpha: 2 }), says: /alpha.*2/ },
  { op: 'cosineSimilarity', run: () => tf.cosineSimilarity(x(), tf.zeros([2, 4])), says: /\[2, 3\].*\[2, 4\]/ },
  { op: 'cosineSimilarity', run: () => tf.cosineSimilarity(y(), y()), says: /axis 1/ },
];
