import {
  add,
  addAssign,
  arange,
  assign,
  decodeAttention,
  indexSelect,
  le,
  reshape,
  scaledDotProductAttention,
  slice,
  unsqueeze,
  writeCache,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

interface Layer {
  /** (B, Hkv, capacity, D). */
  keys: Tensor;
  values: Tensor;
}

/** One layer's part of a cache, as its attention sees it. */
export interface LayerCache {
  /**
   * Causal attention of new tokens over those in the cache and themselves, which are written to it: q (B, H, T, D), k and v (B, Hkv, T, D) -> (B, H, T, D). H is
   * a multiple of Hkv: neighbouring query heads share one (Ainslie et al. 2023).
   */
  attend(q: Tensor, k: Tensor, v: Tensor, options?: { readonly scale?: number }): Tensor;
  /** Keys and values (B, Hkv, S, D) of what does not grow, such as a source: made by the first call and kept. */
  constant(make: () => readonly [k: Tensor, v: Tensor]): readonly [k: Tensor, v: Tensor];
}

/** What the fused kernel of one token takes. */
const fits = (width: number): boolean => width % 4 === 0 && width <= 128;

/**
 * Keys and values of the tokens that a decoder has seen, so that the next token costs one token's work. Row b's tokens lie at
 * 0 .. lengths[b] - 1, and what lies behind is never looked at. Prompts of several lengths are padded on the right, where a causal model does not see the padding, and the
 * tokens that follow overwrite it. Lengths lie on the device: one compiled step replays at any.
 */
export class KeyValueCache {
  /** How many tokens of each row are there, i32 [B]. */
  readonly lengths: Tensor;
  #capacity: number;
  /** Nothing was written yet: attention needs no look at the cache. */
  #empty = true;
  readonly #layers: Layer[] = [];
  readonly #constants: (readonly [k: Tensor, v: Tensor])[] = [];

  constructor(batch: number, capacity: number) {
    this.lengths = zeros([batch], { dtype: 'i32' }).keep();
    this.#capacity = capacity;
  }

  get batch(): number {
    return this.lengths.shape[0]!;
  }

  /** Tokens of a row that there is room for. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Bytes on the device. */
  get bytes(): number {
    const tensors = [...this.#layers.flatMap(({ keys, values }) => [keys, values]), ...this.#constants.flat()];
    return tensors.reduce((sum, { storage }) => sum + storage.bytes, 0);
  }

  layer(index: number): LayerCache {
    return {
      attend: (q, k, v, options) => this.#attend(index, q, k, v, options?.scale),
      constant: (make) => {
        const [k, v] = (this.#constants[index] ??= make());
        return [k.keep(), v.keep()];
      },
    };
  }

  /** Positions of `count` new tokens in each row, i32 (B, count). */
  positions(count: number): Tensor {
    const starts = reshape(this.lengths, [this.batch, 1]);
    return count === 1 ? starts : add(starts, arange(0, count, 1, { dtype: 'i32' }));
  }

  /** Counts new tokens, which every layer has written: an i32 tensor, [] or [B]. */
  advance(count: Tensor): void {
    addAssign(this.lengths, count);
    this.#empty = false;
  }

  /** Row b becomes a copy of what row rows[b] was, i32 [B]: beams go on from the best ones. */
  reorder(rows: Tensor): void {
    for (const x of [...this.#layers.flatMap(({ keys, values }) => [keys, values]), ...this.#constants.flat()])
      assign(x, indexSelect(x, 0, rows));
    assign(this.lengths, reshape(indexSelect(reshape(this.lengths, [this.batch, 1]), 0, rows), [this.batch]));
  }

  /** Makes room for more tokens; compiled steps are captured anew, since their cache has moved. */
  grow(capacity: number): void {
    const start = zeros([1], { dtype: 'i32' });
    for (const layer of this.#layers) {
      layer.keys = moved(layer.keys, capacity, start);
      layer.values = moved(layer.values, capacity, start);
    }
    this.#capacity = capacity;
  }

  /** Forgets all tokens; memory and compiled steps stay good. */
  clear(): void {
    assign(this.lengths, zeros([1], { dtype: 'i32' }));
    this.#empty = true;
    for (const x of this.#constants.splice(0).flat()) x.storage.free();
  }

  /** Gives the memory back. */
  free(): void {
    this.clear();
    for (const { keys, values } of this.#layers.splice(0)) for (const x of [keys, values]) x.storage.free();
    this.lengths.storage.free();
  }

  #attend(index: number, q: Tensor, k: Tensor, v: Tensor, scale?: number): Tensor {
    const [batch, heads, tokens, width] = k.shape as [number, number, number, number];
    const make = (): Tensor => zeros([batch, heads, this.capacity, width], { dtype: k.dtype }).keep();
    const { keys, values } = (this.#layers[index] ??= { keys: make(), values: make() });
    writeCache(keys, k, this.lengths);
    writeCache(values, v, this.lengths);
    if (this.#empty && tokens > 1) return scaledDotProductAttention(q, k, v, { causal: true, scale });
    if (tokens === 1 && fits(width)) return decodeAttention(q, keys, values, add(this.lengths, 1), { scale });
    // Token t of row b sees what lies at 0 .. lengths[b] + t.
    const places = arange(0, this.capacity, 1, { dtype: 'i32' });
    const mask = le(places, unsqueeze(this.positions(tokens), -1)); // (B, T, capacity)
    return scaledDotProductAttention(q, keys, values, { mask: unsqueeze(mask, 1), scale });
  }
}

/** A cache's contents in a larger one. */
function moved(x: Tensor, capacity: number, start: Tensor): Tensor {
  const [batch, heads, before, width] = x.shape as [number, number, number, number];
  const larger = zeros([batch, heads, capacity, width], { dtype: x.dtype }).keep();
  writeCache(larger, slice(x, null, null, [0, before]), start);
  x.storage.free();
  return larger;
}
