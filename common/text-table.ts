import { padText, printable, textWidth } from './printable.ts';

/** Lines of cells under a header, columns aligned; `right`: columns of numbers. */
export function alignTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number>,
): string {
  const lines = [header, ...rows].map((line) => line.map(printable));
  const widths = header.map((_, column) => Math.max(...lines.map((line) => textWidth(line[column]!))));
  const cell = (text: string, column: number): string =>
    padText(text, widths[column]!, right.has(column) ? 'right' : 'left');
  return lines.map((line) => line.map(cell).join('  ').trimEnd()).join('\n');
}
