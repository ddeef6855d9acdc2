import { argmax, compile, indexSelect, noGrad, reshape, scope, tensor } from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import { KeyValueCache } from '../nn/kv-cache.ts';
import type { Decoder } from './decoder.ts';

/** What is read back of a step: the logits of each row, or only the id of the largest. */
export type Wanted = 'logits' | 'argmax';

const i32 = (values: readonly number[], shape: readonly number[]): Tensor =>
  tensor(values as number[], { shape, dtype: 'i32' });

/**
 * A batch of texts on the device while they grow: the cache, and the step that appends one token to each row. The prompts are taken in one pass, op by op; the step is compiled at its first call and
 * replayed at any length, until the cache grows or another batch needs other sizes.
 */
export class DecodingSession {
  readonly batch: number;
  readonly #decoder: Decoder;
  readonly #cache: KeyValueCache;
  readonly #step: Compiled<[Tensor, Tensor | undefined, Wanted], Tensor>;
  /** Tokens of the longest row. */
  #length = 0;

  constructor(decoder: Decoder, batch: number, capacity: number) {
    this.batch = batch;
    this.#decoder = decoder;
    this.#cache = new KeyValueCache(batch, Math.min(capacity, decoder.positions));
    const step = (ids: Tensor, from: Tensor | undefined, wanted: Wanted): Tensor => {
      if (from) this.#cache.reorder(from);
      const hidden = decoder.hidden(ids, this.#cache); // (B, 1, D)
      this.#cache.advance(i32([1], [1]));
      const logits = decoder.logits(reshape(hidden, [batch, hidden.shape[2]!])); // (B, V)
      return wanted === 'argmax' ? argmax(logits, 1) : logits;
    };
    // A larger cache is a new capture, which is meant: nothing to report.
    this.#step = compile(step, { name: 'next token', maxPrograms: 4, log: () => undefined });
  }

  get capacity(): number {
    return this.#cache.capacity;
  }

  /** Bytes of the cache on the device. */
  get cacheBytes(): number {
    return this.#cache.bytes;
  }

  /** Begins anew with one prompt a row, each at least one token long; of each row's last token what is wanted, row by row. */
  async begin(prompts: readonly (readonly number[])[], wanted: Wanted): Promise<ArrayLike<number>> {
    this.#length = Math.max(...prompts.map(({ length }) => length));
    using _ = scope();
    this.#cache.clear();
    if (this.#length > this.capacity) this.#cache.grow(this.#length);
    const padded = prompts.flatMap((ids) => Array.from({ length: this.#length }, (_, t) => ids[t] ?? 0));
    const result = noGrad(() => {
      const hidden = this.#decoder.hidden(i32(padded, [this.batch, this.#length]), this.#cache); // (B, T, D)
      this.#cache.advance(
        i32(
          prompts.map(({ length }) => length),
          [this.batch],
        ),
      );
      const lasts = prompts.map(({ length }, row) => row * this.#length + length - 1);
      const rows = reshape(hidden, [this.batch * this.#length, hidden.shape[2]!]);
      const logits = this.#decoder.logits(indexSelect(rows, 0, i32(lasts, [this.batch]))); // (B, V)
      return wanted === 'argmax' ? argmax(logits, 1) : logits;
    });
    return await result.data();
  }

  /** Appends a token to each row, then gives what is wanted of the next. With `from`, row b goes on from what row from[b] was. */
  async append(ids: readonly number[], wanted: Wanted, from?: readonly number[]): Promise<ArrayLike<number>> {
    using _ = scope();
    this.#length++;
    // A row that has ended may run past the last position, while others go on: what it writes there is dropped.
    const larger = Math.min(2 * this.capacity, this.#decoder.positions);
    if (this.#length > this.capacity && larger > this.capacity) this.#cache.grow(larger);
    const order = from && i32(from, [this.batch]);
    const result = noGrad(() => this.#step(i32(ids, [this.batch, 1]), order, wanted));
    return await result.data();
  }

  /** Gives the cache's memory back. */
  free(): void {
    this.#cache.free();
  }
}
