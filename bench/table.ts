import { alignTable } from '../common/text-table.ts';

/** A table of text: the first columns flush left, figures flush right. */
export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** How many columns are text. */
  readonly text: number;
}

export function aligned({ head, rows, text }: Table): string {
  return alignTable(head, rows, new Set(head.map((_, i) => i).slice(text)));
}

export function markdown({ head, rows, text }: Table): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i < text ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

/** Three significant digits, or whole numbers; nothing below a thousandth. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) < 0.001) return '0';
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
