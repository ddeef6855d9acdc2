import * as tf from '../../autograd/index.ts';
import type { MaxPoolOptions } from '../../autograd/index.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

type Numbers = Required<{ readonly [Name in keyof MaxPoolOptions]: readonly number[] }>;

/** The elements of the window at each place of the last axes: `outside` where it lies over the padding. */
function reference(
  x: Nd,
  kernel: readonly number[],
  { stride, padding, dilation }: Numbers,
  outside: number,
  f: (window: readonly number[]) => number,
): Nd {
  const lead = x.shape.slice(0, -kernel.length);
  const lengths = x.shape.slice(lead.length);
  const places = lengths.map(
    (length, i) => Math.floor((length + 2 * padding[i]! - dilation[i]! * (kernel[i]! - 1) - 1) / stride[i]!) + 1,
  );
  return build([...lead, ...places], (index) => {
    const window: number[] = [];
    const [outer, place] = [index.slice(0, lead.length), index.slice(lead.length)];
    build(kernel, (k) => {
      const at = place.map((p, i) => p * stride[i]! + k[i]! * dilation[i]! - padding[i]!);
      return window.push(at.every((p, i) => p >= 0 && p < lengths[i]!) ? get(x, [...outer, ...at]) : outside);
    });
    return f(window);
  });
}

const sumOf = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0);

/** A case of the largest or the mean of windows; `kernel` has a number for each axis. */
function pool(kind: 'max' | 'avg', input: InputSpec, kernel: number[], options: MaxPoolOptions = {}): OpCase {
  const each = (value: MaxPoolOptions['stride'], otherwise: readonly number[]): readonly number[] =>
    value === undefined ? otherwise : typeof value === 'number' ? kernel.map(() => value) : value;
  const numbers = {
    stride: each(options.stride, kernel),
    padding: each(options.padding, [0, 0]),
    dilation: each(options.dilation, [1, 1]),
  };
  const axes = kernel.length as 1 | 2;
  const mean = (window: readonly number[]): number => sumOf(window) / window.length;
  return {
    op: `${kind}Pool${axes}d`,
    note: JSON.stringify([kernel, options]),
    inputs: [input],
    run: (x) => tf[`${kind}Pool${axes}d`](x!, kernel, options),
    ref: (x) =>
      kind === 'max'
        ? reference(x!, kernel, numbers, -Infinity, (window) => Math.max(...window))
        : reference(x!, kernel, numbers, 0, mean),
    ...(kind === 'max' ? { covers: ['firstMax'] } : { second: true }),
  };
}

function adaptive(axes: 1 | 2, input: InputSpec, size: number | number[]): OpCase {
  const along = (x: Nd, axis: number, count: number): Nd =>
    build(
      x.shape.map((length, i) => (i === axis ? count : length)),
      (index) => {
        const length = x.shape[axis]!;
        const [start, end] = [
          Math.floor((index[axis]! * length) / count),
          Math.ceil(((index[axis]! + 1) * length) / count),
        ];
        const own = Array.from({ length: end - start }, (_, k) =>
          get(
            x,
            index.map((at, i) => (i === axis ? start + k : at)),
          ),
        );
        return sumOf(own) / own.length;
      },
    );
  return {
    op: `adaptiveAvgPool${axes}d`,
    note: JSON.stringify(size),
    inputs: [input],
    run: (x) => tf[`adaptiveAvgPool${axes}d`](x!, size),
    ref: (x) => {
      const sizes = typeof size === 'number' ? Array.from({ length: axes }, () => size) : size;
      return sizes.reduce((y, count, i) => along(y, x!.shape.length - axes + i, count), x!);
    },
  };
}

export const cases: readonly OpCase[] = [
  ...(['max', 'avg'] as const).flatMap((kind) => [
    pool(kind, f32([2, 3, 7]), [2]),
    pool(kind, f32([3, 8]), [3], { stride: 2, padding: 1 }),
    pool(kind, f32([1, 1, 1]), [1]),
    pool(kind, f32([0, 2, 4]), [2]),
    pool(kind, f32([2, 2, 5, 6]), [2, 2]),
    pool(kind, f32([2, 6, 5]), [3, 2], { stride: [1, 2], padding: [1, 0] }),
    pool(kind, f16([1, 2, 4, 4]), [2, 2]),
  ]),
  pool('max', f32([1, 2, 7]), [3], { stride: 1, dilation: 2 }),
  pool('max', f32([2, 6, 7]), [2, 3], { stride: 1, padding: 1, dilation: [2, 1] }),
  {
    ...pool('max', values([0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 0, 3, 2, 1, 3, 3], { shape: [1, 4, 4] }), [2, 2]),
    note: 'of equal elements the first gets the gradient',
    grads: [[1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0]],
  },
  {
    ...pool('max', values([NaN, 1, 2, NaN, 3, 4], { shape: [1, 1, 6] }), [2]),
    note: 'NaN',
    grad: false,
  },
  adaptive(1, f32([2, 3, 7]), 3),
  adaptive(1, f32([2, 6]), 3),
  adaptive(1, f32([2, 3]), 5),
  adaptive(2, f32([2, 2, 4, 5]), 1),
  adaptive(2, f32([3, 4, 5]), [2, 3]),
  adaptive(2, f16([1, 2, 4, 6]), [2, 3]),
];

const x = (): tf.Tensor => tf.zeros([2, 3, 6]);

export const errors: readonly ErrorCase[] = [
  { op: 'maxPool1d', run: () => tf.maxPool1d(tf.zeros([6]), 2), says: /\[N, C, L\] or \[C, L\], got \[6\]/ },
  { op: 'maxPool1d', run: () => tf.maxPool1d(x(), 7), says: /kernel of \[7\].*\[2, 3, 6\] has 6/ },
  { op: 'maxPool1d', run: () => tf.maxPool1d(x(), 3, { padding: 2 }), says: /padding \[2\].*half the kernel \[3\]/ },
  { op: 'maxPool1d', run: () => tf.maxPool1d(x(), 3, { ceilMode: true } as MaxPoolOptions), says: /ceilMode/ },
  { op: 'maxPool2d', run: () => tf.maxPool2d(x(), [2, 2, 2]), says: /kernel must be 2 whole numbers/ },
  { op: 'maxPool2d', run: () => tf.maxPool2d(tf.zeros([2, 3, 6], { dtype: 'i32' }), 2), says: /i32/ },
  { op: 'avgPool1d', run: () => tf.avgPool1d(x(), 2, { stride: 0 }), says: /stride.*0/ },
  { op: 'avgPool2d', run: () => tf.avgPool2d(tf.zeros([6, 6]), 2), says: /\[6, 6\]/ },
  { op: 'adaptiveAvgPool1d', run: () => tf.adaptiveAvgPool1d(x(), 0), says: /size.*0/ },
  { op: 'adaptiveAvgPool2d', run: () => tf.adaptiveAvgPool2d(tf.zeros([6]), 1), says: /\[6\]/ },
];
