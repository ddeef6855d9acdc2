import { sharedLength } from '../../../common/collections.ts';
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
  /** By id; undefined where a token is no text. */
  readonly bytesOf: readonly (Uint8Array | undefined)[];
  readonly ids: Int32Array;
  /** How many bytes each has in common with the one before it. */
  readonly shared: Int32Array;

  constructor(tokenizer: ByteTokenizer) {
    this.bytesOf = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.tokenBytes(id));
    const written = [...this.bytesOf.keys()].filter((id) => this.bytesOf[id]?.length);
    const all = written.sort((a, b) => compare(this.bytesOf[a]!, this.bytesOf[b]!));
    this.ids = Int32Array.from(all);
    this.shared = Int32Array.from(all, (id, i) =>
      i === 0 ? 0 : sharedLength(this.bytesOf[all[i - 1]!]!, this.bytesOf[id]!),
    );
  }

  /** The ids of the tokens that a text may go on with, one after another. */
  allowed(term: Term): Int32Array {
    const found: number[] = [];
    const path: Term[] = [term]; // path[d]: what follows the first d bytes of the token at hand
    for (let i = 0; i < this.ids.length;) {
      const bytes = this.bytesOf[this.ids[i]!]!;
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

const tables = new WeakMap<ByteTokenizer, TokenTable>();

/** Places of a grammar whose tokens are kept. */
const mostKept = 1000;

/** Lets those tokens alone come that a text of a grammar may go on with. */
export class Constraint {
  /** The place in the grammar where texts begin. */
  readonly start: Term;
  readonly #table: TokenTable;
  readonly #allowed = new Map<Term, Int32Array>();

  constructor(grammar: Term, tokenizer: ByteTokenizer) {
    this.start = grammar;
    let table = tables.get(tokenizer);
    if (!table) tables.set(tokenizer, (table = new TokenTable(tokenizer)));
    this.#table = table;
  }

  /** The place behind an allowed token; one that ends the text stays where it is. */
  after(place: Term, token: number): Term {
    for (const byte of this.#table.bytesOf[token] ?? []) place = place.after(byte) ?? place;
    return place;
  }

  /** The processor of texts that begin behind `length` tokens; several beams may use it in turn. */
  processor(length: number, ends: ReadonlySet<number>): LogitsProcessor {
    const tokens: number[] = [];
    const places = [this.start]; // places[n]: behind n of them
    return (all, scores) => {
      const written = all.slice(length);
      const same = sharedLength(tokens, written);
      tokens.length = same;
      places.length = same + 1;
      for (const token of written.slice(same)) {
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
