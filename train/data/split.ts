import { Random } from '../../common/random.ts';

export interface SplitFractions {
  readonly train: number;
  readonly validation: number;
  readonly test: number;
}

export interface SplitOptions {
  /** Shares of the examples; they sum to 1, each from 0. Default 0.8, 0.1, 0.1. */
  readonly fractions?: SplitFractions;
  readonly seed: number;
  /**
   * Group of each example, as duplicateGroups gives it: a group goes to one split as a whole, so that no
   * duplicate of a training example is tested on. Default: every example on its own.
   */
  readonly groups?: ArrayLike<number>;
  /** The file that the examples are of; it begins errors, which then name flags. */
  readonly data?: string;
}

/** Indices of the examples of each split, ascending. */
export type Split = { readonly [name in keyof SplitFractions]: number[] };

export const splitNames = ['train', 'validation', 'test'] as const;
export type SplitName = (typeof splitNames)[number];

/**
 * Splits examples at random so that each class has the same share of every split, within one group. Equal
 * seeds give equal splits. Throws where a split with a share above 0 would be empty.
 *
 * @example
 * const labels = Array.from({ length: 20 }, (_, i) => i % 2);
 * const { train, test } = stratifiedSplit(labels, { seed: 0 });
 * [train.length, test.length]; // [16, 2]
 */
export function stratifiedSplit(labels: ArrayLike<number>, options: SplitOptions): Split {
  const { fractions = { train: 0.8, validation: 0.1, test: 0.1 }, seed, groups, data } = options;
  checkFractions('stratifiedSplit', fractions);
  if (groups && groups.length !== labels.length) {
    throw new Error(`stratifiedSplit: ${labels.length} labels but ${groups.length} groups; give one group an example`);
  }
  const members = new Map<number, number[]>();
  for (let i = 0; i < labels.length; i++) append(members, groups ? groups[i]! : i, i);
  const classes = new Map<number, number[][]>();
  for (const group of members.values()) append(classes, labels[group[0]!]!, group);

  const random = new Random(seed);
  const split: Split = { train: [], validation: [], test: [] };
  for (const [, list] of [...classes].sort(([a], [b]) => a - b)) {
    const size = list.reduce((total, group) => total + group.length, 0);
    const missing = splitNames.map((name) => fractions[name] * size);
    for (const group of random.shuffle(list)) {
      // Always to the split that lacks most: no class ends more than one group from its share.
      const target = missing.indexOf(Math.max(...missing));
      for (const member of group) split[splitNames[target]!].push(member);
      missing[target]! -= group.length;
    }
  }
  for (const name of splitNames) {
    if (fractions[name] > 0 && split[name].length === 0) {
      // Near duplicates, and pages of a book, are groups: many examples may be few of these.
      const apart = groups ? ` in ${members.size} groups, each kept together,` : '';
      const add = `add examples${groups ? ' that are no near duplicates of these' : ''}`;
      const share = data === undefined ? ' or set its share to 0' : '';
      const mend = data !== undefined && name === 'test' ? ', or give others to test on with --test-data' : share;
      throw new Error(
        `${data ?? 'stratifiedSplit'}: ${labels.length} examples${apart} leave the ${name} split empty; ${add}${mend}`,
      );
    }
    split[name].sort((a, b) => a - b);
  }
  return split;
}

/**
 * The split that a group of documents belongs to, from its key alone (a hash of its first text): a pure
 * function, so that documents are split as they stream past, and a document stays where it is when others
 * join the corpus. The shares are met in the mean.
 */
export function hashedSplit(key: number, fractions: SplitFractions, seed: number): SplitName {
  const u = new Random(seed, key).uniform();
  if (u < fractions.train) return 'train';
  // Rounding must not send anything to a split with a share of 0.
  return u < fractions.train + fractions.validation || fractions.test === 0 ? 'validation' : 'test';
}

/**
 * A text cut by position into the shares of the splits, in their order, as nanoGPT splits its one document:
 * each boundary at floor(share * length) UTF-16 units, or one before, where that would cut a character in
 * two.
 */
export function positionSplit(text: string, { train, validation, test }: SplitFractions): Record<SplitName, string> {
  const first = boundary(text, train);
  const second = test === 0 ? text.length : Math.max(first, boundary(text, train + validation));
  return { train: text.slice(0, first), validation: text.slice(first, second), test: text.slice(second) };
}

function boundary(text: string, share: number): number {
  const at = Math.floor(text.length * share);
  const unit = text.charCodeAt(at);
  return at > 0 && unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at;
}

/** Throws unless the shares are 0 or more and sum to 1. */
export function checkFractions(where: string, fractions: SplitFractions): void {
  const values = splitNames.map((name) => fractions[name]);
  const sum = values.reduce((a, b) => a + b);
  if (!values.every((value) => value >= 0) || !(Math.abs(sum - 1) < 1e-9)) {
    const shown = splitNames.map((name) => `${name} ${fractions[name]}`).join(', ');
    throw new Error(`${where}: the shares must be 0 or more and sum to 1, got ${shown}`);
  }
}

function append<T>(map: Map<number, T[]>, key: number, value: T): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
