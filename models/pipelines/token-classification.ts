import type { BertInputs } from '../bert/model.ts';
import type { TokenClassificationModel } from '../auto.ts';
import type { LoadOptions } from '../pretrained.ts';
import { softmax } from '../generation/processors.ts';
import { computing, loadTextEncoder, readRows, textRows } from './encoder.ts';
import type { EncoderOptions, TextEncoder, TextRow } from './encoder.ts';
import type { TokenRow } from './rows.ts';

/**
 * How the labels of tokens become entities. none: each token by itself. simple: neighbours of one label
 * together (B- and I- in front of it say where one begins). first, average, max: the same with whole words,
 * which have the label of their first token, of the mean of their tokens' probabilities, or of their surest
 * token.
 */
export type AggregationStrategy = 'none' | 'simple' | 'first' | 'average' | 'max';

/** A token with its label. */
export interface TokenLabel {
  readonly entity: string;
  readonly score: number;
  /** Place of the token in its row, special tokens counted. */
  readonly index: number;
  readonly word: string;
  /** [start, end) in the text, in UTF-16 units as `slice` counts. */
  readonly start: number;
  readonly end: number;
}

/** Neighbouring tokens or words of one label. */
export interface Entity {
  readonly entity_group: string;
  /** The mean of its tokens' or words'. */
  readonly score: number;
  readonly word: string;
  readonly start: number;
  readonly end: number;
}

export interface TokenClassificationOptions extends EncoderOptions {
  /** Default none. */
  readonly aggregationStrategy?: AggregationStrategy;
  /** Labels that are left out; default O. */
  readonly ignoreLabels?: readonly string[];
  /**
   * Cut texts that are longer than the model reads into parts that repeat so many tokens, and join what is
   * found; not with aggregation none. By default they are an error.
   */
  readonly stride?: number;
}

export type TokenClassifier = TextEncoder<TokenClassificationModel>;

export const loadTokenClassifier = (id: string, options?: LoadOptions): Promise<TokenClassifier> =>
  loadTextEncoder(id, 'ForTokenClassification', options);

const logitsOf = computing('token classification', (model: TokenClassificationModel, batch: BertInputs) => {
  return model.forward(batch).logits;
});

/** The logits (T, labels) of each row, in the order of the rows. */
export function tokenLogits(
  classifier: TokenClassifier,
  rows: readonly TokenRow[],
  options?: EncoderOptions,
): Promise<Float32Array[]> {
  return readRows(classifier, rows, logitsOf, { ...options, perToken: true });
}

/** A token, or a word of several. */
interface Labelled {
  readonly entity: string;
  readonly score: number;
  readonly tokens: readonly string[];
  readonly start: number;
  readonly end: number;
}

interface Piece {
  readonly token: string;
  readonly scores: readonly number[];
  readonly index: number;
  readonly start: number;
  readonly end: number;
  /** Goes on with the word of the token before. */
  readonly isSubword: boolean;
}

/** The labelled tokens, or entities, of each text, as Transformers' TokenClassificationPipeline. */
export async function labelTokens(
  classifier: TokenClassifier,
  texts: readonly string[],
  options: TokenClassificationOptions = {},
): Promise<(TokenLabel | Entity)[][]> {
  const { aggregationStrategy: strategy = 'none', ignoreLabels = ['O'], stride, truncation } = options;
  if (!['none', 'simple', 'first', 'average', 'max'].includes(strategy))
    throw new Error(
      `token-classification: unknown aggregationStrategy "${strategy}"; use none, simple, first, average or max`,
    );
  if (stride !== undefined && strategy === 'none')
    throw new Error('token-classification: stride needs an aggregationStrategy other than none');
  const ignored = new Set(ignoreLabels);
  const { labels } = classifier.model.config;
  const rows = textRows(classifier, texts, { truncation, ...(stride === undefined ? {} : { stride }) });
  const logits = await tokenLogits(classifier, rows, options);
  const found = texts.map((): (TokenLabel | Entity)[] => []);
  const parts = new Array<number>(texts.length).fill(0);
  rows.forEach((row, i) => {
    parts[row.text]!++;
    const pieces = piecesOf(classifier, texts[row.text]!, row, logits[i]!, labels.length);
    const entities = strategy === 'none' ? labelEach(pieces, labels) : entitiesOf(classifier, pieces, labels, strategy);
    found[row.text]!.push(
      ...entities.filter((each) => !ignored.has('entity' in each ? each.entity : each.entity_group)),
    );
  });
  return found.map((entities, text) => (parts[text]! > 1 ? withoutOverlaps(entities as Entity[]) : entities));
}

function piecesOf(
  { tokenizer }: TokenClassifier,
  text: string,
  { inputIds, starts, ends, special }: TextRow,
  logits: Float32Array,
  count: number,
): Piece[] {
  const pieces: Piece[] = [];
  inputIds.forEach((id, index) => {
    if (special[index]) return;
    const [start, end] = [starts[index]!, ends[index]!];
    const token = tokenizer.convertIdsToTokens(id);
    const own = text.slice(start, end);
    const isUnknown = id === tokenizer.unkTokenId;
    pieces.push({
      token: isUnknown ? own : token,
      scores: Array.from(softmax(logits.subarray(index * count, (index + 1) * count))),
      index,
      start,
      end,
      isSubword: !isUnknown && goesOn(tokenizer, text, token, start, end),
    });
  });
  return pieces;
}

/**
 * Whether a token goes on with a word. WordPiece marks it, which makes the token longer than its text; else
 * every token does that does not begin with a space or behind one.
 */
function goesOn(
  { continuingSubwordPrefix }: TokenClassifier['tokenizer'],
  text: string,
  token: string,
  start: number,
  end: number,
): boolean {
  if (continuingSubwordPrefix !== '') return [...token].length !== [...text.slice(start, end)].length;
  return start > 0 && !text.slice(start - 1, start + 1).includes(' ');
}

const surest = (scores: readonly number[]): number => scores.indexOf(Math.max(...scores));

function labelEach(pieces: readonly Piece[], labels: readonly string[]): TokenLabel[] {
  return pieces.map(({ scores, index, token: word, start, end }) => {
    const best = surest(scores);
    return { entity: labels[best]!, score: scores[best]!, index, word, start, end };
  });
}

function entitiesOf(
  { tokenizer }: TokenClassifier,
  pieces: readonly Piece[],
  labels: readonly string[],
  strategy: Exclude<AggregationStrategy, 'none'>,
): Entity[] {
  const text = (tokens: readonly string[]): string => tokenizer.convertTokensToString(tokens);
  const words = strategy === 'simple' ? pieces.map((piece) => [piece]) : wordsOf(pieces);
  const labelled = words.map((word) => {
    const { entity, score } = labelOf(word, labels, strategy);
    const tokens = word.map(({ token }) => token);
    // Of a word its text counts on, as one token.
    return {
      entity,
      score,
      tokens: strategy === 'simple' ? tokens : [text(tokens)],
      start: word[0]!.start,
      end: word.at(-1)!.end,
    };
  });
  return group(labelled).map((members) => ({
    entity_group: members[0]!.entity.slice(members[0]!.entity.indexOf('-') + 1),
    score: members.reduce((sum, { score }) => sum + score, 0) / members.length,
    word: text(members.flatMap(({ tokens }) => tokens)),
    start: members[0]!.start,
    end: members.at(-1)!.end,
  }));
}

function wordsOf(pieces: readonly Piece[]): Piece[][] {
  const words: Piece[][] = [];
  for (const piece of pieces) {
    if (piece.isSubword && words.length > 0) words.at(-1)!.push(piece);
    else words.push([piece]);
  }
  return words;
}

function labelOf(
  word: readonly Piece[],
  labels: readonly string[],
  strategy: Exclude<AggregationStrategy, 'none'>,
): { entity: string; score: number } {
  let { scores } = word[0]!;
  if (strategy === 'max')
    for (const piece of word) if (Math.max(...piece.scores) > Math.max(...scores)) scores = piece.scores;
  if (strategy === 'average')
    scores = labels.map((_, k) => word.reduce((sum, piece) => sum + piece.scores[k]!, 0) / word.length);
  const best = surest(scores);
  return { entity: labels[best]!, score: scores[best]! };
}

/** Neighbours of one tag, of which only the first may begin with B-. */
function group(labelled: readonly Labelled[]): Labelled[][] {
  const tagOf = (entity: string): string => entity.replace(/^[BI]-/, '');
  const groups: Labelled[][] = [];
  for (const each of labelled) {
    const last = groups.at(-1)?.at(-1);
    const goesOn = last && tagOf(last.entity) === tagOf(each.entity) && !each.entity.startsWith('B-');
    if (goesOn) groups.at(-1)!.push(each);
    else groups.push([each]);
  }
  return groups;
}

/** Of entities that overlap, found in two parts of a text, the longer one, or else the surer one. */
function withoutOverlaps(entities: readonly Entity[]): Entity[] {
  const sorted = [...entities].sort((a, b) => a.start - b.start);
  const kept: Entity[] = [];
  let previous = sorted[0];
  if (!previous) return kept;
  for (const each of sorted) {
    if (previous.start <= each.start && each.start < previous.end) {
      const [own, other] = [each.end - each.start, previous.end - previous.start];
      if (own > other || (own === other && each.score > previous.score)) previous = each;
    } else {
      kept.push(previous);
      previous = each;
    }
  }
  return [...kept, previous];
}
