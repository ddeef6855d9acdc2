import { IdList } from '../../common/collections.ts';
import { byteTokenIds, idsOfBytes } from './byte-level.ts';
import type { Part } from './part.ts';
import type { PieceTokens } from './word-piece.ts';

const UNKNOWN_PENALTY = 10;

/**
 * The unigram model (Kudo 2018, "Subword regularization", 3.2): of all ways to cut a text, the one whose
 * tokens have the highest sum of scores; of equal ones that with the longest token at the end. As in Rust
 * `tokenizers` (models/unigram/model.rs, encode_optimized).
 */
export class Unigram {
  private readonly vocab: ReadonlyMap<string, number>;
  private readonly scores: Float64Array;
  private readonly unknown: number | null;
  private readonly unknownScore: number;
  private readonly trie = new Trie();
  private readonly bytes: readonly (number | undefined)[] | null;

  /** Error, one line: scores or unk_id are none. */
  constructor(part: Part, vocab: ReadonlyMap<string, number>) {
    const entries = part.json['vocab'] as readonly (readonly [string, unknown])[];
    if (!entries.every(([, score]) => typeof score === 'number'))
      throw part.refuse('its vocab must have a score for each token');
    this.vocab = vocab;
    this.scores = Float64Array.from(entries, ([, score]) => score as number);
    this.unknown = part.json['unk_id'] == null ? null : part.whole('unk_id');
    if (this.unknown !== null && this.unknown >= entries.length)
      throw part.refuse(`its unk_id ${this.unknown} is beyond its ${entries.length} tokens`);
    this.unknownScore = this.scores.reduce((least, score) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
    this.bytes = part.flag('byte_fallback', false) ? byteTokenIds(vocab) : null;
    for (const [token, id] of vocab) this.trie.add(token, id);
  }

  /** Appends the ids of a piece. Error, one line: a character is unknown, and there is no unk_id. */
  encode(piece: string, ids: IdList): void {
    for (const token of this.cut(piece)) this.pushToken(token, ids);
  }

  private pushToken(token: string, ids: IdList): void {
    const id = this.vocab.get(token);
    const bytes = id === undefined && this.bytes ? idsOfBytes(token, this.bytes) : null;
    if (id !== undefined) ids.push(id);
    else if (bytes) ids.pushAll(bytes);
    else ids.push(this.unknownId(token));
  }

  /** The tokens of a piece and where they stand in it; each byte of a character stands where that does. */
  tokens(piece: string): PieceTokens {
    const result = {
      ids: [] as number[],
      starts: [] as number[],
      ends: [] as number[],
      texts: [] as (string | undefined)[],
    };
    let start = 0;
    for (const token of this.cut(piece)) {
      const ids = new IdList();
      this.pushToken(token, ids);
      const isWhole = this.vocab.has(token) || ids.toArray()[0] === this.unknown;
      for (const id of ids.toArray()) {
        result.ids.push(id);
        result.starts.push(start);
        result.ends.push(start + token.length);
        result.texts.push(isWhole ? token : undefined);
      }
      start += token.length;
    }
    return result;
  }

  private unknownId(token: string): number {
    if (this.unknown === null)
      throw new Error(`${JSON.stringify(token.slice(0, 40))} is not in the vocabulary, and there is no unk_id`);
    return this.unknown;
  }

  /** The tokens of the best path; unknown characters in a row are one. */
  private cut(piece: string): string[] {
    const { length } = piece;
    const best = new Float64Array(length + 1);
    const starts = new Int32Array(length + 1).fill(-1);
    const ends = new Int32Array(length + 1); // the id of the token that ends there
    for (let start = 0; start < length;) {
      const width = piece.codePointAt(start)! > 0xffff ? 2 : 1;
      const score = best[start]!;
      let hasSingle = false;
      const offer = (end: number, id: number, total: number): void => {
        if (starts[end]! >= 0 && total <= best[end]!) return;
        best[end] = total;
        starts[end] = start;
        ends[end] = id;
      };
      for (let node = 0, end = start; end < length;) {
        node = this.trie.next(node, piece.charCodeAt(end++));
        if (node < 0) break;
        const id = this.trie.idAt(node);
        if (id < 0) continue;
        offer(end, id, this.scores[id]! + score);
        if (end - start === width) hasSingle = true;
      }
      if (!hasSingle) {
        const end = start + width;
        const total = this.unknownScore + score;
        if (starts[end]! < 0 || total > best[end]!) offer(end, this.unknownId(piece.slice(start, end)), total);
      }
      start += width;
    }
    const tokens: string[] = [];
    let unknownEnd = -1; // of the unknown characters in a row that are being read
    for (let end = length; end > 0; end = starts[end]!) {
      const isUnknown = ends[end] === this.unknown;
      if (isUnknown && unknownEnd < 0) unknownEnd = end;
      if (!isUnknown) {
        if (unknownEnd >= 0) tokens.push(piece.slice(end, unknownEnd));
        unknownEnd = -1;
        tokens.push(piece.slice(starts[end], end));
      }
    }
    if (unknownEnd >= 0) tokens.push(piece.slice(0, unknownEnd));
    return tokens.reverse();
  }
}

/** Finds the tokens that a text begins with, unit by unit; node 0 is the beginning. */
class Trie {
  private readonly children = new Map<number, number>();
  private readonly ids: number[] = [-1];

  add(token: string, id: number): void {
    let node = 0;
    for (let i = 0; i < token.length; i++) {
      const key = node * 0x10000 + token.charCodeAt(i);
      let child = this.children.get(key);
      if (child === undefined) {
        child = this.ids.push(-1) - 1;
        this.children.set(key, child);
      }
      node = child;
    }
    if (node > 0) this.ids[node] = id;
  }

  /** The node after `node`; -1 where no token goes on so. */
  next(node: number, unit: number): number {
    return this.children.get(node * 0x10000 + unit) ?? -1;
  }

  /** The token that ends at a node; -1 where none does. */
  idAt(node: number): number {
    return this.ids[node]!;
  }
}
