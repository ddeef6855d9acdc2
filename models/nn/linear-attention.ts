import {
  add,
  cast,
  cumsum,
  div,
  exp,
  eq,
  gt,
  matmul,
  minimum,
  mul,
  pad,
  reshape,
  slice,
  sum,
  transpose,
  tril,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookHeads, hookPoint, isPointWanted } from '../hooks/points.ts';
import { showShape } from '../names.ts';
import { mergeHeads } from './attend.ts';
import type { Attended } from './attend.ts';

/** What a causal layer has to know of the tokens before: as much after 10,000 as after one. */
export interface LinearAttentionState {
  /** sum of phi(k)^T v over the tokens, (B, H, D, E). */
  readonly products: Tensor;
  /** sum of phi(k), (B, H, D, 1). */
  readonly sums: Tensor;
}

/** elu(x) + 1: above 0. */
const features = (x: Tensor): Tensor => where(gt(x, 0), add(x, 1), exp(minimum(x, 0)));

/** Numerators over denominators, which are 0 where there is no key. */
const ratio = (over: Tensor, under: Tensor): Tensor => div(over, where(gt(under, 0), under, 1));

/** Throws in one line for queries, keys and values that do not go together. */
function check(name: string, q: Tensor, k: Tensor, v: Tensor): void {
  const [batch, heads, , size] = q.shape;
  const fits = (x: Tensor, tokens: number | undefined): boolean =>
    x.ndim === 4 && x.shape[0] === batch && x.shape[1] === heads && (tokens === undefined || x.shape[2] === tokens);
  if (q.ndim === 4 && fits(k, undefined) && k.shape[3] === size && fits(v, k.shape[2])) return;
  throw new Error(
    `${name}: queries ${showShape(q.shape)}, keys ${showShape(k.shape)} and values ${showShape(v.shape)} must be ` +
      '[B, H, Tq, D], [B, H, Tk, D] and [B, H, Tk, E]',
  );
}

/**
 * Attention whose scores are products of features, phi(q) phi(k)^T with phi(x) = elu(x) + 1, so that time and
 * memory are linear in the tokens: (phi(q) (phi(k)^T v)) / (phi(q) sum(phi(k))) (Katharopoulos et al. 2020,
 * eq. 5). q [B, H, Tq, D], k [B, H, Tk, D], v [B, H, Tk, E] -> [B, H, Tq, E]. `mask` [B, 1, Tk, 1]: 1 for the
 * keys that are read, 0 for those that are not; a query without any gives 0. Error: shapes that do not go
 * together.
 *
 * @example
 * const [q, k, v] = [zeros(1, 1, 2, 4), zeros(1, 1, 3, 4), tensor([[[[1], [2], [6]]]])];
 * linearAttention(q, k, v); // [[[[3], [3]]]]
 */
export function linearAttention(q: Tensor, k: Tensor, v: Tensor, { mask }: { readonly mask?: Tensor } = {}): Tensor {
  check('linearAttention', q, k, v);
  const keys = keyFeatures(k, mask);
  const asks = features(q);
  const products = matmul(transpose(keys), v); // (B, H, D, E)
  const sums = transpose(sum(keys, 2, { keepDims: true })); // (B, H, D, 1)
  return ratio(matmul(asks, products), matmul(asks, sums));
}

/** phi(k) of the keys that are read, over their number, so that sums stay small: it cancels out. */
function keyFeatures(k: Tensor, mask: Tensor | undefined): Tensor {
  const all = div(features(k), Math.max(1, k.shape[2]!));
  return mask ? mul(all, cast(mask, k.dtype)) : all;
}

export interface CausalLinearOptions {
  /** What was returned for the tokens before these; default: there are none. */
  readonly state?: LinearAttentionState | undefined;
  /** Tokens whose scores are made at a time; default 64. */
  readonly chunk?: number;
}

/**
 * The same where token i reads tokens 0..i only, and those of `state`, which with these is returned: texts
 * are written on from it, at one price a token however long they are. Within chunks by a table of scores,
 * between them by running sums (as section 3.3 of the paper sums up). q, k [B, H, T, D], v [B, H, T, E].
 * Errors: shapes that do not go together; a chunk that is no whole number from 1 up.
 *
 * @example
 * const [q, k, v] = [zeros(1, 1, 2, 4), zeros(1, 1, 2, 4), tensor([[[[1], [2]]]])];
 * const { y, state } = causalLinearAttention(q, k, v);
 * y; // [[[[1], [1.500]]]]
 * causalLinearAttention(q, k, v, { state }).y; // [[[[1.333], [1.500]]]]
 */
export function causalLinearAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { state, chunk = 64 }: CausalLinearOptions = {},
): { readonly y: Tensor; readonly state: LinearAttentionState } {
  check('causalLinearAttention', q, k, v);
  if (q.shape[2] !== k.shape[2])
    throw new Error(`causalLinearAttention: ${q.shape[2]} queries and ${k.shape[2]} keys; give as many of both`);
  if (!(Number.isInteger(chunk) && chunk >= 1))
    throw new Error(`causalLinearAttention: a chunk of ${chunk} tokens makes no sense; give a whole number from 1 up`);
  const [batch, heads, tokens] = q.shape as [number, number, number, number];
  const size = Math.min(chunk, Math.max(tokens, 1));
  const chunks = Math.ceil(tokens / size);
  const parts = (x: Tensor): Tensor => {
    const whole = pad(x, [
      [0, 0],
      [0, 0],
      [0, chunks * size - tokens],
      [0, 0],
    ]);
    return reshape(whole, [batch, heads, chunks, size, x.shape[3]!]);
  };
  const [asks, keys, values] = [parts(features(q)), parts(features(k)), parts(v)]; // (B, H, N, C, D or E)
  const own = {
    products: matmul(transpose(keys), values), // (B, H, N, D, E)
    sums: transpose(sum(keys, 3, { keepDims: true })), // (B, H, N, D, 1)
  };
  const [products, sums] = [before(own.products, state?.products), before(own.sums, state?.sums)];
  const scores = tril(matmul(asks, transpose(keys))); // (B, H, N, C, C)
  const over = add(matmul(asks, products.before), matmul(scores, values)); // (B, H, N, C, E)
  const under = add(matmul(asks, sums.before), sum(scores, -1, { keepDims: true }));
  const y = reshape(ratio(over, under), [batch, heads, chunks * size, v.shape[3]!]);
  return {
    y: slice(y, null, null, [0, tokens]),
    state: { products: products.after, sums: sums.after },
  };
}

/** What lies before each of N chunks, and behind all: x (B, H, N, D, E). */
function before(x: Tensor, state: Tensor | undefined): { readonly before: Tensor; readonly after: Tensor } {
  const count = x.shape[2]!;
  const shape = x.shape.filter((_, axis) => axis !== 2);
  const running = cumsum(x, 2);
  const with0 = pad(running, [
    [0, 0],
    [0, 0],
    [1, 0],
    [0, 0],
    [0, 0],
  ]); // (B, H, N + 1, D, E)
  const all = state ? add(with0, reshape(state, [shape[0]!, shape[1]!, 1, shape[2]!, shape[3]!])) : with0;
  return {
    before: slice(all, null, null, [0, count]),
    after: reshape(slice(all, null, null, [count, count + 1]), shape),
  };
}

/**
 * Self-attention in time linear in the tokens, as `attend` has it by softmax; `mask` is what is added to
 * scores, for keys alone. Weights are made where they are asked for, as a table of T x T. Nothing is dropped.
 */
export function attendLinearly(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { mask, outputWeights = false }: { readonly mask?: Tensor | undefined; readonly outputWeights?: boolean },
): Attended {
  if (mask && mask.shape[2] !== 1)
    throw new Error(
      `linear_attention: a mask for each query, ${showShape(mask.shape)}, does not go with it; give an ` +
        'attentionMask [batch, tokens]',
    );
  const isRead = mask && transpose(cast(eq(mask, 0), k.dtype)); // (B, 1, T, 1)
  if (outputWeights || isPointWanted('attn.hook_pattern')) {
    const scores = matmul(features(q), transpose(keyFeatures(k, isRead))); // (B, H, T, T)
    const weights = hookPoint('attn.hook_pattern', ratio(scores, sum(scores, -1, { keepDims: true })));
    const hidden = mergeHeads(hookHeads('attn.hook_z', matmul(weights, v)));
    return { hidden, ...(outputWeights ? { weights } : {}) };
  }
  return { hidden: mergeHeads(hookHeads('attn.hook_z', linearAttention(q, k, v, { mask: isRead }))) };
}
