import { stringCell } from '../read-table.ts';
import { tableRows } from '../table-rows.ts';
import { utf8Blocks, wholeText } from '../utf8-blocks.ts';
import type { ReadOptions, TextDocument } from './document.ts';

/** The documents of a plain text file; see DocumentUnit. Errors name file and line. */
export async function* textFileDocuments(path: string, options: ReadOptions): AsyncGenerator<TextDocument> {
  const { documents = 'file' } = options;
  if (documents === 'file') {
    yield { text: await wholeText(path, options), source: path };
    return;
  }
  const separate = documents === 'paragraph';
  let held: string[] = [];
  let start = 1;
  for await (const block of utf8Blocks(path, options)) {
    const lines = block.text.split('\n');
    // After the last line end comes no further line.
    if (lines.at(-1) === '') lines.pop();
    for (const [i, raw] of lines.entries()) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      const blank = line.trim() === '';
      if (!blank && held.length === 0) start = block.line + i;
      if (!blank) held.push(line);
      if (held.length > 0 && (blank || !separate)) {
        yield { text: held.join('\n'), source: `${path}:${start}` };
        held = [];
      }
    }
  }
  if (held.length > 0) yield { text: held.join('\n'), source: `${path}:${start}` };
}

/** The texts of a JSONL, CSV or TSV file, a row each. Errors name file and line. */
export async function* tableFileDocuments(path: string, options: ReadOptions): AsyncGenerator<TextDocument> {
  const { textColumn = 'text' } = options;
  for await (const { line, cells } of tableRows(path, options)) {
    const source = `${path}:${line}`;
    yield { text: stringCell(cells, textColumn, 'textColumn', source), source };
  }
}
