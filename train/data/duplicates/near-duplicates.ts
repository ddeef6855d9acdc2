import { textKey } from '../text-hash.ts';
import { checkThreshold, DisjointSets, joinBand } from './groups.ts';
import { bandKeys, BANDS, BINS, estimatedJaccard, shingleHashes, sketchOf } from './signature.ts';

/**
 * Finds near-duplicates among documents that stream past: a document is kept as 200 bytes (16 band keys, a
 * sketch, a key of the whole text), not as its text. Candidates are the pairs that share a band, as in
 * `duplicateGroups`; how far a pair overlaps is estimated from the sketches, see `estimatedJaccard`, so pairs
 * within 0.07 or so of the threshold may fall on either side.
 */
export class NearDuplicates {
  private readonly bands = new RowStore(BANDS, (length) => new Uint32Array(length));
  private readonly sketches = new RowStore(BINS, (length) => new Uint8Array(length));
  private readonly keys = new RowStore(1, (length) => new Float64Array(length));

  /** Documents so far. */
  get length(): number {
    return this.keys.length;
  }

  /** Takes the next document. */
  add(text: string): void {
    const shingles = shingleHashes(text);
    bandKeys(shingles, this.bands.push());
    sketchOf(shingles, this.sketches.push());
    this.keys.push()[0] = textKey(text);
  }

  /** The document's `textKey`. */
  key(i: number): number {
    return this.keys.blockOf(i)[this.keys.startOf(i)]!;
  }

  /** About how far two documents overlap. */
  similarity(i: number, j: number): number {
    const { sketches } = this;
    return estimatedJaccard(sketches.blockOf(i), sketches.startOf(i), sketches.blockOf(j), sketches.startOf(j));
  }

  /** The first document with the same text but for case and white space, of each document. */
  exactGroups(): Int32Array {
    return this.joinExact().names();
  }

  /**
   * The group of each document, as the group's first: documents that overlap by `threshold` or more, and what
   * is joined through them.
   */
  groups(threshold = 0.8): Int32Array {
    checkThreshold('NearDuplicates', threshold);
    const sets = this.joinExact();
    const { bands } = this;
    for (let band = 0; band < BANDS; band++) {
      const keyOf = (i: number): number => bands.blockOf(i)[bands.startOf(i) + band]!;
      joinBand(sets, this.length, keyOf, (i, j) => this.similarity(i, j) >= threshold);
    }
    return sets.names();
  }

  private joinExact(): DisjointSets {
    const sets = new DisjointSets(this.length);
    const half = (i: number): number => this.key(i) % 2 ** 32;
    joinBand(sets, this.length, half, (i, j) => this.key(i) === this.key(j));
    return sets;
  }
}

type Row = Uint32Array | Uint8Array | Float64Array;

const BLOCK = 1 << 14; // rows

/** Rows of numbers one after another, in blocks, so that growing copies nothing. */
export class RowStore<T extends Row> {
  private readonly blocks: T[] = [];
  private readonly width: number;
  private readonly make: (length: number) => T;
  length = 0;

  constructor(width: number, make: (length: number) => T) {
    this.width = width;
    this.make = make;
  }

  /** A new row, to be filled. */
  push(): T {
    if (this.length % BLOCK === 0) this.blocks.push(this.make(BLOCK * this.width));
    const start = this.startOf(this.length);
    const block = this.blockOf(this.length++);
    return block.subarray(start, start + this.width) as T;
  }

  /** The block that row i is in. */
  blockOf(i: number): T {
    return this.blocks[Math.floor(i / BLOCK)]!;
  }

  /** Where row i begins in its block. */
  startOf(i: number): number {
    return (i % BLOCK) * this.width;
  }
}
