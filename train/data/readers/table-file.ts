import { stringCell } from '../read-table.ts';
import { tableRows } from '../table-rows.ts';
import type { ReadOptions, TextDocument } from './document.ts';

/** The texts of a JSONL, CSV or TSV file, a row each. Errors name file and line. */
export async function* tableFileDocuments(path: string, options: ReadOptions): AsyncGenerator<TextDocument> {
  const { textColumn = 'text' } = options;
  for await (const { line, cells } of tableRows(path, options)) {
    const source = `${path}:${line}`;
    yield { text: stringCell(cells, textColumn, 'textColumn', source), source };
  }
}
