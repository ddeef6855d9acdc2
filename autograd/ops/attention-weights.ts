import type { AttentionAttrs } from '../../kernels/attention/operands.ts';
import { tensor } from '../create.ts';
import { requireFloat, sameShape, show } from '../shapes.ts';
import { ShapeError } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { add, div, mul, sub, tanh } from './arithmetic.ts';
import { cast, expand, sum } from './broadcast.ts';
import { gt, logicalAnd, where } from './comparison.ts';
import { documentMask, documentRanges } from './documents.ts';
import { matmul } from './matmul.ts';
import { transpose } from './movement.ts';
import { dropoutBy } from './random.ts';
import { max } from './reduce.ts';
import { reshape, unsqueeze } from './reshape.ts';
import { softmax } from './softmax.ts';

/** Stands for -infinity in scores: finite, so that no row becomes NaN, and f16 can hold it. */
export const maskValue = -30000;

/** Masks that are added count as -infinity from here down, as in the fused kernels. */
const lowestAdded = -5e28;

export interface WeightOptions {
  /**
   * bool (true: attend) or numbers added to the scores, -Infinity for none; broadcasts to [..., Tq, Tk]. A
   * query that may attend to no key at all gives 0, and no gradient, as in ONNX and PyTorch's fused kernels.
   */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
  /**
   * With `causal`, position i attends to the last so many keys only, i - slidingWindow + 1..i (Beltagy et al.
   * 2020, "Longformer"). Default all.
   */
  readonly slidingWindow?: number | undefined;
  /**
   * Of self-attention [B, H, T, D], i32 [B, T]: tokens attend to those of their own document only, which are
   * neighbours with one number, as sequences of a packed row have. A number that comes again behind others is
   * another document. In memory linear in T, and what lies apart is not looked at (as FlashAttention's
   * cumulative lengths, and FlexAttention's document mask).
   */
  readonly documents?: Tensor | undefined;
  /** Default 1 / sqrt(D). */
  readonly scale?: number;
  /**
   * Scores s become softCap * tanh(s / softCap), before the mask is added: none is larger (Gemma Team 2024,
   * "Gemma 2"). Default: as they are.
   */
  readonly softCap?: number | undefined;
}

export const defaultScale = (q: Tensor): number => 1 / Math.sqrt(q.shape.at(-1)!);

/**
 * Keys or values (B, Hkv, T, D) -> (B, H, T, D), each head for the H / Hkv neighbouring query heads that
 * share it (Ainslie et al. 2023).
 *
 * @example
 * repeatHeads(zeros(1, 2, 5, 8), 4).shape; // [1, 4, 5, 8]
 */
export function repeatHeads(x: Tensor, heads: number): Tensor {
  const [batch, own, tokens, width] = x.shape as [number, number, number, number];
  if (own === heads) return x;
  return reshape(expand(unsqueeze(x, 2), [batch, own, heads / own, tokens, width]), [batch, heads, tokens, width]);
}

/** Throws in one line for queries and keys that do not go together. */
export function checkQueriesAndKeys(name: string, q: Tensor, k: Tensor): void {
  requireFloat(name, q);
  if (q.ndim >= 2 && k.ndim === q.ndim && q.shape.at(-1) === k.shape.at(-1)) return;
  throw new ShapeError(
    `${name}: queries ${show(q.shape)} and keys ${show(k.shape)} must agree in their last axis and rank`,
  );
}

/** Throws in one line for a window or a cap that means nothing. */
export function checkScoring(name: string, { causal = false, slidingWindow, softCap }: WeightOptions): void {
  const fail = (what: string): never => {
    throw new ShapeError(`${name}: ${what}`);
  };
  if (slidingWindow !== undefined && !(Number.isSafeInteger(slidingWindow) && slidingWindow > 0))
    fail(`slidingWindow is ${slidingWindow}; it must be a whole number of tokens, at least 1`);
  if (slidingWindow !== undefined && !causal)
    fail('slidingWindow goes with causal attention only; set causal, or give a mask');
  checkSoftCap(name, softCap);
}

/** Throws in one line for a cap that means nothing. */
export function checkSoftCap(name: string, softCap: number | undefined): void {
  if (softCap === undefined || (softCap > 0 && Number.isFinite(softCap))) return;
  throw new ShapeError(`${name}: softCap is ${softCap}; it must be a number above 0`);
}

/** softCap * tanh(x / softCap), or x where there is no cap. */
export const capped = (x: Tensor, softCap: number | undefined): Tensor =>
  softCap === undefined ? x : mul(tanh(div(x, softCap)), softCap);

/** Throws in one line for documents of other tokens. */
export function checkDocuments(name: string, q: Tensor, k: Tensor, documents: Tensor | undefined): void {
  if (!documents) return;
  const [batch, , tokens] = q.shape;
  const isSelf = q.ndim === 4 && k.shape[0] === batch && k.shape[2] === tokens;
  if (isSelf && documents.dtype === 'i32' && sameShape(documents.shape, [batch!, tokens!])) return;
  throw new ShapeError(
    `${name}: documents ${documents.dtype} ${show(documents.shape)} must be i32 [B, T] for queries ${show(q.shape)} ` +
      `and keys ${show(k.shape)}, both [B, heads, T, size of a head]`,
  );
}

/**
 * The attention weights [..., Tq, Tk] before dropout: each row a distribution, or 0 where the mask hides all
 * keys.
 *
 * @example
 * attentionWeights(tensor([[1, 0]]), tensor([[1, 0], [0, 1]])); // [[0.6698, 0.3302]]
 */
export function attentionWeights(
  q: Tensor,
  k: Tensor,
  options: WeightOptions & { readonly ranges?: Tensor | undefined } = {},
): Tensor {
  checkQueriesAndKeys('attentionWeights', q, k);
  checkScoring('attentionWeights', options);
  checkDocuments('attentionWeights', q, k, options.documents);
  const { mask, causal = false, scale, slidingWindow, softCap, documents } = options;
  const { ranges = documents && documentRanges(documents) } = options;
  // Scaling the queries costs less than scaling the scores.
  const scores = capped(matmul(mul(q, scale ?? defaultScale(q)), transpose(k)), softCap); // (..., Tq, Tk)
  const earlier = causal ? causalMask(q.shape.at(-2)!, k.shape.at(-2)!, slidingWindow) : undefined;
  const own = ranges && documentMask(ranges); // (B, 1, T, T)
  const past = own && earlier ? logicalAnd(own, earlier) : (own ?? earlier);
  if (!mask) {
    const weights = softmax(past ? where(past, scores, maskValue) : scores);
    return past && slidingWindow !== undefined ? orNothing(past, weights) : weights;
  }
  const isTruth = mask.dtype === 'bool';
  const visible = isTruth ? mask : gt(mask.detach(), lowestAdded);
  const allowed = past ? logicalAnd(visible, past) : visible;
  const given = isTruth ? scores : add(scores, where(visible, mask, 0));
  return orNothing(allowed, softmax(where(allowed, given, maskValue)));
}

/** The weights, or 0 in rows where no key is allowed. */
function orNothing(allowed: Tensor, weights: Tensor): Tensor {
  return allowed.shape.at(-1) === 0 ? weights : where(max(allowed, -1, { keepDims: true }), weights, 0);
}

/** true where query i may attend to key j: i - window < j <= i. */
function causalMask(queries: number, keys: number, window = Infinity): Tensor {
  const allowed = new Uint8Array(queries * keys);
  for (let i = 0; i < queries; i++) {
    const first = Math.min(Math.max(0, i - window + 1), keys);
    allowed.fill(1, i * keys + first, i * keys + Math.max(first, Math.min(i + 1, keys)));
  }
  return tensor(allowed, { shape: [queries, keys], dtype: 'bool' });
}

/** How much a score's cap passes on: 1 - tanh(s / cap)^2. */
function capSlope(q: Tensor, k: Tensor, scale: number, softCap: number): Tensor {
  const t = tanh(div(matmul(mul(q, scale), transpose(k)), softCap));
  return sub(1, mul(t, t));
}

/**
 * The function of the fused backward kernels, in ops: gradients of q, k and v [..., T, D] for the cotangent g
 * [..., Tq, D].
 */
export function attentionGradients(
  { q, k, v, mask, ranges, g }: { q: Tensor; k: Tensor; v: Tensor; mask?: Tensor; ranges?: Tensor; g: Tensor },
  { dropout, draw, ...scoring }: AttentionAttrs,
): { dq: Tensor; dk: Tensor; dv: Tensor } {
  const { scale, softCap } = scoring;
  const drop = (x: Tensor): Tensor => (dropout && draw ? dropoutBy(x, dropout, draw) : x);
  const weights = attentionWeights(q, k, { mask, ranges, ...scoring });
  const dw = drop(matmul(g, transpose(v)));
  const ofScores = mul(weights, sub(dw, sum(mul(dw, weights), -1, { keepDims: true })));
  const all = softCap === undefined ? ofScores : mul(ofScores, capSlope(q, k, scale, softCap));
  const ds = mul(mask?.dtype === 'bool' ? where(mask, all, 0) : all, scale);
  const to = (x: Tensor): Tensor => cast(x, q.dtype);
  return {
    dq: to(matmul(ds, k)),
    dk: to(matmul(transpose(ds), q)),
    dv: to(matmul(transpose(drop(weights)), g)),
  };
}
