import { fixed, padText, printable, textWidth } from '../../common/printable.ts';
import type { Scores } from './counts.ts';

/** A line of the table; `null` is an empty one. Scores that are left out stay blank. */
export type ScoreLine = { readonly name: string; readonly scores: Partial<Scores>; readonly support: number } | null;

/**
 * Scores under a head, columns aligned, byte by byte as scikit-learn and seqeval write their reports. Control
 * characters in a name are spelt out. Error: `digits` is not a whole number from 0 to 50.
 */
export function scoreTable(op: string, lines: readonly ScoreLine[], digits: number): string {
  if (!Number.isInteger(digits) || digits < 0 || digits > 50)
    throw new Error(`${op}: digits must be a whole number from 0 to 50, got ${digits}`);
  const widths = lines.map((line) => textWidth(printable(line?.name ?? '')));
  const width = widths.reduce((most, next) => Math.max(most, next), Math.max('weighted avg'.length, digits));
  const write = (name: string, cells: readonly string[]): string =>
    `${padText(printable(name), width, 'right')} ${cells.map((cell) => ` ${cell.padStart(9)}`).join('')}`;
  const show = (value: number | undefined): string =>
    value === undefined ? '' : Number.isNaN(value) ? 'nan' : fixed(value, digits);
  return [
    write('', ['precision', 'recall', 'f1-score', 'support']),
    '',
    ...lines.map((line) => {
      if (!line) return '';
      const { name, scores, support } = line;
      return write(name, [show(scores.precision), show(scores.recall), show(scores.f1), String(support)]);
    }),
    '',
  ].join('\n');
}
