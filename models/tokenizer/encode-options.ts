// The options of encoding; names and rules follow Transformers' __call__.
import type { TruncationStrategy } from './truncate.ts';

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
  /** [CLS] and [SEP] around the texts; default true. */
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
}

/** What the options come to. */
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
