import type { Dispatch } from '../../gpu/dispatch.ts';
import { read, storedType, u32, write } from '../kernel.ts';
import { sizeOf } from '../layout.ts';
import type { Operand } from '../layout.ts';
import { plainSink } from '../map/elements.ts';
import { assembleMatmul, productOf } from './product.ts';
import type { MatrixOperand, Product, ProductOperands } from './product.ts';

/** What splitting asks of a plan: the number of parts, and the length of a slab. */
export interface Split {
  readonly variant: string;
  readonly splits?: number;
  readonly tile?: { readonly k: number };
}

/** Length of all parts but the last. */
function partOf({ k }: Pick<Product, 'k'>, { variant, splits = 1, tile }: Split): number {
  if (variant !== 'subgroup' || !tile || k % (8 * splits) === 0) return k / splits;
  return Math.ceil(k / splits / tile.k) * tile.k;
}

/**
 * Whether k can be split, for outputs too few to fill the device: parts of k become one more batch axis, and
 * their results are added up in order, the same on every run. Takes products of at most one batch axis, and
 * parts whose length is a multiple of 8; `subgroup` also parts of whole slabs of which the last is shorter.
 * Variants that hold slabs make sums of each part.
 */
export function canSplit(
  product: Pick<Product, 'batch' | 'k' | 'sums'> & { readonly b?: Pick<MatrixOperand, 'quantized'> },
  plan: Split,
): boolean {
  const { batch, k, sums, b } = product;
  const { variant, splits = 1, tile } = plan;
  const part = partOf(product, plan);
  return (
    (!sums || tile !== undefined) &&
    !b?.quantized &&
    (batch[0] === 1 || batch[1] === 1) &&
    part % 8 === 0 &&
    (part * splits === k || (variant === 'subgroup' && k % tile!.k === 0 && part * (splits - 1) < k))
  );
}

/** Returns the product that computes the parts: f32 [batch, splits, m, n], and sums f32 [splits, m or n]. */
export function splitProduct(params: Product, plan: Split): Product {
  const { batch, k, a, b, sums, halves = false } = params;
  const { splits = 1 } = plan;
  const part = partOf(params, plan);
  const kept = batch[0] === 1 ? 1 : 0;
  const operand = (x: MatrixOperand, strideK: number): MatrixOperand => ({
    ...x,
    batch: [x.batch[kept], (halves ? 2 : 1) * part * strideK],
  });
  return {
    ...params,
    k: part,
    kAll: part * splits === k ? undefined : k,
    batch: [batch[kept], splits],
    a: operand(a, a.col),
    b: operand(b, b.row),
    bias: undefined,
    exact: undefined,
    sink: plainSink([batch[kept], splits, params.m, params.n], 'f32'),
    sums: sums && { ...sums, dtype: 'f32' },
  };
}

/** Adds up the parts [..., splits, m, n] and the bias, stored through y, and `partSums` [splits, length]. */
export function sumSplits({
  parts,
  partSums,
  bias,
  y,
  sums,
  ...exact
}: Omit<ProductOperands, 'a' | 'b'> & { readonly parts: Operand; readonly partSums?: Operand }): Dispatch {
  const [splits, m, n] = parts.shape.slice(-3) as [number, number, number];
  const before = parts.shape.slice(0, -3);
  const batch = sizeOf(before);
  // Only the sizes, bias and sink of this product are used.
  const column = (shape: readonly number[]): Operand => {
    return { dtype: 'f32', shape: [...before, ...shape], strides: [...before.map(() => 0), 1, 1], offset: 0 };
  };
  const product = productOf({ ...exact, a: column([m, splits]), b: column([splits, n]), bias, y })!;
  const width = n % 4 === 0 ? 4 : 1;
  const length = sums ? sums.shape[0]! : 0;
  const addUp = (from: string, size: string, zero: string): string => `
var sum = ${zero};
for (var s = 0u; s < p.splits; s++) { sum += ${from.replace('_', `s * ${size}`)}; }`;
  return assembleMatmul(product, {
    name: 'matmul.sumSplits',
    inputs: [read('parts', width === 4 ? 'vec4<f32>' : 'f32'), ...(partSums ? [read('partSums', 'f32')] : [])],
    outputs: sums ? [write('sums', storedType(sums.dtype))] : [],
    single: width === 1,
    params: { splits: u32(splits), ...(sums ? { length: u32(length) } : {}) },
    workgroup: 64,
    groups: Math.ceil(((batch * m * n) / width + length) / 64),
    cost: { flops: batch * splits * m * n, bytes: 4 * (splits * (batch * m * n + length) + length) },
    body: `
let mn = p.m * p.n / ${width}u;
let z = id / mn;
if (z >= p.batch) {
${
  sums
    ? `let x = id - p.batch * mn;
if (x < p.length) {
${addUp('partSums[_ + x]', 'p.length', '0.0')}
sums[x] = ${storedType(sums.dtype)}(sum);
}`
    : ''
}
return;
}
let at = id % mn;
${addUp('parts[z * p.splits * mn + _ + at]', 'mn', width === 4 ? 'vec4<f32>()' : '0.0')}
${width === 4 ? 'finishFour(4u * id, (4u * at) % p.n, sum);' : 'finish(id, at % p.n, sum);'}`,
  });
}
