import { flashAttentionBackward, flashAttentionDelta } from '../../kernels/attention/backward.ts';
import { flashAttention } from '../../kernels/attention/forward.ts';
import { tunedAttention } from '../../kernels/attention/plan.ts';
import { readsFours } from '../../kernels/attention/operands.ts';
import type { AttentionAttrs } from '../../kernels/attention/operands.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { contiguousLayout } from '../../kernels/layout.ts';
import { copyInto } from '../lower/elementwise.ts';
import { viewOf } from '../lower/window.ts';
import { defineOp } from '../op.ts';
import type { Like, Lowering, Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { attentionGradients, repeatHeads } from './attention-weights.ts';
import { cast, sum } from './broadcast.ts';
import { compositeVjp } from './composite.ts';
import { concat } from './concat.ts';
import { permute } from './movement.ts';
import { reshape } from './reshape.ts';
import { select } from './slice.ts';

/**
 * q [B, H, Tq, D], k, v [B, Hkv, Tk, D] of any strides, Hkv a divisor of H, mask [B, H, Tq, Tk], ranges i32
 * [B, T, 2] of documents, row-major.
 */
type Inputs = { q: Tensor; k: Tensor; v: Tensor; mask?: Tensor; ranges?: Tensor };
/** The same as one: qkv [B, T, 3, H, D], a view of one projection's output; mask [B, H, T, T]. */
type Packed = { qkv: Tensor; mask?: Tensor; ranges?: Tensor };
/** y [B, Tq, H, D] (so that merging the heads is free), stats f32 [B, H, Tq, 2], see the kernel. */
type Outputs = { y: Tensor; stats: Tensor };
/** Read by the backward kernels beside the inputs: g is the cotangent of y. */
type Given = Outputs & { g: Tensor };
/** By query head, [B, T, H, D]. */
type Gradients = { dq: Tensor; dk: Tensor; dv: Tensor };

/** [B, H, T, D] as [B, T, H, D], and back. */
const swapHeads = (x: Tensor): Tensor => permute(x, [0, 2, 1, 3]);

/** Query, key or value of packed projections [B, T, 3, H, D], as [B, H, T, D]. No copy. */
export const unpack = (qkv: Tensor, which: 0 | 1 | 2): Tensor => swapHeads(select(qkv, 2, which));

// Lowering

/** The tensor itself where its rows are read as vec4s, else a copy. */
export const aligned = ({ copy }: Pick<Lowering, 'copy'>, x: Tensor): Tensor => (readsFours(x) ? x : copy(x));

/** As the kernels take them, [B, H, T, D]: tokens [B, T, H, D], and part `which` of [B, T, 3, H, D]. */
export function byHead(x: Tensor, which?: 0 | 1 | 2): Tensor {
  const axes = which === undefined ? [0, 2, 1, 3] : [0, 3, 1, 4];
  const pick = (list: readonly number[]): number[] => axes.map((axis) => list[axis]!);
  const offset = x.offset + (which ?? 0) * x.strides[2]!;
  return viewOf(x, { shape: pick(x.shape), strides: pick(x.strides), offset });
}

const partsOf = (qkv: Tensor): Inputs => ({ q: byHead(qkv, 0), k: byHead(qkv, 1), v: byHead(qkv, 2) });

function headsOf(lowering: Lowering<never>, { mask, ranges, ...inputs }: Inputs | Packed): Inputs {
  if ('qkv' in inputs) return { ...partsOf(aligned(lowering, inputs.qkv)), mask, ranges };
  const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => aligned(lowering, x)) as [Tensor, Tensor, Tensor];
  return { q, k, v, mask, ranges };
}

function lowerForward(
  lowering: Lowering<never>,
  inputs: Inputs | Packed,
  { y, stats }: Outputs,
  attrs: AttentionAttrs,
) {
  const heads = headsOf(lowering, inputs);
  const plan = tunedAttention(lowering.target, { pass: 'forward', operands: heads, attrs });
  lowering.emit(flashAttention, { ...heads, y: byHead(y), stats }, plan ? { ...attrs, plan } : attrs);
}

/** `gradients`: the tensor that holds them all, where it is one. */
function lowerBackward(
  lowering: Lowering<never>,
  { y, stats, g: cotangent, ...inputs }: (Inputs | Packed) & Given,
  outputs: Gradients & { gradients?: Tensor },
  attrs: AttentionAttrs,
): void {
  const heads = headsOf(lowering, inputs);
  const g = byHead(aligned(lowering, cotangent));
  const perQuery = lowering.temporary([...g.shape.slice(0, 3), 4], 'f32');
  const before = { y: byHead(aligned(lowering, y)), g, stats: lowering.contiguous(stats) };
  lowering.emit(flashAttentionDelta, { ...before, perQuery }, null);
  const plan = tunedAttention(lowering.target, { pass: 'backward', operands: { ...heads, g }, attrs });
  lowering.emit(flashAttentionBackward, { ...heads, g, perQuery, ...outputs }, plan ? { ...attrs, plan } : attrs);
}

// Ops

/** `shape`: of y. */
function outputsOf(shape: readonly number[], dtype: Dtype): Like<Outputs, Spec> {
  const [batch, queries, heads] = shape as [number, number, number];
  return { y: { shape, dtype }, stats: { shape: [batch, heads, queries, 2], dtype: 'f32' } };
}

/** No gradient flows into the mask. */
export const flashAttentionOp: Op<Inputs, Outputs, AttentionAttrs> = defineOp<Inputs, Outputs, AttentionAttrs>({
  name: 'flashAttention',
  infer: ({ q: { shape, dtype } }) =>
    outputsOf(
      [0, 2, 1, 3].map((axis) => shape[axis]!),
      dtype,
    ),
  lower: lowerForward,
  autocast: ['q', 'k', 'v'],
  saves: { inputs: ['q', 'k', 'v', 'mask', 'ranges'], outputs: ['y', 'stats'] },
  vjp({ g, input, output, attrs }) {
    const inputs = { q: input('q'), k: input('k'), v: input('v'), mask: input('mask'), ranges: input('ranges') };
    const given = { y: output('y'), stats: output('stats'), g };
    const { dq, dk, dv } = apply(flashAttentionBackwardOp, { ...inputs, ...given }, attrs);
    const own = (grad: Tensor, x: Tensor): Tensor => swapHeads(sumOfGroups(grad, x.shape[1]!));
    return { q: own(dq, inputs.q), k: own(dk, inputs.k), v: own(dv, inputs.v) };
  },
});

/** Gradients by query head [B, T, H, D] -> [B, T, heads, D], added up over the query heads that share one. */
function sumOfGroups(grad: Tensor, heads: number): Tensor {
  const [batch, tokens, all, width] = grad.shape as [number, number, number, number];
  return all === heads ? grad : cast(sum(reshape(grad, [batch, tokens, heads, all / heads, width]), 3), grad.dtype);
}

type Backward = Op<Inputs & Given, Gradients, AttentionAttrs>;

const flashAttentionBackwardOp: Backward = defineOp<Backward>({
  name: 'flashAttentionBackward',
  infer: ({ q, k }) => {
    const heads = q.shape[1]!;
    const of = ({ shape, dtype }: Spec): Spec => ({ shape: [shape[0]!, shape[2]!, heads, shape[3]!], dtype });
    return { dq: of(q), dk: of(k), dv: of(k) };
  },
  lower(lowering, inputs, { dq, dk, dv }, attrs) {
    if (8 + (inputs.mask ? 1 : 0) + (inputs.ranges ? 1 : 0) <= lowering.target.maxStorageBuffers) {
      return lowerBackward(lowering, inputs, { dq: byHead(dq), dk: byHead(dk), dv: byHead(dv) }, attrs);
    }
    // Few buffers may be bound: all gradients in one, then copied out.
    const gradients = lowering.temporary([dq.size + dk.size + dv.size], dq.dtype);
    const part = ({ shape }: Tensor, start: number): Tensor => viewOf(gradients, contiguousLayout(shape, start));
    const parts = [part(dq, 0), part(dk, dq.size), part(dv, dq.size + dk.size)] as const;
    const [q, k, v] = parts.map((x) => byHead(x)) as [Tensor, Tensor, Tensor];
    lowerBackward(lowering, inputs, { dq: q, dk: k, dv: v, gradients }, attrs);
    [dq, dk, dv].forEach((y, i) => copyInto(lowering, gradients, parts[i]!, y, y));
  },
  saves: { inputs: ['q', 'k', 'v', 'mask', 'ranges', 'y', 'stats', 'g'] },
  vjp: compositeVjp(({ q, k, v, mask, ranges, g }, attrs) => {
    const heads = q.shape[1]!;
    const inputs = { q, k: repeatHeads(k, heads), v: repeatHeads(v, heads), mask, ranges, g: swapHeads(g) };
    const { dq, dk, dv } = attentionGradients(inputs, attrs);
    return { dq: swapHeads(dq), dk: swapHeads(dk), dv: swapHeads(dv) };
  }),
});

/** As flashAttention, for packed inputs; the outputs are y [B, T, H, D] and stats. */
export const packedAttentionOp: Op<Packed, Outputs, AttentionAttrs> = defineOp<Packed, Outputs, AttentionAttrs>({
  name: 'packedAttention',
  infer: ({ qkv: { shape, dtype } }) =>
    outputsOf(
      [0, 1, 3, 4].map((axis) => shape[axis]!),
      dtype,
    ),
  lower: lowerForward,
  autocast: ['qkv'],
  saves: { inputs: ['qkv', 'mask', 'ranges'], outputs: ['y', 'stats'] },
  vjp({ g, input, output, attrs }) {
    const inputs = { qkv: input('qkv'), mask: input('mask'), ranges: input('ranges') };
    const given = { y: output('y'), stats: output('stats'), g };
    return { qkv: apply(packedAttentionBackwardOp, { ...inputs, ...given }, attrs).dqkv };
  },
});

type PackedBackward = Op<Packed & Given, { dqkv: Tensor }, AttentionAttrs>;

/** The gradient of qkv, row-major: one buffer, which the projection's backward pass reads as it is. */
const packedAttentionBackwardOp: PackedBackward = defineOp<PackedBackward>({
  name: 'packedAttentionBackward',
  infer: ({ qkv }) => ({ dqkv: { shape: qkv.shape, dtype: qkv.dtype } }),
  lower(lowering, inputs, { dqkv }, attrs) {
    const { q: dq, k: dk, v: dv } = partsOf(dqkv);
    lowerBackward(lowering, inputs, { dq, dk, dv, gradients: dqkv }, attrs);
  },
  saves: { inputs: ['qkv', 'mask', 'ranges', 'y', 'stats', 'g'] },
  vjp: compositeVjp(({ qkv, mask, ranges, g }, attrs) => {
    const [batch, tokens, , heads, width] = qkv.shape as [number, number, number, number, number];
    const inputs = { q: unpack(qkv, 0), k: unpack(qkv, 1), v: unpack(qkv, 2), mask, ranges, g: swapHeads(g) };
    const { dq, dk, dv } = attentionGradients(inputs, attrs);
    return {
      dqkv: concat(
        [dq, dk, dv].map((x) => reshape(swapHeads(x), [batch, tokens, 1, heads, width])),
        2,
      ),
    };
  }),
});
