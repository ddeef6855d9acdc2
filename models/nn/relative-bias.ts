import { add, cast, clamp, embedding, permute, reshape, sub } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hostTable, normalInit } from '../parameter.ts';
import type { ModuleBuffer } from '../parameter.ts';
import { Embedding } from './embedding.ts';

export interface RelativeBiasOptions {
  /** Rows of the table. */
  readonly buckets: number;
  /** Keys from this distance on share a bucket. */
  readonly maxDistance: number;
  /** Keys behind the query have buckets of their own; else they share that of distance 0. */
  readonly bidirectional: boolean;
  readonly heads: number;
  /** Deviation of the first weights. */
  readonly initStd: number;
}

/**
 * The bucket of a key `distance` places behind the query (before it, where negative): near ones have one
 * each, farther ones share one by the logarithm of the distance. In f32, as PyTorch rounds.
 */
export function relativeBucket(
  distance: number,
  { buckets, maxDistance, bidirectional }: Pick<RelativeBiasOptions, 'buckets' | 'maxDistance' | 'bidirectional'>,
): number {
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
  readonly maxDistance: number;
  /** The bucket of each distance from -maxDistance to maxDistance. */
  readonly rows: ModuleBuffer;

  constructor({ heads, initStd, ...rule }: RelativeBiasOptions) {
    super(rule.buckets, heads, { weightInit: normalInit(initStd) });
    this.maxDistance = rule.maxDistance;
    this.rows = hostTable([2 * rule.maxDistance + 1], (values) => {
      for (let i = 0; i < values.length; i++) values[i] = relativeBucket(i - rule.maxDistance, rule);
    });
  }

  /** For queries and keys at these positions, i32 [Tq] or [B, Tq], and [Tk] -> (1 or B, H, Tq, Tk). */
  between(queries: Tensor, keys: Tensor): Tensor {
    const byDistance = this.forward(cast(this.rows, 'i32')); // (distances, H)
    const at = reshape(queries, [...(queries.ndim === 1 ? [1] : []), ...queries.shape, 1]); // (1 or B, Tq, 1)
    const distance = clamp(sub(keys, at), -this.maxDistance, this.maxDistance); // (1 or B, Tq, Tk)
    return permute(embedding(byDistance, add(distance, this.maxDistance)), [0, 3, 1, 2]);
  }
}
