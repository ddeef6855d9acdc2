import { extname } from 'node:path';
import { isJsonObject } from '../../common/json-file.ts';
import { brief } from '../../common/printable.ts';
import { tableRows } from '../data/table-rows.ts';
import { utf8Blocks } from '../data/utf8-blocks.ts';

/** [start, end) of a text, in UTF-16 units as `slice` counts. */
export interface Place {
  readonly start: number;
  readonly end: number;
}

/** A part of a text that has a label. */
export interface Span extends Place {
  readonly label: string;
}

/** A row of a file: words with a tag each, or a text with spans. */
export type TokenRow = { readonly where: string; readonly group?: string } & (
  | { readonly tokens: readonly string[]; readonly tags: readonly string[] }
  | { readonly text: string; readonly spans: readonly Span[] }
);

export interface TokenColumns {
  /** Of CoNLL files: the name of a column, or its number from 1, from -1 at the right end. Default 1. */
  readonly tokenColumn?: string;
  /** Default -1. */
  readonly tagColumn?: string;
  /** Of JSONL: the key that says what belongs together, such as the page. */
  readonly groupColumn?: string;
}

/** The formats that are read, as scripts tell them. */
export const tokenFormats =
  'columns of words and tags as CoNLL has them, or JSONL of {"text", "spans": [{"start", "end", "label"}]} or ' +
  '{"tokens": [...], "tags": [...]}';

/**
 * The rows of a file with the ending .jsonl or .ndjson, or of any other in columns, one sentence each. Throws
 * one line naming file and line: columns that are missing, lists of unequal lengths, an empty text, a span
 * that has no label, reaches beyond the text, cuts a character in two or overlaps another.
 */
export async function readTokenRows(path: string, columns: TokenColumns = {}): Promise<TokenRow[]> {
  const isJson = ['.jsonl', '.ndjson'].includes(extname(path).toLowerCase());
  const rows = isJson ? jsonRows(path, columns) : columnRows(path, columns);
  const all: TokenRow[] = [];
  for await (const row of rows) all.push(row);
  if (all.length === 0) throw new Error(`${path}: no rows; give ${tokenFormats}`);
  return all;
}

async function* jsonRows(path: string, { groupColumn }: TokenColumns): AsyncGenerator<TokenRow> {
  for await (const { line, cells } of tableRows(path, { format: 'jsonl' })) {
    const where = `${path}:${line}`;
    const group = groupColumn === undefined ? undefined : cells[groupColumn];
    if (groupColumn !== undefined && typeof group !== 'string')
      throw new Error(`${where}: "${groupColumn}" is ${brief(group)}, not a string; name another as groupColumn`);
    const base = { where, ...(typeof group === 'string' ? { group } : {}) };
    if ('tokens' in cells) yield { ...base, ...readLists(cells['tokens'], cells['tags'], where) };
    else if ('text' in cells) yield { ...base, ...readSpans(cells['text'], cells['spans'], where) };
    else throw new Error(`${where}: neither "tokens" nor "text"; a row is {"tokens", "tags"} or {"text", "spans"}`);
  }
}

function readLists(tokens: unknown, tags: unknown, where: string) {
  const strings = (value: unknown, name: string): string[] => {
    if (!Array.isArray(value)) throw new Error(`${where}: its ${name} are ${brief(value)}, not a list of strings`);
    return value.map((each: unknown, i) => {
      if (typeof each !== 'string' || each.trim() === '')
        throw new Error(`${where}: ${name}[${i}] is ${brief(each)}; ${name} are strings with something in them`);
      return each;
    });
  };
  const [words, marks] = [strings(tokens, 'tokens'), strings(tags, 'tags')];
  if (words.length !== marks.length)
    throw new Error(`${where}: ${words.length} tokens but ${marks.length} tags; each token has one`);
  if (words.length === 0) throw new Error(`${where}: its tokens are empty; leave the row out`);
  return { tokens: words, tags: marks };
}

function readSpans(text: unknown, given: unknown, where: string) {
  if (typeof text !== 'string') throw new Error(`${where}: its text is ${brief(text)}, not a string`);
  if (text.trim() === '') throw new Error(`${where}: its text is empty; leave the row out`);
  if (!Array.isArray(given))
    throw new Error(`${where}: its spans are ${brief(given)}; a list of {"start", "end", "label"} is needed, or []`);
  const spans = given.map((span: unknown, i) => readSpan(span, text, `${where}: spans[${i}]`));
  spans.sort((a, b) => a.start - b.start);
  spans.forEach((span, i) => {
    const next = spans[i + 1];
    if (next && next.start < span.end)
      throw new Error(
        `${where}: the spans ${showSpan(span)} and ${showSpan(next)} overlap; a word has one label, keep one of them`,
      );
  });
  return { text, spans };
}

const showSpan = ({ start, end, label }: Span): string => `${brief(label)} [${start}, ${end})`;

function readSpan(span: unknown, text: string, where: string): Span {
  const { start, end, label } = isJsonObject(span) ? span : {};
  if (typeof label !== 'string' || label.trim() === '')
    throw new Error(`${where} is ${brief(span)}; it needs "start", "end", and a "label" with something in it`);
  for (const [name, value] of Object.entries({ start, end }))
    if (!Number.isInteger(value) || (value as number) < 0)
      throw new Error(`${where} has the ${name} ${brief(value)}; a whole number of at least 0 is needed`);
  const found = { start: start as number, end: end as number, label: label.trim() };
  const shown = `${where}, ${showSpan(found)},`;
  if (found.end > text.length)
    throw new Error(`${shown} reaches beyond its text of ${text.length} UTF-16 units, which offsets count`);
  if (found.start >= found.end) throw new Error(`${shown} is empty; its end stands behind its start`);
  for (const at of [found.start, found.end])
    if (/^[\ud800-\udbff][\udc00-\udfff]/.test(text.slice(Math.max(0, at - 1), at + 1)) && at > 0)
      throw new Error(
        `${shown} cuts ${text.slice(at - 1, at + 1)} in two at ${at}; offsets count UTF-16 units, of which it has two`,
      );
  return found;
}

/** Names or values of a comment of CoNLL-U: "# text = ...", "# newdoc". */
const comment = /^#\s?(?:[\w.:]+ = |newdoc|newpar)/;

/** Sentences in columns; a blank line ends one, and -DOCSTART- begins a document, which is their group. */
async function* columnRows(path: string, given: TokenColumns): AsyncGenerator<TokenRow> {
  const { tokenColumn = '1', tagColumn = '-1' } = given;
  const byName = [tokenColumn, tagColumn].some((column) => !/^-?[1-9]\d*$/.test(column));
  let columns: { readonly token: number; readonly tag: number; readonly count: number } | undefined;
  let names: string[] | undefined;
  let documents = 0;
  let sentence: { where: string; tokens: string[]; tags: string[] } | undefined;
  const end = function* (): Generator<TokenRow> {
    if (sentence) yield { ...sentence, ...(documents > 0 ? { group: `document ${documents}` } : {}) };
    sentence = undefined;
  };
  for await (const block of utf8Blocks(path)) {
    for (const [i, text] of block.text.split('\n').entries()) {
      const where = `${path}:${block.line + i}`;
      const content = text.replace(/\r$/, '');
      if (/^[ \t]*$/.test(content)) {
        yield* end();
        continue;
      }
      const declared = /^# global\.columns = (.*)/.exec(content);
      if (declared) names = declared[1]!.trim().split(/ +/);
      if (comment.test(content)) continue;
      const cells = content.includes('\t') ? content.split('\t') : content.trim().split(/ +/);
      if (cells[0] === '-DOCSTART-') {
        yield* end();
        documents++;
        continue;
      }
      if (byName && names === undefined) {
        names = cells;
        continue;
      }
      columns ??= {
        token: columnOf(tokenColumn, 'token-column', cells.length, names, where),
        tag: columnOf(tagColumn, 'tag-column', cells.length, names, where),
        count: cells.length,
      };
      const { token, tag, count } = columns;
      if (token === tag)
        throw new Error(
          `${where}: word and tag are both column ${token + 1} of ${count}; see --token-column, --tag-column`,
        );
      if (cells.length !== count)
        throw new Error(
          `${where}: ${cells.length} columns, where the first row has ${count}; a blank line ends a sentence`,
        );
      const [word, mark] = [cells[token]!, cells[tag]!];
      if (word.trim() === '' || mark.trim() === '')
        throw new Error(`${where}: its ${word.trim() === '' ? 'word' : 'tag'} is empty; fill it or leave the row out`);
      sentence ??= { where, tokens: [], tags: [] };
      sentence.tokens.push(word);
      sentence.tags.push(mark.trim());
    }
  }
  yield* end();
}

/** The place of a column by its name or number. */
function columnOf(column: string, flag: string, count: number, names: string[] | undefined, where: string): number {
  if (!/^-?[1-9]\d*$/.test(column)) {
    const at = names!.indexOf(column);
    if (at === -1) throw new Error(`${where}: no column "${column}" among ${names!.join(', ')}; see --${flag}`);
    return at;
  }
  const number = Number(column);
  const at = number < 0 ? count + number : number - 1;
  if (at < 0 || at >= count) throw new Error(`${where}: no column ${column}, it has ${count}; see --${flag}`);
  return at;
}
