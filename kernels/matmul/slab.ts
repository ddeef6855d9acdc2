import { quad, read, storedType } from '../kernel.ts';
import type { Binding } from '../kernel.ts';
import { quantizedBindings } from '../quant/weights.ts';
import { vec4 } from './product.ts';
import type { MatrixOperand } from './product.ts';

/**
 * The part of an operand that a workgroup multiplies between two barriers. It comes into workgroup memory in
 * pieces: `width` neighbouring elements along the axis that is contiguous.
 */
export interface Slab {
  readonly operand: MatrixOperand;
  /** Pieces lie along k; else along the rows of a, or the columns of b. */
  readonly kFast: boolean;
  /** A piece is one vector in memory; else its elements are read one at a time. */
  readonly vector: boolean;
  /** The last piece of a line may cross the end of k: what lies beyond is taken as zeros. */
  readonly tail: boolean;
  /** Elements of a piece: 4, computed in f32, or 8, as f16 in a vec4<u32>. */
  readonly width: 4 | 8;
}

/**
 * `stride` leads from one row of a, or column of b, to the next; `strideK` along k, the length of that axis.
 */
export function slabOf(operand: MatrixOperand, stride: number, strideK: number, k: number, width: 4 | 8): Slab {
  const kFast = strideK === 1 || stride !== 1;
  const whole = [operand.offset, kFast ? stride : strideK, ...operand.batch];
  const vector = (kFast ? strideK : stride) === 1 && whole.every((value) => value % width === 0);
  // Elements beyond the last row or column count in outputs that are not stored; elements beyond the last k
  // would count in all of them.
  return { operand, kFast, vector, tail: vector && kFast && k % width !== 0, width };
}

/** Bindings of the operand. */
export function slabBindings(name: 'a' | 'b', { operand, vector, width }: Slab): Binding[] {
  if (operand.quantized) return quantizedBindings(operand.quantized);
  if (vector && width === 8) return [read(name, 'vec4<u32>')];
  return [read(name, vec4(vector, storedType(operand.dtype)))];
}

/**
 * Emits `fn loadA(base, x, q)` (or loadB), which returns the piece that begins at row (or column) x and place
 * q along k, or zeros where x or q is out of range. `base` is the operand's first element.
 */
export function slabLoader(name: 'A' | 'B', slab: Slab): string {
  const {
    operand: { quantized },
    kFast,
    vector,
    tail,
    width,
  } = slab;
  if (width === 8 && isCursor(slab)) return '';
  const operand = name.toLowerCase();
  const [stride, strideK, limit] = name === 'A' ? ['p.ar', 'p.ac', 'p.m'] : ['p.bc', 'p.br', 'p.n'];
  const type = width === 8 ? 'vec4<u32>' : 'vec4<f32>';
  const place = `base + i32(x) * ${stride} + i32(q) * ${strideK}`;
  const outside = `x >= ${limit} || q >= p.k`;
  const head = `fn load${name}(base: i32, x: u32, q: u32) -> ${type} {`;
  if (quantized) {
    // Pieces lie along the rows of the weight. Elements beyond its last column count in no stored output.
    const four = (e: number): string => (kFast ? `quad(x, q + ${e}u)` : `quad(q, x + ${e}u)`);
    const halves = (e: number): string => `bitcast<vec2<u32>>(vec4<f16>(${four(e)}))`;
    const piece = width === 8 ? `vec4<u32>(${halves(0)}, ${halves(4)})` : four(0);
    return `${head}\n  if (${outside}) { return ${type}(); }\n  return ${piece};\n}`;
  }
  if (vector) {
    const piece = `${type}(${operand}[${quad(place, width)}])`;
    const ending = tail ? `if (q + ${width}u > p.k) { return ${withoutTail(width, piece)}; }` : '';
    return `${head}\n  if (${outside}) { return ${type}(); }\n  ${ending}\n  return ${piece};\n}`;
  }
  const scalar = width === 8 ? 'f16' : 'f32';
  const element = (e: number): string => `element${name}(base, ${kFast ? `x, q + ${e}u` : `x + ${e}u, q`})`;
  const parts = [0, 1, 2, 3].map((e) =>
    width === 8 ? `bitcast<u32>(vec2<f16>(${element(2 * e)}, ${element(2 * e + 1)}))` : element(e),
  );
  return `
fn element${name}(base: i32, x: u32, q: u32) -> ${scalar} {
  if (${outside}) { return ${scalar}(); }
  return ${scalar}(${operand}[${place}]);
}
${head}
  return ${type}(${parts.join(', ')});
}`;
}

/** The first p.k - q elements of a piece, and zeros, also where there is no number behind them. */
function withoutTail(width: 4 | 8, piece: string, q = 'q'): string {
  if (width === 4) return `select(vec4<f32>(), ${piece}, vec4<u32>(p.k - ${q}) > vec4<u32>(0u, 1u, 2u, 3u))`;
  const left = `vec4<i32>(i32(p.k - ${q})) - vec4<i32>(0, 2, 4, 6)`; // halves of each word
  const [all, one] = [`vec4<u32>(0xffffffffu)`, `vec4<u32>(0xffffu)`];
  const mask = `select(select(vec4<u32>(), ${one}, ${left} >= vec4<i32>(1)), ${all}, ${left} >= vec4<i32>(2))`;
  return `${piece} & ${mask}`;
}

const isCursor = ({ operand, vector }: Slab): boolean => vector && !operand.quantized;

/** WGSL of a thread's piece in a slab: its line, and its place in that; `at` names its place in memory. */
export interface Piece {
  readonly at: string;
  readonly line: string;
  readonly place: string;
}

/** Row (or column) and place along k of a piece, counted from those of the slab. */
const coordinates = ({ kFast, width }: Slab, { line, place }: Piece): [string, string] =>
  kFast ? [line, `${place} * ${width}u`] : [`${place} * ${width}u`, line];

/**
 * Emits where a piece lies in the first slab. `whole`: all rows (or columns) of every tile exist; else those
 * beyond the last repeat it.
 */
export function slabCursor(name: 'A' | 'B', slab: Slab, piece: Piece, whole: boolean): string {
  if (!isCursor(slab)) return '';
  const { kFast, width } = slab;
  const [base, origin, stride, strideK, limit] =
    name === 'A' ? ['aBase', 'row0', 'p.ar', 'p.ac', 'p.m'] : ['bBase', 'col0', 'p.bc', 'p.br', 'p.n'];
  const [x, q] = coordinates(slab, piece);
  const last = kFast ? `${limit} - 1u` : `(${limit} - 1u) / ${width}u * ${width}u`;
  const own = whole ? `${origin} + ${x}` : `min(${origin} + ${x}, ${last})`;
  const at = kFast ? `i32(${own}) * ${stride} + i32(${q})` : `i32(${own}) + i32(${q}) * ${strideK}`;
  return `let ${piece.at} = u32(${base} + ${at}) / ${width}u;`;
}

/** Emits how far a slab lies behind the one before, in vectors. */
export function slabStep(name: 'A' | 'B', slab: Slab, k: number): string {
  if (!isCursor(slab)) return '';
  const step = slab.kFast ? `${k / slab.width}u` : `u32(${k / slab.width} * ${name === 'A' ? 'p.ac' : 'p.br'})`;
  return `let step${name} = ${step};\nvar over${name} = 0u;`;
}

export const slabAdvance = (name: 'A' | 'B', slab: Slab): string =>
  isCursor(slab) ? `over${name} += step${name};\n` : '';

/** WGSL of a piece of the slab at k0; `inside`: all of the slab lies before the end of k. */
export function slabPiece(name: 'A' | 'B', slab: Slab, piece: Piece, inside: boolean): string {
  const operand = name.toLowerCase();
  const [x, q] = coordinates(slab, piece);
  if (!isCursor(slab)) return `load${name}(${operand}Base, ${name === 'A' ? 'row0' : 'col0'} + ${x}, k0 + ${q})`;
  const vector = `${operand}[${piece.at} + over${name}]`;
  if (inside) return vector;
  return slab.tail ? withoutTail(slab.width, vector, `(k0 + ${q})`) : `select(vec4<u32>(), ${vector}, k0 + ${q} < p.k)`;
}
