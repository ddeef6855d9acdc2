import type { Dispatch } from '../gpu/dispatch.ts';
import { f32, read, write } from './kernel.ts';
import type { Elements } from './map/elements.ts';
import { rowKernel } from './rows.ts';
import type { RowLanes } from './rows.ts';

interface Shared {
  readonly rows: number;
  readonly cols: number;
  readonly lanes: RowLanes;
  /**
   * Subtract the mean (layer norm), or divide by the root mean square only (RMS norm, Zhang and Sennrich
   * 2019).
   */
  readonly centre: boolean;
  readonly x: Elements;
  /** Broadcast over the rows. */
  readonly weight?: Elements;
  readonly y: Elements;
}

export interface NormParams extends Shared {
  readonly epsilon: number;
  readonly bias?: Elements;
}

/**
 * (x - mean) / sqrt(var + epsilon) * weight + bias for each row. Bindings those of x, of weight, of bias, of
 * y, then stats, which holds mean and 1/deviation of each row.
 */
export function norm({ rows, cols, lanes, centre, epsilon, x: source, weight, bias, y }: NormParams): Dispatch {
  const scale = `${weight ? ' * load_weight(row, c)' : ''}${bias ? ' + load_bias(row, c)' : ''}`;
  return rowKernel({
    name: centre ? 'layerNorm' : 'rmsNorm',
    rows,
    cols,
    lanes,
    sources: { x: source, ...(weight ? { weight } : {}), ...(bias ? { bias } : {}) },
    sink: y,
    outputs: [write('stats', 'vec2<f32>')],
    params: { n: f32(cols), epsilon: f32(epsilon) },
    repeated: ['x'],
    flops: 8,
    // Two passes: the difference of squares would cancel for rows far from 0.
    body: ({ each, of }) => `
var total = V(0);
${centre ? each(`total += ${of('x')};`) : ''}
let mean = ${centre ? 'sumRow(total) / p.n' : '0.0'};
total = V(0);
${each(`let d = ${of('x')} - mean; total += d * d;`)}
let rstd = inverseSqrt(sumRow(total) / p.n + p.epsilon);
${each(`put(row, c, (${of('x')} - mean) * rstd${scale});`)}
if (first == 0u) { stats[row] = vec2<f32>(mean, rstd); }`,
  });
}

export interface NormBackwardParams extends Shared {
  /** Cotangent of the output. */
  readonly g: Elements;
}

/**
 * Cotangent of x: rstd * (h - mean(h) - xhat * mean(h * xhat)) with h = g * weight, xhat = (x - mean) * rstd;
 * RMS norm has no mean(h) term. Bindings those of g, of x, of weight, then stats, those of y.
 */
export function normBackward({ rows, cols, lanes, centre, g, x, weight, y }: NormBackwardParams): Dispatch {
  return rowKernel({
    name: centre ? 'layerNormBackward' : 'rmsNormBackward',
    rows,
    cols,
    lanes,
    sources: { g, x, ...(weight ? { weight } : {}) },
    inputs: [read('stats', 'vec2<f32>')],
    sink: y,
    params: { n: f32(cols) },
    repeated: ['g', 'x'],
    flops: 10,
    body({ each, of }) {
      const h = `${of('g')}${weight ? ' * load_weight(row, c)' : ''}`;
      const xhat = `(${of('x')} - mean) * rstd`;
      return `
let mean = stats[row].x;
let rstd = stats[row].y;
var total = V(0);
var along = V(0);
${each(`let h = ${h}; total += h; along += h * ${xhat};`)}
let a = ${centre ? 'sumRow(total) / p.n' : '0.0'};
let b = sumRow(along) / p.n;
${each(`put(row, c, rstd * (${h} - a - ${xhat} * b));`)}`;
    },
  });
}
