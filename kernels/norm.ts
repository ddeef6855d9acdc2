import type { Target } from '../gpu/device.ts';
import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, f32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Binding, Dtype, KernelSource } from './kernel.ts';
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

type ColumnTarget = Pick<Target, 'software' | 'units'>;

/** Where the sums over columns go: results of a norm's parameters, or of parts of the rows [parts, cols]. */
export interface ColumnSums {
  readonly dw: { readonly dtype: Dtype };
  /** RMS norm has no bias. */
  readonly db?: { readonly dtype: Dtype };
}

export interface NormParametersOperands extends ColumnSums {
  /** Cotangent of the norm's output, and its input. */
  readonly g: Elements;
  readonly x: Elements;
  readonly stats: Operand;
}

/** Threads of a workgroup along the columns, in units of four where they allow it, and along the rows. */
interface Tile {
  readonly columns: number;
  readonly rows: number;
}

/**
 * On a processor each thread adds up all rows of its columns. On a GPU the threads beside each other read
 * whole cache lines.
 */
const chooseTile = ({ software }: ColumnTarget): Tile =>
  software ? { columns: 8, rows: 1 } : { columns: 16, rows: 4 };

/** Workgroups a unit of the device that keep its memory busy, and rows that are worth a workgroup. */
const [groupsPerUnit, rowsOfPart] = [8, 64];

/** Parts of the rows that are added up apart, since columns alone are few workgroups for a GPU. */
export function normParts(shape: readonly number[], target: ColumnTarget): number {
  if (target.software) return 1;
  const cols = shape.at(-1)!;
  const across = Math.ceil(cols / rowWidth(cols) / chooseTile(target).columns);
  const rows = sizeOf(shape.slice(0, -1));
  const wanted = Math.ceil((groupsPerUnit * target.units) / across);
  // No part is empty.
  return Math.ceil(rows / Math.max(rowsOfPart, Math.ceil(rows / wanted)));
}

/**
 * Computes the cotangents of the weight, the sum over the rows of g * (x - mean) * rstd, and of the bias, the
 * sum of g; of each of the parts of the rows, where dw and db are f32 [parts, cols]. One dispatch reads g
 * once for both, and the normalised rows are never stored.
 */
export function normParameters(
  { g, x, dw, db }: NormParametersOperands,
  { parts }: { readonly parts: number },
  target: ColumnTarget,
): Dispatch {
  const width = rowWidth(x.shape.at(-1)!);
  const codes = [
    loadElements('load_g', g, { width, prefix: 'g_', by: 'row' }),
    loadElements('load_x', x, { width, prefix: 'x_', by: 'row' }),
  ];
  return columnSums({ dw, db }, x.shape, parts, chooseTile(target), {
    name: 'normParameters',
    inputs: [...codes.flatMap(({ operands }) => operands), read('stats', 'vec2<f32>')],
    params: Object.assign({}, ...codes.map(({ params }) => params)),
    declarations: declare(...codes),
    flops: 5,
    bytes: bytesMoved(g, false) + bytesMoved(x, false) + 8 * sizeOf(x.shape.slice(0, -1)),
    add: `let g = load_g(row, c); let mean = stats[row];
dw_ += g * ((load_x(row, c) - mean.x) * mean.y);
db_ += g;`,
  });
}

/**
 * Adds up parts f32 [parts, cols] of the weight's and the bias's cotangents, in the same order on every run.
 * Workgroups of 256, so that they can run abreast of the products that follow.
 */
export function sumNormParts(
  { wParts, bParts, dw, db }: ColumnSums & { readonly wParts: Operand; readonly bParts?: Operand },
  _: null,
): Dispatch {
  const { shape } = wParts;
  const type = rowWidth(shape.at(-1)!) === 4 ? 'vec4<f32>' : 'f32';
  return columnSums(
    { dw, db },
    shape,
    1,
    { columns: 4, rows: 64 },
    {
      name: 'normParameters.sum',
      inputs: [read('wParts', type), ...(bParts ? [read('bParts', type)] : [])],
      params: {},
      declarations: '',
      flops: bParts ? 2 : 1,
      bytes: 4 * sizeOf(shape) * (bParts ? 2 : 1),
      add: `dw_ += wParts[row * p.cols + c]; ${bParts ? 'db_ += bParts[row * p.cols + c];' : ''}`,
    },
  );
}

/** Sums over rows, or each of their parts: `add` takes element c of `row` into dw_ and db_. */
function columnSums(
  { dw, db }: ColumnSums,
  shape: readonly number[],
  parts: number,
  tile: Tile,
  spec: Pick<KernelSource, 'name' | 'params'> & {
    readonly inputs: readonly Binding[];
    readonly declarations: string;
    readonly flops: number;
    readonly bytes: number;
    readonly add: string;
  },
): Dispatch {
  const { name, inputs, params, declarations, flops, bytes, add } = spec;
  const cols = shape.at(-1)!;
  const rows = sizeOf(shape.slice(0, -1));
  const width = rowWidth(cols);
  const across = Math.ceil(cols / width / tile.columns);
  const threads = tile.columns * tile.rows;
  const results = [{ name: 'dw', dtype: dw.dtype }, ...(db ? [{ name: 'db', dtype: db.dtype }] : [])];
  const typeOf = (dtype: Dtype): string => (width === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype));
  const addUp = `
${results.map(({ name }, i) => `sums[lane + ${i * threads}u] = ${name}_;`).join(' ')}
workgroupBarrier();
if (row0 == 0u) {
  for (var s = lane + ${tile.columns}u; s < ${threads}u; s += ${tile.columns}u) {
    ${results.map(({ name }, i) => `${name}_ += sums[s + ${i * threads}u];`).join(' ')}
  }
}`;
  return kernel({
    name,
    bindings: [...inputs, ...results.map(({ name, dtype }) => write(name, typeOf(dtype)))],
    params: {
      rows: u32(rows),
      cols: u32(cols / width),
      part: u32(Math.ceil(rows / parts)),
      across: u32(across),
      ...params,
    },
    workgroup: threads,
    groups: across * parts,
    cost: {
      flops: flops * rows * cols,
      bytes: bytes + parts * cols * results.reduce((sum, { dtype }) => sum + bytesOf(dtype), 0),
    },
    declarations: `
${aliases('f32', width)}
${declarations}
${tile.rows > 1 ? `var<workgroup> sums: array<V, ${threads * results.length}>;` : ''}`,
    // Threads beyond the last column must reach the barrier too; they store nothing. Four rows at once, so
    // that their loads are under way together.
    body: `
let row0 = lane / ${tile.columns}u;
let part = group / p.across;
let column = group % p.across * ${tile.columns}u + lane % ${tile.columns}u;
let c = min(column, p.cols - 1u);
let end = min(part * p.part + p.part, p.rows);
var dw_ = V(0);
var db_ = V(0);
var at = part * p.part + row0;
for (; at + ${3 * tile.rows}u < end; at += ${4 * tile.rows}u) {
  ${[0, 1, 2, 3].map((k) => `{ let row = at + ${k * tile.rows}u; ${add} }`).join('\n')}
}
for (var row = at; row < end; row += ${tile.rows}u) { ${add} }
${tile.rows > 1 ? addUp : ''}
if (row0 == 0u && column < p.cols && part * p.part < p.rows) {
  ${results.map(({ name, dtype }) => `${name}[part * p.cols + c] = ${typeOf(dtype)}(${name}_);`).join(' ')}
}`,
  });
}
