import { Heap } from '../../common/collections.ts';

const POSITIONS = 2 ** 26; // in one piece of text; a queue entry is rank * POSITIONS + position

/**
 * The merges of a BPE model in order of their rank, and applying them (Sennrich et al. 2016, "Neural machine
 * translation of rare words with subword units").
 */
export class MergeTable {
  private readonly stride: number;
  private readonly ranks = new Map<number, number>();
  private readonly merged: Int32Array;

  /**
   * `merges`: [left id, right id, id of both joined]; ids are below `vocabSize`. Of a pair that is there
   * twice, the last counts.
   */
  constructor(merges: readonly (readonly [number, number, number])[], vocabSize: number) {
    this.stride = vocabSize;
    this.merged = new Int32Array(merges.length);
    merges.forEach(([left, right, id], rank) => {
      this.ranks.set(left * vocabSize + right, rank);
      this.merged[rank] = id;
    });
  }

  /**
   * Joins, again and again, the pair of lowest rank (of equal ones the first) until no pair can be joined.
   * O(n log n). `lengths`, where given, are those of what the ids stand for, and become those of the result.
   */
  apply(ids: readonly number[], lengths?: number[]): number[] {
    if (ids.length < 2) return [...ids];
    if (ids.length >= POSITIONS) throw new Error(`a run of ${ids.length} bytes without a break; break the text up`);
    const { ranks, merged, stride } = this;
    const symbols = [...ids];
    const next = symbols.map((_, i) => i + 1);
    const previous = symbols.map((_, i) => i - 1);
    const queue = new Heap<number>((a, b) => a < b);
    const offer = (at: number, right: number): void => {
      const rank = ranks.get(symbols[at]! * stride + symbols[right]!);
      if (rank !== undefined) queue.push(rank * POSITIONS + at);
    };
    for (let i = 0; i + 1 < symbols.length; i++) offer(i, i + 1);
    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const at = entry % POSITIONS;
      const rank = (entry - at) / POSITIONS;
      const right = next[at]!;
      // The pair may have gone since it was offered. A symbol that was joined to its left is -1.
      if (right >= symbols.length || symbols[at] === -1) continue;
      // Another pair may stand there that joins to the same token: Rust `tokenizers` joins it at this rank.
      const now = ranks.get(symbols[at]! * stride + symbols[right]!);
      if (now === undefined || merged[now] !== merged[rank]) continue;
      symbols[at] = merged[rank]!;
      symbols[right] = -1;
      if (lengths) lengths[at]! += lengths[right]!;
      next[at] = next[right]!;
      if (next[at]! < symbols.length) {
        previous[next[at]!] = at;
        offer(at, next[at]!);
      }
      if (previous[at]! >= 0) offer(previous[at]!, at);
    }
    if (lengths) {
      let kept = 0;
      symbols.forEach((id, i) => {
        if (id >= 0) lengths[kept++] = lengths[i]!;
      });
      lengths.length = kept;
    }
    return symbols.filter((id) => id >= 0);
  }
}

/** The table of a model's merges; `prefix` begins the tokens that continue a word. */
export function mergeTable(
  vocab: ReadonlyMap<string, number>,
  merges: readonly (readonly [string, string])[],
  prefix = '',
): MergeTable {
  let size = 0;
  for (const id of vocab.values()) size = Math.max(size, id + 1);
  const idOf = (token: string): number => vocab.get(token)!; // checked when it was read
  const ids = merges.map(
    ([left, right]) => [idOf(left), idOf(right), idOf(left + right.slice(prefix.length))] as const,
  );
  return new MergeTable(ids, size);
}
