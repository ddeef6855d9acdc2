import { brief } from '../../../common/printable.ts';
import { encodeToArrays } from '../../tokenizer/encode.ts';
import type { BatchEncoder } from '../../tokenizer/encode.ts';
import { countSpecial } from '../../tokenizer/post-processors.ts';
import type { TokenRow } from '../rows.ts';

/** A question and the text that it is answered from. */
export interface Question {
  /** Names it in errors; default its number in the list. */
  readonly id?: string;
  readonly question: string;
  readonly context: string;
}

/**
 * A part of a context behind its question as the model reads it: [CLS] question [SEP] part [SEP]. A long
 * context is cut into several that overlap.
 */
export interface QuestionFeature extends TokenRow {
  /** Number of the question in the list. */
  readonly question: number;
  /** The row's tokens [first, stop) are the context's. */
  readonly first: number;
  readonly stop: number;
  /**
   * For each token of the row, where it stands in the context: [start, end) in UTF-16 units, as `slice`
   * counts. (Transformers counts code points.) 0 outside of the context.
   */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** For each token of the row, the word of the context that it belongs to; -1 for special tokens. */
  readonly words: Int32Array;
}

export interface FeatureOptions {
  /** Tokens of a row, special tokens included; default 384. */
  readonly maxLength?: number;
  /** Tokens that a part of a context repeats from the part before; default 128. */
  readonly docStride?: number;
}

/**
 * Questions and contexts as rows of tokens: the context alone is cut, into parts that overlap by `docStride`
 * tokens, as in Transformers' run_qa. Rows are in the order of the questions, a context's parts in its order.
 *
 * Errors, each one line: no questions; a question so long that the context's parts would not move on, by its
 * id; a tokenizer that pads on the left, for which Transformers puts the context first.
 */
export function questionFeatures(
  tokenizer: BatchEncoder,
  questions: readonly Question[],
  { maxLength = 384, docStride = 128 }: FeatureOptions = {},
): QuestionFeature[] {
  if (tokenizer.paddingSide !== 'right')
    throw new Error('question answering needs a tokenizer that pads on the right: set its padding_side to "right"');
  if (questions.length === 0) throw new Error('there are no questions: pass at least one');
  const { postProcessor, padTokenId, modelMaxLength, paddingSide, truncationSide } = tokenizer;
  const settings = { postProcessor, padTokenId, modelMaxLength, paddingSide, truncationSide };
  const specialTokens = countSpecial(postProcessor.pair ?? []);
  // Questions about one context follow each other.
  let known = { text: '', pieces: tokenizer.encodeText('') };
  return questions.flatMap(({ id, question: text, context }, question) => {
    const asked = tokenizer.encodeText(text);
    if (known.text !== context) known = { text: context, pieces: tokenizer.encodeText(context) };
    const room = maxLength - asked.ids.length - specialTokens;
    if (known.pieces.ids.length > Math.max(room, 0) && room <= docStride)
      throw new Error(
        `question ${id === undefined ? question : brief(id)} has ${asked.ids.length} tokens, which leave ` +
          `${Math.max(room, 0)} of ${maxLength} to its context: more than the document stride of ${docStride} are ` +
          'needed; shorten the question or the stride, or raise the length',
      );
    const { pieces } = known;
    const encoder = { ...settings, encodeText: (part: string) => (part === context ? pieces : asked) };
    return rowsOf(encoder, [text, context], question, maxLength, docStride);
  });
}

function rowsOf(
  encoder: BatchEncoder,
  pair: readonly [question: string, context: string],
  question: number,
  maxLength: number,
  stride: number,
): QuestionFeature[] {
  const encoded = encodeToArrays(encoder, [pair], {
    truncation: 'only_second',
    padding: true,
    maxLength,
    stride,
    returnOverflowingTokens: true,
    returnOffsets: true,
    returnWordIds: true,
    returnSequenceIds: true,
  });
  const { shape, inputIds, tokenTypeIds, attentionMask, offsets, wordIds, sequenceIds } = encoded;
  const [rows, width] = shape;
  return Array.from({ length: rows }, (_, row) => {
    const of = (values: Int32Array): Int32Array => values.slice(row * width, row * width + length);
    const length = attentionMask.subarray(row * width, (row + 1) * width).lastIndexOf(1) + 1;
    const texts = of(sequenceIds!);
    const stop = texts.lastIndexOf(1) + 1;
    const place = (side: 0 | 1): Int32Array =>
      texts.map((text, i) => (text === 1 ? offsets![2 * (row * width + i) + side]! : 0));
    return {
      question,
      inputIds: of(inputIds),
      tokenTypeIds: of(tokenTypeIds),
      // Of a context without tokens no place is its own.
      first: stop === 0 ? length : texts.indexOf(1),
      stop: stop === 0 ? length : stop,
      starts: place(0),
      ends: place(1),
      words: of(wordIds!),
    };
  });
}

/**
 * The first and the last token of an answer that stands at [start, end) of the context; both 0, the place of
 * [CLS], where the answer is not whole in this part. As run_qa has it, but for answers that begin in the last
 * token of a row, whose first token it takes for the [SEP] behind.
 */
export function answerPositions(
  { first, stop, starts, ends }: QuestionFeature,
  start: number,
  end: number,
): readonly [first: number, last: number] {
  if (first === stop || starts[first]! > start || ends[stop - 1]! < end) return [0, 0];
  let [from, to] = [first, stop - 1];
  while (from + 1 < stop && starts[from + 1]! <= start) from++;
  while (to > first && ends[to - 1]! >= end) to--;
  return [from, to];
}
