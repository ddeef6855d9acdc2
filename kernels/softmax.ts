import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, read, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';
import { loadRow, rowKernel, rowType, rowWidth, shiftedExpSum, storeRow } from './rows.ts';
import type { RowLanes } from './rows.ts';

export interface SoftmaxParams {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: Dtype;
  readonly lanes: RowLanes;
  /** log(softmax(x)) instead, without the loss of small probabilities. */
  readonly log: boolean;
  /** Offsets of the row-major inputs. */
  readonly offsets: readonly number[];
}

/** Softmax of each row, shifted by its largest element. Bindings x, y. */
export function softmax({ rows, cols, dtype, lanes, log, offsets }: SoftmaxParams): Dispatch {
  const width = rowWidth(cols, ...offsets);
  const type = rowType(dtype, width);
  const x = loadRow('x', 'o + c');
  return rowKernel(
    {
      name: log ? 'logSoftmax' : 'softmax',
      rows,
      cols,
      lanes,
      bindings: [read('x', type), write('y', type)],
      params: { o: u32(offsets[0]! / width) },
      cost: { flops: 5 * rows * cols, bytes: 2 * rows * cols * bytesOf(dtype) },
      body: `
let o = p.o + start;
${shiftedExpSum(x)}
let logSum = log(sum); // subtracted apart from m: their sum would be rounded to m's precision
for (var c = first; c < cols; c += stride) { y[start + c] = ${storeRow(dtype, width, log ? `(${x} - m) - logSum` : `exp(${x} - m) / sum`)}; }`,
    },
    width,
  );
}

/** Cotangent of the input from that of the output g and the output y: y (g - sum(g y)), or g - exp(y) sum(g) for log. Bindings g, y, dx. */
export function softmaxBackward({ rows, cols, dtype, lanes, log, offsets }: SoftmaxParams): Dispatch {
  const width = rowWidth(cols, ...offsets);
  const type = rowType(dtype, width);
  const [g, y] = [loadRow('g', 'og + c'), loadRow('y', 'oy + c')];
  return rowKernel(
    {
      name: log ? 'logSoftmaxBackward' : 'softmaxBackward',
      rows,
      cols,
      lanes,
      bindings: [read('g', type), read('y', type), write('dx', type)],
      params: { og: u32(offsets[0]! / width), oy: u32(offsets[1]! / width) },
      cost: { flops: 4 * rows * cols, bytes: 3 * rows * cols * bytesOf(dtype) },
      body: `
let og = p.og + start;
let oy = p.oy + start;
var total = V(0);
for (var c = first; c < cols; c += stride) { total += ${log ? g : `${g} * ${y}`}; }
let sum = sumRow(total);
for (var c = first; c < cols; c += stride) { dx[start + c] = ${storeRow(dtype, width, log ? `${g} - exp(${y}) * sum` : `${y} * (${g} - sum)`)}; }`,
    },
    width,
  );
}
