import { alignTable } from '../../common/text-table.ts';
import type { Evaluation } from '../trainer/evaluate.ts';

/**
 * What was measured of the model that a run began with, and of the one it ended with, a row each, below
 * `baselines`.
 */
export function beforeAndAfter<T>(
  header: readonly string[],
  before: T,
  after: T,
  cells: (measured: T) => readonly string[],
  baselines: readonly (readonly string[])[] = [],
): string {
  const rows = [...baselines, ['the model it began as', ...cells(before)], ['this model', ...cells(after)]];
  const numbers = [...header.keys()].slice(1);
  return alignTable(header, rows, new Set(numbers));
}

/** The same of evaluations on held-out examples, a column each number. */
export function evaluationTable(before: Evaluation, after: Evaluation): string {
  const names = Object.keys(after);
  const cells = (found: Evaluation): string[] => names.map((each) => found[each]!.toFixed(4));
  return `\n${beforeAndAfter(['held out', ...names], before, after, cells)}\n`;
}
