import * as tf from '../../autograd/index.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, i32, u32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/** An index counts from the end where it is negative. */
const at = (index: number, length: number): number => (index < 0 ? index + length : index);

const embedding = (table: InputSpec, index: InputSpec, more: Partial<OpCase> = {}): OpCase => ({
  op: 'embedding',
  inputs: [table, index],
  run: (t, i) => tf.embedding(t!, i!),
  ref: (t, i) =>
    build([...i!.shape, t!.shape[1]!], (place) =>
      get(t!, [at(get(i!, place.slice(0, -1)), t!.shape[0]!), place.at(-1)!]),
    ),
  covers: ['gatherRows'],
  ...more,
});

const moved = (index: readonly number[], axis: number, to: number): number[] =>
  index.map((own, i) => (i === axis ? to : own));

const gather = (x: InputSpec, axis: number, index: InputSpec, more: Partial<OpCase> = {}): OpCase => ({
  op: 'gather',
  note: `axis ${axis}`,
  inputs: [x, index],
  run: (t, i) => tf.gather(t!, axis, i!),
  ref: (t, i) => build(i!.shape, (place) => get(t!, moved(place, axis, at(get(i!, place), t!.shape[axis]!)))),
  ...more,
});

const scatterAdd = (
  x: InputSpec,
  axis: number,
  index: InputSpec,
  source: InputSpec,
  more: Partial<OpCase> = {},
): OpCase => ({
  op: 'scatterAdd',
  note: `axis ${axis}`,
  inputs: [x, index, source],
  run: (t, i, s) => tf.scatterAdd(t!, axis, i!, s!),
  ref: (t, i, s) => {
    const result = { shape: t!.shape, data: t!.data.slice() };
    build(i!.shape, (place) => {
      const to = moved(place, axis, at(get(i!, place), t!.shape[axis]!));
      let flat = 0;
      t!.shape.forEach((length, k) => (flat = flat * length + to[k]!));
      return (result.data[flat]! += get(s!, place));
    });
    return result;
  },
  ...more,
});

const indexSelect = (x: InputSpec, axis: number, index: InputSpec): OpCase => ({
  op: 'indexSelect',
  note: `axis ${axis}`,
  inputs: [x, index],
  run: (t, i) => tf.indexSelect(t!, axis, i!),
  ref: (t, i) =>
    build(
      t!.shape.map((length, k) => (k === axis ? i!.shape[0]! : length)),
      (place) => get(t!, moved(place, axis, at(get(i!, [place[axis]!]), t!.shape[axis]!))),
    ),
});

/** The rows of the padding index get no gradient: the table is read as a constant there. */
const padded = (t: Nd, i: Nd, original: readonly number[]): Nd =>
  build([...i.shape, 3], (place) => {
    const row = get(i, place.slice(0, -1));
    return row === 1 ? original[3 + place.at(-1)!]! : get(t, [row, place.at(-1)!]);
  });
const table = [0.5, -1, 2, 0.25, 1.5, -0.75, 1, 1.25, -2];

export const cases: readonly OpCase[] = [
  embedding(f32([5, 3]), i32([7], 0, 4), { second: true, covers: ['gatherRows', 'scatterAddRows'] }),
  embedding(f32([5, 4]), i32([2, 3], 0, 4)),
  embedding(f32([5, 8]), i32([9], 0, 1), { note: 'with many duplicates' }),
  embedding(f32([5, 3]), u32([4], 0, 4)),
  embedding(f32([1, 1]), i32([1], 0, 0)),
  embedding(f32([5, 3]), i32([0], 0, 4)),
  embedding(f32([5, 3]), i32([], 0, 4)),
  embedding(f32([5, 0]), i32([2], 0, 4)),
  embedding(f16([5, 4]), i32([6], 0, 4), { strided: false }),
  embedding(f16([5, 3]), i32([6], 0, 4), { strided: false }),
  {
    op: 'embedding',
    note: 'paddingIdx',
    inputs: [values(table, { shape: [3, 3] }), values([0, 1, 2, 1], { shape: [4], dtype: 'i32' })],
    run: (t, i) => tf.embedding(t!, i!, { paddingIdx: 1 }),
    ref: (t, i) => padded(t!, i!, table),
  },
  indexSelect(f32([5, 3]), 0, i32([4], 0, 4)),
  indexSelect(f32([2, 5, 3]), 1, i32([6], 0, 4)),
  indexSelect(f32([2, 3, 5]), 2, i32([2], -5, 4)),
  gather(f32([4, 5]), 1, i32([4, 3], 0, 4), { second: true, covers: ['scatterAdd'] }),
  gather(f32([4, 5]), 0, i32([7, 5], 0, 3)),
  gather(f32([2, 3, 4]), 1, i32([2, 1, 4], -3, 2)),
  gather(f32([7]), 0, i32([3], 0, 6)),
  gather(f32([4, 5]), 1, i32([4, 0], 0, 4)),
  gather(f32([4, 5]), 1, i32([2, 3], 0, 4), { note: 'shorter index' }),
  gather(f16([4, 5]), 1, i32([4, 3], 0, 4), { strided: false }),
  gather(i32([4, 5]), 1, i32([4, 3], 0, 4)),
  scatterAdd(f32([4, 5]), 1, i32([4, 3], 0, 4), f32([4, 3]), { second: true, covers: ['gather'] }),
  scatterAdd(f32([4, 5]), 0, i32([7, 5], 0, 3), f32([7, 5])),
  scatterAdd(f32([3]), 0, i32([50], 0, 2), f32([50]), { note: 'with many duplicates', loose: 3 }), // sums of 17 numbers
  scatterAdd(f32([2, 3, 4]), 1, i32([2, 2, 4], -3, 2), f32([2, 2, 4])),
  scatterAdd(f32([3]), 0, i32([0], 0, 2), f32([0])),
  scatterAdd(f32([4, 5]), 1, i32([2, 3], 0, 4), f32([3, 4]), { note: 'shorter index' }),
  {
    op: 'oneHot',
    inputs: [i32([2, 3], 0, 3)],
    run: (i) => tf.oneHot(i!, 4),
    ref: (i) => build([2, 3, 4], (place) => Number(get(i!, place.slice(0, 2)) === place[2])),
  },
];

const index = (...list: number[]): tf.Tensor => tf.tensor(list, { dtype: 'i32' });
const m43 = (): tf.Tensor => tf.zeros([4, 3]);

export const errors: readonly ErrorCase[] = [
  { op: 'embedding', run: () => tf.embedding(m43(), index(0, 4)), says: /index 4.*4 entries/ },
  { op: 'embedding', run: () => tf.embedding(m43(), index(-1)), says: /index -1/ },
  { op: 'embedding', run: () => tf.embedding(tf.zeros([4]), index(0)), says: /\[4\]/ },
  { op: 'embedding', run: () => tf.embedding(m43(), tf.zeros([2], { dtype: 'bool' })), says: /bool/ },
  { op: 'indexSelect', run: () => tf.indexSelect(m43(), 0, tf.zeros([2, 2], { dtype: 'i32' })), says: /\[2, 2\]/ },
  { op: 'indexSelect', run: () => tf.indexSelect(m43(), 2, index(0)), says: /axis 2/ },
  { op: 'gather', run: () => tf.gather(m43(), 0, index(1)), says: /\[1\].*\[4, 3\]/ },
  { op: 'gather', run: () => tf.gather(tf.zeros([3]), 0, index(3)), says: /index 3.*3 entries/ },
  { op: 'scatterAdd', run: () => tf.scatterAdd(tf.zeros([3]), 0, index(0, 1), tf.zeros([1])), says: /\[2\].*\[1\]/ },
  { op: 'oneHot', run: () => tf.oneHot(index(0, 5), 5), says: /index 5/ },
];
