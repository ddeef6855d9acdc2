import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, f32, read, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';
import { loadRow, rowKernel, rowType, rowWidth, storeRow } from './rows.ts';
import type { RowLanes } from './rows.ts';

export interface NormParams {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: Dtype;
  readonly lanes: RowLanes;
  /** Subtract the mean (layer norm), or divide by the root mean square only (RMS norm, Zhang and Sennrich 2019). */
  readonly centre: boolean;
  readonly epsilon: number;
  /** Offsets of x, weight and bias (0 where absent) in forward; of g, x and weight in backward. */
  readonly offsets: readonly number[];
  readonly weight: boolean;
  readonly bias: boolean;
}

/** (x - mean) / sqrt(var + epsilon) * weight + bias for each row. Bindings x, (weight,) (bias,) y, stats; stats holds mean and 1/deviation. */
export function norm(params: NormParams): Dispatch {
  const { rows, cols, dtype, lanes, centre, epsilon, offsets, weight, bias } = params;
  const width = rowWidth(cols, ...offsets);
  const type = rowType(dtype, width);
  const x = loadRow('x', 'o + c');
  const scaled = `(${x} - mean) * rstd${weight ? ` * ${loadRow('weight', 'p.ow + c')}` : ''}${bias ? ` + ${loadRow('bias', 'p.ob + c')}` : ''}`;
  return rowKernel(
    {
      name: centre ? 'layerNorm' : 'rmsNorm',
      rows,
      cols,
      lanes,
      bindings: [
        read('x', type),
        ...(weight ? [read('weight', type)] : []),
        ...(bias ? [read('bias', type)] : []),
        write('y', type),
        write('stats', 'vec2<f32>'),
      ],
      params: {
        n: f32(cols),
        epsilon: f32(epsilon),
        o: u32(offsets[0]! / width),
        ow: u32(offsets[1]! / width),
        ob: u32(offsets[2]! / width),
      },
      cost: { flops: 8 * rows * cols, bytes: 2 * rows * cols * bytesOf(dtype) },
      // Two passes: the difference of squares would cancel for rows far from 0.
      body: `
let o = p.o + start;
var total = V(0);
${centre ? `for (var c = first; c < cols; c += stride) { total += ${x}; }` : ''}
let mean = ${centre ? 'sumRow(total) / p.n' : '0.0'};
total = V(0);
for (var c = first; c < cols; c += stride) { let d = ${x} - mean; total += d * d; }
let rstd = inverseSqrt(sumRow(total) / p.n + p.epsilon);
for (var c = first; c < cols; c += stride) { y[start + c] = ${storeRow(dtype, width, scaled)}; }
if (first == 0u) { stats[row] = vec2<f32>(mean, rstd); }`,
    },
    width,
  );
}

/**
 * Cotangent of x: rstd * (h - mean(h) - xhat * mean(h * xhat)) with h = g * weight, xhat = (x - mean) * rstd; RMS norm has no mean(h) term. Bindings
 * g, x, stats, (weight,) dx.
 */
export function normBackward(params: NormParams): Dispatch {
  const { rows, cols, dtype, lanes, centre, offsets, weight } = params;
  const width = rowWidth(cols, ...offsets);
  const type = rowType(dtype, width);
  const h = `${loadRow('g', 'og + c')}${weight ? ` * ${loadRow('weight', 'p.ow + c')}` : ''}`;
  const xhat = `(${loadRow('x', 'ox + c')} - mean) * rstd`;
  return rowKernel(
    {
      name: centre ? 'layerNormBackward' : 'rmsNormBackward',
      rows,
      cols,
      lanes,
      bindings: [
        read('g', type),
        read('x', type),
        read('stats', 'vec2<f32>'),
        ...(weight ? [read('weight', type)] : []),
        write('dx', type),
      ],
      params: {
        n: f32(cols),
        og: u32(offsets[0]! / width),
        ox: u32(offsets[1]! / width),
        ow: u32(offsets[2]! / width),
      },
      cost: { flops: 10 * rows * cols, bytes: 3 * rows * cols * bytesOf(dtype) },
      body: `
let og = p.og + start;
let ox = p.ox + start;
let mean = stats[row].x;
let rstd = stats[row].y;
var total = V(0);
var along = V(0);
for (var c = first; c < cols; c += stride) { let h = ${h}; total += h; along += h * ${xhat}; }
let a = ${centre ? 'sumRow(total) / p.n' : '0.0'};
let b = sumRow(along) / p.n;
for (var c = first; c < cols; c += stride) { dx[start + c] = ${storeRow(dtype, width, `rstd * (${h} - a - ${xhat} * b)`)}; }`,
    },
    width,
  );
}
