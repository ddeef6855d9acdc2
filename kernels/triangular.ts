import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';

export interface TriangularParams {
  /** x is row-major [..., rows, cols], `size` elements from `offset`. */
  readonly size: number;
  readonly rows: number;
  readonly cols: number;
  readonly dtype: Dtype;
  readonly offset: number;
  /** Keep what lies on and above the diagonal, else on and below. */
  readonly upper: boolean;
  /** Which diagonal: 0 the main one, positive above it. */
  readonly diagonal: number;
}

const workgroup = 64;

/** Zeroes one side of a diagonal of each matrix. Bindings x, y. */
export function triangular({ size, rows, cols, dtype, offset, upper, diagonal }: TriangularParams): Dispatch {
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
