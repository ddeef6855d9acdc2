import { brief } from '../../common/printable.ts';
import { BertTokenizer } from '../../models/index.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import { BERT_WORD } from '../../models/tokenizer/punctuation.ts';
import { splitApart } from '../data/duplicates/split-apart.ts';
import { libreOfficeHelp } from '../data/libreoffice-help.ts';
import { entitiesOf } from '../metrics/sequence-labels.ts';
import type { Scheme } from '../metrics/sequence-labels.ts';
import { readTokenRows } from './read.ts';
import type { Place, TokenColumns, TokenRow } from './read.ts';

/** A text as words, each with a tag: O, or B- or I- and a label. */
export interface TaggedText {
  /** File and line. */
  readonly where: string;
  readonly text: string;
  readonly words: readonly Place[];
  readonly tags: readonly string[];
  /** What the text comes from, such as a page: texts of one group go to one part of the data together. */
  readonly group?: string;
}

/** Texts in three parts. */
export interface TokenData {
  readonly train: readonly TaggedText[];
  readonly validation: readonly TaggedText[];
  readonly test: readonly TaggedText[];
  /** The tags that a model has to choose from, O first. */
  readonly labels: readonly string[];
  /** The scheme by which entities are read off tags; undefined: as the CoNLL evaluation does. */
  readonly scheme: Scheme | undefined;
  /** Lines about where the texts come from and what was left out. */
  readonly origin: readonly string[];
}

export interface TokenDataOptions extends TokenColumns {
  readonly data: string;
  /** A file to test on; without one a part of `data` is held out. */
  readonly testData?: string;
  /** Tags as the file has them; by default they become IOB2, whatever they were. */
  readonly keepTags: boolean;
  readonly seed: number;
}

/** Texts that have a name instead of a file, for `--help`. */
export const tokenDataNames = 'libreoffice-help, also in other languages: libreoffice-help-fr, -de, ...';

/**
 * Reads a file or what a name stands for, and splits it by groups, near-duplicates of what is trained on left
 * out of the other parts. Errors, beside those of `readTokenRows`, each one line with the row: tags that no
 * scheme has, spans that meet in one word or hold none, labels of `testData` that `data` does not have.
 */
export async function loadTokenData(tokenizer: AnyTokenizer, options: TokenDataOptions): Promise<TokenData> {
  const { data, testData, keepTags, seed } = options;
  const [name, language = 'en-us'] = /^libreoffice-help(?:-([a-z]+(?:-[a-z]+)?))?$/.exec(data) ?? [];
  const source = name === undefined ? await readFileRows(data, options) : await helpRows(language);
  const tagged = tagTexts(tokenizer, source.rows, keepTags);
  const fractions = testData ? { train: 0.9, validation: 0.1, test: 0 } : { train: 0.8, validation: 0.1, test: 0.1 };
  const { counts, ...split } = splitApart(tagged.texts, {
    textOf: ({ text }) => text,
    groupOf: ({ group }) => group,
    seed,
    fractions,
    data,
    items: 'texts',
  });
  const labels = labelsOf(tagged.texts, keepTags);
  if (labels.length === 1) throw new Error(`${data}: no word has a label; there is nothing to learn`);
  const other =
    testData === undefined ? undefined : tagTexts(tokenizer, await readTokenRows(testData, options), keepTags);
  for (const { where, tags } of other?.texts ?? []) {
    const unseen = tags.find((tag) => !labels.includes(tag));
    if (unseen !== undefined)
      throw new Error(
        `${where}: the tag ${brief(unseen)} is on no word of ${data}, whose tags are ${labels.join(', ')}; ` +
          'a model can only learn what it sees',
      );
  }
  const widened = tagged.widened + (other?.widened ?? 0);
  return {
    ...split,
    test: other?.texts ?? split.test,
    labels,
    scheme: tagged.scheme,
    origin: [
      `${source.origin}, ${tagged.texts.length} texts${testData === undefined ? '' : `; test: ${testData}`}`,
      `left out: ${counts.repeated} that came before, ${counts.near} held out that are nearly one that is trained on`,
      ...(widened > 0 ? [`${widened} spans begin or end inside of a word, and are taken with the whole word`] : []),
    ],
  };
}

interface Source {
  readonly rows: readonly TokenRow[];
  readonly origin: string;
}

/** Sentences of a document belong together, where there are documents enough to split. */
async function readFileRows(path: string, columns: TokenColumns): Promise<Source> {
  const rows = await readTokenRows(path, columns);
  const groups = new Set(rows.map(({ group }) => group));
  return { rows: groups.size < 10 ? rows.map((row) => ({ ...row, group: undefined })) : rows, origin: path };
}

/** What LibreOffice's authors mark, and as what. */
const helpLabels: Readonly<Record<string, string>> = {
  keycode: 'KEY',
  literal: 'CODE',
  input: 'CODE',
  code: 'CODE',
};

/**
 * Paragraphs of LibreOffice's help with the keys and the code that are marked in them. Only those with
 * something marked: in the others the same keys and names stand unmarked. Commands are no label of their own:
 * most are marked with emph, as are names of parameters, and stressed words.
 */
async function helpRows(language: string): Promise<Source> {
  const { origin, paragraphs } = await libreOfficeHelp(language, { variants: 'usual' });
  const rows = paragraphs.flatMap(({ page, id, text, marks }): TokenRow[] => {
    const spans = marks.flatMap(({ kind, ...place }) =>
      Object.hasOwn(helpLabels, kind) ? [{ ...place, label: helpLabels[kind]! }] : [],
    );
    const where = `${page}#${id}`;
    return spans.length > 0 ? [{ where, group: page, text, spans }] : [];
  });
  return { rows, origin: `${origin}, paragraphs with marked keys or code` };
}

interface TaggedTexts {
  readonly texts: readonly TaggedText[];
  readonly scheme: Scheme | undefined;
  /** Spans that do not begin and end with a word. */
  readonly widened: number;
}

/** Rows as words with tags. */
function tagTexts(tokenizer: AnyTokenizer, rows: readonly TokenRow[], keepTags: boolean): TaggedTexts {
  // All schemes but this one can be read without knowing which it is.
  const isBilou = rows.some((row) => 'tags' in row && row.tags.some((tag) => /^[LU]-/.test(tag)));
  const scheme = isBilou ? 'BILOU' : undefined;
  let widened = 0;
  const texts = rows.map((row): TaggedText => {
    const { where, group } = row;
    const base = { where, ...(group === undefined ? {} : { group }) };
    if ('tags' in row) {
      const wrong = row.tags.find((tag) => !(isBilou ? /^(?:O|[BILU]-.+)$/su : /^(?:O|[BIES]-.+)$/su).test(tag));
      if (wrong !== undefined)
        throw new Error(
          `${where}: ${brief(wrong)} is no tag; a tag is O, or a label with ` +
            `${isBilou ? 'B, I, L or U' : 'B, I, E or S'} ` +
            'before it, B-PER',
        );
      const entities = entitiesOf(row.tags, { scheme });
      return { ...base, ...placesOf(row.tokens), tags: keepTags ? row.tags : iob2(row.tags.length, entities) };
    }
    const words = wordsOf(tokenizer, row.text);
    const entities = row.spans.map((span) => {
      const start = words.findIndex(({ end }) => end > span.start);
      const end = words.findLastIndex((word) => word.start < span.end) + 1;
      if (start === -1 || end <= start)
        throw new Error(
          `${where}: the span ${brief(span.label)} [${span.start}, ${span.end}) holds no word, only white space or ` +
            'characters that the tokenizer leaves out',
        );
      widened += Number(words[start]!.start < span.start || words[end - 1]!.end > span.end);
      return { type: span.label, start, end };
    });
    const shared = entities.findIndex(({ end }, i) => (entities[i + 1]?.start ?? Infinity) < end);
    if (shared !== -1) {
      const word = words[entities[shared + 1]!.start]!;
      throw new Error(
        `${where}: two spans meet in the word ${brief(row.text.slice(word.start, word.end))} at ${word.start}; ` +
          'a word has one label',
      );
    }
    return { ...base, text: row.text, words, tags: iob2(words.length, entities) };
  });
  return { texts, scheme: keepTags ? scheme : undefined, widened };
}

/** Words as a text with single spaces between. */
function placesOf(tokens: readonly string[]): Pick<TaggedText, 'text' | 'words'> {
  let at = 0;
  const words = tokens.map((token) => {
    const start = at;
    at += token.length + 1;
    return { start, end: start + token.length };
  });
  return { text: tokens.join(' '), words };
}

/**
 * The words of a text: those that BERT's tokenizer makes of it, for others runs of characters without white
 * space, and punctuation by itself.
 */
export function wordsOf(tokenizer: AnyTokenizer, text: string): Place[] {
  if (!(tokenizer instanceof BertTokenizer))
    return Array.from(text.matchAll(BERT_WORD), ({ 0: word, index }) => ({ start: index, end: index + word.length }));
  const { starts, ends, words } = tokenizer.encodeText(text);
  const places: { start: number; end: number }[] = [];
  words.forEach((word, i) => {
    const place = (places[word] ??= { start: starts[i]!, end: ends[i]! });
    place.end = Math.max(place.end, ends[i]!);
  });
  return places;
}

/** Tags of `count` words of which these are entities. */
export function iob2(count: number, entities: readonly (Place & { readonly type: string })[]): string[] {
  const tags = new Array<string>(count).fill('O');
  for (const { type, start, end } of entities)
    for (let i = start; i < end; i++) tags[i] = `${i === start ? 'B' : 'I'}-${type}`;
  return tags;
}

/** The tags of texts, O first; of IOB2 both of each label, whether the texts have them or not. */
function labelsOf(texts: readonly TaggedText[], keepTags: boolean): string[] {
  const found = new Set(texts.flatMap(({ tags }) => tags));
  found.delete('O');
  const sorted = keepTags
    ? [...found].sort()
    : [...new Set([...found].map((tag) => tag.slice(2)))].sort().flatMap((label) => [`B-${label}`, `I-${label}`]);
  return ['O', ...sorted];
}
