import { read, storedType } from '../kernel.ts';
import type { Binding } from '../kernel.ts';
import { quantizedBindings } from '../quant/weights.ts';
import { vec4 } from './product.ts';
import type { MatrixOperand } from './product.ts';

/**
 * How an operand's slab gets into workgroup memory: in pieces of `width` neighbouring elements along
 * whichever axis is contiguous.
 */
export interface Slab {
  readonly operand: MatrixOperand;
  /** The pieces lie along k; else along the rows of a, or the columns of b. */
  readonly kFast: boolean;
  /** A piece is one vector in memory; else its elements are read one by one. */
  readonly vector: boolean;
  /** Elements of a piece: 4, computed in f32, or 8, as f16 in a vec4<u32>. */
  readonly width: 4 | 8;
}

/**
 * `stride`: from one row of a, or column of b, to the next; `strideK`: along k; `k` is the length of that
 * axis.
 */
export function slabOf(operand: MatrixOperand, stride: number, strideK: number, k: number, width: 4 | 8): Slab {
  const kFast = strideK === 1 || stride !== 1;
  const whole = [operand.offset, kFast ? stride : strideK, ...operand.batch, kFast ? k : 0];
  // Beyond the last row or column a vector may hold anything, since it only reaches outputs that are not
  // stored; beyond the last k it would reach all of them.
  const vector = (kFast ? strideK : stride) === 1 && whole.every((value) => value % width === 0);
  return { operand, kFast, vector, width };
}

/** Bindings of the operand. */
export function slabBindings(name: 'a' | 'b', { operand, vector, width }: Slab): Binding[] {
  if (operand.quantized) return quantizedBindings(operand.quantized);
  if (vector && width === 8) return [read(name, 'vec4<u32>')];
  return [read(name, vec4(vector, storedType(operand.dtype)))];
}

/**
 * WGSL of `fn loadA(base, x, q)` (or loadB): the piece that begins at row (or column) x and depth q, zeros
 * where x or q is out of range. `base` is the operand's first element.
 */
export function slabLoader(name: 'A' | 'B', { operand: { quantized }, kFast, vector, width }: Slab): string {
  const operand = name.toLowerCase();
  const [stride, strideK, limit] = name === 'A' ? ['p.ar', 'p.ac', 'p.m'] : ['p.bc', 'p.br', 'p.n'];
  const type = width === 8 ? 'vec4<u32>' : 'vec4<f32>';
  const place = `base + i32(x) * ${stride} + i32(q) * ${strideK}`;
  const outside = `x >= ${limit} || q >= p.k`;
  const head = `fn load${name}(base: i32, x: u32, q: u32) -> ${type} {`;
  if (quantized) {
    // Pieces lie along the weight's rows; where they go on beyond the last column, what they hold is not
    // stored.
    const quad = (e: number): string => (kFast ? `quad(x, q + ${e}u)` : `quad(q, x + ${e}u)`);
    const halves = (e: number): string => `bitcast<vec2<u32>>(vec4<f16>(${quad(e)}))`;
    const piece = width === 8 ? `vec4<u32>(${halves(0)}, ${halves(4)})` : quad(0);
    return `${head}\n  if (${outside}) { return ${type}(); }\n  return ${piece};\n}`;
  }
  if (vector)
    return `${head}\n  if (${outside}) { return ${type}(); }\n  return ${type}(${operand}[(${place}) / ${width}]);\n}`;
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

/** How a thread moves its pieces of an operand's slab. */
export interface SlabMoves {
  /** WGSL that declares the registers, fills them from memory, and empties them into workgroup memory. */
  readonly registers: (name: 'A' | 'B') => string;
  readonly fetch: (name: 'A' | 'B') => string;
  readonly put: (name: 'A' | 'B') => string;
}

/**
 * WGSL loop over slabs of `k`: while one is multiplied in workgroup memory by `body`, the next is on its way
 * to registers.
 */
export function overSlabs({ registers, fetch, put }: SlabMoves, k: number, body: string): string {
  return `${registers('A')}
${registers('B')}
var k0 = 0u;
${fetch('A')}
${fetch('B')}
while (k0 < p.k) {
  workgroupBarrier();
  ${put('A')}
  ${put('B')}
  workgroupBarrier();
  k0 += ${k}u;
  if (k0 < p.k) {
    ${fetch('A')}
    ${fetch('B')}
  }
  ${body}
}`;
}
