import type { LogitsProcessor } from '../processors.ts';
import type { Term } from './grammar.ts';

/** What a constraint needs of a tokenizer; that of models/tokenizer has it. */
export interface ByteTokenizer {
  readonly vocabSize: number;
  /** The bytes that a token adds to a text; undefined where it is none, as special tokens. */
  tokenBytes(id: number): Uint8Array | undefined;
}

/** The tokens of a tokenizer in the order of their bytes, so that what begins alike is looked at once. */
class TokenTable {
  readonly ids: Int32Array;
  readonly bytes: readonly Uint8Array[];
  /** How many bytes each has in common with the one before it. */
  readonly shared: Int32Array;

  constructor(tokenizer: ByteTokenizer) {
    const tokens = Array.from({ length: tokenizer.vocabSize }, (_, id) => ({ id, bytes: tokenizer.tokenBytes(id) }));
    const written = tokens.filter((token) => token.bytes && token.bytes.length > 0) as {
      id: number;
      bytes: Uint8Array;
    }[];
    written.sort((a, b) => compare(a.bytes, b.bytes));
    this.ids = Int32Array.from(written, ({ id }) => id);
    this.bytes = written.map(({ bytes }) => bytes);
    this.shared = Int32Array.from(this.bytes, (bytes, i) => (i === 0 ? 0 : sharedLength(this.bytes[i - 1]!, bytes)));
  }

  /** The ids of the tokens that a text may go on with, one after another. */
  allowed(term: Term): Int32Array {
    const found: number[] = [];
    const path: Term[] = [term]; // path[d]: what follows the first d bytes of the token at hand
    for (let i = 0; i < this.ids.length;) {
      const bytes = this.bytes[i]!;
      let depth = Math.min(this.shared[i]!, path.length - 1);
      path.length = depth + 1;
      for (let next: Term | undefined; depth < bytes.length && (next = path[depth]!.after(bytes[depth]!)); depth++)
        path.push(next);
      if (depth === bytes.length) found.push(this.ids[i]!);
      i++;
      if (depth < bytes.length) while (i < this.ids.length && this.shared[i]! > depth) i++;
    }
    return Int32Array.from(found);
  }
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = sharedLength(a, b);
  return (a[shared] ?? -1) - (b[shared] ?? -1);
}

function sharedLength(a: Uint8Array, b: Uint8Array): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

const tables = new WeakMap<ByteTokenizer, TokenTable>();

/** Places of a grammar whose tokens are kept. */
const mostKept = 1000;

/** Lets those tokens alone come that a text of a grammar may go on with. */
export class Constraint {
  /** The place in the grammar where texts begin. */
  readonly start: Term;
  readonly #table: TokenTable;
  readonly #tokenizer: ByteTokenizer;
  readonly #allowed = new Map<Term, Int32Array>();

  constructor(grammar: Term, tokenizer: ByteTokenizer) {
    this.start = grammar;
    this.#tokenizer = tokenizer;
    let table = tables.get(tokenizer);
    if (!table) tables.set(tokenizer, (table = new TokenTable(tokenizer)));
    this.#table = table;
  }

  /** The place behind an allowed token; one that ends the text stays where it is. */
  after(place: Term, token: number): Term {
    for (const byte of this.#tokenizer.tokenBytes(token) ?? []) place = place.after(byte) ?? place;
    return place;
  }

  /** The processor of texts that begin behind `length` tokens; several beams may use it in turn. */
  processor(length: number, ends: ReadonlySet<number>): LogitsProcessor {
    const tokens: number[] = [];
    const places = [this.start]; // places[n]: behind n of them
    return (all, scores) => {
      let same = 0;
      while (same < tokens.length && all[length + same] === tokens[same]) same++;
      tokens.length = same;
      places.length = same + 1;
      for (const token of all.slice(length + same)) {
        tokens.push(token);
        places.push(this.after(places.at(-1)!, token));
      }
      this.#keep(places.at(-1)!, scores, ends);
    };
  }

  #keep(place: Term, scores: Float32Array, ends: ReadonlySet<number>): void {
    let allowed = this.#allowed.get(place);
    if (!allowed) {
      if (this.#allowed.size >= mostKept) this.#allowed.clear();
      this.#allowed.set(place, (allowed = this.#table.allowed(place)));
    }
    const all = place.isDone ? [...allowed, ...ends] : allowed;
    if (all.length === 0)
      throw new Error(
        'generate: no token can follow under this responseFormat; ' +
          (place.isDone ? 'the text is whole, and no token ends texts: give eosTokenId' : 'change the format'),
      );
    const kept = Float32Array.from(all, (id) => scores[id] ?? -Infinity);
    scores.fill(-Infinity);
    all.forEach((id, i) => {
      if (id < scores.length) scores[id] = kept[i]!;
    });
  }
}
