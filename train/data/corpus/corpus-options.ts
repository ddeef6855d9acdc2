import type { CleaningOptions } from '../cleaning/rule.ts';
import type { DuplicateThresholds } from '../duplicates/filter.ts';
import type { ReadOptions } from '../readers/document.ts';
import type { Input } from '../readers/inputs.ts';
import { checkFractions } from '../split.ts';
import type { SplitFractions } from '../split.ts';
import { hashOfJson } from '../text-hash.ts';
import type { TextTokenizer } from './text-tokenizer.ts';
import { tokenizerFingerprint } from './text-tokenizer.ts';

/**
 * How documents are split: each as a whole, by a hash; or every one cut by position into the shares, as
 * nanoGPT splits its one document.
 */
export const splitKinds = ['hash', 'position'] as const;
export type SplitKind = (typeof splitKinds)[number];

/** The options that decide what a prepared corpus holds. */
export interface CorpusOptions {
  /** Default "hash". */
  readonly split?: SplitKind;
  /** Default 0.9, 0.05, 0.05 by hash and 0.9, 0.1, 0 by position. */
  readonly fractions?: SplitFractions;
  /** Of the split by hash. Default 0. */
  readonly seed?: number;
  /** Rules of cleaning, or false for none. Default all, and none with a split by position. */
  readonly clean?: CleaningOptions | false;
  /**
   * How near-duplicates are found, or false to keep all. Default as they are, and false with a split by
   * position.
   */
  readonly duplicates?: DuplicateThresholds | false;
  /** How files are read. */
  readonly read?: Omit<ReadOptions, 'onBytes'>;
}

export type FullCorpusOptions = Required<CorpusOptions>;

/** The options with their defaults. Error: shares that do not sum to 1, or none to train on. */
export function withDefaults(options: CorpusOptions): FullCorpusOptions {
  const { split = 'hash', seed = 0, read = {} } = options;
  const whole = split === 'position' ? false : {};
  const { clean = whole, duplicates = whole } = options;
  const {
    fractions = split === 'hash'
      ? { train: 0.9, validation: 0.05, test: 0.05 }
      : { train: 0.9, validation: 0.1, test: 0 },
  } = options;
  checkFractions('prepareCorpus', fractions);
  if (fractions.train === 0) throw new Error('prepareCorpus: the share of the train split must be above 0');
  if (split === 'position' && duplicates)
    throw new Error(
      'prepareCorpus: documents that are cut by position cannot be kept apart by likeness; ' +
        'leave duplicates out, or split by hash',
    );
  return { split, fractions, seed, clean, duplicates, read };
}

/**
 * Hash of inputs (files by name, size and time of change), tokenizer and options; its first number is raised
 * when the same options give another corpus.
 */
export function corpusKey(inputs: readonly Input[], tokenizer: TextTokenizer, options: FullCorpusOptions): string {
  const facts = [3, inputs, tokenizer.vocabSize, tokenizerFingerprint(tokenizer), options];
  return hashOfJson(facts);
}
