import type { Dispatch } from '../gpu/dispatch.ts';
import type { Elements } from './map/elements.ts';
import { rowKernel, shiftedExpSum } from './rows.ts';
import type { RowKernel, RowTarget } from './rows.ts';

export interface SoftmaxAttrs {
  /** Gives log(softmax(x)), exact for small probabilities too. */
  readonly log: boolean;
}

/** Computes exp(x - m) / sum(exp(x - m)) for each row of x [..., cols], with m its largest element. */
export function softmax(
  { x, y }: { readonly x: Elements; readonly y: Elements },
  { log }: SoftmaxAttrs,
  target: RowTarget,
): Dispatch {
  const spec: RowKernel = {
    name: log ? 'logSoftmax' : 'softmax',
    shape: x.shape,
    sources: { x },
    sink: y,
    repeated: ['x'],
    flops: 5,
    body: (row) => `
${shiftedExpSum(row)}
let logSum = log(sum); // subtracted apart from m: their sum would be rounded to m's precision
${row.each(`put(row, c, ${log ? `(${row.of('x')} - m) - logSum` : `exp(${row.of('x')} - m) / sum`});`)}`,
  };
  return rowKernel(spec, target);
}

/** Computes the cotangent of x from g, that of the output y: y (g - sum(g y)); for log g - exp(y) sum(g). */
export function softmaxBackward(
  { g: cotangent, out, y: sink }: { readonly g: Elements; readonly out: Elements; readonly y: Elements },
  { log }: SoftmaxAttrs,
  target: RowTarget,
): Dispatch {
  const spec: RowKernel = {
    name: log ? 'logSoftmaxBackward' : 'softmaxBackward',
    shape: out.shape,
    sources: { g: cotangent, out },
    sink,
    repeated: ['g', 'out'],
    flops: 4,
    body({ each, of }) {
      const [g, y] = [of('g'), of('out')];
      return `
var total = V(0);
${each(`total += ${log ? g : `${g} * ${y}`};`)}
let sum = sumRow(total);
${each(`put(row, c, ${log ? `${g} - exp(${y}) * sum` : `${y} * (${g} - sum)`});`)}`;
    },
  };
  return rowKernel(spec, target);
}
