import { add, input } from '../kernels/map/expr.ts';
import { bytesOf } from '../kernels/kernel.ts';
import type { Layout } from '../kernels/layout.ts';
import { lossInPlace } from '../kernels/loss-in-place.ts';
import { chooseLanes } from '../kernels/rows.ts';
import { promote } from './dtypes.ts';
import { lowerMatmul } from './lower-matmul.ts';
import { lowerReduce } from './lower-reduce.ts';
import type { Lowering, Port } from './op.ts';
import { fillInto } from './ops/fill.ts';
import { Tensor } from './tensor.ts';

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
  /** Rows whose logits are held at once, and classes whose weights are read at once; default as many as one binding holds. */
  readonly chunkRows?: number;
  readonly chunkClasses?: number;
}

/**
 * Loss of a linear layer's outputs, by runs of rows: their logits, the loss, the logits' gradient in their place, and from it those of hidden and, added up run by run in
 * order, of weight and bias. Four dispatches a run (five with a bias), two without gradients; three more for each further run of classes, where the weight exceeds a binding.
 */
export function lowerChunkedLoss(lowering: Lowering, loss: ChunkedLoss): void {
  const { hidden, weight, bias, target, sums, gradients, ignoreIndex, smoothing } = loss;
  const [rows, width] = hidden.shape as [number, number];
  const classes = weight.shape[0]!;
  const [dHidden, dWeight, dBias] = gradients;
  if (rows === 0) return [sums, ...gradients.filter(({ size }) => size > 0)].forEach((y) => fillInto(lowering, y, 0));

  const dtype = promote(hidden.dtype, weight.dtype) === 'f16' ? 'f16' : 'f32';
  const pitch = Math.ceil(classes / 4) * 4; // rows that products read as vec4s
  const limit = Math.min(scratchBytes, lowering.target.bindingLimit);
  const rowRuns = runs(rows, loss.chunkRows ?? runLength(rows, limit, pitch * bytesOf(dtype)));
  const weightBytes = width * (dWeight ? 4 : bytesOf(weight.dtype)); // its gradient is f32
  const classRuns = runs(classes, loss.chunkClasses ?? runLength(classes, lowering.target.bindingLimit, weightBytes));
  const scratch = lowering.temporary([rowRuns[0]!.length * pitch], dtype);
  const losses = lowering.temporary([rows, 2], 'f32');
  const targets = lowering.contiguous(target);
  for (const run of rowRuns) {
    const part = slab(hidden, run);
    /** Columns of the run's logits, the weights of their classes, and the same of the gradient and the bias. */
    const parts = classRuns.map((own) => ({
      own,
      weights: slab(weight, own),
      logits: view(scratch, { shape: [run.length, own.length], strides: [pitch, 1], offset: own.start }),
    }));
    for (const { own, weights, logits } of parts)
      product(lowering, part, transposed(weights), logits, store(logits), bias && slab(bias, own));
    const dispatch = lossInPlace({
      rows: run.length,
      classes,
      dtype,
      lanes: chooseLanes(lowering.target),
      ignoreIndex,
      smoothing,
      pitch,
      targetOffset: targets.offset + run.start,
      firstRow: run.start,
      gradient: gradients.length > 0,
    });
    lowering.emit(dispatch, [targets, losses, scratch]);
    if (!dHidden || !dWeight) continue;
    for (const { own, weights, logits } of parts) {
      const [toHidden, toWeights] = [slab(dHidden, run), slab(dWeight, own)];
      product(lowering, logits, weights, toHidden, own.start === 0 ? store(toHidden) : accumulate(toHidden));
      const put = run.start === 0 ? store : accumulate;
      product(lowering, transposed(logits), part, toWeights, put(toWeights));
    }
    const whole = view(scratch, { shape: [run.length, classes], strides: [pitch, 1], offset: 0 });
    if (dBias) lowerReduce(lowering, 'sum', whole, [0], dBias, { sink: (run.start === 0 ? store : accumulate)(dBias) });
  }
  lowerReduce(lowering, 'sum', losses, [0], sums);
}

interface Run {
  readonly start: number;
  readonly length: number;
}

const runs = (count: number, length: number): Run[] =>
  Array.from({ length: Math.ceil(count / length) }, (_, i) => ({
    start: i * length,
    length: Math.min(length, count - i * length),
  }));

/** About equal runs, of whole tiles of matrix products. */
function runLength(rows: number, bytes: number, rowBytes: number): number {
  const most = Math.max(1, Math.floor(bytes / rowBytes));
  if (most >= rows) return rows;
  const even = Math.ceil(rows / Math.ceil(rows / most));
  return Math.min(Math.ceil(even / 64) * 64, most);
}

const view = (x: Tensor, layout: Layout): Tensor => new Tensor(x.storage, x.dtype, layout);

/** A run of x's first axis. */
const slab = (x: Tensor, { start, length }: Run): Tensor =>
  view(x, { shape: [length, ...x.shape.slice(1)], strides: x.strides, offset: x.offset + start * x.strides[0]! });

const transposed = (x: Tensor): Tensor =>
  view(x, { shape: [x.shape[1]!, x.shape[0]!], strides: [x.strides[1]!, x.strides[0]!], offset: x.offset });

/** y = a @ b (+ bias), stored by `sink`. */
function product(lowering: Lowering, a: Tensor, b: Tensor, y: Tensor, sink: Port, bias?: Tensor): void {
  lowerMatmul({ ...lowering, fused: { sink, sources: new Map() }, sink: () => sink }, a, b, y, { bias });
}

/** Values stored where y lies. */
function store(y: Tensor): Port {
  const outputs = [{ expr: input(0), dtype: y.dtype, layout: y }];
  return { elements: { shape: y.shape, operands: [], outputs, scalars: [], compute: 'f32' }, tensors: [y] };
}

/** Values added to what y holds. */
function accumulate(y: Tensor): Port {
  const layout = { shape: y.shape, strides: y.strides, offset: y.offset };
  const operands = [{ dtype: y.dtype, kind: 'v' as const, layout, output: 0 }];
  const outputs = [{ expr: add(input(0), input(1)), dtype: y.dtype, layout }];
  return { elements: { shape: y.shape, operands, outputs, scalars: [], compute: 'f32' }, tensors: [y] };
}
