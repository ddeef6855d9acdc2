import { decodeAttention as decodeKernel, joinParts } from '../../kernels/attention/decode.ts';
import type { DecodeAttrs } from '../../kernels/attention/decode.ts';
import { flashAttention } from '../../kernels/attention/forward.ts';
import { tunedAttention } from '../../kernels/attention/plan.ts';
import { widestHead } from '../../kernels/attention/walk.ts';
import { wordsOf } from '../../kernels/quant/tokens.ts';
import { requireFloat, show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { checkScoring } from './attention-weights.ts';
import type { WeightOptions } from './attention-weights.ts';
import { aligned, byHead } from './flash-attention.ts';
import { permute } from './movement.ts';

/** Tokens of the cache that one workgroup takes. */
const span = 256;

/** q [B, H, T, D], keys and values [B, Hkv, capacity, D or words of 8 bits], lengths i32 [] or [1] or [B]. */
type Inputs = { q: Tensor; k: Tensor; v: Tensor; lengths: Tensor };

/** y [B, T, H, D]. */
const decodeOp = defineOp<Inputs, { y: Tensor }, Omit<DecodeAttrs, 'span'>>({
  name: 'decodeAttention',
  infer: ({ q }) => ({ y: { shape: [0, 2, 1, 3].map((axis) => q.shape[axis]!), dtype: q.dtype } }),
  autocast: ['q', 'k', 'v'],
  lower(lowering, { lengths, ...inputs }, { y }, attrs) {
    const whole = (x: Tensor): Tensor => (x.dtype === 'u32' ? lowering.contiguous(x) : aligned(lowering, x));
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map(whole) as [Tensor, Tensor, Tensor];
    const [batch, heads, tokens, width] = q.shape as [number, number, number, number];
    if (tokens > 1) {
      const stats = lowering.temporary([batch, heads, tokens, 2], 'f32');
      const operands = { q, k, v, lengths };
      const causal = { ...attrs, causal: true };
      const plan = tunedAttention(lowering.target, { pass: 'forward', operands, attrs: causal });
      lowering.emit(flashAttention, { ...operands, y: byHead(y), stats }, plan ? { ...causal, plan } : causal);
      return;
    }
    const parts = Math.ceil(k.shape[2]! / span);
    if (parts === 1) return lowering.emit(decodeKernel, { q, k, v, lengths, y }, { ...attrs, span });
    const partial = lowering.temporary([batch, heads, parts, width + 4], 'f32');
    lowering.emit(decodeKernel, { q, k, v, lengths, partial }, { ...attrs, span });
    lowering.emit(joinParts, { partial, y }, null);
  },
  vjp: 'none',
});

/** Of `scaledDotProductAttention`. */
export type DecodeOptions = Pick<WeightOptions, 'scale' | 'slidingWindow' | 'softCap'>;

/**
 * Attention of new tokens over a cache that holds them already: q [B, H, T, D], keys and values [B, Hkv,
 * capacity, D] -> [B, H, T, D]. Token 0 sees the first `length` tokens of the cache (i32, [] or [1] for all,
 * [B] for each, at least 1), itself the last of them, and token t sees t more. The length lies on the device,
 * so that a compiled step replays at any length. H is a multiple of Hkv: neighbouring query heads share a
 * head of the cache (Ainslie et al. 2023). D is a multiple of 4, at most 256. With T = 1 long caches are
 * split over the device and joined in order. Caches of 8 bits, u32 as `writeCache` has them, are read as they
 * lie. No gradient.
 *
 * @example
 * const [k, v] = [randn(1, 2, 16, 8), randn(1, 2, 16, 8)];
 * const length = tensor(4, { dtype: 'i32' });
 * decodeAttention(randn(1, 2, 1, 8), k, v, length).shape; // [1, 2, 1, 8]
 */
export function decodeAttention(
  q: Tensor,
  kCache: Tensor,
  vCache: Tensor,
  length: Tensor,
  { scale, slidingWindow, softCap }: DecodeOptions = {},
): Tensor {
  const fail = (what: string): never => {
    throw new ShapeError(`decodeAttention: ${what}`);
  };
  requireFloat('decodeAttention', q);
  const [batch, heads, tokens, width] = q.shape as [number, number, number, number];
  if (q.ndim !== 4 || tokens === 0) fail(`queries ${show(q.shape)} must be [batch, heads, tokens, size of a head]`);
  for (const x of [kCache, vCache]) {
    const stored = x.dtype === q.dtype ? width : x.dtype === 'u32' ? wordsOf(width) : NaN;
    const fits = x.ndim === 4 && x.shape[0] === batch && x.shape[3] === stored && x.dtype === kCache.dtype;
    if (!fits || heads % x.shape[1]! !== 0 || x.shape.join() !== kCache.shape.join())
      fail(
        `caches ${kCache.dtype} ${show(kCache.shape)} and ${vCache.dtype} ${show(vCache.shape)} ` +
          `must be ${q.dtype} [${batch}, a divisor of ${heads}, capacity, ${width}], or u32 of ${wordsOf(width)} words`,
      );
  }
  if (width % 4 !== 0 || width > widestHead)
    fail(`the size of a head, ${width}, must be a multiple of 4 up to ${widestHead}; pad it`);
  if (length.dtype !== 'i32' || length.ndim > 1 || ![1, batch].includes(length.size))
    fail(`the length must be i32 [] or [${batch}], got ${length.dtype} ${show(length.shape)}`);
  const inputs = { q, k: kCache, v: vCache, lengths: length };
  checkScoring('decodeAttention', { causal: true, slidingWindow, softCap });
  const { y } = apply(decodeOp, inputs, {
    scale: scale ?? 1 / Math.sqrt(width),
    ...(slidingWindow === undefined ? {} : { slidingWindow }),
    ...(softCap === undefined ? {} : { softCap }),
  });
  return permute(y, [0, 2, 1, 3]);
}
