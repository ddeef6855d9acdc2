import * as tf from '../../autograd/index.ts';
import type { Range } from '../../autograd/ops/slice.ts';
import { broadcast, build, get, shaped } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { bool, f16, f32, fixed, i32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

const reshape = (input: InputSpec, shape: readonly number[], want = shape): OpCase => ({
  op: 'reshape',
  note: `to ${shape.join()}`,
  inputs: [input],
  run: (x) => tf.reshape(x!, shape),
  ref: (x) => shaped(x!, want),
});

const permute = (input: InputSpec, axes: readonly number[]): OpCase => ({
  op: 'permute',
  note: axes.join(),
  inputs: [input],
  run: (x) => tf.permute(x!, axes),
  ref: (x) =>
    build(
      axes.map((axis) => x!.shape[axis]!),
      (index) =>
        get(
          x!,
          x!.shape.map((_, axis) => index[axes.indexOf(axis)]!),
        ),
    ),
});

const expand = (input: InputSpec, shape: readonly number[]): OpCase => ({
  op: 'expand',
  note: `to ${shape.join()}`,
  inputs: [input],
  run: (x) => tf.expand(x!, shape),
  ref: (x) =>
    build(
      broadcast(
        x!.shape,
        shape.map((length) => Math.max(length, 1)),
      ),
      (index) => get(x!, index),
    ),
});

/** start, length and step of each axis are written out: the reference does not interpret ranges. */
const slice = (
  input: InputSpec,
  ranges: readonly Range[],
  starts: readonly number[],
  lengths: readonly number[],
  steps: readonly number[],
  drop: readonly number[] = [],
): OpCase => ({
  op: 'slice',
  note: JSON.stringify(ranges),
  inputs: [input],
  run: (x) => tf.slice(x!, ...ranges),
  ref: (x) => {
    const cut = build(lengths, (index) =>
      get(
        x!,
        index.map((at, axis) => (x!.shape[axis] === 1 ? 0 : starts[axis]! + at * steps[axis]!)),
      ),
    );
    return shaped(
      cut,
      lengths.filter((_, axis) => !drop.includes(axis)),
    );
  },
});

const flip = (input: InputSpec, axes: readonly number[]): OpCase => ({
  op: 'flip',
  note: axes.join(),
  inputs: [input],
  run: (x) => tf.flip(x!, axes),
  ref: (x) =>
    build(x!.shape, (index) =>
      get(
        x!,
        index.map((at, axis) => (axes.includes(axis) ? x!.shape[axis]! - 1 - at : at)),
      ),
    ),
});

const pad = (input: InputSpec, pairs: readonly (readonly [number, number])[], value = 0): OpCase => ({
  op: 'pad',
  note: JSON.stringify(pairs),
  inputs: [input],
  run: (x) => tf.pad(x!, pairs, value),
  ref: (x) => {
    const rank = x!.shape.length;
    const sides = x!.shape.map((_, axis) => pairs[axis - rank + pairs.length] ?? ([0, 0] as const));
    return build(
      x!.shape.map((length, axis) => length + sides[axis]![0] + sides[axis]![1]),
      (index) => {
        const from = index.map((at, axis) => at - sides[axis]![0]);
        return from.every((at, axis) => at >= 0 && at < x!.shape[axis]!) ? get(x!, from) : value;
      },
    );
  },
});

const joined = (parts: readonly Nd[], axis: number): Nd => {
  const shape = parts[0]!.shape.map((length, i) =>
    i === axis ? parts.reduce((sum, part) => sum + part.shape[axis]!, 0) : length,
  );
  return build(shape, (index) => {
    let at = index[axis]!;
    const part = parts.find(({ shape: own }) => (at < own[axis]! ? true : ((at -= own[axis]!), false)))!;
    let flat = 0;
    part.shape.forEach((length, i) => (flat = flat * length + (i === axis ? at : index[i]!)));
    return part.data[flat]!;
  });
};

const concat = (inputs: readonly InputSpec[], axis: number, at = axis): OpCase => ({
  op: 'concat',
  note: `axis ${axis}`,
  inputs,
  run: (...x) => tf.concat(x, axis),
  ref: (...x) => joined(x, at),
});

const whole = [1, 1, 1];
const x23 = f32([2, 3]);

export const cases: readonly OpCase[] = [
  reshape(f32([2, 6]), [3, -1], [3, 4]),
  reshape(f32([2, 3, 4]), [2, 12]),
  reshape(f32([2, 3, 4]), [6, 4]),
  reshape(f32([]), [1, 1]),
  reshape(f32([1]), []),
  reshape(f32([0, 3]), [3, 0]),
  reshape(f32([0, 3]), [5, -1, 3], [5, 0, 3]),
  reshape(i32([4]), [2, 2]),
  {
    op: 'squeeze',
    inputs: [f32([1, 3, 1])],
    run: (x) => tf.squeeze(x!),
    ref: (x) => shaped(x!, [3]),
    covers: ['reshape'],
  },
  {
    op: 'squeeze',
    note: 'axis -1',
    inputs: [f32([1, 3, 1])],
    run: (x) => tf.squeeze(x!, -1),
    ref: (x) => shaped(x!, [1, 3]),
  },
  {
    op: 'squeeze',
    note: 'axis 1 of length 3',
    inputs: [f32([1, 3, 1])],
    run: (x) => tf.squeeze(x!, 1),
    ref: (x) => x!,
  },
  {
    op: 'unsqueeze',
    note: 'axis -1',
    inputs: [x23],
    run: (x) => tf.unsqueeze(x!, -1),
    ref: (x) => shaped(x!, [2, 3, 1]),
  },
  { op: 'unsqueeze', note: 'axis 0', inputs: [f32([])], run: (x) => tf.unsqueeze(x!, 0), ref: (x) => shaped(x!, [1]) },
  { op: 'flatten', inputs: [f32([2, 3, 4])], run: (x) => tf.flatten(x!), ref: (x) => shaped(x!, [24]) },
  {
    op: 'flatten',
    note: 'axes 1 to 2',
    inputs: [f32([2, 3, 4])],
    run: (x) => tf.flatten(x!, 1, 2),
    ref: (x) => shaped(x!, [2, 12]),
  },
  { op: 'flatten', inputs: [f32([])], run: (x) => tf.flatten(x!), ref: (x) => shaped(x!, [1]) },
  { op: 'clone', inputs: [f32([3, 5])], run: (x) => tf.clone(x!), ref: (x) => x! },
  { op: 'contiguous', inputs: [f32([3, 5])], run: (x) => tf.contiguous(x!), ref: (x) => x! },
  { op: 'clone', inputs: [f16([3, 5])], run: (x) => tf.clone(x!), ref: (x) => x! },

  permute(f32([2, 3, 4]), [2, 0, 1]),
  permute(f32([2, 3, 4]), [0, 1, 2]),
  permute(f32([0, 3]), [1, 0]),
  permute(bool([2, 3]), [1, 0]),
  { ...permute(f32([2, 3, 4]), [0, 2, 1]), op: 'transpose', run: (x) => tf.transpose(x!) },
  { ...permute(f32([2, 3, 4]), [2, 1, 0]), op: 'transpose', note: '0, -1', run: (x) => tf.transpose(x!, 0, -1) },

  expand(f32([3, 1]), [3, 4]),
  expand(f32([]), [2, 2]),
  expand(f32([1, 3]), [2, -1, 3]),
  expand(f32([2, 1, 3]), [-1, 2, -1]),
  expand(f16([3, 1]), [3, 2]),
  {
    op: 'expand',
    note: 'to nothing',
    inputs: [f32([3, 1])],
    run: (x) => tf.expand(x!, [3, 0]),
    ref: () => ({ shape: [3, 0], data: new Float64Array(0) }),
  },

  slice(f32([5, 4, 3]), [[1, 4]], [1, 0, 0], [3, 4, 3], whole),
  slice(f32([5, 4, 3]), [undefined, [-3, -1], null], [0, 1, 0], [5, 2, 3], whole),
  slice(f32([5, 4, 3]), [[0, 5, 2], 2, [1]], [0, 2, 1], [3, 1, 2], [2, 1, 1], [1]),
  slice(f32([5, 4, 3]), [-1], [4, 0, 0], [1, 4, 3], whole, [0]),
  slice(f32([5]), [[3, 3]], [3], [0], [1]),
  slice(f32([5]), [[4, 2]], [4], [0], [1]),
  slice(f32([5]), [[1, 99]], [1], [4], [1]),
  slice(f32([7]), [[undefined, undefined, 3]], [0], [3], [3]),
  slice(f16([5, 3]), [[1, 4]], [1, 0], [3, 3], [1, 1]),
  { ...slice(f32([4, 5]), [null, [1, 4]], [0, 1], [4, 3], [1, 1]), op: 'narrow', run: (x) => tf.narrow(x!, 1, 1, 3) },
  { ...slice(f32([4, 5]), [null, 3], [0, 3], [4, 1], [1, 1], [1]), op: 'select', run: (x) => tf.select(x!, 1, 3) },
  {
    op: 'split',
    inputs: [f32([5, 2])],
    run: (x) => tf.split(x!, 2),
    ref: (x) => [0, 2, 4].map((start) => build([Math.min(2, 5 - start), 2], ([i, j]) => get(x!, [start + i!, j!]))),
  },
  {
    op: 'split',
    note: 'sizes',
    inputs: [f32([2, 5])],
    run: (x) => tf.split(x!, [1, 4], 1),
    ref: (x) =>
      [[0, 1] as const, [1, 4] as const].map(([start, length]) =>
        build([2, length], ([i, j]) => get(x!, [i!, start + j!])),
      ),
  },
  {
    op: 'chunk',
    inputs: [f32([5])],
    run: (x) => tf.chunk(x!, 3),
    ref: (x) => [0, 2, 4].map((start) => build([Math.min(2, 5 - start)], ([i]) => get(x!, [start + i!]))),
  },
  {
    op: 'unbind',
    inputs: [f32([2, 3])],
    run: (x) => tf.unbind(x!, 1),
    ref: (x) => [0, 1, 2].map((j) => build([2], ([i]) => get(x!, [i!, j]))),
  },

  flip(f32([7]), [0]),
  flip(f32([3, 5]), [0, 1]),
  flip(f32([3, 5]), [1]),
  flip(f32([0, 5]), [0]),
  pad(f32([3]), [[1, 2]]),
  pad(
    f32([2, 3]),
    [
      [1, 0],
      [0, 2],
    ],
    -1.5,
  ),
  pad(f32([2, 3]), [[2, -1]]),
  pad(f32([2, 3]), [[-1, -1]]),
  pad(f32([0]), [[1, 1]], 3),
  pad(f16([2, 3]), [[1, 1]]),
  pad(i32([2, 3]), [[1, 1]], 7),
  concat([f32([2, 3]), f32([4, 3]), f32([1, 3])], 0),
  concat([f32([2, 3]), f32([2, 1])], -1, 1),
  concat([f32([0, 3]), f32([2, 3])], 0),
  concat([f16([2, 3]), f16([2, 2])], 1),
  concat([i32([3]), i32([2])], 0),
  {
    op: 'stack',
    inputs: [f32([2, 3]), f32([2, 3])],
    run: (a, b) => tf.stack([a!, b!], 1),
    ref: (a, b) => build([2, 2, 3], ([i, k, j]) => get(k === 0 ? a! : b!, [i!, j!])),
    covers: ['concat'],
  },
  {
    op: 'roll',
    inputs: [f32([5, 2])],
    run: (x) => tf.roll(x!, 2),
    ref: (x) => build([5, 2], ([i, j]) => get(x!, [(i! + 3) % 5, j!])),
  },
  {
    op: 'roll',
    note: 'by -1 along 1',
    inputs: [f32([2, 4])],
    run: (x) => tf.roll(x!, -1, 1),
    ref: (x) => build([2, 4], ([i, j]) => get(x!, [i!, (j! + 1) % 4])),
  },
  {
    op: 'roll',
    note: 'by 7',
    inputs: [f32([3])],
    run: (x) => tf.roll(x!, 7),
    ref: (x) => build([3], ([i]) => get(x!, [(i! + 2) % 3])),
  },

  {
    op: 'to',
    note: 'i32',
    inputs: [f32([7], -5, 5)],
    run: (x) => tf.cast(x!, 'i32'),
    ref: (x) => build(x!.shape, (index) => Math.trunc(get(x!, index))),
    grad: false,
  },
  { op: 'to', note: 'f16', inputs: [f32([7])], run: (x) => tf.cast(x!, 'f16'), ref: (x) => x! },
  { op: 'to', note: 'f32', inputs: [f16([7])], run: (x) => tf.cast(x!, 'f32'), ref: (x) => x! },
  {
    op: 'to',
    note: 'bool',
    inputs: [i32([7], -1, 1)],
    run: (x) => tf.cast(x!, 'bool'),
    ref: (x) => build(x!.shape, (index) => Number(get(x!, index) !== 0)),
  },
  { op: 'to', note: 'f32', inputs: [bool([7])], run: (x) => tf.cast(x!, 'f32'), ref: (x) => x! },
  { op: 'full', inputs: [], run: () => tf.full([2, 3], -1.5), ref: () => build([2, 3], () => -1.5) },
  {
    op: 'full',
    note: 'scalar, i32',
    inputs: [],
    run: () => tf.full([], 7, { dtype: 'i32' }),
    ref: () => build([], () => 7),
  },
  {
    op: 'assign',
    inputs: [f32([2, 3]), f32([3])],
    run: (x, y) => tf.assign(tf.clone(x!), y!),
    ref: (x, y) => build(x!.shape, (index) => get(y!, index)),
    grad: false,
  },
  {
    op: 'assign',
    note: 'through a slice',
    inputs: [f32([4, 3]), i32([2, 1])],
    run: (x, y) => {
      const copy = tf.clone(x!);
      tf.assign(tf.slice(copy, [1, 3]), y!);
      return copy;
    },
    ref: (x, y) => build(x!.shape, ([i, j]) => (i === 1 || i === 2 ? get(y!, [i - 1, 0]) : get(x!, [i!, j!]))),
    grad: false,
  },
  {
    op: 'addAssign',
    inputs: [fixed(f32([2, 3])), f32([2, 1])],
    run: (x, y) => tf.addAssign(tf.clone(x!), y!),
    ref: (x, y) => build(x!.shape, (index) => get(x!, index) + get(y!, index)),
    grad: false,
  },
  {
    op: 'addAssign',
    note: 'to itself, turned',
    inputs: [f32([3, 3])],
    run: (x) => {
      const copy = tf.clone(x!);
      return tf.addAssign(copy, tf.transpose(copy));
    },
    ref: (x) => build([3, 3], ([i, j]) => get(x!, [i!, j!]) + get(x!, [j!, i!])),
    grad: false,
  },
];

const m23 = (): tf.Tensor => tf.zeros([2, 3]);

export const errors: readonly ErrorCase[] = [
  { op: 'reshape', run: () => tf.reshape(m23(), [4, 2]), says: /\[2, 3\].*\[4, 2\]/ },
  { op: 'reshape', run: () => tf.reshape(m23(), [-1, -1]), says: /at most one/ },
  { op: 'reshape', run: () => tf.reshape(m23(), [-1, 4]), says: /\[-1, 4\]/ },
  { op: 'permute', run: () => tf.permute(m23(), [0, 0]), says: /\[0, 0\].*\[2, 3\]/ },
  { op: 'permute', run: () => tf.permute(m23(), [0]), says: /\[2, 3\]/ },
  { op: 'transpose', run: () => tf.transpose(m23(), 0, 2), says: /axis 2/ },
  { op: 'expand', run: () => tf.expand(m23(), [4, 3]), says: /\[2, 3\].*\[4, 3\]/ },
  { op: 'expand', run: () => tf.expand(m23(), [3]), says: /\[2, 3\].*\[3\]/ },
  { op: 'slice', run: () => tf.slice(m23(), 2), says: /index 2.*\[2, 3\]/ },
  { op: 'slice', run: () => tf.slice(m23(), null, null, null), says: /3 ranges.*\[2, 3\]/ },
  { op: 'slice', run: () => tf.slice(m23(), [0, 2, -1]), says: /step -1/ },
  { op: 'narrow', run: () => tf.narrow(m23(), 1, 2, 2), says: /2..4.*\[2, 3\]/ },
  { op: 'split', run: () => tf.split(m23(), [1, 3]), says: /\[1, 3\]/ },
  { op: 'split', run: () => tf.split(m23(), 0), says: /size 0/ },
  { op: 'chunk', run: () => tf.chunk(m23(), 0), says: /count 0/ },
  { op: 'flip', run: () => tf.flip(m23(), 2), says: /axis 2/ },
  {
    op: 'pad',
    run: () =>
      tf.pad(m23(), [
        [0, 0],
        [0, 0],
        [0, 0],
      ]),
    says: /3 pairs.*\[2, 3\]/,
  },
  { op: 'concat', run: () => tf.concat([m23(), tf.zeros([2, 2])]), says: /\[2, 3\].*\[2, 2\]/ },
  { op: 'concat', run: () => tf.concat([m23(), tf.zeros([2, 3], { dtype: 'i32' })]), says: /f32.*i32/ },
  { op: 'concat', run: () => tf.concat([]), says: /at least one/ },
  { op: 'stack', run: () => tf.stack([]), says: /at least one/ },
  { op: 'roll', run: () => tf.roll(m23(), 1, 5), says: /axis 5/ },
  { op: 'squeeze', run: () => tf.squeeze(m23(), 4), says: /axis 4/ },
  { op: 'assign', run: () => tf.assign(m23(), tf.zeros([2, 2])), says: /\[2, 2\].*\[2, 3\]|\[2, 3\].*\[2, 2\]/ },
  { op: 'tensor', run: () => tf.tensor([[1, 2], [3]]), says: /unequal/ },
  { op: 'tensor', run: () => tf.tensor([1, 2, 3], { shape: [2, 2] }), says: /\[2, 2\]/ },
];
