import { sharedLength } from '../../common/collections.ts';
import { argmax, compile, gather, gt, noGrad, reshape, scope, tensor, where } from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import { KeyValueCache } from '../nn/kv-cache.ts';
import { rowsAt } from '../nn/rows-at.ts';
import type { CacheDtype } from '../nn/source-cache.ts';
import type { Decoder } from './decoder.ts';

/** The first tokens of a row. */
export interface Beginning {
  /** At least one. */
  readonly tokens: readonly number[];
  /** Of an encoder-decoder. */
  readonly source?: readonly number[];
}

/** Read back of a step: the logits of each row, or only the id of the largest, -1 where none is a number. */
export type Wanted = 'logits' | 'argmax';

const i32 = (values: readonly number[], shape: readonly number[]): Tensor =>
  tensor(values as number[], { shape, dtype: 'i32' });

const vector = (values: readonly number[]): Tensor => i32(values, [values.length]);

/**
 * A batch of texts on the device while they grow: the cache, and the steps that append tokens to each row:
 * one of each row's own text, several to look at, a chunk of the prompts. Each is compiled at its first call
 * and replayed at any length, until the cache grows or another batch needs other sizes.
 */
export class DecodingSession {
  readonly batch: number;
  readonly #decoder: Decoder;
  readonly #cache: KeyValueCache;
  readonly #step: Compiled<[Tensor, Tensor | undefined, Wanted], Tensor>;
  /** The step that appends several tokens. */
  readonly #look: Compiled<[Tensor, Wanted], Tensor>;
  /** The step that takes a chunk of the prompts: the last hidden state of each row, (B, 1, D). */
  readonly #chunk: Compiled<[ids: Tensor, counts: Tensor, lasts: Tensor, lengths: Tensor], Tensor>;
  /** Tokens that the cache holds before those of each row; see `TokensAhead`. */
  readonly #ahead: number;
  /** The weights that computed those ahead. */
  #aheadOf: number | undefined;
  /** Tokens of the longest row. */
  #length = 0;
  /** Where the decoder switches at some length: the tokens of each row. */
  #rows: number[][] = [];
  /** What the cache holds of one row alone, and the weights that computed it. */
  #held: { readonly tokens: number[]; readonly weights: number } | undefined;
  /** The step behind the last one read, recorded while that was under way; the cache has its tokens. */
  #early: { readonly next: Tensor; ids?: ArrayLike<number> } | undefined;
  readonly #weights: () => number;
  readonly cacheDtype: CacheDtype;

  /** `weights` tells whether the model's weights were changed: a number that grows with each write. */
  constructor(
    decoder: Decoder,
    batch: number,
    capacity: number,
    weights: () => number = () => 0,
    cacheDtype?: CacheDtype,
  ) {
    this.cacheDtype = cacheDtype;
    this.batch = batch;
    this.#weights = weights;
    this.#decoder = decoder;
    this.#ahead = decoder.ahead?.count ?? 0;
    this.#cache = new KeyValueCache(batch, this.#ahead + Math.min(capacity, decoder.positions), cacheDtype);
    const step = (ids: Tensor, from: Tensor | undefined, wanted: Wanted): Tensor => {
      if (from) this.#cache.reorder(from);
      return appendToken(decoder, this.#cache, ids, wanted);
    };
    const look = (ids: Tensor, wanted: Wanted): Tensor => nextOf(decoder, decoder.hidden(ids, this.#cache), wanted);
    const chunk = (ids: Tensor, counts: Tensor, lasts: Tensor, lengths: Tensor): Tensor => {
      const hidden = this.#cache.reading(lengths, () => decoder.hidden(ids, this.#cache)); // (B, T, D)
      this.#cache.advance(counts);
      return rowsAt(hidden, lasts);
    };
    // A larger cache is a new capture, which is meant: nothing to report.
    this.#step = compile(step, { name: 'next token', maxPrograms: 4, log: () => undefined });
    this.#look = compile(look, { name: 'next tokens', maxPrograms: 4, log: () => undefined });
    this.#chunk = compile(chunk, { name: 'prompt', maxPrograms: chunkSizes.length, log: () => undefined });
  }

  /** Tokens that `look` may reach: up to the decoder's last position, or to where it switches. */
  get positions(): number {
    const { positions, switchAt = positions } = this.#decoder;
    return this.#switched(this.#length) ? positions : Math.min(positions, switchAt);
  }

  get capacity(): number {
    return this.#cache.capacity - this.#ahead;
  }

  /** See `Decoder`. */
  get ahead(): number {
    return this.#ahead;
  }

  /** Bytes of the cache on the device. */
  get cacheBytes(): number {
    return this.#cache.bytes;
  }

  /**
   * Begins anew with these rows; of each row's last token what is wanted, row by row. With `reuse` one row
   * goes on from what the cache holds of it. `goesOn`: see `append`.
   */
  async begin(rows: readonly Beginning[], wanted: Wanted, reuse = false, goesOn = false): Promise<ArrayLike<number>> {
    const whole = rows.map(({ tokens }) => tokens);
    const sources = rows.flatMap(({ source }) => (source ? [source] : []));
    this.#length = Math.max(...lengthsOf(whole));
    const weights = this.#weights();
    const isAlone = rows.length === 1 && sources.length === 0;
    const old = reuse && isAlone && this.#held?.weights === weights ? this.#held.tokens : [];
    const held = this.#switched(old.length) === this.#switched(this.#length) ? old : [];
    // The last token is always read anew, for what follows it.
    const kept = isAlone ? Math.min(sharedLength(held, whole[0]!), whole[0]!.length - 1) : 0;
    const prompts = kept > 0 ? [whole[0]!.slice(kept)] : whole;
    this.#held = isAlone ? { tokens: [...whole[0]!], weights } : undefined;
    this.#rows = this.#decoder.switchAt === undefined ? [] : whole.map((row) => [...row]);
    using _ = scope();
    this.#dropEarly();
    if (this.#ahead > 0 && this.#aheadOf !== weights) this.#writeAhead(weights);
    this.#clear(kept);
    if (this.#length > this.capacity) this.#cache.grow(this.#ahead + this.#length);
    const result = noGrad(() => {
      if (sources.length > 0) this.#decoder.source!.read(padded(sources), vector(lengthsOf(sources)), this.#cache);
      return this.#read(prompts, wanted);
    });
    return await this.#tell(result, goesOn);
  }

  /**
   * Tokens of each row behind those of the cache, chunk by chunk: what is wanted of the next. A chunk is
   * padded to its size, and so is a row that ends before it: what they write lies behind the row's tokens.
   */
  #read(rows: readonly (readonly number[])[], wanted: Wanted): Tensor {
    const longest = Math.max(...lengthsOf(rows));
    // A row alone may go on from what the cache holds of it.
    const lengths = i32(rows.length === 1 ? [this.#length] : lengthsOf(rows), [rows.length, 1]);
    let last: Tensor | undefined;
    for (let from = 0, size; from < longest; from += size) {
      size = chunkSize(longest - from, this.#decoder.positions);
      const parts = rows.map((row) => row.slice(from, from + size!));
      const counts = lengthsOf(parts);
      const lasts = counts.map((count) => Math.max(count - 1, 0));
      const hidden = this.#chunk(padded(parts, size), vector(counts), i32(lasts, [this.batch, 1]), lengths);
      // A row that ended before has its last state already.
      last = last && counts.includes(0) ? where(gt(i32(counts, [this.batch, 1, 1]), 0), hidden, last) : hidden;
    }
    return nextOf(this.#decoder, last!, wanted);
  }

  /** Whether a text of so many tokens is computed otherwise than shorter ones. */
  #switched(length: number): boolean {
    return length > (this.#decoder.switchAt ?? Infinity);
  }

  /**
   * Appends a token to each row, then gives what is wanted of the next. With `from`, row b goes on from what
   * row from[b] was. With `goesOn`, of the most probable ids, the device goes on by them before they are read
   * here, so that it need not wait: the next call finds its step done if it appends these very ids.
   */
  async append(
    ids: readonly number[],
    wanted: Wanted,
    from?: readonly number[],
    goesOn = false,
  ): Promise<ArrayLike<number>> {
    using _ = scope();
    const isEarly = wanted === 'argmax' && !from && ids.every((id, row) => id === this.#early?.ids?.[row]);
    const early = isEarly ? this.#early?.next : undefined;
    if (early) this.#early = undefined;
    else this.#dropEarly();
    this.#length++;
    this.#held?.tokens.push(ids[0]!);
    // A row that has ended may run past the last position, while others go on: what it writes there is
    // dropped.
    if (this.capacity < this.#decoder.positions) this.#grow(this.#length);
    if (this.#decoder.switchAt !== undefined)
      this.#rows = ids.map((id, row) => [...this.#rows[from?.[row] ?? row]!, id]);
    const switches = this.#rows.some(({ length }) => this.#switched(length) && !this.#switched(length - 1));
    if (early) return await this.#tell(early, goesOn);
    const result = noGrad(() => {
      if (!switches) return this.#step(i32(ids, [this.batch, 1]), from && i32(from, [this.batch]), wanted);
      this.#clear();
      return this.#read(this.#rows, wanted);
    });
    return await this.#tell(result, goesOn);
  }

  /** Reads what a step gave; where texts go on by it, records the next one before it is here. */
  async #tell(result: Tensor, goesOn: boolean): Promise<ArrayLike<number>> {
    const reading = result.data();
    // A step that needs a larger cache, or may compute texts otherwise, waits for its tokens.
    if (goesOn && this.#length < this.capacity && this.#decoder.switchAt === undefined)
      this.#early = { next: noGrad(() => this.#step(reshape(result, [-1, 1]), undefined, 'argmax')).keep() };
    result.storage.free();
    const ids = await reading;
    if (this.#early) this.#early.ids = ids;
    return ids;
  }

  /** Takes back a step whose tokens are not those that come. */
  #dropEarly(): void {
    if (!this.#early) return;
    this.#early.next.storage.free();
    this.#early = undefined;
    this.#cache.advance(vector([-1]));
  }

  /**
   * Appends tokens to the only row, then gives what is wanted behind each of them. They are padded to
   * `width`, so that one compiled step serves any number of them; the row must have positions for so many.
   */
  async look(ids: readonly number[], width: number, wanted: Wanted): Promise<ArrayLike<number>> {
    using _ = scope();
    this.#dropEarly();
    this.#grow(this.#length + width);
    const whole = [...ids, ...new Array<number>(width - ids.length).fill(0)];
    const result = noGrad(() => {
      const next = this.#look(i32(whole, [1, width]), wanted);
      this.#cache.advance(vector([ids.length]));
      return next;
    });
    this.#length += ids.length;
    this.#held?.tokens.push(...ids);
    this.#rows[0]?.push(...ids);
    return await result.data();
  }

  /** Takes back the last tokens of the only row: it has `length` again. */
  rewind(length: number): void {
    using _ = scope();
    this.#dropEarly();
    this.#clear(length);
    this.#length = length;
    for (const tokens of [this.#held?.tokens, this.#rows[0]]) if (tokens) tokens.length = length;
  }

  /** Makes room for `length` tokens, as far as the model has positions. */
  #grow(length: number): void {
    if (length <= this.capacity) return;
    const capacity = Math.min(Math.max(2 * this.capacity, length), this.#decoder.positions);
    this.#cache.grow(this.#ahead + capacity);
  }

  /** Forgets all tokens but the first `kept` of each row. */
  #clear(kept = 0): void {
    this.#cache.clear(this.#ahead + kept);
  }

  #writeAhead(weights: number): void {
    this.#cache.clear();
    noGrad(() => this.#decoder.ahead!.write(this.#cache));
    this.#aheadOf = weights;
  }

  /** Gives the cache's memory back. */
  free(): void {
    this.#early?.next.storage.free();
    this.#cache.free();
  }
}

/** Appends a token to each row, ids (B, 1): logits (B, V) of the next, or the ids of the largest [B]. */
export function appendToken(decoder: Decoder, cache: KeyValueCache, ids: Tensor, wanted: Wanted): Tensor {
  const hidden = decoder.hidden(ids, cache); // (B, 1, D)
  cache.advance(vector([1]));
  return nextOf(decoder, hidden, wanted);
}

/** Hidden states (B, T, D) -> logits (B T, V), or the ids of the largest [B T], -1 where none is a number. */
function nextOf(decoder: Decoder, hidden: Tensor, wanted: Wanted): Tensor {
  const logits = decoder.logits(reshape(hidden, [-1, hidden.shape[2]!])); // (B T, V)
  if (wanted === 'logits') return logits;
  const ids = argmax(logits, 1, { keepDims: true });
  return reshape(where(gt(gather(logits, 1, ids), -Infinity), ids, -1), [-1]);
}

const lengthsOf = (rows: readonly (readonly number[])[]): number[] => rows.map(({ length }) => length);

/** Rows of token ids as one tensor, padded on the right with token 0, which is never looked at. */
function padded(rows: readonly (readonly number[])[], length = Math.max(...lengthsOf(rows))): Tensor {
  const ids = rows.flatMap((row) => Array.from({ length }, (_, t) => row[t] ?? 0));
  return i32(ids, [rows.length, length]);
}

/**
 * Tokens that a chunk of prompts may have: few sizes, so that few programs serve all prompts. Measured on
 * llvmpipe, processor time of a prompt of 1024 tokens, GPT-2 of 4 layers 256 wide: chunks of 64, 256 and 512
 * tokens cost the same within 11%. Of 120 tokens, chunks of 64 and 16 took 29 ms where one pass took 22.
 */
const chunkSizes: readonly number[] = [16, 64, 256];

/**
 * The size of the first chunk of so many tokens, at most `most`: the smallest that holds them, or where a
 * quarter of it would be padding, the largest that they fill.
 */
function chunkSize(tokens: number, most: number): number {
  const sizes = chunkSizes.filter((size) => size <= most);
  const holding = sizes.find((size) => size >= tokens);
  const filled = sizes.findLast((size) => size <= tokens);
  return (holding !== undefined && tokens > 0.75 * holding ? holding : (filled ?? holding)) ?? Math.min(tokens, most);
}
