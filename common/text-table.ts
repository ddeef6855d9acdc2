import { padText, printable, textWidth } from './printable.ts';
import { mean, sampleDeviation } from './statistics.ts';

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

/** The mean of several runs and its standard deviation, "0.813 ± 0.021"; of one run its value. */
export function meanAndDeviation(values: readonly number[], digits = 3): string {
  const middle = mean(values).toFixed(digits);
  return values.length === 1 ? middle : `${middle} ± ${sampleDeviation(values).toFixed(digits)}`;
}
