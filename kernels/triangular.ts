import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import { sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';

export interface TriangularAttrs {
  /** Keep what lies on and above the diagonal, else on and below. */
  readonly upper: boolean;
  /** Which diagonal: 0 the main one, positive above it. */
  readonly diagonal: number;
}

const workgroup = 64;

/** Zeroes one side of a diagonal of each matrix of x [..., rows, cols], row-major. */
export function triangular(
  { x }: { readonly x: Operand; readonly y: Operand },
  { upper, diagonal }: TriangularAttrs,
): Dispatch {
  const { dtype, offset } = x;
  const size = sizeOf(x.shape);
  const [rows, cols] = x.shape.slice(-2) as [number, number];
  const type = storedType(dtype);
  return kernel({
    name: upper ? 'triu' : 'tril',
    bindings: [read('x', type), write('y', type)],
    params: { n: u32(size), rows: u32(rows), cols: u32(cols), o: u32(offset), diagonal: i32(diagonal) },
    workgroup,
    groups: Math.ceil(size / workgroup),
    cost: { flops: 0, bytes: 2 * size * bytesOf(dtype) },
    body: `
if (id >= p.n) { return; }
let above = i32(id % p.cols) - i32((id / p.cols) % p.rows);
y[id] = select(${type}(0), x[p.o + id], above ${upper ? '>=' : '<='} p.diagonal);`,
  });
}
