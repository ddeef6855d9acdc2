import * as tf from '../../autograd/index.ts';
import type { CrossEntropyOptions } from '../../autograd/ops/cross-entropy.ts';
import { build, get, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, fixed, i32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

type Options = Omit<CrossEntropyOptions, 'weight'>;

/**
 * Of one row: PyTorch's documentation of torch.nn.CrossEntropyLoss, the weight counting for hard and smoothed
 * parts alike.
 */
function rowLoss(logits: number[], label: number, weight: readonly number[], smoothing: number): number {
  const top = Math.max(...logits);
  const shift = top + Math.log(total(logits.map((x) => Math.exp(x - top))));
  const hard = -weight[label]! * (logits[label]! - shift);
  const soft = -total(logits.map((x, c) => (weight[c]! * (x - shift)) / logits.length));
  return (1 - smoothing) * hard + smoothing * soft;
}

/** Classes on axis 1 (0 of a vector), labels on the other axes. */
function reference(
  x: Nd,
  target: Nd,
  weights: Nd | undefined,
  { reduction = 'mean', ignoreIndex = -100, labelSmoothing = 0 }: Options,
): Nd {
  const axis = x.shape.length === 1 ? 0 : 1;
  const classes = x.shape[axis]!;
  const weight = Array.from({ length: classes }, (_, c) => (weights ? weights.data[c]! : 1));
  let [sum, share] = [0, 0];
  const losses = build(target.shape, (index) => {
    const label = get(target, index);
    if (label === ignoreIndex) return 0;
    const row = Array.from({ length: classes }, (_, c) => get(x, [...index.slice(0, axis), c, ...index.slice(axis)]));
    const loss = rowLoss(row, label, weight, labelSmoothing);
    sum += loss;
    share += weight[label]!;
    return loss;
  });
  if (reduction === 'none') return losses;
  return build([], () => (reduction === 'sum' ? sum : sum / share));
}

const loss = (
  logits: InputSpec,
  target: InputSpec,
  options: Options = {},
  more: Partial<OpCase> & { readonly weight?: InputSpec } = {},
): OpCase => ({
  op: 'crossEntropy',
  note: JSON.stringify(options),
  inputs: more.weight ? [logits, target, fixed(more.weight)] : [logits, target],
  run: (x, t, w) => tf.crossEntropy(x!, t!, { ...options, weight: w }),
  ref: (x, t, w) => reference(x!, t!, w, options),
  covers: more.second ? ['crossEntropyBackward'] : [],
  ...more,
});

/** Probabilities as targets. */
const soft = (options: Options): OpCase => ({
  op: 'crossEntropy',
  note: `probabilities ${JSON.stringify(options)}`,
  inputs: [f32([4, 3]), f32([4, 3], 0, 1)],
  run: (x, t) => tf.crossEntropy(x!, t!, options),
  ref: (x, t) => {
    const { reduction = 'mean', labelSmoothing = 0 } = options;
    const losses = build([4], ([i]) => {
      const row = [0, 1, 2].map((c) => get(x!, [i!, c]));
      const shift = Math.log(total(row.map((v) => Math.exp(v))));
      return -total(row.map((v, c) => ((1 - labelSmoothing) * get(t!, [i!, c]) + labelSmoothing / 3) * (v - shift)));
    });
    if (reduction === 'none') return losses;
    return build([], () => total([...losses.data]) / (reduction === 'mean' ? 4 : 1));
  },
});

const labels = (list: readonly number[]): InputSpec => values(list, { dtype: 'i32' });

export const cases: readonly OpCase[] = [
  loss(f32([4, 3]), i32([4], 0, 2), {}, { second: true }),
  loss(f32([4, 3]), i32([4], 0, 2), { reduction: 'none' }, { second: true }),
  loss(f32([4, 3]), i32([4], 0, 2), { reduction: 'sum' }),
  loss(f32([5, 8]), labels([0, 7, -100, 3, -100])),
  loss(f32([5, 3]), labels([0, 1, 1, 2, 1]), { ignoreIndex: 1 }),
  loss(f32([5, 3]), labels([0, 2, -100, 1, 0]), { labelSmoothing: 0.1 }, { second: true }),
  loss(
    f32([5, 3]),
    labels([0, 2, -100, 1, 0]),
    { labelSmoothing: 0.1 },
    { weight: f32([3], 0.2, 2), second: true, note: 'weighted, smoothed' },
  ),
  loss(f32([5, 3]), labels([0, 2, -100, 1, 0]), {}, { weight: f32([3], 0.2, 2), note: 'weighted' }),
  loss(
    f32([5, 3]),
    labels([0, 2, -100, 1, 0]),
    { reduction: 'none' },
    { weight: f32([3], 0.2, 2), note: 'weighted, none' },
  ),
  loss(f32([3]), values([2], { shape: [], dtype: 'i32' })),
  loss(f32([2, 3, 4]), i32([2, 4], 0, 2)),
  loss(f32([2, 3, 2, 2]), i32([2, 2, 2], 0, 2), { reduction: 'none' }),
  loss(f32([3, 1]), labels([0, 0, 0])),
  loss(f32([3, 130], -20, 20), labels([0, 129, 64])),
  loss(f32([3, 4], 1e4, 1.001e4), labels([0, 1, 2]), {}, { note: 'large', step: 1e-5 }),
  loss(f32([2, 3]), labels([-100, -100]), { reduction: 'sum' }),
  loss(f32([2, 3]), labels([-100, -100]), {}, { grad: false, note: 'all ignored is NaN' }),
  loss(f32([0, 3]), i32([0], 0, 2), { reduction: 'none' }),
  loss(f32([0, 3]), i32([0], 0, 2), {}, { grad: false, note: 'of nothing is NaN' }),
  loss(f16([4, 6]), i32([4], 0, 5), {}, { strided: false }),
  soft({}),
  soft({ reduction: 'none' }),
  soft({ reduction: 'sum', labelSmoothing: 0.2 }),
];

const x = (): tf.Tensor => tf.zeros([4, 3]);
const t = (...list: number[]): tf.Tensor => tf.tensor(list, { dtype: 'i32' });

export const errors: readonly ErrorCase[] = [
  { op: 'crossEntropy', run: () => tf.crossEntropy(x(), t(0, 1, 2, 3)), says: /label 3.*3 classes/ },
  { op: 'crossEntropy', run: () => tf.crossEntropy(x(), t(0, 1, 2, -1)), says: /label -1/ },
  { op: 'crossEntropy', run: () => tf.crossEntropy(x(), t(0, 1, 2)), says: /\[4, 3\].*\[4\].*\[3\]/ },
  {
    op: 'crossEntropy',
    run: () => tf.crossEntropy(x(), t(0, 1, 2, 0), { weight: tf.ones([4]) }),
    says: /\[4\].*3 classes/,
  },
  {
    op: 'crossEntropy',
    run: () => tf.crossEntropy(x(), t(0, 1, 2, 0), { labelSmoothing: 2 }),
    says: /labelSmoothing.*2/,
  },
  { op: 'crossEntropy', run: () => tf.crossEntropy(tf.zeros([4, 3], { dtype: 'i32' }), t(0, 1, 2, 0)), says: /i32/ },
];
