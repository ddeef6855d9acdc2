import { kernelRows } from './kernels.ts';
import { modelRows } from './models.ts';
import { copyRow, matmulRow, ownRows } from './own.ts';
import type { AnyRow } from './row.ts';

/** Rows that peers run too, then those of our own kernels. */
export const rows: readonly AnyRow[] = [...kernelRows, ...modelRows, ...ownRows];

/** Measured in every run, whatever is asked for: what its figures are shares of. */
export const ceilingRows: readonly AnyRow[] = [copyRow, matmulRow];

/** Unique among the rows. */
export function titleOf({ name, shape, variant }: AnyRow): string {
  return [name, variant, shape].filter(Boolean).join(' ');
}

export function rowNamed(title: string): AnyRow {
  const row = rows.find((one) => titleOf(one) === title);
  if (!row) throw new Error(`no row "${title}"`);
  return row;
}
