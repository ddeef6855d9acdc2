import {
  arange,
  assign,
  decodeAttention,
  lt,
  reshape,
  scaledDotProductAttention,
  writeCache,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { within } from '../../autograd/context.ts';
import { widestHead } from '../../kernels/attention/walk.ts';
import { wordsOf } from '../../kernels/quant/tokens.ts';

/** Whether the kernels for a cache take heads of this size. */
export const fitsDecoding = (width: number): boolean => width % 4 === 0 && width <= widestHead;

/** Keys and values of a cache in 8 bits, see kernels/quant/tokens.ts; undefined: in the layers' own type. */
export type CacheDtype = 'int8' | undefined;

/** One layer's keys and values, (B, Hkv, capacity, D), or words of 8 bits. */
export interface CachedLayer {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Memory for the keys and values of tokens (B, Hkv, T, D). It outlives a capture that asks for it: it is made
 * at once. Throws in one line for heads that 8 bits do not take.
 */
export function cachedLayer(k: Tensor, capacity: number, cacheDtype?: CacheDtype): CachedLayer {
  const [batch, heads, , width] = k.shape as [number, number, number, number];
  if (cacheDtype && !fitsDecoding(width))
    throw new Error(
      `a cache of int8 takes heads whose size is a multiple of 4 up to ${widestHead}, and these have ${width}; leave ` +
        'cacheDtype out',
    );
  const [stored, dtype] = cacheDtype ? ([wordsOf(width), 'u32'] as const) : ([width, k.dtype] as const);
  const make = (): Tensor =>
    within({ recorder: undefined }, () => zeros([batch, heads, capacity, stored], { dtype }).keep());
  return { keys: make(), values: make() };
}

export function freeLayer({ keys, values }: CachedLayer): void {
  for (const { storage } of [keys, values]) storage.free();
}

/**
 * Keys and values of what an encoder made of each row's source, computed once. Sources of other lengths take
 * the same memory as long as they fit, so that a compiled step stays good.
 */
export class SourceCache {
  /** Tokens of each row's source, i32 [B]. */
  readonly #lengths: Tensor;
  #capacity = 0;
  readonly #layers: CachedLayer[] = [];

  constructor(batch: number) {
    this.#lengths = zeros([batch], { dtype: 'i32' }).keep();
  }

  get layers(): readonly CachedLayer[] {
    return this.#layers;
  }

  /**
   * Begins anew with sources of these lengths, i32 [B], the longest of `longest` tokens; each layer then
   * writes its own.
   */
  begin(lengths: Tensor, longest: number): void {
    assign(this.#lengths, lengths);
    if (longest <= this.#capacity) return;
    this.#layers.splice(0).forEach(freeLayer);
    this.#capacity = Math.max(16, 2 ** Math.ceil(Math.log2(longest)));
  }

  /** Keys and values (B, Hkv, S, D), padded on the right. */
  write(index: number, k: Tensor, v: Tensor): void {
    const layer = (this.#layers[index] ??= cachedLayer(k, this.#capacity));
    const start = zeros([1], { dtype: 'i32' });
    writeCache(layer.keys, k, start);
    writeCache(layer.values, v, start);
  }

  /** Attention of q (B, H, T, D) to the source -> (B, H, T, D). */
  attend(index: number, q: Tensor, scale?: number): Tensor {
    const { keys, values } = this.#layers[index]!;
    if (q.shape[2] === 1 && fitsDecoding(q.shape[3]!))
      return decodeAttention(q, keys, values, this.#lengths, { scale });
    const places = arange(0, this.#capacity, 1, { dtype: 'i32' });
    const mask = lt(places, reshape(this.#lengths, [-1, 1, 1, 1])); // (B, 1, 1, capacity)
    return scaledDotProductAttention(q, keys, values, { mask, scale });
  }

  free(): void {
    this.#layers.splice(0).forEach(freeLayer);
    this.#lengths.storage.free();
  }
}
