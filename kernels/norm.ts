import type { Target } from '../gpu/device.ts';
import type { Dispatch } from '../gpu/dispatch.ts';
import { f32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';
import { sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';
import { aliases, bytesMoved, declare, loadElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { rowKernel, rowWidth } from './rows.ts';
import type { RowKernel, RowTarget } from './rows.ts';

export interface NormAttrs {
  /** Subtracts the mean: layer norm (Ba et al. 2016). Without it RMS norm (Zhang and Sennrich 2019). */
  readonly centre: boolean;
  readonly epsilon: number;
}

/** x and y are [..., cols], weight and bias [cols] broadcast to that, stats f32 [..., 2]. */
export interface NormOperands {
  readonly x: Elements;
  readonly weight?: Elements;
  readonly bias?: Elements;
  readonly y: Elements;
  /** Mean and 1 / sqrt(variance + epsilon) of each row; RMS norm has mean 0. */
  readonly stats: Operand;
}

/** Computes (x - mean) / sqrt(variance + epsilon) * weight + bias for each row. */
export function norm(
  { x, weight, bias, y }: NormOperands,
  { centre, epsilon }: NormAttrs,
  target: RowTarget,
): Dispatch {
  const scale = `${weight ? ' * load_weight(row, c)' : ''}${bias ? ' + load_bias(row, c)' : ''}`;
  const spec: RowKernel = {
    name: centre ? 'layerNorm' : 'rmsNorm',
    shape: x.shape,
    sources: { x, weight, bias },
    sink: y,
    outputs: [write('stats', 'vec2<f32>')],
    params: { n: f32(x.shape.at(-1)!), epsilon: f32(epsilon) },
    repeated: ['x'],
    flops: 8,
    bytes: 8,
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
  };
  return rowKernel(spec, target);
}

export interface NormBackwardOperands extends Omit<NormOperands, 'bias'> {
  /** Cotangent of the output. */
  readonly g: Elements;
}

/**
 * Computes the cotangent of x, rstd * (h - mean(h) - xhat * mean(h * xhat)) with h = g * weight and
 * xhat = (x - mean) * rstd. RMS norm has no mean(h) term.
 */
export function normBackward(
  { g, x, weight, y }: NormBackwardOperands,
  { centre }: Pick<NormAttrs, 'centre'>,
  target: RowTarget,
): Dispatch {
  const spec: RowKernel = {
    name: centre ? 'layerNormBackward' : 'rmsNormBackward',
    shape: x.shape,
    sources: { g, x, weight },
    inputs: [read('stats', 'vec2<f32>')],
    sink: y,
    params: { n: f32(x.shape.at(-1)!) },
    repeated: ['g', 'x'],
    flops: 10,
    bytes: 8,
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
  };
  return rowKernel(spec, target);
}

type ColumnTarget = Pick<Target, 'software'>;

/**
 * Chooses the threads of a workgroup along the columns (in units of four where they allow it) and along the
 * rows. On a processor each thread adds up all rows of its columns. On a GPU many threads share the rows, and
 * a workgroup takes few columns, because few workgroups would leave most of the device idle.
 */
const chooseColumnTile = ({ software }: ColumnTarget) =>
  software ? { columns: 8, rows: 1 } : { columns: 4, rows: 64 };

export interface NormParametersOperands {
  /** Cotangent of the norm's output, and its input. */
  readonly g: Elements;
  readonly x: Elements;
  readonly stats: Operand;
  /** The two results; RMS norm has no bias. */
  readonly dw: { readonly dtype: Dtype };
  readonly db?: { readonly dtype: Dtype };
}

/**
 * Computes the cotangents of the weight, the sum over the rows of g * (x - mean) * rstd, and of the bias, the
 * sum of g. One dispatch reads g once for both, and the normalised rows are never stored.
 */
export function normParameters({ g, x, dw, db }: NormParametersOperands, _: null, target: ColumnTarget): Dispatch {
  const cols = x.shape.at(-1)!;
  const rows = sizeOf(x.shape.slice(0, -1));
  const tile = chooseColumnTile(target);
  const width = rowWidth(cols);
  const codes = [
    loadElements('load_g', g, { width, prefix: 'g_', by: 'row' }),
    loadElements('load_x', x, { width, prefix: 'x_', by: 'row' }),
  ];
  const threads = tile.columns * tile.rows;
  const results = [{ name: 'dw', dtype: dw.dtype }, ...(db ? [{ name: 'db', dtype: db.dtype }] : [])];
  const typeOf = (dtype: Dtype): string => (width === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype));
  const across = results.map(
    ({ name }) => `
part[lane] = ${name}_;
workgroupBarrier();
for (var s = ${tile.rows / 2}u; s > 0u; s = s / 2u) {
  if (row0 < s) { part[lane] += part[lane + s * ${tile.columns}u]; }
  workgroupBarrier();
}
${name}_ = part[lane];
workgroupBarrier();`,
  );
  const stores = results.map(({ name, dtype }) => `${name}[c] = ${typeOf(dtype)}(${name}_);`);
  return kernel({
    name: 'normParameters',
    bindings: [
      ...codes.flatMap(({ operands }) => operands),
      read('stats', 'vec2<f32>'),
      ...results.map(({ name, dtype }) => write(name, typeOf(dtype))),
    ],
    params: Object.assign({ rows: u32(rows), cols: u32(cols / width) }, ...codes.map(({ params }) => params)),
    workgroup: threads,
    groups: Math.ceil(cols / width / tile.columns),
    cost: { flops: 5 * rows * cols, bytes: bytesMoved(g, false) + bytesMoved(x, false) },
    declarations: `
${aliases('f32', width)}
${declare(...codes)}
${tile.rows > 1 ? `var<workgroup> part: array<V, ${threads}>;` : ''}`,
    // Threads beyond the last column must reach the barriers too; they store nothing.
    body: `
let row0 = lane / ${tile.columns}u;
let column = group * ${tile.columns}u + lane % ${tile.columns}u;
let c = min(column, p.cols - 1u);
var dw_ = V(0);
var db_ = V(0);
for (var row = row0; row < p.rows; row += ${tile.rows}u) {
  let g = load_g(row, c);
  dw_ += g * ((load_x(row, c) - stats[row].x) * stats[row].y);
  db_ += g;
}
${tile.rows > 1 ? across.join('') : ''}
if (row0 == 0u && column < p.cols) { ${stores.join(' ')} }`,
  });
}
