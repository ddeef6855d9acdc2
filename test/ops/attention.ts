import * as tf from '../../autograd/index.ts';
import type { AttentionOptions } from '../../autograd/ops/attention.ts';
import { AttentionReference } from '../support/attention.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { bool, f16, f32, fixed, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';
import { seed, uniform } from '../support/philox.ts';

type Options = Omit<AttentionOptions, 'mask' | 'documents'>;

const drawn: number[] = [];

/** Factors of the weights under dropout, from the first stream of the seed. */
function keep({ dropout = 0, training = true }: Options): (i: number) => number {
  return (i) => (training && dropout > 0 ? ((drawn[i] ??= uniform(i)) >= dropout ? 1 / (1 - dropout) : 0) : 1);
}

/** Keys or values of fewer heads than queries, each for the neighbouring query heads that share it. */
const byQueryHead = (x: Nd, q: Nd): Nd => {
  const [own, heads] = [x.shape[1]!, q.shape[1]!];
  if (q.shape.length !== 4 || own === 1 || own === heads) return x;
  const shape = [x.shape[0]!, heads, ...x.shape.slice(2)];
  return build(shape, ([b, h, t, d]) => get(x, [b!, Math.floor(h! / (heads / own)), t!, d!]));
};

const isBool = (spec: InputSpec | undefined): boolean => spec?.dtype === 'bool';

const attention = (
  inputs: readonly [q: InputSpec, k: InputSpec, v: InputSpec, mask?: InputSpec],
  options: Options = {},
  more: Partial<OpCase> = {},
): OpCase => ({
  op: 'scaledDotProductAttention',
  inputs: inputs as readonly InputSpec[],
  seed,
  run: (q, k, v, mask) => tf.scaledDotProductAttention(q!, k!, v!, { ...options, mask }),
  ref: (q, k, v, mask) =>
    new AttentionReference([q!, byQueryHead(k!, q!), byQueryHead(v!, q!)], mask, isBool(inputs[3]), {
      ...options,
      keep: keep(options),
    }).y,
  loose: 3, // two matrix products and a softmax
  ...more,
  note: [JSON.stringify(options), more.note].filter(Boolean).join(' '),
});

/** Cases that the fused kernels take. */
const fused = (...[inputs, options, more = {}]: Parameters<typeof attention>): OpCase =>
  attention(inputs, options, {
    ...more,
    covers: ['flashAttention', ...(more.grad === false ? [] : ['flashAttentionBackward'])],
  });

/** Query, key or value of packed projections, as [B, H, T, D]. */
const part = (qkv: Nd, which: number): Nd => {
  const [batch, tokens, , heads, width] = qkv.shape as [number, number, number, number, number];
  return build([batch, heads, tokens, width], ([b, h, t, d]) => get(qkv, [b!, t!, which, h!, d!]));
};

const packed = (
  inputs: readonly [qkv: InputSpec, mask?: InputSpec],
  options: Options = {},
  more: Partial<OpCase> = {},
): OpCase => ({
  op: 'packedAttention',
  note: JSON.stringify(options),
  inputs: inputs as readonly InputSpec[],
  seed,
  run: (qkv, mask) => tf.packedAttention(qkv!, { ...options, mask }),
  ref: (qkv, mask) => {
    const parts = [part(qkv!, 0), part(qkv!, 1), part(qkv!, 2)] as const;
    const { y } = new AttentionReference(parts, mask, isBool(inputs[1]), { ...options, keep: keep(options) });
    const [batch, heads, tokens, width] = y.shape as [number, number, number, number];
    return build([batch, tokens, heads, width], ([b, t, h, d]) => get(y, [b!, h!, t!, d!]));
  },
  loose: 3,
  ...more,
});

/**
 * Rows of documents of these lengths, numbered 1, 2, 1, 2 ..: a number that comes again is another document.
 */
const documentsOf = (...rows: readonly (readonly number[])[]): InputSpec =>
  values(
    rows.flatMap((lengths) => lengths.flatMap((length, i) => new Array<number>(length).fill(1 + (i % 2)))),
    { shape: [rows.length, rows[0]!.reduce((sum, length) => sum + length)], dtype: 'i32' },
  );

/** Cases with documents, which come last among the inputs. */
const inDocuments = (
  inputs: readonly [q: InputSpec, k: InputSpec, v: InputSpec, documents: InputSpec],
  options: Options = {},
  more: Partial<OpCase> = {},
): OpCase => ({
  ...attention([inputs[0], inputs[1], inputs[2]], options, more),
  inputs,
  note: `documents ${JSON.stringify(options)}`,
  covers: inputs[0].shape[3]! % 4 === 0 ? ['flashAttention', 'documentRanges'] : ['documentRanges'],
  run: (q, k, v, documents) => tf.scaledDotProductAttention(q!, k!, v!, { ...options, documents }),
  ref: (q, k, v, documents) =>
    new AttentionReference([q!, byQueryHead(k!, q!), byQueryHead(v!, q!)], undefined, false, {
      ...options,
      documents,
      keep: keep(options),
    }).y,
});

const packedDocuments = (qkv: InputSpec, documents: InputSpec, options: Options): OpCase => ({
  ...packed([qkv], options),
  inputs: [qkv, documents],
  note: `documents ${JSON.stringify(options)}`,
  run: (qkv, documents) => tf.packedAttention(qkv!, { ...options, documents }),
  ref: (qkv, documents) => {
    const { y } = new AttentionReference([part(qkv!, 0), part(qkv!, 1), part(qkv!, 2)], undefined, false, {
      ...options,
      documents,
    });
    const [batch, heads, tokens, width] = y.shape as [number, number, number, number];
    return build([batch, tokens, heads, width], ([b, t, h, d]) => get(y, [b!, h!, t!, d!]));
  },
});

const [q, k, v] = [f32([2, 3, 4]), f32([2, 5, 4]), f32([2, 5, 4])];
const wideValues = f32([2, 5, 6]);
/** Hides all keys of the second query, and some of the others'. */
const holes = values([1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1], { shape: [3, 5], dtype: 'bool' });
/** The same with -Infinity, which is added. */
const emptied = fixed(
  values(
    holes.values!.map((allowed) => (allowed ? 0.5 : -Infinity)),
    { shape: [3, 5] },
  ),
);

const nine = f32([2, 2, 9, 4]);
const nineInDocuments = documentsOf([3, 4, 1, 1], [9]);

export const cases: readonly OpCase[] = [
  inDocuments([nine, nine, nine, nineInDocuments], {}, { second: true }),
  inDocuments([nine, nine, nine, nineInDocuments], { causal: true, dropout: 0.3 }, { second: true }),
  inDocuments([nine, f32([2, 1, 9, 4]), f32([2, 1, 9, 4]), nineInDocuments], { causal: true, slidingWindow: 2 }),
  inDocuments([f32([1, 1, 70, 8]), f32([1, 1, 70, 8]), f32([1, 1, 70, 8]), documentsOf([33, 30, 7])], { causal: true }),
  inDocuments(
    [f32([2, 2, 9, 6]), f32([2, 2, 9, 6]), f32([2, 2, 9, 6]), nineInDocuments],
    { causal: true },
    { second: true },
  ),
  packedDocuments(f32([2, 9, 3, 2, 4]), nineInDocuments, { causal: true, softCap: 0.8 }),
  packedDocuments(f32([2, 9, 3, 1, 6]), nineInDocuments, {}),
  fused([q, k, v], {}, { second: true }),
  fused([f32([3, 4]), f32([5, 4]), f32([5, 4])]),
  fused([f32([1, 8]), f32([1, 8]), f32([1, 8])]),
  fused([f32([2, 2, 3, 4]), f32([2, 2, 3, 4]), f32([2, 2, 3, 4])], { causal: true }, { second: true }),
  fused([f32([2, 3, 19, 12]), f32([2, 3, 19, 12]), f32([2, 3, 19, 12])], { causal: true }),
  fused([f32([2, 3, 9, 20]), f32([2, 3, 37, 20]), f32([2, 3, 37, 20])], { scale: 0.2 }),
  fused([f32([1, 2, 21, 8]), f32([1, 2, 6, 8]), f32([1, 2, 6, 8])], { causal: true }),
  fused([f32([1, 2, 5, 8]), f32([1, 2, 9, 8]), f32([1, 2, 9, 8])], { causal: true }),
  fused([f32([1, 1, 3, 128]), f32([1, 1, 6, 128]), f32([1, 1, 6, 128])]),
  fused([f32([1, 2, 3, 4]), f32([2, 2, 5, 4]), f32([2, 1, 5, 4])], {}, { note: 'batches broadcast' }),
  fused(
    [f32([2, 6, 9, 8]), f32([2, 2, 5, 8]), f32([2, 2, 5, 8])],
    {},
    { note: 'query heads share keys', second: true },
  ),
  fused([f32([1, 4, 19, 4]), f32([1, 2, 19, 4]), f32([1, 2, 19, 4]), bool([1, 1, 1, 19])], {
    causal: true,
    dropout: 0.3,
  }),
  fused([f32([1, 4, 3, 4]), f32([2, 2, 5, 4]), f32([2, 2, 5, 4])], {}, { note: 'shared keys, batches broadcast' }),
  fused([f16([2, 4, 9, 16]), f16([2, 2, 9, 16]), f16([2, 2, 9, 16])], { causal: true }, { loose: 2 }),
  attention([f32([1, 4, 3, 6]), f32([1, 2, 5, 6]), f32([1, 2, 5, 6])], {}, { note: 'shared keys' }),
  fused([q, k, v, bool([2, 1, 5])], {}, { second: true }),
  fused([q, k, v, holes], {}, { note: 'a query without keys', second: true }),
  fused([q, k, v, emptied], {}, { note: 'a query without keys, by addition' }),
  fused([q, k, v, emptied], { causal: true }, { note: 'a query without keys, by addition' }),
  attention([q, k, wideValues, holes], {}, { note: 'a query without keys', second: true }),
  attention([q, k, wideValues, emptied], {}, { note: 'a query without keys, by addition' }),
  attention([q, k, wideValues, emptied], { causal: true }, { note: 'a query without keys, by addition' }),
  attention([f16([2, 3, 4]), f16([2, 5, 4]), f16([2, 5, 6]), holes], {}, { strided: false, loose: 6 }),
  packed([f32([1, 6, 3, 1, 16]), fixed({ ...bool([1, 1, 6, 6]), range: [0, 0] })], {}, { note: 'no keys at all' }),
  packed([f32([1, 6, 3, 1, 6]), fixed({ ...bool([1, 1, 6, 6]), range: [0, 0] })], {}, { note: 'no keys at all' }),
  fused([q, k, v, holes], { causal: true, dropout: 0.3 }, { note: 'a query without keys' }),
  fused([f32([2, 2, 6, 4]), f32([2, 2, 6, 4]), f32([2, 2, 6, 4]), bool([2, 1, 1, 6])], { dropout: 0.4 }),
  fused([f32([2, 2, 6, 4]), f32([2, 2, 6, 4]), f32([2, 2, 6, 4]), fixed(f32([6, 1], -2, 0))]),
  fused([q, k, v, fixed(f32([2, 3, 5], -5, 0))], { causal: true, scale: 0.3 }),
  // scores are rounded at 30000
  fused([q, k, v, fixed(f32([5], -30000, -29990))], {}, { note: 'all masked by addition', loose: 2000 }),
  fused([f32([2, 2, 7, 8]), f32([2, 2, 8, 8]), f32([2, 2, 8, 8])], { dropout: 0.25 }, { second: true }),
  fused([f32([2, 2, 7, 8]), f32([2, 2, 5, 8]), f32([2, 2, 5, 8])], { dropout: 0.25 }),
  fused(
    [f32([2, 2, 19, 4]), f32([2, 1, 19, 4]), f32([2, 1, 19, 4])],
    { causal: true, slidingWindow: 5 },
    {
      second: true,
    },
  ),
  fused([f32([1, 2, 21, 8]), f32([1, 2, 6, 8]), f32([1, 2, 6, 8])], { causal: true, slidingWindow: 3 }),
  fused([q, k, v, holes], { causal: true, slidingWindow: 2 }, { second: true }),
  fused([q, k, v], { softCap: 0.4 }, { second: true }),
  fused([q, k, v, fixed(f32([2, 3, 5], -5, 0))], { softCap: 2, scale: 3, causal: true, slidingWindow: 2 }),
  fused([f32([2, 3, 4], -40, 40), f32([2, 5, 4], -40, 40), v], { softCap: 50 }, { note: 'large', grad: false }),
  attention([q, k, wideValues], { causal: true, slidingWindow: 1, softCap: 0.5 }, { second: true }),
  attention([f32([2, 7, 6]), f32([2, 3, 6]), f32([2, 3, 6])], { causal: true, slidingWindow: 2 }),
  attention([q, k, wideValues, holes], { causal: true, slidingWindow: 2, softCap: 1 }),
  fused([q, k, v], { dropout: 1 }),
  fused([q, k, v], { dropout: 0.5, training: false }),
  // scores in the thousands
  fused([f32([2, 3, 4], -40, 40), f32([2, 5, 4], -40, 40), v], {}, { note: 'large', grad: false, loose: 100 }),
  fused([f16([2, 3, 4]), f16([2, 5, 4]), f16([2, 5, 4])], {}, { loose: 2 }), // the gradient reads a rounded output
  fused([f16([2, 2, 9, 16]), f16([2, 2, 9, 16]), f16([2, 2, 9, 16]), bool([9])], { dropout: 0.25 }, { loose: 2 }),
  attention([q, k, v, f32([3, 5])], {}, { note: 'gradient of the mask' }),
  attention([q, k, wideValues], {}, { second: true }),
  attention([q, k, wideValues, holes], { causal: true, dropout: 0.3 }),
  attention([f32([2, 1, 1]), f32([2, 1, 1]), f32([2, 1, 1])]),
  fused([f32([1, 1, 3, 132]), f32([1, 1, 2, 132]), f32([1, 1, 2, 132])]),
  attention([f32([1, 1, 3, 260]), f32([1, 1, 2, 260]), f32([1, 1, 2, 260])]),
  attention([f32([2, 0, 4]), k, v]),
  // scores and weights are rounded on the way
  attention([f16([2, 3, 4]), f16([2, 5, 4]), f16([2, 5, 6])], {}, { strided: false, loose: 6 }),

  packed([f32([2, 5, 3, 2, 4])], {}, { second: true, covers: ['packedAttentionBackward'] }),
  packed([f32([2, 18, 3, 2, 8]), bool([2, 1, 1, 18])], { causal: true, dropout: 0.2 }),
  packed([f32([1, 6, 3, 1, 16]), fixed(f32([1, 1, 6, 6]))]),
  packed([f32([2, 18, 3, 2, 8])], { causal: true, slidingWindow: 4, softCap: 1 }, { second: true }),
  packed([f16([2, 5, 3, 2, 8])], { causal: true }, { loose: 2 }),
  packed([f32([2, 5, 3, 2, 3])], { dropout: 0.2 }),
];

export const errors: readonly ErrorCase[] = [
  {
    op: 'scaledDotProductAttention',
    run: () => {
      const x = tf.zeros([1, 2, 4, 4]);
      return tf.scaledDotProductAttention(x, x, x, { documents: tf.zeros([1, 3], { dtype: 'i32' }) });
    },
    says: /documents i32 \[1, 3\] must be i32 \[B, T\] for queries \[1, 2, 4, 4\]/,
  },
  {
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([1, 4, 3, 4]), tf.zeros([1, 3, 5, 4]), tf.zeros([1, 3, 5, 4])),
    says: /\[1, 4\].*\[1, 3\]/,
  },
  {
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([2, 3, 4]), tf.zeros([2, 5, 3]), tf.zeros([2, 5, 4])),
    says: /\[2, 3, 4\].*\[2, 5, 3\]/,
  },
  {
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([2, 3, 4]), tf.zeros([2, 5, 4]), tf.zeros([2, 3, 4])),
    says: /\[2, 5, 4\].*\[2, 3, 4\]/,
  },
  {
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([2, 3, 4]), tf.zeros([3, 5, 4]), tf.zeros([3, 5, 4])),
    says: /\[2\].*\[3\]/,
  },
  {
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([3, 4]), tf.zeros([5, 4]), tf.zeros([5, 4]), { dropout: 2 }),
    says: /2/,
  },
  {
    op: 'scaledDotProductAttention',
    run: () =>
      tf.scaledDotProductAttention(tf.zeros([3, 4]), tf.zeros([5, 4]), tf.zeros([5, 4]), {
        mask: tf.ones([4], { dtype: 'bool' }),
      }),
    says: /\[4\].*\[3, 5\]/,
  },
  ...(
    [
      [{ causal: true, slidingWindow: 0 }, /slidingWindow is 0; it must be a whole number of tokens, at least 1/],
      [{ causal: true, slidingWindow: 1.5 }, /slidingWindow is 1\.5/],
      [{ slidingWindow: 3 }, /slidingWindow goes with causal attention only/],
      [{ softCap: -1 }, /softCap is -1; it must be a number above 0/],
    ] as const
  ).map(([options, says]) => ({
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([3, 4]), tf.zeros([3, 4]), tf.zeros([3, 4]), options),
    says,
  })),
  { op: 'packedAttention', run: () => tf.packedAttention(tf.zeros([2, 5, 2, 3, 4])), says: /\[2, 5, 2, 3, 4\]/ },
];
