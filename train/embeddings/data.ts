import { duplicateGroups } from '../data/duplicates/groups.ts';
import { gnomeHelp } from '../data/gnome-help.ts';
import { libreOfficeHelp } from '../data/libreoffice-help.ts';
import { stringCell } from '../data/read-table.ts';
import { brief } from '../../common/printable.ts';
import { describeCounts, readPairs, splitPairs } from '../seq2seq/pairs.ts';
import type { PairData, TextPair } from '../seq2seq/pairs.ts';

/** Two texts (anchor and positive) that belong together, or the score of how alike they are. */
export interface EmbeddingPair extends TextPair {
  /** A text that does not belong to the anchor, though it seems to. */
  readonly negative?: string;
  readonly score?: number;
}

export type EmbeddingData = PairData<EmbeddingPair>;

export interface EmbeddingColumns {
  readonly anchorColumn: string;
  readonly positiveColumn: string;
  readonly negativeColumn?: string;
  readonly scoreColumn?: string;
}

/** What `loadEmbeddingData` takes instead of a file, for `--help`. */
export const embeddingDataNames = 'libreoffice-help-en-us (title and text of a page; -fr, ...), gnome-help';

/** Pages of LibreOffice's help: the first line is the title, the query; the rest is the document. */
async function helpTitles(language: string): Promise<{ pairs: EmbeddingPair[]; origin: string }> {
  const { origin, paragraphs } = await libreOfficeHelp(language);
  const pages = new Map<string, string[]>();
  for (const { page, text } of paragraphs) {
    const lines = pages.get(page);
    if (lines) lines.push(text);
    else pages.set(page, [text]);
  }
  const pairs = [...pages.values()].flatMap(([title, ...lines]) =>
    lines.length === 0 ? [] : [{ source: title!, target: lines.join('\n') }],
  );
  return { pairs, origin };
}

async function pairsOf(data: string, columns: EmbeddingColumns): Promise<{ pairs: EmbeddingPair[]; origin: string }> {
  const language = /^libreoffice-help-([a-z]+(?:-[a-z]+)?)$/.exec(data)?.[1];
  if (language !== undefined) return helpTitles(language);
  if (data === 'gnome-help') {
    const { origin, pages } = await gnomeHelp();
    return { pairs: pages.map(({ summary, text }) => ({ source: summary, target: text })), origin };
  }
  const { anchorColumn, positiveColumn, negativeColumn, scoreColumn } = columns;
  const pairs = await readPairs(
    data,
    { sourceColumn: anchorColumn, targetColumn: positiveColumn },
    (cells, where): Pick<EmbeddingPair, 'negative' | 'score'> => ({
      ...(negativeColumn === undefined ? {} : { negative: negativeOf(cells, negativeColumn, where) }),
      ...(scoreColumn === undefined ? {} : { score: scoreOf(cells[scoreColumn], scoreColumn, where) }),
    }),
  );
  return { pairs, origin: brief(data) };
}

function negativeOf(cells: Readonly<Record<string, unknown>>, column: string, where: string): string {
  const negative = stringCell(cells, column, 'negativeColumn', where).trim();
  if (negative === '') throw new Error(`${where}: "${column}" is empty; fill it, or leave the row out`);
  return negative;
}

function scoreOf(value: unknown, column: string, where: string): number {
  const score = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof score !== 'number' || !Number.isFinite(score))
    throw new Error(`${where}: its "${column}" is ${value === undefined ? 'missing' : brief(value)}, not a number`);
  return score;
}

/**
 * Reads pairs of a file or by name (`embeddingDataNames`) and splits them so that texts that are nearly the
 * same are in one part, of anchors and of positives; see `splitPairs`.
 */
export async function loadEmbeddingData(
  data: string,
  { testData, seed, ...columns }: EmbeddingColumns & { readonly testData?: string; readonly seed: number },
): Promise<EmbeddingData> {
  const { pairs, origin } = await pairsOf(data, columns);
  const alike = duplicateGroups(pairs.map(({ target }) => target));
  const grouped = pairs.map((pair, i) => ({ ...pair, group: String(alike[i]) }));
  const fractions = testData ? { train: 0.9, validation: 0.1, test: 0 } : { train: 0.8, validation: 0.1, test: 0.1 };
  const { counts, ...split } = splitPairs(grouped, { seed, fractions });
  const other = testData === undefined ? undefined : await pairsOf(testData, columns);
  return {
    ...split,
    test: other?.pairs ?? split.test,
    origin: `${origin}, ${pairs.length} pairs; ${describeCounts(counts)}${other ? `; test: ${other.origin}` : ''}`,
  };
}
