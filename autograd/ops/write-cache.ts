import { wordsOf } from '../../kernels/quant/tokens.ts';
import { writeCache as writeKernel } from '../../kernels/write-cache.ts';
import type { WriteCacheAttrs } from '../../kernels/write-cache.ts';
import { show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op } from '../op.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { checkWritable } from './assign.ts';

/** cache [B, H, capacity, D] or words of 8 bits, x [B, H, T, D], start i32 [] or [1] or [B]. */
type WriteCache = Op<{ cache: Tensor; x: Tensor; start: Tensor }, Record<string, never>, WriteCacheAttrs>;
const writeCacheOp: WriteCache = defineOp<WriteCache>({
  name: 'writeCache',
  infer: () => ({}),
  lower(lowering, { cache, x, start }, _, attrs) {
    if (x.size === 0) return;
    // A buffer cannot be bound to read and to write in one dispatch.
    if (x.storage === cache.storage)
      return lowering.run(writeCacheOp, { cache, x: lowering.copy(x), start }, {}, attrs);
    lowering.emit(writeKernel, { cache, x: lowering.source('x'), start }, attrs);
  },
  fuses: { prologues: ['x'], flat: true },
  mutates: ['cache'],
  vjp: 'none',
});

/**
 * Writes tokens x [B, H, T, D] into a cache [B, H, capacity, D] in place, from place `start` on, i32 [B], or
 * [] or [1] for all rows. `start` lies on the device, so that one compiled step serves every place. Tokens
 * beyond the capacity are dropped. A cache of 8 bits, u32 [B, H, capacity, D / 4 + ceil(D / 64)], takes
 * numbers rounded by groups of 32 along D, a multiple of 4 (kernels/quant/tokens.ts); words it takes as they
 * are. No gradient. Returns the cache.
 *
 * @example
 * const cache = zeros(1, 1, 3, 1);
 * writeCache(cache, ones(1, 1, 1, 1), tensor(1, { dtype: 'i32' }));
 * cache.flatten(); // [0, 1, 0]
 */
export function writeCache(cache: Tensor, x: Tensor, start: Tensor): Tensor {
  const fail = (what: string): never => {
    throw new ShapeError(`writeCache: ${what}`);
  };
  const [batch, heads, , stored] = cache.shape as [number, number, number, number];
  if (cache.ndim !== 4) fail(`the cache ${show(cache.shape)} must be [batch, heads, capacity, size of a head]`);
  const channels = cache.dtype === 'u32' && isFloat(x.dtype) ? x.shape[3] : undefined;
  const own = channels === undefined ? x.shape[3] : channels % 4 === 0 ? wordsOf(channels) : NaN;
  const fits = x.ndim === 4 && x.shape[0] === batch && x.shape[1] === heads && own === stored;
  if (!fits || (x.dtype !== cache.dtype && channels === undefined))
    fail(
      `tokens ${x.dtype} ${show(x.shape)} must be ${cache.dtype} [${batch}, ${heads}, tokens, ${stored}]` +
        (cache.dtype === 'u32' ? ', or numbers that take as many words in 8 bits, see KeyValueCache' : ''),
    );
  if (start.dtype !== 'i32' || start.ndim > 1 || ![1, batch].includes(start.size))
    fail(`the start must be i32 [] or [${batch}], got ${start.dtype} ${show(start.shape)}`);
  checkWritable('writeCache', cache);
  apply(writeCacheOp, { cache, x, start }, { channels });
  return cache;
}
