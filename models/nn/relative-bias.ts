import { add, arange, cast, clamp, embedding, permute, reshape, sub, unsqueeze } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hostTable, normalInit } from '../parameter.ts';
import type { ModuleBuffer } from '../parameter.ts';
import { byDistance } from './by-distance.ts';
import { Embedding } from './embedding.ts';

/** How distances are shared out among buckets. */
export interface Buckets {
  readonly buckets: number;
  /** Keys from this distance on share a bucket. */
  readonly maxDistance: number;
  /** Keys behind the query have buckets of their own; else they share that of distance 0. */
  readonly bidirectional: boolean;
}

export interface RelativeBiasOptions extends Buckets {
  readonly heads: number;
  /** Deviation of the first weights. */
  readonly initStd: number;
  /** Rows of the table; default one for each bucket. */
  readonly rows?: number;
}

/**
 * The bucket of a key `distance` places behind the query (before it, where negative): near ones have one
 * each, farther ones share one by the logarithm of the distance. In f32, as PyTorch rounds.
 */
export function relativeBucket(distance: number, { buckets, maxDistance, bidirectional }: Buckets): number {
  const { fround, log } = Math;
  const half = bidirectional ? Math.floor(buckets / 2) : buckets;
  const first = bidirectional && distance > 0 ? half : 0;
  const away = bidirectional ? Math.abs(distance) : Math.max(0, -distance);
  const exact = Math.floor(half / 2);
  if (away < exact) return first + away;
  const share = fround(fround(log(fround(away / exact))) / fround(log(maxDistance / exact)));
  return first + Math.min(half - 1, exact + Math.trunc(fround(share * (half - exact))));
}

/**
 * A learned number for each head and each bucket of distances, added to the scores of attention (Raffel et
 * al. 2020, section 2.1). The table [buckets, heads] is the weight.
 */
export class RelativeBias extends Embedding {
  readonly rule: Buckets;
  /** The bucket of each distance from -maxDistance to maxDistance, on the device. */
  readonly ofDistance: ModuleBuffer;

  constructor({ heads, initStd, rows, ...rule }: RelativeBiasOptions) {
    super(rows ?? rule.buckets, heads, { weightInit: normalInit(initStd) });
    this.rule = rule;
    this.ofDistance = hostTable([2 * rule.maxDistance + 1], (values) => {
      for (let i = 0; i < values.length; i++) values[i] = relativeBucket(i - rule.maxDistance, rule);
    });
  }

  /** For queries and keys that are the same `length` tokens -> (1, H, T, T). */
  among(length: number): Tensor {
    const biases = this.forward(byDistance(length, (distance) => relativeBucket(distance, this.rule))); // (T, T, H)
    return reshape(permute(biases, [2, 0, 1]), [1, -1, length, length]);
  }

  /** For queries at these positions, i32 [B, Tq], and the keys 0 .. count - 1 -> (B, H, Tq, count). */
  between(queries: Tensor, count: number): Tensor {
    const { maxDistance } = this.rule;
    const keys = arange(0, count, 1, { dtype: 'i32' });
    const distance = clamp(sub(keys, unsqueeze(queries, -1)), -maxDistance, maxDistance); // (B, Tq, count)
    const biases = this.forward(cast(this.ofDistance, 'i32')); // (distances, H)
    return permute(embedding(biases, add(distance, maxDistance)), [0, 3, 1, 2]);
  }
}
