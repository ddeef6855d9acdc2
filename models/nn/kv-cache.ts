import {
  add,
  addAssign,
  arange,
  assign,
  decodeAttention,
  full,
  gt,
  indexSelect,
  le,
  logicalAnd,
  maskValue,
  max,
  reshape,
  scaledDotProductAttention,
  sub,
  unsqueeze,
  where,
  writeCache,
  zeros,
} from '../../autograd/index.ts';
import type { AttentionOptions, Tensor } from '../../autograd/index.ts';
import { cachedLayer, fitsDecoding, freeLayer, SourceCache } from './source-cache.ts';
import type { CachedLayer, CacheDtype } from './source-cache.ts';

/** How products of queries and keys become scores: of `scaledDotProductAttention`. */
export type Scoring = Pick<AttentionOptions, 'scale' | 'slidingWindow' | 'softCap'>;

export interface CacheAttendOptions extends Scoring {
  /** Added to the scores, (B, H, T, capacity of the cache). */
  readonly bias?: Tensor;
}

/** One layer's part of a cache, as its attention sees it. */
export interface LayerCache {
  /**
   * Causal attention of new tokens over those in the cache and themselves, which are written to it: q (B, H,
   * T, D), k and v (B, Hkv, T, D) -> (B, H, T, D). H is a multiple of Hkv: neighbouring query heads share one
   * (Ainslie et al. 2023).
   */
  attend(q: Tensor, k: Tensor, v: Tensor, options?: CacheAttendOptions): Tensor;
  /**
   * Attention to the source of an encoder-decoder, whose keys and values were written before: q (B, H, T, D)
   * -> (B, H, T, D).
   */
  attendToSource(q: Tensor, options?: Pick<CacheAttendOptions, 'scale'>): Tensor;
}

/** What a decoder asks of what comes before its tokens. */
export interface TokensBefore {
  readonly batch: number;
  layer(index: number): LayerCache;
  /** Positions of `count` new tokens in each row, i32 (B, count) or (count). */
  positions(count: number): Tensor;
  /** How long texts are that have new tokens at `positions`, (B, 1); undefined where the longest says. */
  textLengths(positions: Tensor): Tensor | undefined;
}

/**
 * Keys and values of the tokens that a decoder has seen, so that the next token costs one token's work. Row
 * b's tokens lie at 0 .. lengths[b] - 1, and what lies behind is never looked at. Prompts of several lengths
 * are padded on the right, where a causal model does not see the padding, and the tokens that follow
 * overwrite it. Lengths lie on the device: one compiled step replays at any. Layers with a sliding window
 * keep all tokens too, and look at the last ones only. With 'int8' keys and values are rounded to 8 bits as
 * they are written, a step for each token, head and 32 channels, and attention reads them so: half of the
 * memory of f16, a quarter of that of f32. Not for attention with a bias.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 }).eval();
 * const cache = new KeyValueCache(1, 16);
 * noGrad(() => model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }), cache }));
 */
export class KeyValueCache implements TokensBefore {
  /** How many tokens of each row are there, i32 [B]. */
  readonly lengths: Tensor;
  /** Of an encoder-decoder: what it attends to. */
  readonly source: SourceCache;
  #capacity: number;
  #textLengths: Tensor | undefined;
  readonly #layers: CachedLayer[] = [];
  readonly #dtype: CacheDtype;

  constructor(batch: number, capacity: number, dtype?: CacheDtype) {
    this.#dtype = dtype;
    this.lengths = zeros([batch], { dtype: 'i32' }).keep();
    this.source = new SourceCache(batch);
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
    const tensors = [...this.#layers, ...this.source.layers].flatMap(({ keys, values }) => [keys, values]);
    return tensors.reduce((sum, { storage }) => sum + storage.bytes, 0);
  }

  layer(index: number): LayerCache {
    return {
      attend: (q, k, v, options) => this.#attend(index, [q, k, v], options),
      attendToSource: (q, options) => this.source.attend(index, q, options?.scale),
    };
  }

  positions(count: number): Tensor {
    const starts = reshape(this.lengths, [this.batch, 1]);
    return count === 1 ? starts : add(starts, arange(0, count, 1, { dtype: 'i32' }));
  }

  /**
   * Runs fn, which reads a part of texts that will have so many tokens, (B, 1): positions of some models
   * depend on it. Otherwise a text is as long as its last new token says.
   */
  reading<T>(lengths: Tensor, fn: () => T): T {
    this.#textLengths = lengths;
    try {
      return fn();
    } finally {
      this.#textLengths = undefined;
    }
  }

  textLengths(positions: Tensor): Tensor {
    return this.#textLengths ?? add(max(positions, -1, { keepDims: true }), 1);
  }

  /** Counts new tokens, which every layer has written: an i32 tensor, [] or [B]. */
  advance(count: Tensor): void {
    addAssign(this.lengths, count);
  }

  /**
   * Row b goes on from the tokens of row rows[b], i32 [B], which has as many and the same source: beams of
   * one prompt.
   */
  reorder(rows: Tensor): void {
    for (const { keys, values } of this.#layers) for (const x of [keys, values]) assign(x, indexSelect(x, 0, rows));
  }

  /** Makes room for more tokens; compiled steps are captured anew, since their cache has moved. */
  grow(capacity: number): void {
    const start = zeros([1], { dtype: 'i32' });
    this.#layers.forEach((layer, index) => {
      const larger = cachedLayer(layer.keys, capacity);
      writeCache(larger.keys, layer.keys, start);
      writeCache(larger.values, layer.values, start);
      freeLayer(layer);
      this.#layers[index] = larger;
    });
    this.#capacity = capacity;
  }

  /** Forgets all tokens but the first `kept` of each row; memory and compiled steps stay good. */
  clear(kept = 0): void {
    assign(this.lengths, full([1], kept, { dtype: 'i32' }));
  }

  /** Gives the memory back. */
  free(): void {
    this.#layers.splice(0).forEach(freeLayer);
    this.lengths.storage.free();
    this.source.free();
  }

  #attend(index: number, [q, k, v]: readonly [Tensor, Tensor, Tensor], options: CacheAttendOptions = {}): Tensor {
    const [tokens, width] = [k.shape[2]!, k.shape[3]!];
    const { bias, ...scoring } = options;
    if (bias && this.#dtype)
      throw new Error('a cache of int8 does not take attention with a bias by distance; leave cacheDtype out');
    const { keys, values } = (this.#layers[index] ??= cachedLayer(k, this.capacity, this.#dtype));
    writeCache(keys, k, this.lengths);
    writeCache(values, v, this.lengths);
    if (!bias && fitsDecoding(width)) return decodeAttention(q, keys, values, add(this.lengths, 1), scoring);
    // Token t of row b sees what lies at 0 .. lengths[b] + t, the last of it where there is a window.
    const { scale, softCap, slidingWindow } = scoring;
    const places = arange(0, this.capacity, 1, { dtype: 'i32' });
    const own = unsqueeze(this.positions(tokens), -1); // (B, T, 1)
    const past = le(places, own); // (B, T, capacity)
    const seen = slidingWindow === undefined ? past : logicalAnd(past, gt(places, sub(own, slidingWindow)));
    const visible = unsqueeze(seen, 1); // (B, 1, T, capacity)
    const mask = bias ? where(visible, bias, maskValue) : visible;
    return scaledDotProductAttention(q, keys, values, { mask, scale, softCap });
  }
}
