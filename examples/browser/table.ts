import { parse } from 'csv-parse/browser/esm/sync';
import { firstLine } from '../../common/printable.ts';

/** A labelled text. */
export interface Row {
  readonly text: string;
  readonly label: string;
}

const textNames = ['text', 'sentence', 'review', 'message', 'content', 'body', 'title'];
const labelNames = ['label', 'class', 'category', 'target', 'sentiment', 'intent'];

/**
 * Rows of pasted or dropped text: JSONL where the first line opens an object, else a table with a header
 * line, tabs between its columns or commas. Errors name the line: no column of texts or labels, broken JSON
 * or quotes, an empty cell, fewer than two labels.
 */
export function readRows(source: string): Row[] {
  const first = source.trimStart().split('\n', 1)[0]!;
  if (first === '') throw new Error('there are no texts yet');
  const rows = first.startsWith('{') ? jsonRows(source) : tableRows(source, first.includes('\t') ? '\t' : ',');
  const found = rows.map(({ line, cells }) => {
    const [text, label] = [cellOf(cells, textNames, line), cellOf(cells, labelNames, line)];
    if (text.trim() === '' || label.trim() === '') throw new Error(`line ${line}: text or label is empty`);
    return { text, label: label.trim() };
  });
  if (found.length === 0) throw new Error('there is a header line and no row below it');
  if (new Set(found.map(({ label }) => label)).size < 2)
    throw new Error(`all rows have the label "${found[0]!.label}"; a classifier needs two`);
  return found;
}

interface Cells {
  readonly line: number;
  readonly cells: Readonly<Record<string, unknown>>;
}

function cellOf(cells: Cells['cells'], names: readonly string[], line: number): string {
  const name = Object.keys(cells).find((key) => names.includes(key.trim().toLowerCase()));
  const value = name === undefined ? undefined : cells[name];
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new Error(
    `line ${line}: no column named ${names.slice(0, 3).join(', ')}, ... among ${Object.keys(cells).join(', ')}`,
  );
}

function jsonRows(source: string): Cells[] {
  return source.split('\n').flatMap((text, i) => {
    if (text.trim() === '') return [];
    try {
      return [{ line: i + 1, cells: JSON.parse(text) as Cells['cells'] }];
    } catch (error) {
      throw new Error(`line ${i + 1} is not JSON (${firstLine(error)})`, { cause: error });
    }
  });
}

function tableRows(source: string, delimiter: string): Cells[] {
  const quote = delimiter === ',' ? '"' : null;
  const options = { delimiter, quote, columns: true, bom: true, info: true, skip_empty_lines: true };
  let rows: unknown;
  try {
    rows = parse(source, options);
  } catch (error) {
    throw new Error(`the table cannot be read (${firstLine(error)})`, { cause: error });
  }
  return (rows as { record: Cells['cells']; info: { lines: number } }[]).map(({ record, info }) => ({
    line: info.lines,
    cells: record,
  }));
}
