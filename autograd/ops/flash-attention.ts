import { compositeVjp } from '../composite.ts';
import { defineOp } from '../op.ts';
import type { Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { attentionGradients, repeatHeads } from './attention-weights.ts';
import type { WeightDropout } from './attention-weights.ts';
import { cast, sum } from './broadcast.ts';
import { concat } from './concat.ts';
import { lowerBackward, lowerForward } from './flash-attention-lower.ts';
import { permute } from './movement.ts';
import { reshape } from './reshape.ts';
import { select } from './slice.ts';

/** Of all records here; the lowering reads them too. */
export interface FlashAttrs {
  readonly causal: boolean;
  readonly scale: number;
  readonly dropout?: WeightDropout;
}

/** [B, H, T, D] as [B, T, H, D], and back. */
const swapHeads = (x: Tensor): Tensor => permute(x, [0, 2, 1, 3]);

/**
 * Inputs q [B, H, Tq, D], k, v [B, Hkv, Tk, D] of any strides, Hkv a divisor of H, (mask [B, H, Tq, Tk]);
 * outputs y [B, Tq, H, D] (so that merging the heads is free) and stats f32 [B, H, Tq, 2], see the kernel. No
 * gradient flows into the mask.
 */
export const flashAttentionOp: Op<FlashAttrs> = defineOp<FlashAttrs>({
  name: 'flashAttention',
  infer: ([q]) => {
    const [batch, heads, queries, width] = q!.shape as [number, number, number, number];
    return [
      { shape: [batch, queries, heads, width], dtype: q!.dtype },
      { shape: [batch, heads, queries, 2], dtype: 'f32' },
    ];
  },
  lower: (lowering, [q, k, v, mask], [y, stats], attrs) =>
    lowerForward(lowering, { q: q!, k: k!, v: v!, mask }, y!, stats!, attrs),
  saves: { inputs: [0, 1, 2, 3], outputs: [0, 1] },
  vjp({ g, input, output, specs, attrs }) {
    const inputs = specs.map((_, i) => input(i));
    const grads = apply(flashAttentionBackwardOp, [...inputs, output(0), output(1), g], attrs).map((grad, i) =>
      swapHeads(sumOfGroups(grad, specs[i]!.shape[1]!)),
    );
    return specs.map((_, i) => grads[i] ?? null);
  },
});

/** Gradients by query head [B, T, H, D] -> [B, T, heads, D], added up over the query heads that share one. */
function sumOfGroups(grad: Tensor, heads: number): Tensor {
  const [batch, tokens, all, width] = grad.shape as [number, number, number, number];
  return all === heads ? grad : cast(sum(reshape(grad, [batch, tokens, heads, all / heads, width]), 3), grad.dtype);
}

/** Inputs q, k, v, (mask,) y, stats, g; outputs the gradients of q, k and v by query head, [B, T, H, D]. */
const flashAttentionBackwardOp: Op<FlashAttrs> = defineOp<FlashAttrs>({
  name: 'flashAttentionBackward',
  infer: ([q, k]) => {
    const heads = q!.shape[1]!;
    const of = ({ shape, dtype }: Spec): Spec => ({ shape: [shape[0]!, shape[2]!, heads, shape[3]!], dtype });
    return [of(q!), of(k!), of(k!)];
  },
  lower(lowering, inputs, [dq, dk, dv], attrs) {
    const [q, k, v] = inputs as [Tensor, Tensor, Tensor];
    const mask = inputs.length === 7 ? inputs[3] : undefined;
    lowerBackward(lowering, { q, k, v, mask }, inputs.slice(-3), [dq!, dk!, dv!], attrs);
  },
  saves: { inputs: [0, 1, 2, 3, 4, 5, 6] },
  vjp: compositeVjp((inputs, { causal, scale, dropout }) => {
    const mask = inputs.length === 7 ? inputs[3] : undefined;
    const [q, g] = [inputs[0]!, swapHeads(inputs.at(-1)!)];
    const [k, v] = [repeatHeads(inputs[1]!, q.shape[1]!), repeatHeads(inputs[2]!, q.shape[1]!)];
    return attentionGradients([q, k, v, g], { mask, causal, scale }, dropout).map(swapHeads);
  }),
});

/** Query, key or value of packed projections [B, T, 3, H, D], as [B, H, T, D]. No copy. */
export const unpack = (qkv: Tensor, which: 0 | 1 | 2): Tensor => swapHeads(select(qkv, 2, which));

/**
 * The same for inputs packed as [B, T, 3, H, D], a view of one projection's output, (mask); outputs y [B, T,
 * H, D] and stats.
 */
export const packedAttentionOp: Op<FlashAttrs> = defineOp<FlashAttrs>({
  name: 'packedAttention',
  infer: ([qkv]) => {
    const [batch, tokens, , heads, width] = qkv!.shape as [number, number, number, number, number];
    return [
      { shape: [batch, tokens, heads, width], dtype: qkv!.dtype },
      { shape: [batch, heads, tokens, 2], dtype: 'f32' },
    ];
  },
  lower: (lowering, [qkv, mask], [y, stats], attrs) => lowerForward(lowering, { qkv: qkv!, mask }, y!, stats!, attrs),
  saves: { inputs: [0, 1], outputs: [0, 1] },
  vjp({ g, input, output, specs, attrs }) {
    const inputs = specs.map((_, i) => input(i));
    const [dqkv] = apply(packedAttentionBackwardOp, [...inputs, output(0), output(1), g], attrs);
    return [dqkv!, ...specs.slice(1).map(() => null)];
  },
});

/**
 * Inputs qkv, (mask,) y, stats, g; output the gradient of qkv, row-major: one buffer, which the projection's
 * backward pass reads as it is.
 */
const packedAttentionBackwardOp: Op<FlashAttrs> = defineOp<FlashAttrs>({
  name: 'packedAttentionBackward',
  infer: ([qkv]) => [{ shape: qkv!.shape, dtype: qkv!.dtype }],
  lower(lowering, inputs, [dqkv], attrs) {
    const mask = inputs.length === 5 ? inputs[1] : undefined;
    lowerBackward(lowering, { qkv: inputs[0]!, mask }, inputs.slice(-3), [dqkv!], attrs);
  },
  saves: { inputs: [0, 1, 2, 3, 4] },
  vjp: compositeVjp((inputs, { causal, scale, dropout }) => {
    const [qkv, mask] = [inputs[0]!, inputs.length === 5 ? inputs[1] : undefined];
    const [batch, tokens, , heads, width] = qkv.shape as [number, number, number, number, number];
    const [q, k, v] = [unpack(qkv, 0), unpack(qkv, 1), unpack(qkv, 2)];
    const grads = attentionGradients([q, k, v, swapHeads(inputs.at(-1)!)], { mask, causal, scale }, dropout);
    const parts = grads.map((x) => reshape(swapHeads(x), [batch, tokens, 1, heads, width]));
    return [concat(parts, 2)];
  }),
});
