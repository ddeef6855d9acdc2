import type { Allocation } from '../../gpu/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import { matmulDispatch, matmulPlans } from '../../kernels/matmul/matmul.ts';
import type { MatmulPlan } from '../../kernels/matmul/matmul.ts';
import type { Product, MatrixOperand } from '../../kernels/matmul/product.ts';
import type { Kit, OwnRow } from './row.ts';

type Fn = (tf: Kit['tf'], ...x: Tensor[]) => Tensor;
type Shape = readonly number[];

const titled = (shapes: readonly Shape[]): string => shapes.map((shape) => shape.join('x')).join(' ');

/** Tensors of random numbers, used again at every run. */
const inputs = ({ tf }: Kit, shapes: readonly Shape[]): Tensor[] => shapes.map((shape) => tf.normal(shape).keep());

/** An op, forward only. */
function forward(name: string, shapes: readonly Shape[], fn: Fn): OwnRow {
  return {
    name,
    shape: titled(shapes),
    dtype: 'f32',
    own: (kit) => {
      const x = inputs(kit, shapes);
      return () => kit.tf.noGrad(() => fn(kit.tf, ...x));
    },
  };
}

/** The derivative of an op by all its inputs, without the forward pass. */
function backward(name: string, shapes: readonly Shape[], fn: Fn): OwnRow {
  return {
    name: `${name} backward`,
    shape: titled(shapes),
    dtype: 'f32',
    own: (kit) => {
      const { tf } = kit;
      const x = inputs(kit, shapes);
      for (const t of x) t.requiresGrad = true;
      const y = fn(tf, ...x);
      const g = tf.normal(y.shape).keep();
      return () => tf.grad([y], x, { gradOutputs: [g], retainGraph: true });
    },
  };
}

const both = (name: string, shapes: readonly Shape[], fn: Fn): OwnRow[] => [
  forward(name, shapes, fn),
  backward(name, shapes, fn),
];

/** The first plan of a variant, as the generator makes it. */
function product(variant: MatmulPlan['variant'], n: number, transposeB: boolean): OwnRow {
  const dtype = variant === 'subgroup' ? 'f16' : 'f32';
  return {
    name: transposeB ? 'matmul kernel, b transposed' : 'matmul kernel',
    variant,
    shape: `${n}x${n}x${n}`,
    dtype,
    own: ({ gpu, tf }) => {
      const operand = (transposed: boolean): MatrixOperand => {
        const [row, col] = transposed ? [1, n] : [n, 1];
        return { dtype, offset: 0, row, col, batch: [0, 0] };
      };
      const [a, b] = [operand(false), operand(transposeB)];
      const params: Product = { m: n, n, k: n, batch: [1, 1], a, b, sink: plainSink([n, n], 'f32') };
      const plan = matmulPlans(gpu.target, params).find((one) => one.variant === variant && !one.splits);
      if (!plan) throw new Error('this device has no such plan');
      const dispatch = matmulDispatch(plan, params);
      const random = (): Allocation =>
        tf
          .cast(tf.normal([n, n]), dtype)
          .keep()
          .storage.memoryOn(gpu);
      const buffers = [random(), random(), gpu.allocate(4 * n * n, 'bench')];
      return () => gpu.dispatch(dispatch, buffers);
    },
  };
}

const copied = 2 ** 26; // bytes: past most caches

/** The ceiling of bandwidth: the driver's own copy, which reads and writes every byte once. */
export const copyRow: OwnRow = {
  name: 'copy',
  variant: 'buffer to buffer',
  shape: `${copied / 2 ** 20} MiB`,
  dtype: 'f32',
  bytes: 2 * copied,
  own: ({ gpu }) => {
    const [from, to] = [gpu.upload(new Uint8Array(copied), 'bench'), gpu.allocate(copied, 'bench')];
    return () => gpu.encoder.copy(from.buffer, 0, to.buffer, 0, copied);
  },
};

/** The ceiling of arithmetic: the product that the library chooses, large enough to be worth its start. */
export const matmulRow = forward(
  'matmul',
  [
    [1024, 1024],
    [1024, 1024],
  ],
  (tf, a, b) => tf.matmul(a!, b!),
);

/** One update of a model of about a million parameters in 20 tensors. */
function update(): OwnRow {
  return {
    name: 'AdamW step',
    shape: '20 tensors of 65536',
    dtype: 'f32',
    own: ({ tf, optim }) => {
      const parameters = Array.from({ length: 20 }, () => {
        const x = tf.normal([256, 256]).keep();
        x.requiresGrad = true;
        x.grad = tf.normal([256, 256]).keep();
        return x;
      });
      const optimizer = new optim.AdamW(parameters);
      return () => optimizer.step();
    },
  };
}

/** An op on a table and whole numbers below `below`: labels, or tokens. */
function indexed(name: string, table: Shape, count: number, below: number, fn: Fn): OwnRow[] {
  const data = Int32Array.from({ length: count }, (_, i) => (i * 7919) % below);
  const ids = new WeakMap<Kit['tf'], Tensor>();
  return both(name, [table], (tf, x) => {
    if (!ids.has(tf)) ids.set(tf, tf.tensor(data).keep());
    return fn(tf, x!, ids.get(tf)!);
  });
}

const heads: Shape = [4, 4, 256, 32];

/** Each kernel over a case or two of the sizes that small models have. */
export const ownRows: readonly OwnRow[] = [
  copyRow,
  matmulRow,
  ...(['plain', 'lanes', 'panel', 'tiled', 'subgroup'] as const).flatMap((variant) => [
    product(variant, 512, false),
    product(variant, 512, true),
  ]),
  forward(
    'matmul, a transposed',
    [
      [512, 512],
      [512, 512],
    ],
    (tf, a, b) => tf.matmul(tf.transpose(a!), b!),
  ),
  ...both('linear', [[1024, 384], [1536, 384], [1536]], (tf, x, w, b) => tf.linear(x!, w!, b)),
  ...both('attention', [heads, heads, heads], (tf, q, k, v) =>
    tf.scaledDotProductAttention(q!, k!, v!, { causal: true }),
  ),
  forward(
    'add',
    [
      [1024, 1024],
      [1024, 1024],
    ],
    (tf, a, b) => tf.add(a!, b!),
  ),
  forward('add a row', [[1024, 1024], [1024]], (tf, a, b) => tf.add(a!, b!)),
  forward('transposed copy', [[1024, 1024]], (tf, x) => tf.clone(tf.transpose(x!))),
  forward('to f16', [[1024, 1024]], (tf, x) => tf.cast(x!, 'f16')),
  backward('gelu', [[1024, 1024]], (tf, x) => tf.gelu(x!)),
  forward('sum of all', [[2048, 2048]], (tf, x) => tf.sum(x!)),
  forward('sum of rows', [[1024, 1024]], (tf, x) => tf.sum(x!, -1)),
  forward('sum of columns', [[1024, 1024]], (tf, x) => tf.sum(x!, 0)),
  forward('argmax of rows', [[1024, 1024]], (tf, x) => tf.argmax(x!, -1)),
  forward('cumsum', [[1024, 1024]], (tf, x) => tf.cumsum(x!, -1)),
  backward('softmax', [[512, 1024]], (tf, x) => tf.softmax(x!)),
  ...both('log-softmax', [[512, 1024]], (tf, x) => tf.logSoftmax(x!)),
  backward('layer norm', [[512, 768], [768], [768]], (tf, x, w, b) => tf.layerNorm(x!, w, b)),
  ...both('RMS norm', [[512, 768], [768]], (tf, x, w) => tf.rmsNorm(x!, w)),
  ...indexed('cross-entropy', [512, 8192], 512, 8192, (tf, x, labels) => tf.crossEntropy(x!, labels!)),
  ...indexed('embedding', [8192, 384], 1024, 8192, (tf, table, ids) => tf.embedding(table!, ids!)),
  ...both(
    'conv2d',
    [
      [4, 16, 32, 32],
      [32, 16, 3, 3],
    ],
    (tf, x, w) => tf.conv2d(x!, w!, undefined, { padding: 1 }),
  ),
  forward('dropout', [[1024, 1024]], (tf, x) => tf.dropout(x!, 0.1, { training: true })),
  {
    name: 'normal numbers',
    shape: '1024x1024',
    dtype: 'f32',
    own:
      ({ tf }) =>
      () =>
        tf.normal([1024, 1024]),
  },
  update(),
];
