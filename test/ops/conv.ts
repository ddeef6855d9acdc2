import * as tf from '../../autograd/index.ts';
import type { ConvOptions } from '../../autograd/index.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

interface Numbers {
  readonly stride: readonly number[];
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
}

/**
 * The definition: for each output the sum over its group's channels and the kernel, elements outside of the
 * input being 0.
 */
function reference(x: Nd, weight: Nd, bias: Nd | undefined, { stride, before, after, dilation, groups }: Numbers): Nd {
  const kernel = weight.shape.slice(2);
  const [outputs, depth] = [weight.shape[0]!, weight.shape[1]!];
  const lengths = x.shape.slice(2);
  const places = lengths.map(
    (length, i) => Math.floor((length + before[i]! + after[i]! - dilation[i]! * (kernel[i]! - 1) - 1) / stride[i]!) + 1,
  );
  return build([x.shape[0]!, outputs, ...places], ([n, o, ...place]) => {
    let sum = bias ? get(bias, [o!]) : 0;
    const firstChannel = Math.floor(o! / (outputs / groups)) * depth;
    build([depth, ...kernel], ([c, ...k]) => {
      const at = place.map((p, i) => p * stride[i]! + k[i]! * dilation[i]! - before[i]!);
      if (at.every((p, i) => p >= 0 && p < lengths[i]!)) {
        let flat = n! * x.shape[1]! + firstChannel + c!;
        at.forEach((p, i) => (flat = flat * lengths[i]! + p));
        sum += x.data[flat]! * get(weight, [o!, c!, ...k]);
      }
      return 0;
    });
    return sum;
  });
}

const conv = (
  inputs: readonly InputSpec[],
  options: ConvOptions = {},
  numbers: Partial<Numbers> = {},
  more: Partial<OpCase> = {},
): OpCase => {
  const axes = inputs[1]!.shape.length - 2;
  const each = (value: number): number[] => Array.from({ length: axes }, () => value);
  const full = { stride: each(1), before: each(0), after: each(0), dilation: each(1), groups: 1, ...numbers };
  return {
    op: axes === 1 ? 'conv1d' : 'conv2d',
    note: JSON.stringify(options),
    inputs,
    run: (x, w, b) => (axes === 1 ? tf.conv1d : tf.conv2d)(x!, w!, b, options),
    ref: (x, w, b) => reference(x!, w!, b, full),
    loose: 4, // sums of up to 27 products
    ...more,
  };
};

export const cases: readonly OpCase[] = [
  conv([f32([2, 3, 7]), f32([4, 3, 3]), f32([4])], {}, {}, { second: true, covers: ['unfold', 'fold'] }),
  conv([f32([2, 3, 7]), f32([4, 3, 1])]),
  conv([f32([1, 1, 1]), f32([1, 1, 1])]),
  conv(
    [f32([2, 4, 9]), f32([6, 2, 3]), f32([6])],
    { stride: 2, padding: 2, dilation: 2, groups: 2 },
    { stride: [2], before: [2], after: [2], dilation: [2], groups: 2 },
  ),
  conv([f32([1, 3, 6]), f32([3, 1, 2])], { groups: 3 }, { groups: 3 }),
  conv([f32([1, 2, 6]), f32([2, 2, 4])], { padding: 'same' }, { before: [1], after: [2] }),
  conv([f32([1, 2, 6]), f32([2, 2, 4])], { padding: 'valid' }),
  conv([f32([0, 2, 6]), f32([2, 2, 3])]),
  conv(
    [f32([3, 6]), f32([2, 3, 3]), f32([2])],
    {},
    {},
    {
      note: 'without a batch',
      ref: (x, w, b) => {
        const y = reference({ shape: [1, ...x!.shape], data: x!.data }, w!, b, {
          stride: [1],
          before: [0],
          after: [0],
          dilation: [1],
          groups: 1,
        });
        return { shape: y.shape.slice(1), data: y.data };
      },
    },
  ),
  conv([f16([2, 4, 8]), f16([4, 4, 3]), f16([4])], {}, {}, { strided: false }),
  conv([f32([2, 3, 5, 4]), f32([2, 3, 3, 2]), f32([2])], {}, {}, { second: true }),
  conv(
    [f32([1, 4, 6, 7]), f32([4, 2, 3, 3]), f32([4])],
    { stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2 },
    { stride: [2, 1], before: [1, 2], after: [1, 2], dilation: [1, 2], groups: 2 },
  ),
  conv([f32([1, 1, 4, 4]), f32([1, 1, 2, 3])], { padding: 'same' }, { before: [0, 1], after: [1, 1] }),
];

const [x, w] = [(): tf.Tensor => tf.zeros([2, 4, 6]), (): tf.Tensor => tf.zeros([6, 4, 3])];

export const errors: readonly ErrorCase[] = [
  { op: 'conv1d', run: () => tf.conv1d(x(), tf.zeros([6, 3, 3])), says: /\[2, 4, 6\].*\[6, 3, 3\]/ },
  { op: 'conv1d', run: () => tf.conv1d(x(), w(), tf.zeros([4])), says: /\[4\].*6/ },
  { op: 'conv1d', run: () => tf.conv1d(x(), tf.zeros([6, 4, 7])), says: /\[7\].*\[2, 4, 6\]/ },
  { op: 'conv1d', run: () => tf.conv1d(x(), w(), undefined, { stride: 0 }), says: /stride.*0/ },
  { op: 'conv1d', run: () => tf.conv1d(x(), w(), undefined, { stride: 2, padding: 'same' }), says: /same.*stride/ },
  { op: 'conv1d', run: () => tf.conv1d(x(), tf.zeros([5, 2, 3]), undefined, { groups: 2 }), says: /5.*2 groups/ },
  { op: 'conv1d', run: () => tf.conv1d(x(), w(), undefined, { groups: 0 }), says: /groups.*0/ },
  { op: 'conv2d', run: () => tf.conv2d(x(), w()), says: /\[2, 4, 6\].*\[6, 4, 3\]/ },
  {
    op: 'conv2d',
    run: () => tf.conv2d(tf.zeros([1, 1, 4, 4]), tf.zeros([1, 1, 2, 2]), undefined, { padding: [1, -1] }),
    says: /padding.*-1/,
  },
  { op: 'conv1d', run: () => tf.conv1d(tf.zeros([2, 4, 6], { dtype: 'i32' }), w()), says: /i32/ },
];
