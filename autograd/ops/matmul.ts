import { broadcastLayout, collapse, sizeOf } from '../../kernels/layout.ts';
import { readingOfA, readingOfB } from '../../kernels/matmul/lanes.ts';
import { chooseMatmul, matmulVariants } from '../../kernels/matmul/matmul.ts';
import type { MatmulParams, MatrixOperand } from '../../kernels/matmul/params.ts';
import { copyInto } from '../copy.ts';
import { broadcastShapes, promote, requireFloat, sameShape, show } from '../dtypes.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Lowering, Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { cast, sum, sumTo } from './broadcast.ts';
import { fillInto } from './fill.ts';
import { transpose } from './movement.ts';
import { reshape } from './reshape.ts';

/** Inputs a [..., m, k], b [..., k, n] and, optionally, bias [n]; batch axes broadcast. */
const matmulOp: Op<null> = defineOp<null>({
  name: 'matmul',
  infer([a, b, bias]) {
    check(a!, b!, bias);
    const batch = broadcastShapes('matmul', a!.shape.slice(0, -2), b!.shape.slice(0, -2));
    return [{ shape: [...batch, a!.shape.at(-2)!, b!.shape.at(-1)!], dtype: promote(a!.dtype, b!.dtype) }];
  },
  lower(lowering, [a, b, bias], [y]) {
    const [m, k, n] = [a!.shape.at(-2)!, a!.shape.at(-1)!, b!.shape.at(-1)!];
    if (k === 0) {
      fillInto(lowering, y!, 0);
      if (bias) lowering.emit(copyInto({ ...broadcastLayout(bias, y!.shape), dtype: bias.dtype }, y!), [bias, y!]);
      return;
    }
    const { batch, operands } = batched(lowering, a!, b!, y!.shape.slice(0, -2));
    let [left, right] = operands;
    const params = (): MatmulParams => ({
      m,
      n,
      k,
      batch,
      a: left.operand,
      b: right.operand,
      bias: bias && { dtype: bias.dtype, offset: bias.offset, stride: bias.strides[0]! },
      output: y!.dtype,
    });
    const variant = chooseMatmul(lowering.target, params());
    if (variant === 'lanes') {
      if (n >= 32 && readingOfA(left.operand) === 'scalar') left = pack(lowering, left, m, k, batch);
      if (m >= 8 && readingOfB(right.operand) === 'scalar') right = pack(lowering, right, k, n, batch);
    }
    lowering.emit(matmulVariants[variant](params()), [left.tensor, right.tensor, ...(bias ? [bias] : []), y!]);
  },
  saves: { inputs: [0, 1] },
  vjp({ g, input, specs, needs }) {
    const to = (full: Tensor, i: number): Tensor => cast(sumTo(full, specs[i]!.shape), specs[i]!.dtype);
    const grads = [
      needs(0) ? to(matmul(g, transpose(input(1))), 0) : null,
      needs(1) ? to(matmul(transpose(input(0)), g), 1) : null,
    ];
    if (specs.length < 3) return grads;
    const rows = g.shape.slice(0, -1).map((_, axis) => axis);
    return [...grads, needs(2) ? cast(sum(g, rows), specs[2]!.dtype) : null];
  },
});

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

interface Operand {
  readonly tensor: Tensor;
  readonly operand: MatrixOperand;
}

/** Both operands over at most two common batch axes; where strides need more, the operand is copied. */
function batched(
  lowering: Lowering,
  a: Tensor,
  b: Tensor,
  shape: readonly number[],
): { batch: readonly [number, number]; operands: [Operand, Operand] } {
  const strides = (x: Tensor): number[] =>
    shape.map((_, axis) => {
      const own = axis - shape.length + x.ndim - 2;
      return own < 0 || x.shape[own] === 1 ? 0 : x.strides[own]!;
    });
  const merged = collapse(shape, [strides(a), strides(b)]);
  if (merged.shape.length > 2) {
    const x = lowering.contiguous(a);
    const y = lowering.contiguous(b);
    if (x !== a || y !== b) return batched(lowering, x, y, shape);
    // Broadcasting alternates over three or more axes: write one operand out in full, then the other if that is not enough.
    const full = sameShape(b.shape.slice(0, -2), shape) ? a : b;
    const out = lowering.temporary([...shape, ...full.shape.slice(-2)], full.dtype);
    const spread = {
      dtype: full.dtype,
      shape: out.shape,
      strides: [...strides(full), ...full.strides.slice(-2)],
      offset: full.offset,
    };
    lowering.emit(copyInto(spread, out), [full, out]);
    return full === b ? batched(lowering, a, out, shape) : batched(lowering, out, b, shape);
  }
  const two = (list: readonly number[], missing: number): [number, number] => [
    list[list.length - 2] ?? missing,
    list[list.length - 1] ?? missing,
  ];
  const operand = (x: Tensor, i: number): Operand => ({
    tensor: x,
    operand: {
      dtype: x.dtype,
      offset: x.offset,
      row: x.strides.at(-2)!,
      col: x.strides.at(-1)!,
      batch: two(merged.strides[i]!, 0),
    },
  });
  return { batch: two(merged.shape, 1), operands: [operand(a, 0), operand(b, 1)] };
}

/** Copies an operand so that its rows are contiguous and start at multiples of four elements. */
function pack(
  lowering: Lowering,
  { tensor, operand }: Operand,
  rows: number,
  cols: number,
  batch: readonly [number, number],
): Operand {
  const pitch = Math.ceil(cols / 4) * 4;
  const counts = batch.map((count, i) => (operand.batch[i] === 0 ? 1 : count)) as [number, number];
  const shape = [...counts, rows, cols];
  const strides: [number, number, number, number] = [counts[1] * rows * pitch, rows * pitch, pitch, 1];
  const packed = lowering.temporary([sizeOf(counts) * rows * pitch], tensor.dtype);
  const source = {
    dtype: tensor.dtype,
    shape,
    strides: [...operand.batch, operand.row, operand.col],
    offset: operand.offset,
  };
  lowering.emit(copyInto(source, { shape, strides, offset: 0 }), [tensor, packed]);
  const repeat = (axis: 0 | 1): number => (operand.batch[axis] === 0 ? 0 : strides[axis]);
  return {
    tensor: packed,
    operand: { dtype: tensor.dtype, offset: 0, row: pitch, col: 1, batch: [repeat(0), repeat(1)] },
  };
}

/**
 * Matrix product a @ b with PyTorch's rules: the last two axes multiply, batch axes broadcast, a vector on the left is a row, on
 * the right a column.
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
