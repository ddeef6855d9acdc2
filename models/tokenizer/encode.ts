// Texts to rectangular arrays: special tokens, truncation, padding. The rules are those of Transformers'
// __call__.
import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { planEncoding, readInputs } from './encode-options.ts';
import type { EncodeOptions, EncodePlan, TextBatch, TextInput } from './encode-options.ts';
import { lengthsThatFit, windowsOver } from './truncate.ts';
import type { Side, Window } from './truncate.ts';
import type { Pieces } from './word-pieces.ts';

/** A batch of B rows of T tokens; all arrays are row-major [B, T] except where said. */
export interface EncodedArrays {
  shape: [B: number, T: number];
  inputIds: Int32Array;
  /** 1 for tokens, 0 for padding. */
  attentionMask: Int32Array;
  /** 0 for the first text with its special tokens, 1 for the second with its; 0 for padding. */
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
  /** [B]: the input each row comes from; given with returnOverflowingTokens. */
  overflowToSample?: Int32Array;
}

/** The part of a tokenizer that encoding uses. */
export interface BatchEncoder {
  encodeText(text: string): Pieces;
  readonly clsTokenId: number;
  readonly sepTokenId: number;
  readonly padTokenId: number;
  /** Longest row the model takes, special tokens included; Infinity where unknown. */
  readonly modelMaxLength: number;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
}

/** A row before padding. */
interface Row extends Pieces {
  types: number[];
  special: number[];
  sample: number;
}

/**
 * Encodes a batch; a single string is a batch of one.
 *
 * Errors, each one line: an empty batch, something that is no string (named by its index), a maxLength that
 * leaves no room for the special tokens, options that contradict each other, rows of different lengths
 * without padding.
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
  const special = addSpecialTokens ? pieces.length + 1 : 0;
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
  if (!returnOverflowingTokens) return [makeRow(encoder, pieces, [first![0]!, second?.[0]], addSpecialTokens, sample)];
  if (first!.length > 1 && second && second.length > 1) {
    throw new Error(
      `returnOverflowingTokens cannot cut both texts of pair ${sample}: use truncation "only_first" or "only_second"`,
    );
  }
  return first!.flatMap((window) =>
    (second ?? [undefined]).map((other) => makeRow(encoder, pieces, [window, other], addSpecialTokens, sample)),
  );
}

/** The tokens of a list of words; `words` gives each token's place in the list. */
function encodeWords(encoder: BatchEncoder, words: readonly string[]): Pieces {
  const all: Pieces = { ids: [], starts: [], ends: [], words: [] };
  for (const [index, word] of words.entries()) {
    const { ids, starts, ends } = encoder.encodeText(word);
    all.ids.push(...ids);
    all.starts.push(...starts);
    all.ends.push(...ends);
    all.words.push(...ids.map(() => index));
  }
  return all;
}

/** [CLS] first [SEP], or [CLS] first [SEP] second [SEP], each text cut to its window. */
function makeRow(
  encoder: BatchEncoder,
  pieces: readonly Pieces[],
  windows: readonly [Window, Window | undefined],
  addSpecialTokens: boolean,
  sample: number,
): Row {
  const row: Row = { ids: [], starts: [], ends: [], words: [], types: [], special: [], sample };
  const addSpecial = (id: number, type: number): void => {
    if (!addSpecialTokens) return;
    row.ids.push(id);
    row.starts.push(0);
    row.ends.push(0);
    row.words.push(-1);
    row.types.push(type);
    row.special.push(1);
  };
  addSpecial(encoder.clsTokenId, 0);
  for (const [type, { ids, starts, ends, words }] of pieces.entries()) {
    const [start, stop] = windows[type]!;
    for (let index = start; index < stop; index++) {
      row.ids.push(ids[index]!);
      row.starts.push(starts[index]!);
      row.ends.push(ends[index]!);
      row.words.push(words[index]!);
      row.types.push(type);
      row.special.push(0);
    }
    addSpecial(encoder.sepTokenId, type);
  }
  return row;
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
    inputIds: fill(encoder.padTokenId, ({ ids }) => ids),
    attentionMask: fill(0, ({ ids }) => ids.map(() => 1)),
    tokenTypeIds: fill(0, ({ types }) => types),
  };
  if (options.returnOffsets) {
    const starts = fill(0, (row) => row.starts);
    const ends = fill(0, (row) => row.ends);
    result.offsets = Int32Array.from({ length: starts.length * 2 }, (_, i) => (i % 2 === 0 ? starts : ends)[i >> 1]!);
  }
  if (options.returnSpecialTokensMask) result.specialTokensMask = fill(1, ({ special }) => special);
  if (options.returnWordIds) result.wordIds = fill(-1, ({ words }) => words);
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
  /** i32 [B, T]: 0 for the first text, 1 for the second; 0 for padding. */
  readonly tokenTypeIds: Tensor;
}

/**
 * Encodes a text, a list of texts, or a list of pairs into tensors on the device. Options and errors are
 * those of `encodeToArrays`.
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
