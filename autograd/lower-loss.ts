import { add, input } from '../kernels/map/expr.ts';
import { bytesOf } from '../kernels/kernel.ts';
import type { Layout } from '../kernels/layout.ts';
import { lossInPlace } from '../kernels/loss-in-place.ts';
import { chooseLanes } from '../kernels/rows.ts';
import { partsOf } from './blocks/parts.ts';
import { fitting, viewOf } from './blocks/window.ts';
import { promote } from './dtypes.ts';
import { lowerMatmul } from './lower-matmul.ts';
import { lowerReduce } from './lower-reduce.ts';
import type { Lowering, Port } from './op.ts';
import { fillInto } from './ops/fill.ts';
import type { Tensor } from './tensor.ts';

/** Bytes of logits that are held at once: what one binding can hold on every device. */
const scratchBytes = 2 ** 27;

export interface ChunkedLoss {
  readonly hidden: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor;
  readonly target: Tensor;
  /** Sum of the losses, and how many rows count. */
  readonly sums: Tensor;
  /** Gradients of the sum, f32, of hidden, weight and bias; none are computed where there are none. */
  readonly gradients: readonly Tensor[];
  readonly ignoreIndex: number;
  readonly smoothing: number;
  /** Rows whose logits are held at once; default as many as fit. */
  readonly chunkRows?: number;
}

/**
 * Loss of a linear layer's outputs, by runs of rows: their logits, the loss, the logits' gradient in their
 * place, and from it those of hidden and, added up run by run in order, of weight and bias. Four dispatches a
 * run (five with a bias), two without gradients.
 */
export function lowerChunkedLoss(lowering: Lowering, loss: ChunkedLoss): void {
  const { hidden, weight, bias, target, sums, gradients, ignoreIndex, smoothing } = loss;
  const [rows, width] = hidden.shape as [number, number];
  const classes = weight.shape[0]!;
  const [dHidden, dWeight, dBias] = gradients;
  if (rows === 0) return [sums, ...gradients.filter(({ size }) => size > 0)].forEach((y) => fillInto(lowering, y, 0));

  const dtype = promote(hidden.dtype, weight.dtype) === 'f16' ? 'f16' : 'f32';
  const pitch = Math.ceil(classes / 4) * 4; // rows that products read as vec4s
  const run =
    loss.chunkRows ?? runLength(rows, Math.min(scratchBytes, lowering.target.bindingLimit), pitch * bytesOf(dtype));
  const scratch = lowering.temporary([Math.min(run, rows) * pitch], dtype);
  const losses = lowering.temporary([rows, 2], 'f32');
  const targets = lowering.contiguous(target);
  for (let first = 0; first < rows; first += run) {
    const count = Math.min(run, rows - first);
    const logits = viewOf(scratch, { shape: [count, classes], strides: [pitch, 1], offset: 0 });
    const part = viewOf(hidden, slab(hidden, first, count));
    product(lowering, part, transposed(weight), logits, store, bias);
    const dispatch = lossInPlace({
      rows: count,
      classes,
      dtype,
      lanes: chooseLanes(lowering.target, classes),
      ignoreIndex,
      smoothing,
      pitch,
      targetOffset: targets.offset + first,
      firstRow: first,
      gradient: gradients.length > 0,
    });
    lowering.emit(dispatch, [targets, losses, scratch]);
    if (!dHidden || !dWeight) continue;
    const to = viewOf(dHidden, { shape: [count, width], strides: [width, 1], offset: first * width });
    product(lowering, logits, weight, to, store);
    const put = first === 0 ? store : accumulate;
    product(lowering, transposed(logits), part, dWeight, put);
    if (dBias) lowerReduce(lowering, 'sum', logits, [0], dBias, { sink: put(dBias) });
  }
  lowerReduce(lowering, 'sum', losses, [0], sums);
}

/** About equal runs, of whole tiles of matrix products. */
function runLength(rows: number, bytes: number, rowBytes: number): number {
  const most = Math.max(1, Math.floor(bytes / rowBytes));
  if (most >= rows) return rows;
  const even = Math.ceil(rows / Math.ceil(rows / most));
  return Math.min(Math.ceil(even / 64) * 64, most);
}

const slab = ({ shape, strides, offset }: Tensor, first: number, count: number): Layout => ({
  shape: [count, shape[1]!],
  strides,
  offset: offset + first * strides[0]!,
});

const transposed = (x: Tensor): Tensor =>
  viewOf(x, { shape: [x.shape[1]!, x.shape[0]!], strides: [x.strides[1]!, x.strides[0]!], offset: x.offset });

/**
 * y = a @ b (+ bias), stored by what `put` makes of y; in blocks where one binding does not hold a tensor,
 * such as a large weight or its gradient.
 */
function product(lowering: Lowering, a: Tensor, b: Tensor, y: Tensor, put: (y: Tensor) => Port, bias?: Tensor): void {
  const { target } = lowering;
  const placed = [
    { tensor: a, axes: [0, 2] },
    { tensor: b, axes: [2, 1] },
    { tensor: y, axes: [0, 1] },
    ...(bias ? [{ tensor: bias, axes: [1] }] : []),
  ];
  for (const part of partsOf('linearCrossEntropy', target, [...y.shape, a.shape[1]!], placed)) {
    const [left, right, into, added] = part.tensors.map((x) => fitting(x, target)) as [Tensor, Tensor, Tensor, Tensor?];
    const first = part.starts[2] === 0;
    const sink = first ? put(into) : accumulate(into);
    const more = first && added ? { bias: added } : {};
    lowerMatmul({ ...lowering, fused: { sink, sources: new Map() }, sink: () => sink }, left, right, into, more);
  }
}

/** Values stored where y lies. */
function store(y: Tensor): Port {
  const outputs = [{ expr: input(0), dtype: y.dtype, layout: y }];
  return { elements: { shape: y.shape, operands: [], outputs, scalars: [], compute: 'f32' }, tensors: [y] };
}

/** Values added to what y holds. */
function accumulate(y: Tensor): Port {
  const operands = [{ dtype: y.dtype, kind: 'v' as const, layout: y, output: 0 }];
  const outputs = [{ expr: add(input(0), input(1)), dtype: y.dtype, layout: y }];
  return { elements: { shape: y.shape, operands, outputs, scalars: [], compute: 'f32' }, tensors: [y] };
}
