import * as tf from '../../autograd/index.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f32, values } from '../support/op-case.ts';
import type { InputSpec, OpCase } from '../support/op-case.ts';

/** f32 numbers that f16 holds exactly, so that the reference needs no rounding. */
const short = (shape: readonly number[], seed: number): InputSpec => {
  const size = shape.reduce((a, b) => a * b, 1);
  return values(
    Array.from({ length: size }, (_, i) => (((i + seed) * 37) % 64) / 16 - 2),
    { shape },
  );
};

const half = (run: () => tf.Tensor): tf.Tensor => tf.autocast(run);
/** x [m, k] and weight [n, k]. */
const product = (x: Nd, w: Nd): Nd =>
  build([x.shape[0]!, w.shape[0]!], ([i, j]) => {
    let sum = 0;
    for (let k = 0; k < x.shape[1]!; k++) sum += get(x, [i!, k]) * get(w, [j!, k]);
    return sum;
  });

export const cases: readonly OpCase[] = [
  {
    op: 'matmul',
    note: 'autocast, transposed weight and a bias that stays f32',
    inputs: [short([3, 5], 0), short([7, 5], 11), f32([7])],
    run: (x, w, b) => half(() => tf.linear(x!, w!, b)),
    ref: (x, w, b) => build([3, 7], ([i, j]) => get(product(x!, w!), [i!, j!]) + b!.data[j!]!),
    covers: ['half'],
    loose: 500, // f16's tolerance: the cotangents of x and the weight come out of f16 products
  },
  {
    op: 'matmul',
    note: 'autocast, slice of a weight and a weight used twice',
    inputs: [short([4, 8], 3), short([12, 8], 5)],
    run: (x, w) => half(() => tf.add(tf.linear(x!, tf.slice(w!, [4, 8])), tf.linear(x!, tf.slice(w!, [0, 4])))),
    ref: (x, w) => build([4, 4], ([i, j]) => get(product(x!, w!), [i!, j! + 4]) + get(product(x!, w!), [i!, j!])),
    covers: ['half'],
    loose: 500,
  },
];
