import { stratifiedSplit } from '../split.ts';
import type { SplitFractions } from '../split.ts';
import { textKey } from '../text-hash.ts';
import { duplicateGroups } from './groups.ts';

export interface SplitApartOptions<Item> {
  /** The text by which items are alike. */
  readonly textOf: (item: Item) => string;
  /** Items of one key are one item that came again; default the text without case and white space. */
  readonly keyOf?: (item: Item) => string | number;
  /** What an item comes from, such as a page; undefined: from nothing that others come from too. */
  readonly groupOf: (item: Item) => string | undefined;
  readonly seed: number;
  readonly fractions: SplitFractions;
  /** The file that the items are of; it begins errors. */
  readonly data?: string;
  /** What the items are, in errors: "pairs". */
  readonly items: string;
}

export interface SplitApart<Item> {
  readonly train: readonly Item[];
  readonly validation: readonly Item[];
  readonly test: readonly Item[];
  /** How many were left out: that came before, that are held out and nearly one that is trained on. */
  readonly counts: { readonly repeated: number; readonly near: number };
}

/**
 * Splits items by their group (by themselves, where they have none), so that no page is in two parts, and
 * leaves out what would flatter a model: items that came before, and held-out ones whose text has a
 * near-duplicate among those trained on (`duplicateGroups`).
 */
export function splitApart<Item>(given: readonly Item[], options: SplitApartOptions<Item>): SplitApart<Item> {
  const { textOf, keyOf = (item) => textKey(textOf(item)), groupOf, seed, fractions, data, items } = options;
  const first = new Map<string | number, Item>();
  for (const item of given) {
    const key = keyOf(item);
    if (!first.has(key)) first.set(key, item);
  }
  const kept = [...first.values()];
  const pages = new Map<string, number>();
  const pageOf = kept.map((item, i) => {
    const group = groupOf(item);
    if (group === undefined) return i;
    if (!pages.has(group)) pages.set(group, i);
    return pages.get(group)!;
  });
  const parts = stratifiedSplit(new Uint8Array(kept.length), { fractions, seed, groups: pageOf, data });
  const groups = duplicateGroups(kept.map(textOf));
  const trained = new Set(parts.train.map((i) => groups[i]!));
  const counts = { repeated: given.length - kept.length, near: 0 };
  const heldOut = (part: readonly number[]): Item[] => {
    const apart = part.filter((i) => !trained.has(groups[i]!));
    counts.near += part.length - apart.length;
    return apart.map((i) => kept[i]!);
  };
  const split = {
    train: parts.train.map((i) => kept[i]!),
    validation: heldOut(parts.validation),
    test: heldOut(parts.test),
  };
  const empty = (['train', 'validation', 'test'] as const).find(
    (name) => fractions[name] > 0 && split[name].length === 0,
  );
  if (empty)
    throw new Error(
      `${data ?? 'splitApart'}: of ${given.length} ${items} none is left for the ${empty} part ` +
        `(${counts.repeated} came before, ${counts.near} are near-duplicates of those trained on); give more ${items}`,
    );
  return { ...split, counts };
}
