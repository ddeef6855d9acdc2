import { extname } from 'node:path';
import { Readable, pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import type { InfoRecord } from 'csv-parse';
import { brief, firstLine, printable } from '../../common/printable.ts';
import { utf8Blocks } from './utf8-blocks.ts';
import type { TextFileOptions } from './utf8-blocks.ts';

export type TableFormat = 'jsonl' | 'csv' | 'tsv';

export interface TableFormatOptions extends TextFileOptions {
  /** By default from the file's ending: .jsonl, .ndjson, .csv, .tsv. */
  readonly format?: TableFormat;
  /** Names of the columns of a CSV or TSV file that has no header line. */
  readonly columns?: readonly string[];
  /**
   * Quote character of CSV and TSV, null for none. Default `"` for CSV, none for TSV (as GLUE's files are).
   */
  readonly quote?: string | null;
}

/** One row: its columns by name and the line it begins on. */
export interface TableRow {
  readonly line: number;
  readonly cells: Readonly<Record<string, unknown>>;
}

/**
 * The rows of a JSONL, CSV or TSV file one by one; blank lines are passed over. Errors name file and line.
 */
export function tableRows(path: string, options: TableFormatOptions = {}): AsyncGenerator<TableRow> {
  const { format = formatOf(path), columns, quote = format === 'csv' ? '"' : null } = options;
  return format === 'jsonl'
    ? jsonRows(path, options)
    : separatedRows(path, format === 'csv' ? ',' : '\t', quote, columns, options);
}

function formatOf(path: string): TableFormat {
  const format = { '.jsonl': 'jsonl', '.ndjson': 'jsonl', '.csv': 'csv', '.tsv': 'tsv' }[extname(path).toLowerCase()];
  if (!format) throw new Error(`${path}: the ending tells no format; use .jsonl, .csv or .tsv, or give the format`);
  return format as TableFormat;
}

async function* jsonRows(path: string, options: TextFileOptions): AsyncGenerator<TableRow> {
  for await (const block of utf8Blocks(path, options)) {
    let line = block.line;
    for (const text of block.text.split('\n')) {
      if (text.trim() !== '') yield { line, cells: parseObject(text, `${path}:${line}`) };
      line++;
    }
  }
}

function parseObject(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${where}: not JSON (${firstLine(error)}); JSONL has one object on each line`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const shown = printable(text.length > 40 ? `${text.slice(0, 40)}...` : text);
    throw new Error(`${where}: ${shown} is no object; JSONL has one object on each line`);
  }
  return value as Record<string, unknown>;
}

async function* separatedRows(
  path: string,
  delimiter: string,
  quote: string | null,
  columns: readonly string[] | undefined,
  options: TextFileOptions,
): AsyncGenerator<TableRow> {
  let names = columns;
  // Counted while the text is parsed, so that an error knows its row. (The parser's own counter takes a CR LF
  // inside quotes for two.)
  let line = 1;
  const starts: number[] = [];
  const ends = new Set<string>();
  const blocks = utf8Blocks(path, options);
  const head = await blocks.next();
  const [first] = /\r\n|\r|\n/.exec(head.done ? '' : head.value.text) ?? [];
  const parser = parse({
    delimiter,
    quote,
    // Lines may end in both ways, as in files that were joined; a CR alone ends them where it ends the first.
    record_delimiter: first === '\r' ? ['\r\n', '\n', '\r'] : ['\r\n', '\n'],
    raw: true,
    skip_empty_lines: true,
    relax_column_count: true,
    on_record<T>(row: T, { raw = '' }: InfoRecord): T {
      starts.push(line + lineEnds(/^[\r\n]*/.exec(raw)![0]));
      line += lineEnds(raw);
      return row;
    },
  });
  const text = async function* () {
    for (let block = head; !block.done; block = await blocks.next()) {
      if (block.value.text.includes('\r\n')) ends.add('CR LF');
      if (/(?:^|[^\r])\n/.test(block.value.text)) ends.add('LF');
      yield block.value.text;
    }
  };
  // The loop below gets every error: pipeline hands those of the file on to the parser.
  pipeline(Readable.from(text()), parser, () => undefined);
  const records: AsyncIterable<{ record: string[] }> = parser;
  try {
    for await (const { record: fields } of records) {
      const start = starts.shift()!;
      if (fields.length === 1 && fields[0]!.trim() === '') continue;
      if (!names) {
        names = fields.map((name) => name.trim());
        const twice = names.find((name, i) => names!.indexOf(name) < i);
        if (twice !== undefined) throw new Error(`${path}:${start}: two columns are named ${brief(twice)}`);
        continue;
      }
      if (fields.length !== names.length) {
        const separator = delimiter === ',' ? 'comma' : 'tab';
        const own =
          ends.size > 1 ? `${separator} or a line end (the file mixes ${[...ends].join(' and ')})` : separator;
        const mend = quote ? `quote fields that hold a ${own}` : `a field may hold no ${own}`;
        throw new Error(`${path}:${start}: ${fields.length} fields where ${names.length} are expected; ${mend}`);
      }
      yield { line: start, cells: Object.fromEntries(names.map((name, i) => [name, fields[i]])) };
    }
  } catch (error) {
    if (error instanceof CsvError) throw csvError(path, line, error);
    throw error;
  }
}

function csvError(path: string, line: number, error: CsvError): Error {
  const reasons: Record<string, string> = {
    CSV_QUOTE_NOT_CLOSED: 'a quote opens in this row and never closes',
    CSV_INVALID_CLOSING_QUOTE: 'text follows a closing quote; double the quotes inside a quoted field',
    INVALID_OPENING_QUOTE: 'a quote stands inside an unquoted field; quote the field and double its quotes',
  };
  return new Error(`${path}:${line}: ${reasons[error.code] ?? firstLine(error)}`, { cause: error });
}

function lineEnds(text: string): number {
  return text.match(/\r\n|\r|\n/g)?.length ?? 0;
}
