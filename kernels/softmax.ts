import type { Dispatch } from '../gpu/dispatch.ts';
import type { Elements } from './map/elements.ts';
import { rowKernel, shiftedExpSum } from './rows.ts';
import type { RowLanes } from './rows.ts';

export interface SoftmaxParams {
  readonly rows: number;
  readonly cols: number;
  readonly lanes: RowLanes;
  /** log(softmax(x)) instead, without the loss of small probabilities. */
  readonly log: boolean;
  readonly x: Elements;
  readonly y: Elements;
}

/** Softmax of each row, shifted by its largest element. Bindings those of x, of y. */
export function softmax({ rows, cols, lanes, log, x: source, y: sink }: SoftmaxParams): Dispatch {
  return rowKernel({
    name: log ? 'logSoftmax' : 'softmax',
    rows,
    cols,
    lanes,
    sources: { x: source },
    sink,
    repeated: ['x'],
    flops: 5,
    body: (row) => `
${shiftedExpSum(row)}
let logSum = log(sum); // subtracted apart from m: their sum would be rounded to m's precision
${row.each(`put(row, c, ${log ? `(${row.of('x')} - m) - logSum` : `exp(${row.of('x')} - m) / sum`});`)}`,
  });
}

export interface SoftmaxBackwardParams extends Omit<SoftmaxParams, 'x'> {
  /** Cotangent of the output. */
  readonly g: Elements;
  /** The output. */
  readonly out: Elements;
}

/**
 * Cotangent of the input from that of the output g and the output y: y (g - sum(g y)), or g - exp(y) sum(g)
 * for log. Bindings those of g, of out, of y.
 */
export function softmaxBackward(params: SoftmaxBackwardParams): Dispatch {
  const { rows, cols, lanes, log, g: cotangent, out, y: sink } = params;
  return rowKernel({
    name: log ? 'logSoftmaxBackward' : 'softmaxBackward',
    rows,
    cols,
    lanes,
    sources: { g: cotangent, y: out },
    sink,
    repeated: ['g', 'y'],
    flops: 4,
    body({ each, of }) {
      const [g, y] = [of('g'), of('y')];
      return `
var total = V(0);
${each(`total += ${log ? g : `${g} * ${y}`};`)}
let sum = sumRow(total);
${each(`put(row, c, ${log ? `${g} - exp(${y}) * sum` : `${y} * (${g} - sum)`});`)}`;
    },
  });
}
