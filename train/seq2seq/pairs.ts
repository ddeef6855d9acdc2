import { createHash } from 'node:crypto';
import { brief } from '../../common/printable.ts';
import { debianDescriptions } from '../data/debian-package.ts';
import { splitApart } from '../data/duplicates/split-apart.ts';
import { gnomeHelp } from '../data/gnome-help.ts';
import { libreOfficeHelp } from '../data/libreoffice-help.ts';
import type { HelpParagraph } from '../data/libreoffice-help.ts';
import { stringCell } from '../data/read-table.ts';
import type { SplitFractions } from '../data/split.ts';
import { tableRows } from '../data/table-rows.ts';
import { textKey } from '../data/text-hash.ts';

/** A text and what is to be written for it: its translation, its summary. */
export interface TextPair {
  readonly source: string;
  readonly target: string;
  /** What the pair comes from, such as a page: pairs of one group go to one part of the data together. */
  readonly group?: string;
}

/** Pairs in three parts. */
export interface PairData<Pair extends TextPair = TextPair> {
  readonly train: readonly Pair[];
  readonly validation: readonly Pair[];
  readonly test: readonly Pair[];
  /** One line about where they come from and what was left out. */
  readonly origin: string;
}

export interface PairColumns {
  /** Default "source". */
  readonly sourceColumn?: string;
  /** Default "target". */
  readonly targetColumn?: string;
  /** Column that says what belongs together, such as the page. */
  readonly groupColumn?: string;
}

/**
 * Reads a JSONL, CSV or TSV file of pairs, with what `more` reads of a row. White space around texts goes.
 * Throws one line naming file and line: no such column, a side that is empty or no string, broken rows.
 */
export async function readPairs<More extends object>(
  path: string,
  columns: PairColumns = {},
  more?: (cells: Readonly<Record<string, unknown>>, where: string) => More,
): Promise<(TextPair & Partial<More>)[]> {
  const { sourceColumn = 'source', targetColumn = 'target', groupColumn } = columns;
  const pairs: (TextPair & Partial<More>)[] = [];
  for await (const { line, cells } of tableRows(path)) {
    const where = `${path}:${line}`;
    const side = (column: string, option: string): string => {
      const text = stringCell(cells, column, option, where).trim();
      if (text === '') throw new Error(`${where}: "${column}" is empty; a pair needs both sides, leave the row out`);
      return text;
    };
    const source = side(sourceColumn, 'sourceColumn');
    const target = side(targetColumn, 'targetColumn');
    const group = groupColumn === undefined ? {} : { group: stringCell(cells, groupColumn, 'groupColumn', where) };
    pairs.push({ source, target, ...group, ...(more?.(cells, where) as Partial<More>) });
  }
  if (pairs.length === 0)
    throw new Error(`${path}: no rows; pairs of "${sourceColumn}" and "${targetColumn}" are needed`);
  return pairs;
}

/** What a run is watched by, and what its end is judged by. */
const defaultFractions: SplitFractions = { train: 0.94, validation: 0.02, test: 0.04 };

export interface SplitPairsOptions {
  readonly seed: number;
  readonly fractions?: SplitFractions;
  /** The file that they are of; it begins errors. */
  readonly data?: string;
}

/** Splits pairs by their group, see `splitApart`, and leaves out those whose sides are equal. */
export function splitPairs<Pair extends TextPair>(
  pairs: readonly Pair[],
  { seed, fractions = defaultFractions, data }: SplitPairsOptions,
): Omit<PairData<Pair>, 'origin'> & { readonly counts: Readonly<Record<'repeated' | 'equal' | 'near', number>> } {
  const unequal = pairs.filter(({ source, target }) => source !== target);
  const { counts, ...split } = splitApart(unequal, {
    textOf: ({ source }) => source,
    keyOf: ({ source, target }) => `${textKey(source)} ${textKey(target)}`,
    groupOf: ({ group }) => group,
    seed,
    fractions,
    data,
    items: 'pairs with unequal sides',
  });
  return { ...split, counts: { ...counts, equal: pairs.length - unequal.length } };
}

/** Pairs that have a name instead of a file. */
interface NamedPairs {
  readonly pairs: TextPair[];
  readonly origin: string;
}

/** English paragraphs of LibreOffice's help, and the same in another language. */
async function helpPairs(language: string): Promise<NamedPairs> {
  const [english, other] = [
    await libreOfficeHelp('en-us', { variants: 'usual' }),
    await libreOfficeHelp(language, { variants: 'usual' }),
  ];
  const key = ({ page, id }: HelpParagraph): string => `${page}#${id}`;
  const targets = new Map(other.paragraphs.map((paragraph) => [key(paragraph), paragraph.text]));
  const pairs = english.paragraphs.flatMap((paragraph) => {
    const target = targets.get(key(paragraph));
    return target === undefined ? [] : [{ source: paragraph.text, target, group: paragraph.page }];
  });
  return { pairs, origin: `${english.origin}, ${other.origin}` };
}

/** Pages of GNOME's help, and what they say of themselves. */
async function gnomePairs(): Promise<NamedPairs> {
  const { origin, pages } = await gnomeHelp();
  return { pairs: pages.map(({ page, text, summary }) => ({ source: text, target: summary, group: page })), origin };
}

/** What names of packages begin with by custom, and says nothing of their source. */
const languages = 'python3?|node|ruby|golang|rust|r|haskell|ghc|ocaml|lua|php|perl|fonts|elpa|task|linux';
const ofLanguage = new RegExp(`^(lib)?((${languages})-)?((cran|bioc|github)-)?`);

/**
 * Descriptions of packages, at length and in a line. Packages of one source, such as a library's, belong
 * together.
 */
async function descriptionPairs(): Promise<NamedPairs> {
  const { origin, descriptions } = await debianDescriptions();
  const pairs = descriptions.map(({ name, synopsis, description }) => {
    const [first = name] = name.replace(ofLanguage, '').split(/[-.\d]/);
    return { source: description, target: synopsis, group: first };
  });
  return { pairs, origin };
}

const named: readonly (readonly [name: RegExp, load: (match: string) => Promise<NamedPairs>])[] = [
  [/^libreoffice-help-([a-z]+(?:-[a-z]+)?)$/, helpPairs],
  [/^(gnome-help)$/, gnomePairs],
  [/^(debian-descriptions)$/, descriptionPairs],
];

/** What `pairsOf` takes, for `--help`. */
export const pairNames = 'libreoffice-help-fr (-de, ...), gnome-help, debian-descriptions';

/** Whether data are pairs that have a name, or several joined by +, and so no file. */
export const namesPairs = (data: string): boolean =>
  data.split('+').every((part) => named.some(([name]) => name.test(part)));

/** The pairs of files and of names, joined by +. */
async function pairsOf(data: string, columns: PairColumns): Promise<NamedPairs> {
  const all: NamedPairs[] = [];
  for (const part of data.split('+')) {
    const [match, load] = named.map(([name, load]) => [name.exec(part), load] as const).find(([found]) => found) ?? [];
    all.push(match ? await load!(match[1]!) : { pairs: await readPairs(part, columns), origin: brief(part) });
  }
  return { pairs: all.flatMap(({ pairs }) => pairs), origin: all.map(({ origin }) => origin).join('; ') };
}

/** The data of files or names (`pairNames`) joined by +, and of others to test on where they are given. */
export async function loadPairs(
  data: string,
  { testData, seed, ...columns }: PairColumns & { readonly testData?: string; readonly seed: number },
): Promise<PairData> {
  const { pairs, origin } = await pairsOf(data, columns);
  const fractions = testData ? { train: 0.97, validation: 0.03, test: 0 } : defaultFractions;
  const { counts, ...split } = splitPairs(pairs, { seed, fractions, data });
  const other = testData === undefined ? undefined : await pairsOf(testData, columns);
  return {
    ...split,
    test: other?.pairs ?? split.test,
    origin: `${origin}, ${pairs.length} pairs; ${describeCounts(counts)}${other ? `; test: ${other.origin}` : ''}`,
  };
}

export function describeCounts({ repeated, equal, near }: ReturnType<typeof splitPairs>['counts']): string {
  return (
    `left out: ${repeated} that came before, ${equal} with equal sides, ` +
    `${near} held out whose source is nearly one that is trained on`
  );
}

/** SHA-256 of pairs in their order. */
export function hashOfPairs(pairs: readonly TextPair[]): string {
  const hash = createHash('sha256');
  for (const { source, target } of pairs) hash.update(JSON.stringify([source, target]));
  return hash.digest('hex');
}
