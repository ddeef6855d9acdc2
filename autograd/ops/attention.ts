import type { AttentionAttrs } from '../../kernels/attention/operands.ts';
import { widestHead } from '../../kernels/attention/walk.ts';
import { broadcastShapes, checkOptions, requireFloat, sameShape, show } from '../shapes.ts';
import { isGradEnabled } from '../context.ts';
import { ShapeError } from '../op.ts';
import { nextDraw } from '../generator.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import {
  attentionWeights,
  checkDocuments,
  checkQueriesAndKeys,
  checkScoring,
  defaultScale,
  repeatHeads,
} from './attention-weights.ts';
import type { WeightOptions } from './attention-weights.ts';
import { cast, expand } from './broadcast.ts';
import { documentRanges } from './documents.ts';
import { flashAttentionOp, packedAttentionOp, unpack } from './flash-attention.ts';
import { matmul } from './matmul.ts';
import { permute } from './movement.ts';
import { checkProbability, dropout as drop } from './random.ts';
import { reshape } from './reshape.ts';

export { attentionWeights, maskValue, repeatHeads } from './attention-weights.ts';

export interface AttentionOptions extends WeightOptions {
  /** Probability of dropping an attention weight. */
  readonly dropout?: number;
  readonly training?: boolean;
}

/** PyTorch's names of the options. */
export interface TorchAttentionOptions {
  readonly attnMask?: Tensor;
  readonly dropoutP?: number;
  readonly isCausal?: boolean;
}

const optionNames = ['mask', 'causal', 'slidingWindow', 'documents', 'scale', 'softCap', 'dropout', 'training'];

/** The options under our names. */
function ownNames(op: string, options: AttentionOptions & TorchAttentionOptions): AttentionOptions {
  const { attnMask, dropoutP, isCausal, ...own } = options;
  checkOptions(op, own, optionNames);
  const { mask = attnMask, dropout = dropoutP, causal = isCausal } = own;
  return { ...own, mask, dropout, causal };
}

/**
 * softmax(q k^T * scale + mask) v over q [..., Tq, D], k and v [..., Tk, D] (Vaswani et al. 2017, eq. 1),
 * with dropout on the weights. Fused where it can be, in memory linear in Tq and Tk; else, where D is no
 * multiple of 4 or above 256, D differs between keys and values, types are mixed or the mask needs a
 * gradient, by products and a softmax. Either way a query whose keys a mask hides altogether (false, or below
 * -5e28 where it is added) gives 0, and passes no gradient. Keys and values [B, Hkv, Tk, D] may have fewer
 * heads than queries [B, H, Tq, D], a divisor: neighbouring query heads share one (Ainslie et al. 2023).
 * PyTorch's attnMask, dropoutP and isCausal are other names of mask, dropout and causal.
 *
 * @example
 * const [q, k, v] = [tensor([[1, 0]]), tensor([[1, 0], [0, 1]]), tensor([[1, 0], [0, 1]])];
 * scaledDotProductAttention(q, k, v); // [[0.6698, 0.3302]]
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  given: AttentionOptions & TorchAttentionOptions = {},
): Tensor {
  const options = ownNames('scaledDotProductAttention', given);
  const group = check('scaledDotProductAttention', q, k, v, options);
  const batch = batchOf(q, k, v, group);
  const scores = [...batch, q.shape.at(-2)!, k.shape.at(-2)!];
  if (!fuses([q, k, v], scores, options)) {
    const heads = (x: Tensor): Tensor => (group === 1 ? x : repeatHeads(x, q.shape[1]!));
    return composite(q, heads(k), heads(v), options);
  }
  const four = (x: Tensor, [rows, columns]: readonly number[], shared = 1): Tensor => {
    const full = expand(x, [...batch.map((length, axis) => (axis === 1 ? length / shared : length)), rows!, columns!]);
    return x.ndim === 4 ? full : reshape(full, [batch[0] ?? 1, 1, rows!, columns!]);
  };
  const heads = (x: Tensor, shared: number): Tensor => four(x, x.shape.slice(-2), shared);
  const mask = options.mask && four(spread(options.mask, scores), scores.slice(-2));
  const inputs = { q: heads(q, 1), k: heads(k, group), v: heads(v, group), mask, ranges: rangesOf(options) };
  const { y } = apply(flashAttentionOp, inputs, attrsOf(q, options));
  return reshape(permute(y, [0, 2, 1, 3]), [...batch, ...q.shape.slice(-2)]); // (..., Tq, D)
}

/**
 * Self-attention of projections packed as qkv [B, T, 3, H, D], a view of one product's output -> [B, T, H,
 * D], a view of the next one's input; the mask broadcasts to [B, H, T, T]. The gradient is one row-major
 * tensor, without the steps that would join those of queries, keys and values.
 *
 * @example
 * packedAttention(randn(2, 5, 3, 4, 8), { causal: true }).shape; // [2, 5, 4, 8]
 */
export function packedAttention(qkv: Tensor, options: AttentionOptions = {}): Tensor {
  requireFloat('packedAttention', qkv);
  const [batch, tokens, three, heads] = qkv.shape as [number, number, number, number];
  if (qkv.ndim !== 5 || three !== 3)
    throw new ShapeError(`packedAttention: needs [batch, tokens, 3, heads, size of a head], got ${show(qkv.shape)}`);
  const [q, k, v] = [unpack(qkv, 0), unpack(qkv, 1), unpack(qkv, 2)]; // (B, H, T, D)
  check('packedAttention', q, k, v, options);
  const scores = [batch, heads, tokens, tokens];
  if (!fuses([q, k, v], scores, options)) return permute(composite(q, k, v, options), [0, 2, 1, 3]);
  const mask = options.mask && spread(options.mask, scores);
  return apply(packedAttentionOp, { qkv, mask, ranges: rangesOf(options) }, attrsOf(q, options)).y; // (B, T, H, D)
}

const rangesOf = ({ documents }: AttentionOptions): Tensor | undefined => documents && documentRanges(documents);

function composite(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { dropout = 0, training = true } = options;
  const y = matmul(drop(attentionWeights(q, k, options), dropout, { training }), v); // (..., Tq, D)
  return cast(y, v.dtype); // a mask of another type does not change the result's
}

function attrsOf(q: Tensor, options: AttentionOptions): AttentionAttrs {
  const { causal = false, slidingWindow, scale = defaultScale(q), softCap, dropout = 0, training = true } = options;
  const scoring = {
    causal,
    scale,
    ...(slidingWindow === undefined ? {} : { slidingWindow }),
    ...(softCap === undefined ? {} : { softCap }),
  };
  return training && dropout > 0 ? { ...scoring, dropout, draw: nextDraw() } : scoring;
}

function fuses(inputs: readonly Tensor[], scores: readonly number[], { mask }: AttentionOptions): boolean {
  const [q] = inputs as [Tensor];
  const width = q.shape.at(-1)!;
  if (scores.length > 4 || scores.includes(0)) return false;
  if (width % 4 !== 0 || width === 0 || width > widestHead) return false;
  if (inputs.some((x) => x.dtype !== q.dtype || x.shape.at(-1) !== width)) return false;
  return !mask || mask.dtype === 'bool' || (isFloat(mask.dtype) && !(mask.requiresGrad && isGradEnabled()));
}

/** A mask over all scores, without copying. */
function spread(mask: Tensor, scores: readonly number[]): Tensor {
  return sameShape(mask.shape, scores) ? mask : expand(mask, scores);
}

/**
 * How many neighbouring query heads share a head of keys and values [B, Hkv, T, D]. One head for all is
 * broadcast.
 */
function groupOf(q: Tensor, k: Tensor, v: Tensor): number {
  const [own, heads] = [k.shape[1]!, q.shape[1]!];
  return q.ndim === 4 && own > 1 && v.shape[1] === own && heads % own === 0 ? heads / own : 1;
}

/** The axes before the last two of the scores. */
function batchOf(q: Tensor, k: Tensor, v: Tensor, group: number): readonly number[] {
  const lead = (x: Tensor): number[] => x.shape.slice(0, -2);
  const whole = (x: Tensor): number[] => lead(x).map((length, axis) => (axis === 1 ? length * group : length));
  return broadcastShapes('scaledDotProductAttention', lead(q), whole(k), whole(v));
}

/** Throws in one line for what does not go together; gives the size of a group of query heads. */
function check(name: string, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): number {
  const { mask, dropout = 0 } = options;
  checkQueriesAndKeys(name, q, k);
  checkScoring(name, options);
  checkDocuments(name, q, k, options.documents);
  const fail = (what: string): never => {
    throw new ShapeError(`${name}: ${what}`);
  };
  if (v.ndim !== k.ndim || v.shape.at(-2) !== k.shape.at(-2))
    fail(`keys ${show(k.shape)} and values ${show(v.shape)} must be equally many`);
  checkProbability(name, dropout);
  const group = groupOf(q, k, v);
  if (!mask) return group;
  const scores = [...batchOf(q, k, k, group), q.shape.at(-2)!, k.shape.at(-2)!];
  const missing = scores.length - mask.ndim;
  if (missing < 0 || mask.shape.some((length, axis) => length !== 1 && length !== scores[axis + missing]))
    fail(`the mask ${show(mask.shape)} must broadcast to the scores ${show(scores)}`);
  return group;
}
