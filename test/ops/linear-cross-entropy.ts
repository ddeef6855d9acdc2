import * as tf from '../../autograd/index.ts';
import type { LinearCrossEntropyOptions } from '../../autograd/index.ts';
import { build, get, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, i32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

type Options = Omit<LinearCrossEntropyOptions, 'bias'>;

/** Of each row: logits, then the loss by its definition. */
function reference(hidden: Nd, weight: Nd, target: Nd, bias: Nd | undefined, options: Options): Nd {
  const { reduction = 'mean', ignoreIndex = -100, labelSmoothing = 0, softCap } = options;
  const [classes, width] = weight.shape as [number, number];
  let counted = 0;
  const losses = build(target.shape, (index) => {
    const label = get(target, index);
    if (label === ignoreIndex) return 0;
    counted++;
    const logits = Array.from({ length: classes }, (_, c) => {
      const products = Array.from({ length: width }, (__, d) => get(hidden, [...index, d]) * get(weight, [c, d]));
      const logit = total(products) + (bias ? bias.data[c]! : 0);
      return softCap === undefined ? logit : softCap * Math.tanh(logit / softCap);
    });
    const top = Math.max(...logits);
    const shift = top + Math.log(total(logits.map((x) => Math.exp(x - top))));
    const even = total(logits.map((x) => shift - x)) / classes;
    return (1 - labelSmoothing) * (shift - logits[label]!) + labelSmoothing * even;
  });
  if (reduction === 'none') return losses;
  const sum = total([...losses.data]);
  return build([], () => (reduction === 'sum' ? sum : sum / counted));
}

const loss = (
  inputs: readonly [hidden: InputSpec, weight: InputSpec, target: InputSpec, bias?: InputSpec],
  options: Options = {},
  more: Partial<OpCase> = {},
): OpCase => ({
  op: 'linearCrossEntropy',
  note: JSON.stringify(options),
  inputs: inputs as readonly InputSpec[],
  run: (x, w, t, b) => tf.linearCrossEntropy(x!, w!, t!, { ...options, bias: b }),
  ref: (x, w, t, b) => reference(x!, w!, t!, b, options),
  loose: 3, // a product before the loss
  ...more,
});

const labels = (list: readonly number[]): InputSpec => values(list, { dtype: 'i32' });
const some = labels([0, 5, -100, 3, 4, -100, 1]);

export const cases: readonly OpCase[] = [
  loss([f32([4, 3]), f32([5, 3]), i32([4], 0, 4)], {}, { second: true }),
  loss([f32([7, 4]), f32([6, 4]), some, f32([6])], { chunkRows: 3 }),
  loss([f32([7, 4]), f32([8, 4]), some], { chunkRows: 2, labelSmoothing: 0.1, reduction: 'sum' }),
  loss([f32([7, 5]), f32([7, 5]), some, f32([7])], { labelSmoothing: 0.2 }, { second: true }),
  loss([f32([7, 4]), f32([6, 4]), some], { chunkRows: 3, reduction: 'none' }),
  loss([f32([7, 4]), f32([8, 4]), some, f32([8])], { chunkRows: 3, softCap: 0.7 }, { second: true }),
  loss([f32([7, 5]), f32([7, 5]), some], { softCap: 1.5, labelSmoothing: 0.2, reduction: 'sum' }, { second: true }),
  loss([f32([7, 4]), f32([6, 4]), some], { chunkRows: 3, softCap: 0.5, reduction: 'none' }),
  loss([f32([2, 3], 900, 1000), f32([5, 3], 1, 2), i32([2], 0, 4)], { softCap: 30 }, { note: 'far above the cap' }),
  loss(
    [f32([7, 4]), f32([6, 4]), some, f32([6])],
    { ignoreIndex: 4, reduction: 'none' },
    { inputs: [f32([7, 4]), f32([6, 4]), labels([0, 5, 4, 3, 4, 2, 1]), f32([6])] },
  ),
  loss([f32([2, 3, 4]), f32([6, 4]), i32([2, 3], 0, 5)], { chunkRows: 4 }),
  loss([f32([70, 20]), f32([130, 20]), i32([70], 0, 129)], { chunkRows: 64 }),
  loss([f32([7, 4]), f32([9, 4]), some, f32([9])], { chunkRows: 3 }),
  loss([f32([1, 1]), f32([1, 1]), labels([0])]),
  loss([f32([0, 3]), f32([5, 3]), i32([0], 0, 4)], { reduction: 'sum' }),
  loss([f32([0, 3]), f32([5, 3]), i32([0], 0, 4)], { reduction: 'none' }),
  // The loss is as precise as its f16 logits: compared as such.
  loss(
    [f16([9, 8]), f16([12, 8]), i32([9], 0, 11)],
    {},
    {
      run: (x, w, t) => tf.cast(tf.linearCrossEntropy(x!, w!, t!, { chunkRows: 4 }), 'f16'),
    },
  ),
  loss([f16([9, 8]), f32([12, 8]), i32([9], 0, 11)]),
];

const x = (): tf.Tensor => tf.zeros([4, 3]);
const w = (): tf.Tensor => tf.zeros([5, 3]);
const t = (...list: number[]): tf.Tensor => tf.tensor(list, { dtype: 'i32' });
const refuses = (run: () => unknown, says: RegExp): ErrorCase => ({ op: 'linearCrossEntropy', run, says });

export const errors: readonly ErrorCase[] = [
  refuses(() => tf.linearCrossEntropy(x(), tf.zeros([5, 4]), t(0, 1, 2, 3)), /\[4, 3\].*\[5, 4\]/),
  refuses(() => tf.linearCrossEntropy(x(), w(), t(0, 1, 2)), /\[4\].*\[3\]/),
  refuses(() => tf.linearCrossEntropy(x(), w(), t(0, 1, 2, 5)), /label 5.*5 classes/),
  refuses(() => tf.linearCrossEntropy(x(), w(), t(0, 1, 2, 3), { bias: tf.zeros([4]) }), /\[4\].*\[5\]/),
  refuses(() => tf.linearCrossEntropy(x(), w(), t(0, 1, 2, 3), { labelSmoothing: 2 }), /labelSmoothing.*2/),
  refuses(() => tf.linearCrossEntropy(x(), w(), t(0, 1, 2, 3), { chunkRows: 0 }), /chunkRows.*0/),
  refuses(() => tf.linearCrossEntropy(x(), w(), t(0, 1, 2, 3), { softCap: 0 }), /softCap is 0; it must be a number/),
];
