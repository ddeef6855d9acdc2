import type { TextDocument } from '../readers/document.ts';
import type { NearDuplicates } from './near-duplicates.ts';

export interface DuplicateThresholds {
  /** Documents that overlap by this share are one; the first is kept. Default 0.8. */
  readonly threshold?: number;
  /** Documents that overlap by this share are kept, but in one split. Default 0.5. */
  readonly related?: number;
}

/** Two documents of one group. */
export interface DuplicateExample {
  /** Documents of the group. */
  readonly size: number;
  /** About how far the two overlap. */
  readonly similarity: number;
  readonly kept: { readonly source: string; readonly text: string };
  readonly dropped: { readonly source: string; readonly text: string };
}

export interface DuplicateReport {
  readonly threshold: number;
  readonly related: number;
  readonly documents: number;
  /** Dropped: the same but for case and white space as one before. */
  readonly exact: number;
  /** Dropped: near to one before. */
  readonly near: number;
  /** Groups that lost a document. */
  readonly groups: number;
  /** Documents kept that have a relation in their split. */
  readonly relatedDocuments: number;
  /** From the largest groups, and the pairs that overlap least. */
  readonly examples: readonly DuplicateExample[];
}

const EXAMPLES = 3;
const EXCERPT = 100; // characters

/**
 * Decides, once all documents are in the index, which are kept and what is split together; sees them pass
 * again for its report.
 */
export class DuplicateFilter {
  private readonly index: NearDuplicates;
  private readonly thresholds: Required<DuplicateThresholds>;
  private readonly groups: Int32Array;
  private readonly related: Int32Array;
  private readonly exact: Int32Array;
  /** Excerpts of the documents that examples are made of. */
  private readonly excerpts = new Map<number, { source: string; text: string } | undefined>();
  private readonly pairs: readonly (readonly [number, number])[];

  /** Error: `related` above `threshold`. */
  constructor(index: NearDuplicates, { threshold = 0.8, related = 0.5 }: DuplicateThresholds = {}) {
    if (!(related <= threshold))
      throw new Error(`duplicates: related must be at most the threshold ${threshold}, got ${related}`);
    this.index = index;
    this.thresholds = { threshold, related };
    this.groups = index.groups(threshold);
    this.related = index.groups(related);
    this.exact = index.exactGroups();
    this.pairs = this.choosePairs();
    for (const pair of this.pairs) for (const i of pair) this.excerpts.set(i, undefined);
  }

  /** Whether document i is the first of its group. */
  keeps(i: number): boolean {
    return this.groups[i] === i;
  }

  /** Returns the key by which document i is split: the same for all that are related. */
  splitKey(i: number): number {
    return this.index.key(this.related[i]!);
  }

  /** Document i passes. */
  see(i: number, { text, source }: TextDocument): void {
    if (this.excerpts.has(i)) this.excerpts.set(i, { source, text: text.slice(0, EXCERPT).replace(/\s+/g, ' ') });
  }

  report(): DuplicateReport {
    const { groups, related, exact, index, thresholds } = this;
    const dropped = countWhere(groups, (group, i) => group !== i);
    const exactly = countWhere(groups, (group, i) => group !== i && exact[i] !== i);
    const sizes = this.sizes(groups);
    const kin = new Map<number, number>();
    related.forEach((name, i) => {
      if (groups[i] === i) kin.set(name, (kin.get(name) ?? 0) + 1);
    });
    return {
      ...thresholds,
      documents: index.length,
      exact: exactly,
      near: dropped - exactly,
      groups: sizes.size,
      relatedDocuments: [...kin.values()].filter((count) => count > 1).reduce((a, b) => a + b, 0),
      examples: this.pairs.map(([first, other]) => ({
        size: sizes.get(first)!,
        similarity: Math.round(index.similarity(first, other) * 1000) / 1000,
        kept: this.excerpts.get(first) ?? { source: '', text: '' },
        dropped: this.excerpts.get(other) ?? { source: '', text: '' },
      })),
    };
  }

  /** Members of each group of more than one. */
  private sizes(groups: Int32Array): Map<number, number> {
    const sizes = new Map<number, number>();
    groups.forEach((group, i) => {
      if (group !== i) sizes.set(group, (sizes.get(group) ?? 1) + 1);
    });
    return sizes;
  }

  private choosePairs(): (readonly [number, number])[] {
    const { groups, index } = this;
    const dropped: number[] = [];
    groups.forEach((group, i) => {
      if (group !== i) dropped.push(i);
    });
    const sizes = this.sizes(groups);
    const largest = [...sizes].sort(([, a], [, b]) => b - a).slice(0, EXAMPLES);
    const pairs = largest.map(([group]) => [group, dropped.find((i) => groups[i] === group)!] as const);
    // A sample is enough: similarities of millions need not be sorted.
    const step = Math.ceil(dropped.length / 10_000);
    const least = dropped
      .filter((i, k) => k % step === 0 && !pairs.some(([, other]) => other === i))
      .map((i) => ({ i, similarity: index.similarity(groups[i]!, i) }))
      .sort((a, b) => a.similarity - b.similarity)
      .slice(0, EXAMPLES);
    return [...pairs, ...least.map(({ i }) => [groups[i]!, i] as const)];
  }
}

function countWhere(values: Int32Array, test: (value: number, i: number) => boolean): number {
  let count = 0;
  values.forEach((value, i) => {
    if (test(value, i)) count++;
  });
  return count;
}
