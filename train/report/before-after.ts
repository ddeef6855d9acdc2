import { alignTable } from '../../common/text-table.ts';

/** What was measured of the model that a run began with, and of the one it ended with, a row each. */
export function beforeAndAfter<T>(
  header: readonly string[],
  before: T,
  after: T,
  cells: (measured: T) => readonly string[],
): string {
  const rows = [
    ['the model it began as', ...cells(before)],
    ['this model', ...cells(after)],
  ];
  const numbers = [...header.keys()].slice(1);
  return alignTable(header, rows, new Set(numbers));
}
