import { brief } from '../../common/printable.ts';
import { cell, checkCount, noRows, sortLabels, textsOf, unknownLabel } from './read-table.ts';
import type { Example, TableOptions } from './read-table.ts';
import { tableRows } from './table-rows.ts';

/** The kinds of answers to a text: one class of several, a score, or any number of labels. */
export const answerKinds = ['classification', 'regression', 'multi-label'] as const;
export type AnswerKind = (typeof answerKinds)[number];

export interface TargetOptions extends TableOptions {
  /** Columns of 0 and 1, one for each label; in place of `labelColumn`. */
  readonly labelColumns?: readonly string[];
  /** Stands between the labels in `labelColumn`; without it they are lists in JSONL. */
  readonly labelSeparator?: string;
}

/** The kind of a table's answers, and in words what tells it. */
export interface FoundKind {
  readonly kind: AnswerKind;
  readonly because: string;
}

/**
 * Finds the kind of a table's answers. Several labels: there are `labelColumns`, a `labelSeparator`, or
 * lists. A regression: at least half of the labels are numbers, and one of these is not whole. Else classes.
 */
export async function findKind(path: string, options: TargetOptions = {}): Promise<FoundKind> {
  const { labelColumn = 'label', labelColumns = [], labelSeparator } = options;
  if (labelColumns.length > 0) return { kind: 'multi-label', because: `${labelColumns.length} columns of labels` };
  if (labelSeparator !== undefined)
    return { kind: 'multi-label', because: `labels have ${brief(labelSeparator)} between them` };
  let [rows, numbers] = [0, 0];
  let broken: string | undefined;
  for await (const { line, cells } of tableRows(path, options)) {
    const value = cells[labelColumn];
    if (Array.isArray(value)) return { kind: 'multi-label', because: `line ${line} has a list of labels` };
    const score = numberOf(value);
    rows++;
    if (score === undefined) continue;
    numbers++;
    if (!Number.isInteger(score)) broken ??= `${score} on line ${line}`;
  }
  if (broken !== undefined && 2 * numbers >= rows)
    return { kind: 'regression', because: `${numbers} of ${rows} labels are numbers, as ${broken}` };
  return { kind: 'classification', because: 'the labels are names or whole numbers' };
}

/**
 * Reads texts and their scores; an example's label is [score]. Errors with file and line: a score that is no
 * finite number (of f32), no rows, no such column.
 */
export async function readScores(path: string, options: TargetOptions = {}): Promise<Example<readonly number[]>[]> {
  const { labelColumn = 'label' } = options;
  const examples: Example<readonly number[]>[] = [];
  for await (const { line, cells } of tableRows(path, options)) {
    const where = `${path}:${line}`;
    const value = cell(cells, labelColumn, 'labelColumn', where);
    const score = numberOf(value);
    if (score === undefined)
      throw new Error(
        `${where}: "${labelColumn}" is ${brief(value)}; the score of a regression must be a finite number`,
      );
    examples.push({ ...textsOf(cells, where, options), label: [score] });
  }
  if (examples.length === 0) throw noRows(path);
  return examples;
}

/**
 * A finite number that f32 can hold, or undefined: 4.5, "4.5" and " -1e3 " are, "", "0x1" and 1e39 are not.
 */
function numberOf(value: unknown): number | undefined {
  const isNumeral = typeof value === 'string' && /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(value);
  const score = typeof value === 'number' || isNumeral ? Number(value) : NaN;
  return Number.isFinite(Math.fround(score)) ? score : undefined;
}

/**
 * Reads texts that have any number of labels each, none too; an example's label is 0 or 1 for each. Errors
 * with file and line: a label that `labels` does not hold, a cell of `labelColumns` that is not 0 or 1, a
 * cell that is no list where there is no `labelSeparator`, a label that no row has, and those of `readTable`.
 */
export async function readLabelSets(
  path: string,
  options: TargetOptions = {},
): Promise<{ examples: Example<readonly number[]>[]; labels: string[] }> {
  const { labelColumns = [], labels: known } = options;
  const rows: { readonly cells: ReturnType<typeof textsOf>; readonly names: readonly string[] }[] = [];
  const seen = new Set<string>();
  for await (const { line, cells } of tableRows(path, options)) {
    const where = `${path}:${line}`;
    const names = labelColumns.length > 0 ? marked(cells, labelColumns, where) : listed(cells, where, options);
    const foreign = known && names.find((name) => !known.includes(name));
    if (foreign !== undefined) throw unknownLabel(where, foreign, known!);
    for (const name of names) seen.add(name);
    checkCount(seen, where, options);
    rows.push({ cells: textsOf(cells, where, options), names });
  }
  if (rows.length === 0) throw noRows(path);
  const labels = [...(known ?? (labelColumns.length > 0 ? labelColumns : sortLabels(seen)))];
  const absent = known ? undefined : labels.find((name) => !seen.has(name));
  if (absent !== undefined) throw new Error(`${path}: no row has the label ${brief(absent)}; leave its column out`);
  if (labels.length === 0) throw new Error(`${path}: no row has a label; is it the right column?`);
  const index = new Map(labels.map((name, i) => [name, i]));
  const examples = rows.map(({ cells, names }) => {
    const label = new Array<number>(labels.length).fill(0);
    for (const name of names) label[index.get(name)!] = 1;
    return { ...cells, label };
  });
  return { examples, labels };
}

type Cells = Readonly<Record<string, unknown>>;

/** The columns whose cell is 1. */
function marked(cells: Cells, columns: readonly string[], where: string): string[] {
  return columns.filter((column) => {
    const value = cell(cells, column, 'labelColumns', where);
    const digit = typeof value === 'string' ? value.trim() : String(Number(value));
    if ((digit !== '0' && digit !== '1') || typeof value === 'object')
      throw new Error(`${where}: "${column}" is ${brief(value)}; a column of labels holds 0 or 1`);
    return digit === '1';
  });
}

/** The labels of a list, or of a text with separators. */
function listed(cells: Cells, where: string, { labelColumn = 'label', labelSeparator }: TargetOptions): string[] {
  const value = cell(cells, labelColumn, 'labelColumn', where);
  const parts: unknown =
    typeof value === 'string' && labelSeparator !== undefined ? value.split(labelSeparator) : value;
  if (!Array.isArray(parts))
    throw new Error(
      `${where}: "${labelColumn}" is ${brief(value)}, no list of labels; ` +
        'say what stands between labels as labelSeparator',
    );
  const names = parts.map((part: unknown) => {
    const name = Number.isSafeInteger(part) ? String(part) : part;
    if (typeof name !== 'string') throw new Error(`${where}: label ${brief(part)} is neither a string nor an integer`);
    return name.trim();
  });
  return names.filter((name) => name !== '');
}
