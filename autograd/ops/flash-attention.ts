import { compositeVjp } from './composite.ts';
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

/** q [B, H, Tq, D], k, v [B, Hkv, Tk, D] of any strides, Hkv a divisor of H, mask [B, H, Tq, Tk]. */
type Inputs = { q: Tensor; k: Tensor; v: Tensor; mask?: Tensor };
/** y [B, Tq, H, D] (so that merging the heads is free), stats f32 [B, H, Tq, 2], see the kernel. */
type Outputs = { y: Tensor; stats: Tensor };
/** What the backward kernels read beside the inputs: g is the cotangent of y. */
type Given = Outputs & { g: Tensor };

/** No gradient flows into the mask. */
export const flashAttentionOp: Op<Inputs, Outputs, FlashAttrs> = defineOp<Inputs, Outputs, FlashAttrs>({
  name: 'flashAttention',
  infer: ({ q }) => {
    const [batch, heads, queries, width] = q.shape as [number, number, number, number];
    return {
      y: { shape: [batch, queries, heads, width], dtype: q.dtype },
      stats: { shape: [batch, heads, queries, 2], dtype: 'f32' },
    };
  },
  lower: lowerForward,
  autocast: ['q', 'k', 'v'],
  saves: { inputs: ['q', 'k', 'v', 'mask'], outputs: ['y', 'stats'] },
  vjp({ g, input, output, attrs }) {
    const inputs = { q: input('q'), k: input('k'), v: input('v'), mask: input('mask') };
    const { dq, dk, dv } = apply(
      flashAttentionBackwardOp,
      { ...inputs, y: output('y'), stats: output('stats'), g },
      attrs,
    );
    const own = (grad: Tensor, x: Tensor): Tensor => swapHeads(sumOfGroups(grad, x.shape[1]!));
    return { q: own(dq, inputs.q), k: own(dk, inputs.k), v: own(dv, inputs.v) };
  },
});

/** Gradients by query head [B, T, H, D] -> [B, T, heads, D], added up over the query heads that share one. */
function sumOfGroups(grad: Tensor, heads: number): Tensor {
  const [batch, tokens, all, width] = grad.shape as [number, number, number, number];
  return all === heads ? grad : cast(sum(reshape(grad, [batch, tokens, heads, all / heads, width]), 3), grad.dtype);
}

type Gradients = { dq: Tensor; dk: Tensor; dv: Tensor };
type Backward = Op<Inputs & Given, Gradients, FlashAttrs>;

/** Gradients of q, k and v by query head, [B, T, H, D]. */
const flashAttentionBackwardOp: Backward = defineOp<Backward>({
  name: 'flashAttentionBackward',
  infer: ({ q, k }) => {
    const heads = q.shape[1]!;
    const of = ({ shape, dtype }: Spec): Spec => ({ shape: [shape[0]!, shape[2]!, heads, shape[3]!], dtype });
    return { dq: of(q), dk: of(k), dv: of(k) };
  },
  lower: (lowering, inputs, { dq, dk, dv }, attrs) => lowerBackward(lowering, inputs, [dq, dk, dv], attrs),
  saves: { inputs: ['q', 'k', 'v', 'mask', 'y', 'stats', 'g'] },
  vjp: compositeVjp(({ q, k, v, mask, g }, { causal, scale, dropout }) => {
    const heads = q.shape[1]!;
    const inputs = [q, repeatHeads(k, heads), repeatHeads(v, heads), swapHeads(g)] as const;
    const [dq, dk, dv] = attentionGradients(inputs, { mask, causal, scale }, dropout);
    return { dq: swapHeads(dq), dk: swapHeads(dk), dv: swapHeads(dv) };
  }),
});

/** Query, key or value of packed projections [B, T, 3, H, D], as [B, H, T, D]. No copy. */
export const unpack = (qkv: Tensor, which: 0 | 1 | 2): Tensor => swapHeads(select(qkv, 2, which));

/** qkv [B, T, 3, H, D], a view of one projection's output, mask [B, H, T, T]. */
type Packed = { qkv: Tensor; mask?: Tensor };

/** The same for packed inputs; outputs y [B, T, H, D] and stats. */
export const packedAttentionOp: Op<Packed, Outputs, FlashAttrs> = defineOp<Packed, Outputs, FlashAttrs>({
  name: 'packedAttention',
  infer: ({ qkv }) => {
    const [batch, tokens, , heads, width] = qkv.shape as [number, number, number, number, number];
    return {
      y: { shape: [batch, tokens, heads, width], dtype: qkv.dtype },
      stats: { shape: [batch, heads, tokens, 2], dtype: 'f32' },
    };
  },
  lower: lowerForward,
  autocast: ['qkv'],
  saves: { inputs: ['qkv', 'mask'], outputs: ['y', 'stats'] },
  vjp({ g, input, output, attrs }) {
    const inputs = { qkv: input('qkv'), mask: input('mask'), y: output('y'), stats: output('stats'), g };
    return { qkv: apply(packedAttentionBackwardOp, inputs, attrs).dqkv };
  },
});

type PackedBackward = Op<Packed & Given, { dqkv: Tensor }, FlashAttrs>;

/** The gradient of qkv, row-major: one buffer, which the projection's backward pass reads as it is. */
const packedAttentionBackwardOp: PackedBackward = defineOp<PackedBackward>({
  name: 'packedAttentionBackward',
  infer: ({ qkv }) => ({ dqkv: { shape: qkv.shape, dtype: qkv.dtype } }),
  lower: (lowering, inputs, { dqkv }, attrs) => lowerBackward(lowering, inputs, [dqkv], attrs),
  saves: { inputs: ['qkv', 'mask', 'y', 'stats', 'g'] },
  vjp: compositeVjp(({ qkv, mask, g }, { causal, scale, dropout }) => {
    const [batch, tokens, , heads, width] = qkv.shape as [number, number, number, number, number];
    const inputs = [unpack(qkv, 0), unpack(qkv, 1), unpack(qkv, 2), swapHeads(g)] as const;
    const grads = attentionGradients(inputs, { mask, causal, scale }, dropout);
    const parts = grads.map((x) => reshape(swapHeads(x), [batch, tokens, 1, heads, width]));
    return { dqkv: concat(parts, 2) };
  }),
});
