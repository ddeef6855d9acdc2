import * as tf from '../../autograd/index.ts';
import { lines } from '../support/nd.ts';
import { bool, f16, f32, i32, u32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

const placesOf = (list: readonly number[], descending: boolean): number[] =>
  [...list.keys()].sort((a, b) => (descending ? list[b]! - list[a]! : list[a]! - list[b]!) || a - b);

const sorted = (op: 'argsort' | 'sort', input: InputSpec, axis = -1, descending = false): OpCase => ({
  op,
  note: `axis ${axis}${descending ? ', descending' : ''}`,
  inputs: [input],
  run: (x) => (op === 'sort' ? tf.sort(x!, axis, { descending })[0] : tf.argsort(x!, axis, { descending })),
  ref: (x) =>
    lines(x!, axis < 0 ? axis + x!.shape.length : axis, (list) =>
      placesOf(list, descending).map((at) => (op === 'sort' ? list[at]! : at)),
    ),
  ...(op === 'argsort' ? { grad: false } : { covers: ['argsort', 'gather'] }),
});

export const cases: readonly OpCase[] = [
  ...(['sort', 'argsort'] as const).flatMap((op) => [
    sorted(op, f32([7])),
    sorted(op, f32([8]), 0, true),
    sorted(op, f32([3, 5]), 0),
    sorted(op, f32([2, 6, 3]), 1, true),
    sorted(op, f32([1])),
    sorted(op, f32([2, 0])),
    sorted(op, f32([0, 3])),
    sorted(op, f16([2, 9])),
  ]),
  // Many equal ones: the first comes first.
  sorted('argsort', i32([4, 33], -3, 3)),
  sorted('argsort', i32([4, 33], -3, 3), 0, true),
  sorted('argsort', u32([65])),
  sorted('argsort', bool([2, 20]), 1, true),
  { ...sorted('argsort', f32([3, 1000, 2]), 1), strided: false },
  // So many that they are sorted.
  ...[true, false].map((largest): OpCase => ({
    op: 'topk',
    note: `20 ${largest ? 'largest' : 'smallest'}`,
    inputs: [f32([3, 40])],
    run: (x) => tf.topk(x!, 20, 1, { largest })[0],
    ref: (x) =>
      lines(
        x!,
        1,
        (list) =>
          placesOf(list, largest)
            .map((at) => list[at]!)
            .slice(0, 20),
        20,
      ),
    covers: ['argsort'],
  })),
];

export const errors: readonly ErrorCase[] = [
  { op: 'sort', run: () => tf.sort(tf.zeros([2, 3]), 2), says: /axis 2/ },
  { op: 'argsort', run: () => tf.argsort(tf.zeros([3]), 1), says: /axis 1/ },
];
