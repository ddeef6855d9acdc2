import { sizeOf } from '../../kernels/layout.ts';
import { matmulBlocks } from '../blocks/matmul.ts';
import { broadcastShapes, promote, requireFloat, show } from '../dtypes.ts';
import { lowerMatmul } from '../lower-matmul.ts';
import { lowerReduce } from '../lower-reduce.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { cast, sumTo } from './broadcast.ts';
import { fillInto } from './fill.ts';
import { transpose } from './movement.ts';
import { reshape, unsqueeze } from './reshape.ts';

/** Inputs a [..., m, k], b [..., k, n] and, optionally, bias [n]; batch axes broadcast. */
const matmulOp: Op<null> = defineOp<null>({
  name: 'matmul',
  infer([a, b, bias]) {
    check(a!, b!, bias);
    const batch = broadcastShapes('matmul', a!.shape.slice(0, -2), b!.shape.slice(0, -2));
    return [{ shape: [...batch, a!.shape.at(-2)!, b!.shape.at(-1)!], dtype: promote(a!.dtype, b!.dtype) }];
  },
  lower(lowering, [a, b, bias], [y]) {
    lowerMatmul(lowering, a!, b!, y!, { bias });
  },
  blocks: matmulBlocks(),
  fuses: { epilogue: true },
  saves: { inputs: [0, 1] },
  vjp({ g, input, specs, needs }) {
    const to = (full: Tensor, i: number): Tensor => sumTo(full, specs[i]!.shape, specs[i]!.dtype);
    const da = needs(0) ? to(productLike(input(0), g, transpose(input(1))), 0) : null;
    const needsBias = specs.length === 3 && needs(2);
    if (needs(1) && needsBias && g.ndim === 2) {
      const [db, sums] = productAndSums(input(0), g, liesTransposed(input(1)));
      return [da, to(db, 1), cast(sums, specs[2]!.dtype)];
    }
    const db = needs(1) ? to(productLike(input(1), transpose(input(0)), g), 1) : null;
    if (specs.length < 3) return [da, db];
    return [da, db, needsBias ? to(g, 2) : null];
  },
});

/** Whether a matrix's columns are contiguous: it is a transposed view, such as the weight of `linear`. */
function liesTransposed({ strides }: Tensor): boolean {
  return strides.at(-2) === 1 && strides.at(-1) !== 1;
}

/**
 * left @ right, laid out as `like` is: the cotangent of a transposed operand, such as the weight of a linear
 * layer, is row-major once it has passed back through the transposition, so that the gradient need not be
 * copied.
 */
function productLike(like: Tensor, left: Tensor, right: Tensor): Tensor {
  return liesTransposed(like) ? transpose(matmul(transpose(right), transpose(left))) : matmul(left, right);
}

/** a^T @ g and the sums of g's columns: the gradients of a weight and its bias, of one reading of g. */
function productAndSums(a: Tensor, g: Tensor, transposed: boolean): [Tensor, Tensor] {
  if (transposed) {
    const [product, sums] = apply(matmulSumsOp, [transpose(g), a], 'a');
    return [transpose(product!), sums!];
  }
  const [product, sums] = apply(matmulSumsOp, [transpose(a), g], 'b');
  return [product!, sums!];
}

/**
 * Inputs a [m, k], b [k, n]; outputs a @ b [m, n] and the sums over k of the rows of a, [m], or of the
 * columns of b, [n], in f32.
 */
const matmulSumsOp: Op<'a' | 'b'> = defineOp<'a' | 'b'>({
  name: 'matmulSums',
  infer([a, b], of) {
    check(a!, b!, undefined);
    if (a!.shape.length !== 2 || b!.shape.length !== 2) {
      throw new ShapeError(`matmulSums: ${show(a!.shape)} @ ${show(b!.shape)}: both must be matrices; reshape them`);
    }
    const [m, n] = [a!.shape[0]!, b!.shape[1]!];
    return [
      { shape: [m, n], dtype: promote(a!.dtype, b!.dtype) },
      { shape: [of === 'a' ? m : n], dtype: 'f32' },
    ];
  },
  lower(lowering, [a, b], [y, sums], of) {
    if (y!.size > 0) return lowerMatmul(lowering, a!, b!, y!, { sums: { of, y: sums! } });
    // No outputs, hence no tile that would sum.
    if (a!.shape[1] === 0) fillInto(lowering, sums!, 0);
    else if (of === 'a') lowerReduce(lowering, 'sum', a!, [1], sums!);
    else lowerReduce(lowering, 'sum', b!, [0], sums!);
  },
  fuses: { epilogue: true },
  blocks: matmulBlocks((of) => of),
  saves: { inputs: [0, 1] },
  vjp({ grads: [g, gs], input, specs, attrs: of, needs }) {
    const [a, b] = [input(0), input(1)];
    const spread = unsqueeze(gs!, of === 'a' ? 1 : 0);
    const to = (x: Tensor, i: number): Tensor => cast((of === 'a') === (i === 0) ? add(x, spread) : x, specs[i]!.dtype);
    return [
      needs(0) ? to(productLike(a, g!, transpose(b)), 0) : null,
      needs(1) ? to(productLike(b, transpose(a), g!), 1) : null,
    ];
  },
});

/**
 * a @ b of two matrices, and the sums over their common axis of a's rows (`of` a) or b's columns (`of` b).
 */
export function matmulSums(a: Tensor, b: Tensor, of: 'a' | 'b'): [Tensor, Tensor] {
  const [product, sums] = apply(matmulSumsOp, [a, b], of);
  return [product!, sums!];
}

function check(a: Spec, b: Spec, bias: Spec | undefined): void {
  requireFloat('matmul', a);
  requireFloat('matmul', b);
  if (a.shape.length < 2 || b.shape.length < 2 || a.shape.at(-1) !== b.shape.at(-2)) {
    throw new ShapeError(
      `matmul: ${show(a.shape)} @ ${show(b.shape)}: the last axis of the first must equal the second-last of the second`,
    );
  }
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== b.shape.at(-1))) {
    throw new ShapeError(
      `matmul: bias ${show(bias.shape)} must have one element for each of the ${b.shape.at(-1)} columns`,
    );
  }
}

/**
 * Matrix product a @ b with PyTorch's rules: the last two axes multiply, batch axes broadcast, a vector on
 * the left is a row, on the right a column.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  if (a.ndim === 0 || b.ndim === 0)
    throw new ShapeError(`matmul: ${show(a.shape)} @ ${show(b.shape)}: scalars multiply with mul()`);
  if (a.ndim === 1) return dropAxis(matmul(reshape(a, [1, -1]), b), b.ndim === 1 ? -1 : -2);
  if (b.ndim === 1) return dropAxis(matmul(a, reshape(b, [-1, 1])), -1);
  if (b.ndim === 2 && a.ndim > 2) return affine(a, b);
  return apply(matmulOp, [a, b], null)[0]!;
}

/** One matrix on the right of many rows: a single product over all rows. */
function affine(a: Tensor, b: Tensor, bias?: Tensor): Tensor {
  if (a.shape.at(-1) !== b.shape[0]) check(a, b, bias);
  const rows = a.ndim > 2 ? reshape(a, [sizeOf(a.shape.slice(0, -1)), a.shape.at(-1)!]) : a;
  const [y] = apply(matmulOp, bias ? [rows, b, bias] : [rows, b], null);
  return reshape(y!, [...a.shape.slice(0, -1), b.shape[1]!]);
}

function dropAxis(x: Tensor, axis: number): Tensor {
  const at = axis + x.ndim;
  return reshape(
    x,
    x.shape.filter((_, i) => i !== at),
  );
}

/** x @ weight^T + bias: x [..., in], weight [out, in], bias [out] (PyTorch's layout). */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  if (x.ndim === 0 || weight.ndim !== 2 || x.shape.at(-1) !== weight.shape[1]) {
    throw new ShapeError(
      `linear: ${show(x.shape)} needs a weight [out, ${x.shape.at(-1) ?? 'in'}], got ${show(weight.shape)}`,
    );
  }
  if (x.ndim === 1) return reshape(affine(reshape(x, [1, -1]), transpose(weight), bias), [weight.shape[0]!]);
  return affine(x, transpose(weight), bias);
}

/** Batched product of a [batch, m, k] and b [batch, k, n]. */
export function bmm(a: Tensor, b: Tensor): Tensor {
  if (a.ndim !== 3 || b.ndim !== 3 || a.shape[0] !== b.shape[0]) {
    throw new ShapeError(`bmm: ${show(a.shape)} and ${show(b.shape)} must be [batch, m, k] and [batch, k, n]`);
  }
  return matmul(a, b);
}
