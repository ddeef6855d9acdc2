// Texts to rectangular arrays: special tokens, truncation, padding. The rules are those of Transformers'
// __call__.
import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { planEncoding, readInputs } from './encode-options.ts';
import type { EncodeOptions, EncodePlan, TextBatch, TextInput } from './encode-options.ts';
import { countSpecial } from './post-processors.ts';
import type { LayoutPart, PostProcessor } from './post-processors.ts';
import { codeBefore } from './regular-expression.ts';
import { lengthsThatFit, windowsOver } from './truncate.ts';
import type { Side, Window } from './truncate.ts';
import type { Margins, Pieces } from './word-pieces.ts';

/** A batch of B rows of T tokens; all arrays are row-major [B, T] except where said. */
export interface EncodedArrays {
  shape: [B: number, T: number];
  inputIds: Int32Array;
  /** 1 for tokens, 0 for padding. */
  attentionMask: Int32Array;
  /**
   * The type that the tokenizer's template gives a token: in BERT 0 for the first text with its special
   * tokens, 1 for the second with its, in RoBERTa always 0; 0 for padding.
   */
  tokenTypeIds: Int32Array;
  /**
   * [B, T, 2]: [start, end) in UTF-16 units of the text the token comes from; [0, 0] for special tokens and
   * padding.
   */
  offsets?: Int32Array;
  /** 1 for special tokens that were added and for padding. */
  specialTokensMask?: Int32Array;
  /** The word of its text that a token belongs to; -1 for special tokens and padding. */
  wordIds?: Int32Array;
  /** Which text a token belongs to, 0 or 1; -1 for special tokens and padding. */
  sequenceIds?: Int32Array;
  /** [B]: the input each row comes from; given with returnOverflowingTokens. */
  overflowToSample?: Int32Array;
}

/** The part of a tokenizer that encoding uses. */
export interface BatchEncoder {
  /** The tokens of one text without special tokens, with their places in it. */
  encodeText(text: string): Pieces;
  readonly postProcessor: PostProcessor;
  readonly padTokenId: number | undefined;
  /** Longest row the model takes, special tokens included; Infinity where unknown. */
  readonly modelMaxLength: number;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
}

/** A row before padding. */
interface Row {
  readonly ids: number[];
  readonly starts: number[];
  readonly ends: number[];
  readonly words: number[];
  readonly types: number[];
  /** The text of a token, -1 for special tokens. */
  readonly sequences: number[];
  readonly sample: number;
}

/**
 * Encodes a batch; a single string is a batch of one.
 *
 * Errors, each one line: an empty batch, something that is no string (named by its index), a maxLength that
 * leaves no room for the special tokens, options that contradict each other, rows of different lengths
 * without padding, padding where the tokenizer has no token for it, pairs where its template has no place for
 * a second text.
 */
export function encodeToArrays(encoder: BatchEncoder, batch: TextBatch, options: EncodeOptions = {}): EncodedArrays {
  const plan = planEncoding(options, encoder.modelMaxLength);
  const inputs = readInputs(batch, options.isSplitIntoWords ?? false);
  const rows = inputs.flatMap((input, sample) => encodeInput(encoder, input, sample, plan, options));
  const longest = rows.reduce((length, { ids }) => Math.max(length, ids.length), 0);
  return toRectangle(encoder, rows, longest, plan.padTo(longest), options);
}

/** The rows of one input: one, or several where overflowing tokens are asked for. */
function encodeInput(
  encoder: BatchEncoder,
  input: TextInput,
  sample: number,
  { strategy, maxLength }: EncodePlan,
  { addSpecialTokens = true, stride = 0, returnOverflowingTokens = false }: EncodeOptions,
): Row[] {
  const pieces =
    'words' in input ? [encodeWords(encoder, input.words)] : input.texts.map((text) => encoder.encodeText(text!));
  const lengths = pieces.map(({ ids }) => ids.length);
  const layout = layoutFor(encoder.postProcessor, pieces.length, addSpecialTokens);
  const special = countSpecial(layout);
  let windows: Window[][] = lengths.map((length) => [[0, length]]);
  if (strategy !== null && maxLength !== Infinity) {
    if (maxLength < special) {
      throw new Error(
        `maxLength ${maxLength} leaves no room for the ${special} special tokens: use at least ${special + 1}`,
      );
    }
    const kept = lengthsThatFit(lengths[0]!, lengths[1] ?? null, maxLength - special, strategy);
    windows = lengths.map((length, index) => windowsOver(length, kept[index]!, stride, encoder.truncationSide));
  }
  const [first, second] = windows;
  const row = (window: Window, other: Window | undefined): Row =>
    makeRow(layout, encoder.postProcessor.trims, pieces, [window, other], sample);
  if (!returnOverflowingTokens) return [row(first![0]!, second?.[0])];
  if (first!.length > 1 && second && second.length > 1) {
    throw new Error(
      `returnOverflowingTokens cannot cut both texts of pair ${sample}: use truncation "only_first" or "only_second"`,
    );
  }
  return first!.flatMap((window) => (second ?? [undefined]).map((other) => row(window, other)));
}

/** How one text or two become a row; without special tokens the texts alone. */
function layoutFor({ single, pair }: PostProcessor, texts: number, addSpecialTokens: boolean): readonly LayoutPart[] {
  const layout = texts === 1 ? single : pair;
  if (layout === null)
    throw new Error('the post_processor of the tokenizer has no place for a second text; encode single texts');
  return addSpecialTokens ? layout : layout.filter((part) => 'text' in part);
}

/** The tokens of a list of words; `words` gives each token's place in the list. */
function encodeWords(encoder: BatchEncoder, words: readonly string[]): Pieces {
  const all = { ids: [] as number[], starts: [] as number[], ends: [] as number[], words: [] as number[] };
  const margins: Margins[] = [];
  for (const [index, word] of words.entries()) {
    const pieces = encoder.encodeText(word);
    for (const name of ['ids', 'starts', 'ends'] as const) for (const value of pieces[name]) all[name].push(value);
    for (let i = 0; i < pieces.ids.length; i++) all.words.push(index);
    margins.push(...(pieces.margins ?? []));
  }
  return margins.length > 0 ? { ...all, margins } : all;
}

/** A row as the layout has it, each text cut to its window. */
function makeRow(
  layout: readonly LayoutPart[],
  trims: PostProcessor['trims'],
  pieces: readonly Pieces[],
  windows: readonly [Window, Window | undefined],
  sample: number,
): Row {
  const row: Row = { ids: [], starts: [], ends: [], words: [], types: [], sequences: [], sample };
  const push = (
    id: number,
    [start, end]: readonly [number, number],
    word: number,
    type: number,
    text: number,
  ): void => {
    row.ids.push(id);
    row.starts.push(start);
    row.ends.push(end);
    row.words.push(word);
    row.types.push(type);
    row.sequences.push(text);
  };
  for (const part of layout) {
    if ('ids' in part) {
      for (const id of part.ids) push(id, [0, 0], -1, part.type, -1);
      continue;
    }
    const { ids, starts, ends, words, margins } = pieces[part.text]!;
    const [start, stop] = windows[part.text]!;
    for (let i = start; i < stop; i++) {
      const place = [starts[i]!, ends[i]!] as const;
      const own = margins ? trimmed(place, margins[i]!, i === start, trims) : place;
      push(ids[i]!, own, words[i]!, part.type, part.text);
    }
  }
  return row;
}

/**
 * A token's place without the spaces that it begins and ends with, as Rust `tokenizers` has it
 * (pre_tokenizers/byte_level.rs, process_offsets): of a row's first token, and one that stands at 0, a
 * single space is one that the tokenizer put there, which has no place in the text.
 */
function trimmed(
  place: readonly [start: number, end: number],
  { before, after, text }: Margins,
  isFirst: boolean,
  trims: PostProcessor['trims'],
): readonly [number, number] {
  let [start, end] = place;
  for (const addsSpace of trims) {
    const leading = addsSpace && before === 1 && (isFirst || start === 0) ? 0 : before;
    for (let i = 0; i < leading && start < end; i++) start += text.codePointAt(start)! > 0xffff ? 2 : 1;
    for (let i = 0; i < after && end > start; i++) end -= codeBefore(text, end) > 0xffff ? 2 : 1;
  }
  return [start, end];
}

function toRectangle(
  encoder: BatchEncoder,
  rows: readonly Row[],
  longest: number,
  padTo: number | null,
  options: EncodeOptions,
): EncodedArrays {
  const width = padTo ?? longest;
  if (longest > width) {
    throw new Error(
      `a row has ${longest} tokens, more than maxLength ${options.maxLength ?? width}: pass truncation: true`,
    );
  }
  if (padTo === null && rows.some(({ ids }) => ids.length !== width)) {
    const shortest = rows.reduce((length, { ids }) => Math.min(length, ids.length), longest);
    throw new Error(`rows have ${shortest} to ${longest} tokens: pass padding: true to make them equal`);
  }
  const { padTokenId } = encoder;
  if (padTokenId === undefined && rows.some(({ ids }) => ids.length < width))
    throw new Error(
      'padding needs a token for it, and the tokenizer has none: name a pad_token in tokenizer_config.json',
    );
  const fill = (empty: number, pick: (row: Row) => readonly number[]): Int32Array => {
    const result = new Int32Array(rows.length * width).fill(empty);
    for (const [index, row] of rows.entries()) {
      const skip = encoder.paddingSide === 'left' ? width - row.ids.length : 0;
      result.set(pick(row), index * width + skip);
    }
    return result;
  };
  const result: EncodedArrays = {
    shape: [rows.length, width],
    inputIds: fill(padTokenId ?? 0, ({ ids }) => ids),
    attentionMask: fill(0, ({ ids }) => ids.map(() => 1)),
    tokenTypeIds: fill(0, ({ types }) => types),
  };
  if (options.returnOffsets) {
    const starts = fill(0, (row) => row.starts);
    const ends = fill(0, (row) => row.ends);
    result.offsets = Int32Array.from({ length: starts.length * 2 }, (_, i) => (i % 2 === 0 ? starts : ends)[i >> 1]!);
  }
  if (options.returnSpecialTokensMask)
    result.specialTokensMask = fill(1, ({ sequences }) => sequences.map((text) => Number(text < 0)));
  if (options.returnWordIds) result.wordIds = fill(-1, ({ words }) => words);
  if (options.returnSequenceIds) result.sequenceIds = fill(-1, ({ sequences }) => sequences);
  if (options.returnOverflowingTokens) result.overflowToSample = Int32Array.from(rows, ({ sample }) => sample);
  return result;
}

/**
 * A batch of B rows of T tokens, ready for a model's forward. What a model does not take stays on the host.
 */
export interface Encoding extends Omit<EncodedArrays, 'shape' | 'inputIds' | 'attentionMask' | 'tokenTypeIds'> {
  /** i32 [B, T]. */
  readonly inputIds: Tensor;
  /** i32 [B, T]: 1 for tokens, 0 for padding. */
  readonly attentionMask: Tensor;
  /** i32 [B, T]: the type that the template gives a token, in BERT 0 and 1; 0 for padding. */
  readonly tokenTypeIds: Tensor;
}

/**
 * Encodes a text, a list of texts, or a list of pairs into tensors on the device. Options and errors are
 * those of `encodeToArrays`.
 *
 * @example
 * const { inputIds } = encode(BertTokenizer.default(), ['hello', 'hello world'], { padding: true });
 * inputIds; // [[101, 7592, 102, 0], [101, 7592, 2088, 102]]
 */
export function encode(encoder: BatchEncoder, batch: TextBatch, options: EncodeOptions = {}): Encoding {
  const { shape, inputIds, attentionMask, tokenTypeIds, ...onHost } = encodeToArrays(encoder, batch, options);
  const upload = (values: Int32Array): Tensor => tensor(values, { shape });
  return {
    inputIds: upload(inputIds),
    attentionMask: upload(attentionMask),
    tokenTypeIds: upload(tokenTypeIds),
    ...onHost,
  };
}
