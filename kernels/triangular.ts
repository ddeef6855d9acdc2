import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import { sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';

export interface TriangularAttrs {
  /** Keeps the elements on and above the diagonal; else those on and below. */
  readonly upper: boolean;
  /** Number of the diagonal: 0 is the main one, positive ones lie above it. */
  readonly diagonal: number;
}

const workgroup = 64;

/** Copies each matrix of x [..., rows, cols], row-major, with zeros on one side of a diagonal. */
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
