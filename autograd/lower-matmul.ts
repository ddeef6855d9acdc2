import { collapse, sizeOf } from '../kernels/layout.ts';
import { readingOfA, readingOfB } from '../kernels/matmul/lanes.ts';
import { chooseMatmul, matmulDispatch } from '../kernels/matmul/matmul.ts';
import type { MatmulParams, MatrixOperand } from '../kernels/matmul/params.ts';
import { splitProduct, sumSplits } from '../kernels/matmul/split.ts';
import { copyInto } from './copy.ts';
import { sameShape } from './dtypes.ts';
import type { Lowering } from './op.ts';
import type { Tensor } from './tensor.ts';

/** What else a product takes and gives. */
export interface MatmulExtras {
  /** [n], added to every row. */
  readonly bias?: Tensor;
  /**
   * A second output: the sums over k of the rows of a, [m], or of the columns of b, [n]; for one matrix
   * without bias.
   */
  readonly sums?: { readonly of: 'a' | 'b'; readonly y: Tensor };
}

/** Kernels of y = a @ b: a [..., m, k], b [..., k, n], y [..., m, n], stored by the lowering's sink. */
export function lowerMatmul(
  lowering: Lowering,
  a: Tensor,
  b: Tensor,
  y: Tensor,
  { bias, sums }: MatmulExtras = {},
): void {
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  const { batch, operands } = batched(lowering, a, b, y.shape.slice(0, -2));
  let [left, right] = operands;
  const sink = lowering.sink();
  const paramsOf = (): MatmulParams => ({
    m,
    n,
    k,
    batch,
    a: left.operand,
    b: right.operand,
    bias: bias && { dtype: bias.dtype, offset: bias.offset, stride: bias.strides[0]! },
    sink: sink.elements,
    sums: sums && { of: sums.of, dtype: sums.y.dtype === 'f16' ? 'f16' : 'f32' },
  });
  const plan = chooseMatmul(lowering.target, paramsOf());
  if (plan.variant === 'lanes') {
    if (n >= 32 && readingOfA(left.operand) === 'scalar') left = pack(lowering, left, m, k, batch);
    if (m >= 8 && readingOfB(right.operand) === 'scalar') right = pack(lowering, right, k, n, batch);
  }
  const params = paramsOf();
  const rest = [...(bias ? [bias] : []), ...sink.tensors, ...(sums ? [sums.y] : [])];
  if (!plan.splits) return lowering.emit(matmulDispatch(plan, params), [left.tensor, right.tensor, ...rest]);
  const parts = lowering.temporary([plan.splits, ...y.shape], 'f32');
  lowering.emit(matmulDispatch(plan, splitProduct(params, plan.splits)), [left.tensor, right.tensor, parts]);
  lowering.emit(sumSplits(params, plan.splits), [parts, ...rest]);
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
    // Broadcasting alternates over three or more axes: write one operand out in full, then the other if that
    // is not enough.
    const full = sameShape(b.shape.slice(0, -2), shape) ? a : b;
    const out = lowering.temporary([...shape, ...full.shape.slice(-2)], full.dtype);
    const spread = {
      shape: out.shape,
      strides: [...strides(full), ...full.strides.slice(-2)],
      offset: full.offset,
    };
    copyInto(lowering, full, spread, out, out);
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
  const source = { shape, strides: [...operand.batch, operand.row, operand.col], offset: operand.offset };
  copyInto(lowering, tensor, source, packed, { shape, strides, offset: 0 });
  const repeat = (axis: 0 | 1): number => (operand.batch[axis] === 0 ? 0 : strides[axis]);
  return {
    tensor: packed,
    operand: { dtype: tensor.dtype, offset: 0, row: pitch, col: 1, batch: [repeat(0), repeat(1)] },
  };
}
