import { brief, printable } from '../../common/printable.ts';
import { maxLabels } from '../../models/config.ts';
import { tableRows } from './table-rows.ts';
import type { TableFormatOptions } from './table-rows.ts';

/** A text, or a pair of texts. */
export interface Texts {
  readonly text: string;
  readonly textPair?: string;
}

/**
 * What a model is to answer: a class, as its index in the list of label names; or numbers, 0 or 1 for each of
 * several labels, or the one score of a regression.
 */
export type Target = number | readonly number[];

/** One labelled text, or pair of texts. */
export interface Example<Label extends Target = number> extends Texts {
  readonly label: Label;
}

export interface TextColumns extends TableFormatOptions {
  /** Default "text". */
  readonly textColumn?: string;
  /** The second text of tasks on pairs. */
  readonly textPairColumn?: string;
}

export interface TableOptions extends TextColumns {
  /** Default "label". */
  readonly labelColumn?: string;
  /** The label names of a trained model, in its order; without them they are collected from the file. */
  readonly labels?: readonly string[];
}

/** A row before its label is a number. */
export interface LabelledRow extends Texts {
  readonly line: number;
  readonly label: string;
}

/**
 * Reads a JSONL, CSV or TSV file of text and label. Labels are strings or integers; their names are sorted,
 * integers by value, and an example's label is the index in that list. Throws one line naming file and line:
 * no such column, no rows, broken JSON or quotes, no UTF-8, a label that `labels` does not hold, one class
 * only.
 *
 * @example
 * await saveFiles([{ path: 'mails.csv', data: 'text,label\nhello,ham\nwin now,spam\n' }]);
 * const { examples, labels } = await readTable('mails.csv');
 * labels; // ['ham', 'spam']
 * examples[1]; // { text: 'win now', label: 1 }
 */
export async function readTable(
  path: string,
  options: TableOptions = {},
): Promise<{ examples: Example[]; labels: string[] }> {
  const rows: LabelledRow[] = [];
  const names = new Set<string>();
  const known = options.labels && new Set(options.labels);
  for await (const row of streamTable(path, options)) {
    if (known && !known.has(row.label)) throw unknownLabel(`${path}:${row.line}`, row.label, options.labels!);
    names.add(row.label);
    checkCount(names, `${path}:${row.line}`, options);
    rows.push(row);
  }
  if (rows.length === 0) throw noRows(path);
  if (!known && names.size < 2) {
    throw new Error(
      `${path}: all ${rows.length} rows have the label ${brief([...names][0])}; a classifier needs two classes`,
    );
  }
  const labels = options.labels ? [...options.labels] : sortLabels(names);
  const index = new Map(labels.map((name, i) => [name, i]));
  return { examples: rows.map(({ line: _, label, ...texts }) => ({ ...texts, label: index.get(label)! })), labels };
}

/**
 * Reads the texts alone, of a file to predict on. Throws as readTable does.
 *
 * @example
 * await saveFiles([{ path: 'texts.csv', data: 'text\nhello\n' }]);
 * await readTexts('texts.csv'); // [{ text: 'hello' }]
 */
export async function readTexts(path: string, options: TextColumns = {}): Promise<Texts[]> {
  const texts: Texts[] = [];
  for await (const { line, cells } of tableRows(path, options)) texts.push(textsOf(cells, `${path}:${line}`, options));
  if (texts.length === 0) throw noRows(path);
  return texts;
}

/**
 * The rows one by one, for files larger than memory.
 *
 * @example
 * await saveFiles([{ path: 'mails.jsonl', data: '{ "text": "hello", "label": "ham" }\n' }]);
 * for await (const { text, label } of streamTable('mails.jsonl')) console.log(text, label);
 */
export async function* streamTable(path: string, options: TableOptions = {}): AsyncGenerator<LabelledRow> {
  const { labelColumn = 'label' } = options;
  for await (const { line, cells } of tableRows(path, options)) {
    const where = `${path}:${line}`;
    const label = cell(cells, labelColumn, 'labelColumn', where);
    const name = typeof label === 'number' && Number.isSafeInteger(label) ? String(label) : label;
    if (typeof name !== 'string') throw new Error(`${where}: label ${brief(label)} is neither a string nor an integer`);
    if (name.trim() === '') throw new Error(`${where}: the label is empty`);
    yield { line, ...textsOf(cells, where, options), label: name.trim() };
  }
}

/** Sorted: by value where all are integers, else by code unit. */
export function sortLabels(names: Iterable<string>): string[] {
  const sorted = [...names].sort();
  return sorted.every((name) => /^[+-]?\d+$/.test(name)) ? sorted.sort((a, b) => Number(a) - Number(b)) : sorted;
}

/** The texts of a row. Error: a pair of which one side is empty. */
export function textsOf(cells: Readonly<Record<string, unknown>>, where: string, options: TextColumns): Texts {
  const { textColumn = 'text', textPairColumn } = options;
  const text = stringCell(cells, textColumn, 'textColumn', where);
  if (textPairColumn === undefined) return { text };
  const textPair = stringCell(cells, textPairColumn, 'textPairColumn', where);
  const empty = text.trim() === '' ? textColumn : textPair.trim() === '' ? textPairColumn : undefined;
  if (empty !== undefined)
    throw new Error(`${where}: "${empty}" is empty, and a pair needs two texts; fill it or take the row out`);
  return { text, textPair };
}

/**
 * The text in a column of a row; `option` names the column in errors, undefined where it can have no other
 * name, `where` file and line.
 */
export function stringCell(
  cells: Readonly<Record<string, unknown>>,
  column: string,
  option: string | undefined,
  where: string,
): string {
  const value = cell(cells, column, option, where);
  if (typeof value !== 'string') throw new Error(`${where}: "${column}" is ${brief(value)}, not a string`);
  return value;
}

/** The value in a column of a row; `option` and `where` as of `stringCell`. */
export function cell(
  cells: Readonly<Record<string, unknown>>,
  column: string,
  option: string | undefined,
  where: string,
): unknown {
  if (!Object.hasOwn(cells, column)) throw new Error(`${where}: ${noColumn(column, Object.keys(cells), option)}`);
  return cells[column];
}

/** Refuses so many labels that another column must have been meant. */
export function checkCount(names: ReadonlySet<string>, where: string, { labelColumn = 'label' }: TableOptions): void {
  if (names.size <= maxLabels) return;
  throw new Error(
    `${where}: there are more than ${maxLabels} different labels; is "${labelColumn}" the column of ` +
      'labels? Name the right one as labelColumn',
  );
}

export function unknownLabel(where: string, label: string, labels: readonly string[]): Error {
  return new Error(`${where}: unknown label ${brief(label)}; the labels are ${list(labels)}`);
}

export function noRows(path: string): Error {
  return new Error(`${path}: no rows; a table needs at least one, under its header where it has one`);
}

/** Says that a column is not there; `option` as of `stringCell`. */
export function noColumn(column: string, names: readonly string[], option: string | undefined): string {
  const flag = `--${option?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const mend = option === undefined ? 'each row needs it' : `name the right one as ${option} (${flag})`;
  return `no column "${column}" among ${list(names)}; ${mend}`;
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 12).map((name) => printable(name.slice(0, 60)));
  return shown.length < names.length ? `${shown.join(', ')}, ...` : shown.join(', ') || '(none)';
}
