import { Heap } from '../../common/collections.ts';

/**
 * A pair, its count when it was queued, and the words it was found in then: all that ever have it, for a pair
 * arises in one step only, in which its younger token is made.
 */
interface Candidate {
  readonly left: number;
  readonly right: number;
  count: number;
  readonly words: number[];
}

const STRIDE = 2 ** 24; // ids are below; a pair is left * STRIDE + right
const keyOf = (left: number, right: number): number => left * STRIDE + right;

/**
 * The more frequent pair first; of equally frequent ones that of the lower left id, then of the lower right
 * id.
 */
const before = (a: Candidate, b: Candidate): boolean =>
  a.count !== b.count ? a.count > b.count : a.left !== b.left ? a.left < b.left : a.right < b.right;

/**
 * The words of a corpus as rows of symbols, and how often each pair is in them, kept up to date while pairs
 * are merged: only words that have the pair are touched, and counts in the queue are set right when they come
 * up, as in Hugging Face's BpeTrainer (tokenizers/src/models/bpe/trainer.rs).
 */
export class PairMerger {
  private readonly symbols: Int32Array;
  private readonly starts: Int32Array;
  private readonly lengths: Int32Array;
  private readonly frequencies: Float64Array;
  private readonly counts = new Map<number, number>();
  private readonly queue = new Heap<Candidate>(before);
  /** Pairs met since the queue was last filled, and the words they are in. */
  private fresh = new Map<number, number[]>();

  /** `words`: ids of each word's symbols; `frequencies`: how often each word is there. */
  constructor(words: readonly (readonly number[])[], frequencies: readonly number[]) {
    this.starts = new Int32Array(words.length);
    this.lengths = Int32Array.from(words, ({ length }) => length);
    this.symbols = new Int32Array(this.lengths.reduce((sum, length) => sum + length, 0));
    this.frequencies = Float64Array.from(frequencies);
    let start = 0;
    words.forEach((word, i) => {
      this.starts[i] = start;
      this.symbols.set(word, start);
      start += word.length;
      for (let k = 0; k + 1 < word.length; k++) this.count(word[k]!, word[k + 1]!, 1, i);
    });
    this.enqueue();
  }

  /** The pair to merge next and how often it is there; undefined where no pair is left. */
  next(): { left: number; right: number; count: number; words: readonly number[] } | undefined {
    for (;;) {
      const top = this.queue.pop();
      if (!top) return undefined;
      const count = this.counts.get(keyOf(top.left, top.right))!;
      if (count === top.count) return top;
      top.count = count; // other merges took some of it
      this.queue.push(top);
    }
  }

  /** Replaces a pair by `id` in the words given. */
  merge(left: number, right: number, id: number, words: readonly number[]): void {
    for (const word of words) this.mergeIn(word, left, right, id);
    this.enqueue();
  }

  private mergeIn(word: number, left: number, right: number, id: number): void {
    const { symbols } = this;
    const start = this.starts[word]!;
    const end = start + this.lengths[word]!;
    let write = start;
    for (let read = start; read < end;) {
      if (symbols[read] !== left || read + 1 >= end || symbols[read + 1] !== right) {
        symbols[write++] = symbols[read++]!;
        continue;
      }
      if (write > start) {
        this.count(symbols[write - 1]!, left, -1, word);
        this.count(symbols[write - 1]!, id, 1, word);
      }
      if (read + 2 < end) {
        this.count(right, symbols[read + 2]!, -1, word);
        this.count(id, symbols[read + 2]!, 1, word);
      }
      symbols[write++] = id;
      read += 2;
    }
    this.lengths[word] = write - start;
  }

  private count(left: number, right: number, change: 1 | -1, word: number): void {
    const key = keyOf(left, right);
    this.counts.set(key, (this.counts.get(key) ?? 0) + change * this.frequencies[word]!);
    if (change < 0) return;
    const words = this.fresh.get(key);
    if (!words) this.fresh.set(key, [word]);
    else if (words.at(-1) !== word) words.push(word);
  }

  private enqueue(): void {
    for (const [key, words] of this.fresh) {
      const count = this.counts.get(key)!;
      const right = key % STRIDE;
      if (count > 0) this.queue.push({ left: (key - right) / STRIDE, right, count, words });
    }
    this.fresh = new Map();
  }
}
