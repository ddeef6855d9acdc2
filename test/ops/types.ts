import * as tf from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import { build, elementwise, get, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { bool, f32, i32, u32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/** Bool and whole numbers as PyTorch takes them, and numbers at the edges of what a float can hold. */
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

/** Sizes with and without a factor of 4: kernels of vec4s and of single elements. */
const sizes = [7, 8];

interface Typed {
  readonly op: string;
  readonly note?: string;
  readonly input: (shape: readonly number[]) => readonly InputSpec[];
  readonly run: (...x: Tensor[]) => Tensor;
  readonly ref: OpCase['ref'];
  readonly gives: Dtype;
}

const typed = ({ op, note, input, run, ref, gives }: Typed): OpCase[] =>
  sizes.map((size) => ({
    op,
    note: [note, `gives ${gives}`].filter(Boolean).join(', '),
    inputs: input([size]),
    run: (...x) => {
      const y = run(...x);
      if (y.dtype !== gives) throw new Error(`${op} gives ${y.dtype}, not ${gives}`);
      return y;
    },
    ref,
    grad: false,
    strided: false,
  }));

const each =
  (f: (...x: number[]) => number): OpCase['ref'] =>
  (...x: Nd[]) =>
    elementwise(f, ...x);

const one = (make: (shape: readonly number[]) => InputSpec) => (shape: readonly number[]) => [make(shape)];
const two = (make: (shape: readonly number[]) => InputSpec) => (shape: readonly number[]) => [make(shape), make(shape)];
const small = (shape: readonly number[]): InputSpec => i32(shape, -3, 3);
const natural = (shape: readonly number[]): InputSpec => u32(shape, 0, 5);

/** a to the power b as a whole number of 32 bits. */
function wholePower(a: number, b: number): number {
  if (b < 0) return a === 1 ? 1 : a === -1 ? (b % 2 === 0 ? 1 : -1) : 0;
  return Number(BigInt.asIntN(32, BigInt(a) ** BigInt(b)));
}

/** IEEE 754's pow of f32, where JavaScript's gives NaN for 1 to NaN and for 1 and -1 to infinity. */
const power = (x: number, y: number): number => (x === 1 || (x === -1 && Math.abs(y) === inf) ? 1 : x ** y);

const bases = [0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, inf, -inf, nan, 1e30, -1e-30];
const exponents = [0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, inf, -inf, nan, 1.5, -2.5, 1e9, 16777216];
const pairs = bases.flatMap((x) => exponents.map((y) => [x, y] as const));

export const cases: readonly OpCase[] = [
  ...typed({ op: 'add', input: two(bool), run: tf.add, ref: each((a, b) => a | b), gives: 'bool' }),
  ...typed({ op: 'mul', input: two(bool), run: tf.mul, ref: each((a, b) => a & b), gives: 'bool' }),
  ...typed({ op: 'maximum', input: two(bool), run: tf.maximum, ref: each(Math.max), gives: 'bool' }),
  ...typed({ op: 'add', input: one(bool), run: (x) => tf.add(x!, 1), ref: each((x) => x + 1), gives: 'i32' }),
  ...typed({ op: 'add', input: one(bool), run: (x) => tf.add(x!, -1), ref: each((x) => x - 1), gives: 'i32' }),
  ...typed({ op: 'div', input: one(bool), run: (x) => tf.div(x!, 2), ref: each((x) => x / 2), gives: 'f32' }),
  ...typed({ op: 'sum', input: one(bool), run: (x) => tf.sum(x!), ref: (x) => count(x!), gives: 'i32' }),
  ...typed({ op: 'sum', input: one(natural), run: (x) => tf.sum(x!), ref: (x) => count(x!), gives: 'i32' }),
  ...typed({ op: 'sign', input: one(bool), run: tf.sign, ref: each((x) => x), gives: 'bool' }),
  ...typed({ op: 'sign', input: one(natural), run: tf.sign, ref: each(Math.sign), gives: 'u32' }),
  ...typed({ op: 'sign', input: one(small), run: tf.sign, ref: each(Math.sign), gives: 'i32' }),
  ...typed({ op: 'abs', input: one(natural), run: tf.abs, ref: each((x) => x), gives: 'u32' }),
  ...[tf.floor, tf.ceil, tf.round].flatMap((run) => [
    ...typed({ op: 'clone', note: 'whole', input: one(small), run, ref: each((x) => x), gives: 'i32' }),
    ...typed({ op: 'clone', note: 'whole', input: one(natural), run, ref: each((x) => x), gives: 'u32' }),
  ]),
  ...typed({
    op: 'pow',
    input: (shape) => [i32(shape, -3, 3), i32(shape, -2, 9)],
    run: tf.pow,
    ref: each(wholePower),
    gives: 'i32',
  }),
  ...typed({ op: 'pow', input: two(natural), run: tf.pow, ref: each(wholePower), gives: 'u32' }),
  ...typed({
    op: 'pow',
    note: 'to 21',
    input: one(small),
    run: (x) => tf.pow(x!, 21),
    ref: each((x) => wholePower(x, 21)),
    gives: 'i32',
  }),
  ...typed({
    op: 'pow',
    note: 'of 2',
    input: one(small),
    run: (x) => tf.pow(2, x!),
    ref: each((x) => wholePower(2, x)),
    gives: 'i32',
  }),
  ...typed({ op: 'square', input: one(bool), run: (x) => tf.pow(x!, 2), ref: each((x) => x), gives: 'i32' }),
  ...typed({
    op: 'where',
    note: 'maskedFill with 6',
    input: two(bool),
    run: (x, mask) => tf.maskedFill(x!, mask!, 6),
    ref: each((x, mask) => x | mask),
    gives: 'bool',
  }),
  ...typed({
    op: 'where',
    note: 'maskedFill with 2.7',
    input: (shape) => [small(shape), bool(shape)],
    run: (x, mask) => tf.maskedFill(x!, mask!, 2.7),
    ref: each((x, mask) => (mask ? 2 : x)),
    gives: 'i32',
  }),
  ...[6, 0.5, -1].flatMap((value) => [
    ...typed({
      op: 'full',
      note: `value ${value}`,
      input: one(bool),
      run: (x) => tf.full(x!.shape, value, { dtype: 'bool' }),
      ref: each(() => 1),
      gives: 'bool',
    }),
    ...typed({
      op: 'pad',
      note: `value ${value}`,
      input: one(bool),
      run: (x) => tf.pad(x!, [[2, 3]], value),
      ref: (x) => build([x!.shape[0]! + 5], ([i]) => x!.data[i! - 2] ?? 1),
      gives: 'bool',
    }),
  ]),
  ...typed({
    op: 'scatterAdd',
    input: (shape) => [bool(shape), i32(shape, 0, 2), bool(shape)],
    run: (x, index, source) => tf.scatterAdd(x!, 0, index!, source!),
    ref: (x, index, source) =>
      build(x!.shape, ([l]) =>
        Math.max(x!.data[l!]!, ...Array.from(source!.data, (value, j) => (index!.data[j] === l ? value : 0))),
      ),
    gives: 'bool',
  }),
  ...typed({
    op: 'assign',
    input: one((shape) => f32(shape, 0.1, 0.9)),
    run: (x) => tf.assign(tf.zeros(x!.shape, { dtype: 'bool' }), x!),
    ref: each(() => 1),
    gives: 'bool',
  }),
  ...typed({
    op: 'addAssign',
    input: two(bool),
    run: (x, y) => tf.addAssign(tf.contiguous(tf.logicalNot(x!)), y!),
    ref: each((x, y) => (1 - x) | y),
    gives: 'bool',
  }),

  {
    op: 'pow',
    note: 'at zeros, infinities and NaN',
    inputs: [values(pairs.map(([x]) => x)), values(pairs.map(([, y]) => y))],
    run: (x, y) => tf.pow(x!, y!),
    ref: (x, y) => elementwise(power, x!, y!),
    grad: false,
    strided: false,
  },
  ...exponents.map((y): OpCase => ({
    op: y === 2 ? 'square' : y === 3 ? 'cube' : y === -1 ? 'reciprocal' : y === 0.5 ? 'sqrt' : 'pow',
    note: `to ${Object.is(y, -0) ? '-0' : y}`,
    inputs: [values(bases)],
    run: (x) => tf.pow(x!, y),
    // The square root of -Infinity is NaN, as in PyTorch.
    ref: (x) => elementwise((own) => (y === 0.5 ? Math.sqrt(own) : power(own, y)), x!),
    grad: false,
    strided: false,
  })),
  {
    op: 'pow',
    note: 'derivatives at 0',
    inputs: [values([0, 0, 0, 0]), values([0, 1, 2, 3])],
    run: (x, y) => tf.pow(x!, y!),
    ref: (x, y) => elementwise(power, x!, y!),
    grads: [
      [0, 1, 0, 0],
      [0, 0, 0, 0],
    ],
    strided: false,
  },
  ...[0, -1].map((axis): OpCase => ({
    op: 'sum',
    note: `mean of a scalar along axis ${axis}`,
    inputs: [f32([])],
    run: (x) => tf.mean(x!, axis),
    ref: (x) => x!,
  })),
  {
    op: 'cosineSimilarity',
    note: 'norms after broadcasting',
    inputs: [f32([1, 3], 1, 2), f32([2, 1], 1, 2)],
    run: (a, b) => tf.cosineSimilarity(a!, b!),
    ref: (a, b) =>
      build([2], ([row]) => {
        const [x, y] = [a!, b!].map((own) => [0, 1, 2].map((column) => get(own, [row!, column]))) as [
          number[],
          number[],
        ];
        const dot = (u: number[], v: number[]): number => total(u.map((value, i) => value * v[i]!));
        return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
      }),
  },
];

function count({ data }: Nd): Nd {
  return { shape: [], data: Float64Array.of(total([...data])) };
}

const yes = (shape: readonly number[]): Tensor => tf.ones(shape, { dtype: 'bool' });
const unsigned = (): Tensor => tf.ones([4], { dtype: 'u32' });
const whole = (): Tensor => tf.ones([4], { dtype: 'i32' });
const scalar = (): Tensor => tf.tensor(5);

export const errors: readonly ErrorCase[] = [
  { op: 'neg', run: () => tf.neg(yes([4])), says: /bool \[4\].*logicalNot\(\)/ },
  { op: 'neg', run: () => tf.neg(unsigned()), says: /u32 \[4\].*to\('i32'\)/ },
  { op: 'abs', run: () => tf.abs(yes([5])), says: /bool \[5\].*to\('i32'\)/ },
  { op: 'floor', run: () => tf.floor(yes([4])), says: /bool \[4\]/ },
  { op: 'relu', run: () => tf.relu(yes([4])), says: /bool \[4\]/ },
  { op: 'sub', run: () => tf.sub(yes([4]), yes([4])), says: /bool \[4\]/ },
  { op: 'sub', run: () => tf.sub(1, yes([4])), says: /bool \[4\].*logicalNot\(\)/ },
  { op: 'sub', run: () => tf.sub(whole(), yes([4])), says: /bool \[4\]/ },
  { op: 'pow', run: () => tf.pow(yes([4]), yes([4])), says: /bool \[4\]/ },
  { op: 'pow', run: () => tf.pow(whole(), -2), says: /i32 \[4\].*-2.*to\('f32'\)/ },
  { op: 'lt', run: () => tf.lt(unsigned(), -1), says: /-1 does not fit u32.*to\('i32'\)/ },
  { op: 'add', run: () => tf.add(whole(), 3e9), says: /3000000000 does not fit i32.*to\('f32'\)/ },
  { op: 'add_', run: () => tf.add_(whole(), 1.5), says: /f32.*i32 \[4\]/ },
  { op: 'mul_', run: () => tf.mul_(yes([4]), 3), says: /i32.*bool \[4\]/ },
  { op: 'addAssign', run: () => tf.addAssign(whole(), tf.ones([4])), says: /f32.*i32 \[4\]/ },
  { op: 'concat', run: () => tf.concat([scalar(), scalar()]), says: /stack\(\)/ },
  { op: 'unbind', run: () => tf.unbind(scalar()), says: /scalar/ },
  { op: 'select', run: () => tf.select(scalar(), 0, 0), says: /scalar/ },
  { op: 'split', run: () => tf.split(scalar(), 1), says: /scalar/ },
  { op: 'chunk', run: () => tf.chunk(scalar(), 1), says: /scalar/ },
  { op: 'narrow', run: () => tf.narrow(scalar(), 0, 0, 1), says: /scalar/ },
  { op: 'roll', run: () => tf.roll(scalar(), 1), says: /scalar/ },
  { op: 'reshape', run: () => tf.reshape(tf.zeros([0, 5]), [0, -1]), says: /\[0, 5\] to \[0, -1\]/ },
  { op: 'sum', run: () => tf.sum(scalar(), 1), says: /axis 1.*scalar/ },
  { op: 'gelu', run: () => tf.gelu(scalar(), { approximate: 'erf' as 'none' }), says: /'none' or 'tanh', got 'erf'/ },
  { op: 'embedding', run: () => tf.embedding(tf.ones([3, 2]), tf.tensor([0.5])), says: /index 0\.5/ },
  { op: 'crossEntropy', run: () => tf.crossEntropy(tf.ones([1, 3]), tf.tensor([0.5])), says: /label 0\.5/ },
];
