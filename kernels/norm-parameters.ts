import type { Target } from '../gpu/device.ts';
import type { Dispatch } from '../gpu/dispatch.ts';
import { kernel, read, storedType, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';
import { aliases, bytesMoved, declare, loadElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { rowWidth } from './rows.ts';

/** Threads of a workgroup: along the columns (in units of four where they allow it), and along the rows. */
export interface ColumnTile {
  readonly columns: number;
  readonly rows: number;
}

/**
 * A processor's vector unit walks all rows of its columns; a GPU has many threads share them, and few columns
 * a workgroup, or most of it would idle.
 */
export function chooseColumnTile({ software }: Target): ColumnTile {
  return software ? { columns: 8, rows: 1 } : { columns: 4, rows: 64 };
}

export interface NormParametersParams {
  readonly rows: number;
  readonly cols: number;
  readonly tile: ColumnTile;
  /** Cotangent of the norm's output, and its input. */
  readonly g: Elements;
  readonly x: Elements;
  /** Types of the two results; the bias has none in RMS norm. */
  readonly weight: Dtype;
  readonly bias?: Dtype;
}

/**
 * Cotangents of a norm's weight, sum over the rows of g * (x - mean) * rstd, and of its bias, sum of g. One
 * dispatch: g is read once for both, and the normalised rows are never stored. Bindings those of g, of x,
 * then stats, weight(, bias).
 */
export function normParameters({ rows, cols, tile, g, x, weight, bias }: NormParametersParams): Dispatch {
  const width = rowWidth(cols);
  const codes = [
    loadElements('load_g', g, { width, prefix: 'g_', by: 'row' }),
    loadElements('load_x', x, { width, prefix: 'x_', by: 'row' }),
  ];
  const threads = tile.columns * tile.rows;
  const results = [{ name: 'dw', dtype: weight }, ...(bias ? [{ name: 'db', dtype: bias }] : [])];
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
    declarations: `${aliases('f32', width)}\n${declare(...codes)}${tile.rows > 1 ? `\nvar<workgroup> part: array<V, ${threads}>;` : ''}`,
    // Threads past the last column go along to the barriers and store nothing.
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
