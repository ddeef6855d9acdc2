// The inputs and options of encoding; names and rules follow Transformers' __call__.
import type { TruncationStrategy } from './truncate.ts';

export type TextPair = readonly [first: string, second: string];

/**
 * A text, a list of texts, a list of [text, text] pairs, or with `isSplitIntoWords` a list of lists of words.
 */
export type TextBatch = string | readonly string[] | readonly TextPair[] | readonly (readonly string[])[];

/** One checked input: a text, a pair, or a text as words. */
export type TextInput = { texts: readonly [first: string, second?: string] } | { words: readonly string[] };

function checkString(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  const what = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  throw new Error(`${where} is ${what}: texts to encode must be strings`);
}

/**
 * The inputs of a batch; a single string is a batch of one.
 *
 * Errors, each one line: an empty batch; something that is no string, named by its index.
 */
export function readInputs(batch: TextBatch, isSplitIntoWords: boolean): TextInput[] {
  const inputs: readonly unknown[] = Array.isArray(batch) ? batch : [batch];
  if (inputs.length === 0) throw new Error('there are no texts to encode: pass at least one');
  // Array.from visits holes too, which would otherwise be left out in silence.
  return Array.from(inputs, (input, index) => {
    if (isSplitIntoWords) {
      if (!Array.isArray(input)) throw new Error(`text ${index} is no list of words: leave out isSplitIntoWords`);
      return { words: Array.from(input, (word, position) => checkString(word, `word ${position} of text ${index}`)) };
    }
    if (!Array.isArray(input)) return { texts: [checkString(input, `text ${index}`)] };
    if (input.length !== 2) {
      throw new Error(
        `text ${index} is a list of ${input.length}: pairs have two texts; for lists of words set isSplitIntoWords`,
      );
    }
    const first = checkString(input[0], `text ${index}, the first of its pair,`);
    return { texts: [first, checkString(input[1], `text ${index}, the second of its pair,`)] };
  });
}

export interface EncodeOptions {
  /**
   * Cut rows longer than `maxLength`; true is "longest_first". Default false, or true where only maxLength is
   * given.
   */
  truncation?: boolean | TruncationStrategy;
  /** Fill rows up: true or "longest" to the longest row, "max_length" to `maxLength`. Default false. */
  padding?: boolean | 'longest' | 'max_length';
  /** Tokens in a row, special tokens included. Default: the tokenizer's modelMaxLength. */
  maxLength?: number;
  /** With padding, round the row length up to a multiple of this. */
  padToMultipleOf?: number;
  /** What the template puts around the texts, such as [CLS] and [SEP]; default true. */
  addSpecialTokens?: boolean;
  /** Give what truncation cuts off as further rows (`overflowToSample` says whose they are). */
  returnOverflowingTokens?: boolean;
  /** Tokens that such a row repeats from the one before; default 0. */
  stride?: number;
  /** Texts come as lists of words: `wordIds` count these, offsets are within each. */
  isSplitIntoWords?: boolean;
  returnOffsets?: boolean;
  returnSpecialTokensMask?: boolean;
  returnWordIds?: boolean;
  returnSequenceIds?: boolean;
}

/** The options checked, with their defaults. */
export interface EncodePlan {
  /** null: nothing is cut. */
  strategy: TruncationStrategy | null;
  maxLength: number;
  /** The row length for a batch whose longest row has `longest` tokens; null where rows are not padded. */
  padTo: (longest: number) => number | null;
}

const STRATEGIES = ['longest_first', 'only_first', 'only_second'];
const PADDINGS = [true, false, 'longest', 'max_length'];

function checkWhole(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return;
  throw new Error(`${name} must be a whole number of at least ${least}, got ${value}`);
}

/**
 * Checks the options and settles what they leave open; `modelMaxLength` is Infinity where unknown.
 *
 * Errors, each one line: a value outside its range, options that contradict each other or would have no
 * effect.
 */
export function planEncoding(options: EncodeOptions, modelMaxLength: number): EncodePlan {
  const { padding = false, padToMultipleOf, stride, returnOverflowingTokens } = options;
  checkWhole('maxLength', options.maxLength, 1);
  checkWhole('padToMultipleOf', padToMultipleOf, 1);
  checkWhole('stride', stride, 0);
  const truncation = options.truncation ?? (options.maxLength !== undefined && padding === false);
  const strategy = truncation === true ? 'longest_first' : truncation === false ? null : truncation;
  if (strategy !== null && !STRATEGIES.includes(strategy)) {
    throw new Error(
      `truncation must be true, false, "longest_first", "only_first" or "only_second", got "${strategy}"`,
    );
  }
  if (!PADDINGS.includes(padding)) {
    throw new Error(`padding must be true, false, "longest" or "max_length", got "${padding}"`);
  }
  if (options.maxLength !== undefined && strategy === null && padding !== 'max_length') {
    throw new Error(`maxLength ${options.maxLength} has no effect here: add truncation: true or padding: "max_length"`);
  }
  if (returnOverflowingTokens && strategy === null) throw new Error('returnOverflowingTokens needs truncation: true');
  if (stride !== undefined && !returnOverflowingTokens) throw new Error('stride needs returnOverflowingTokens: true');
  if (padToMultipleOf !== undefined && padding === false) throw new Error('padToMultipleOf needs padding: true');
  const maxLength = options.maxLength ?? modelMaxLength;
  if (padding === 'max_length' && maxLength === Infinity) {
    throw new Error('padding "max_length" needs maxLength: this tokenizer names no model_max_length');
  }
  const multiple = padToMultipleOf ?? 1;
  if (strategy !== null && maxLength !== Infinity && padding !== false && maxLength % multiple !== 0) {
    throw new Error(`maxLength ${maxLength} is no multiple of padToMultipleOf ${multiple}: choose one that is`);
  }
  const padTo = (longest: number): number | null => {
    if (padding === false) return null;
    return Math.ceil((padding === 'max_length' ? maxLength : longest) / multiple) * multiple;
  };
  return { strategy, maxLength, padTo };
}
