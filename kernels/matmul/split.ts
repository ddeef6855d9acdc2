import type { Dispatch } from '../../gpu/dispatch.ts';
import { read, u32 } from '../kernel.ts';
import { sizeOf } from '../layout.ts';
import type { Operand } from '../layout.ts';
import { plainSink } from '../map/elements.ts';
import { assembleMatmul, productOf } from './product.ts';
import type { MatrixOperand, Product, ProductOperands } from './product.ts';

/**
 * Whether k can be split, for outputs too few to fill the device: parts of k become one more batch axis, and
 * their results are added up in order, the same on every run. Takes products of at most one batch axis, and
 * parts whose length is a multiple of 8.
 */
export function canSplit(
  { batch, k, sums, b }: Pick<Product, 'batch' | 'k' | 'sums'> & { readonly b?: Pick<MatrixOperand, 'quantized'> },
  splits: number,
): boolean {
  return !sums && !b?.quantized && (batch[0] === 1 || batch[1] === 1) && k % (8 * splits) === 0;
}

/** Returns the product that computes the parts: f32 [batch, splits, m, n]. */
export function splitProduct(params: Product, splits: number): Product {
  const { batch, k, a, b } = params;
  const part = k / splits;
  const kept = batch[0] === 1 ? 1 : 0;
  const operand = (x: MatrixOperand, strideK: number): MatrixOperand => ({
    ...x,
    batch: [x.batch[kept], part * strideK],
  });
  return {
    ...params,
    k: part,
    batch: [batch[kept], splits],
    a: operand(a, a.col),
    b: operand(b, b.row),
    bias: undefined,
    sink: plainSink([batch[kept], splits, params.m, params.n], 'f32'),
  };
}

/** Adds up the parts [..., splits, m, n] and the bias, and stores the sums through y. */
export function sumSplits({
  parts,
  bias,
  y,
}: Pick<ProductOperands, 'bias' | 'y'> & { readonly parts: Operand }): Dispatch {
  const [splits, m, n] = parts.shape.slice(-3) as [number, number, number];
  const batch = sizeOf(parts.shape.slice(0, -3));
  // Only the sizes, bias and sink of this product are used.
  const column = (shape: readonly number[]): Operand => ({ dtype: 'f32', shape, strides: [1, 1], offset: 0 });
  const sums = productOf({ a: column([m, splits]), b: column([splits, n]), bias, y })!;
  return assembleMatmul(
    { ...sums, batch: [1, batch] },
    {
      name: 'matmul.sumSplits',
      inputs: [read('parts', 'f32')],
      single: true,
      params: { splits: u32(splits) },
      workgroup: 64,
      groups: Math.ceil((batch * m * n) / 64),
      body: `
let mn = p.m * p.n;
let z = id / mn;
if (z >= p.batch) { return; }
let at = id % mn;
var sum = 0.0;
for (var s = 0u; s < p.splits; s++) { sum += parts[(z * p.splits + s) * mn + at]; }
finish(id, at % p.n, sum);`,
    },
  );
}
