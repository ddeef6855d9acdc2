import { attentionBackward } from '../../kernels/attention/backward.ts';
import type { GradientOperands } from '../../kernels/attention/backward.ts';
import { attentionDelta } from '../../kernels/attention/delta.ts';
import { attentionForward } from '../../kernels/attention/forward.ts';
import type { AttentionParams, HeadsOperand, MaskOperand } from '../../kernels/attention/params.ts';
import { chooseWalk } from '../../kernels/attention/walk.ts';
import { memoiseDrawn } from '../../kernels/random.ts';
import type { Layout } from '../../kernels/layout.ts';
import { rowMajor } from '../../kernels/layout.ts';
import { copyInto } from '../lower/elementwise.ts';
import type { Lowering } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import type { FlashAttrs } from './flash-attention.ts';

/**
 * Queries, keys and values [B, H, T, D], or all in one tensor [B, T, 3, H, D], and the mask [B, H, Tq, Tk].
 */
type Sources =
  | { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor; readonly qkv?: undefined; readonly mask?: Tensor }
  | { readonly qkv: Tensor; readonly mask?: Tensor; readonly q?: undefined };

const forward = memoiseDrawn((_: null, params: Parameters<typeof attentionForward>[0]) => attentionForward(params));
const backward = memoiseDrawn((_: null, params: Parameters<typeof attentionBackward>[0]) => attentionBackward(params));

/** Heads [B, T, H, D] in row-major order. */
const merged = ['batch', 'token', 'head'] as const;
const split = ['batch', 'head', 'token'] as const;

/** Addressing by the names of the axes before the last; those of length 1 do not matter. */
export function operandOf({ shape, strides, offset }: Layout, axes: readonly string[]): HeadsOperand {
  const stride = (name: string): number => {
    const axis = axes.indexOf(name);
    return shape[axis] === 1 ? 0 : strides[axis]!;
  };
  return { offset, batch: stride('batch'), head: stride('head'), token: stride('token') };
}

/** The tensor itself where its rows are read as vec4s, else a copy. */
export function aligned({ copy }: Pick<Lowering, 'copy'>, x: Tensor): Tensor {
  const last = x.ndim - 1;
  const whole = x.strides.every((stride, axis) => axis === last || x.shape[axis] === 1 || stride % 4 === 0);
  return whole && x.strides[last] === 1 && x.offset % 4 === 0 ? x : copy(x);
}

/** Part `which` of a packed layout [B, T, 3, H, D]. */
function partOf({ shape, strides, offset }: Layout, which: number): HeadsOperand {
  const without = (list: readonly number[]): number[] => list.filter((_, axis) => axis !== 2);
  return operandOf({ shape: without(shape), strides: without(strides), offset: offset + which * strides[2]! }, merged);
}

interface Prepared {
  readonly params: AttentionParams;
  /** In the kernels' binding order. */
  readonly tensors: readonly Tensor[];
}

function prepare(lowering: Lowering<never>, sources: Sources, { causal, scale, dropout }: FlashAttrs): Prepared {
  const { mask } = sources;
  const more = {
    mask: mask && maskOperand(mask),
    causal,
    scale,
    dropout: dropout?.p ?? 0,
    draw: dropout?.draw,
  };
  const masks = mask ? [mask] : [];
  if (sources.qkv) {
    const qkv = aligned(lowering, sources.qkv);
    const [batch, tokens, , heads, width] = qkv.shape as [number, number, number, number, number];
    const [q, k, v] = [partOf(qkv, 0), partOf(qkv, 1), partOf(qkv, 2)];
    const sizes = { batch, heads, queries: tokens, keys: tokens, width, dtype: floatOf(qkv) };
    return { params: { ...sizes, q, k, v, ...more }, tensors: [qkv, qkv, qkv, ...masks] };
  }
  const [q, k, v] = [sources.q, sources.k, sources.v].map((x) => aligned(lowering, x)) as [Tensor, Tensor, Tensor];
  const [batch, heads, queries, width] = q.shape as [number, number, number, number];
  const group = heads / k.shape[1]!;
  const sizes = { batch, heads, group, queries, keys: k.shape[2]!, width, dtype: floatOf(q) };
  const operands = { q: operandOf(q, split), k: operandOf(k, split), v: operandOf(v, split) };
  return { params: { ...sizes, ...operands, ...more }, tensors: [q, k, v, ...masks] };
}

export function floatOf({ dtype }: Tensor): 'f32' | 'f16' {
  return dtype === 'f16' ? 'f16' : 'f32';
}

function maskOperand({ dtype, shape, strides, offset }: Tensor): MaskOperand {
  const [batch, head, query, key] = strides.map((stride, axis) => (shape[axis] === 1 ? 0 : stride)) as [
    number,
    number,
    number,
    number,
  ];
  return { dtype: dtype as MaskOperand['dtype'], offset, strides: [batch, head, query, key] };
}

export function lowerForward(
  lowering: Lowering<never>,
  sources: Sources,
  { y, stats }: { y: Tensor; stats: Tensor },
  attrs: FlashAttrs,
): void {
  const { params, tensors } = prepare(lowering, sources, attrs);
  const walk = chooseWalk(lowering.target, 'forward', params.width);
  lowering.dispatch(forward(null, { ...params, y: operandOf(y, merged), walk }, lowering.target), [
    ...tensors,
    y,
    stats,
  ]);
}

/** `outputs`: gradients of q, k, v [B, T, H, D], those of k and v by query head, or the one of qkv. */
export function lowerBackward(
  lowering: Lowering<never>,
  sources: Sources & { y: Tensor; stats: Tensor; g: Tensor },
  outputs: readonly Tensor[],
  attrs: FlashAttrs,
): void {
  const { params, tensors } = prepare(lowering, sources, attrs);
  const { batch, heads, queries, keys, width, dtype } = params;
  const g = aligned(lowering, sources.g);
  const gOperand = operandOf(g, merged);
  const whole = aligned(lowering, sources.y);
  const sums = lowering.contiguous(sources.stats);
  const rows = lowering.temporary([batch, heads, queries, 4], 'f32');
  const delta = { batch, heads, queries, width, dtype, y: operandOf(whole, merged), g: gOperand };
  lowering.dispatch(attentionDelta(delta), [whole, g, sums, rows]);

  const walk = chooseWalk(lowering.target, 'backward', width);
  const emit = (gradients: GradientOperands, into: readonly Tensor[]): void =>
    lowering.dispatch(backward(null, { ...params, g: gOperand, gradients, walk }, lowering.target), [
      ...tensors,
      g,
      rows,
      ...into,
    ]);
  if (outputs.length === 1) {
    const [dq, dk, dv] = [partOf(outputs[0]!, 0), partOf(outputs[0]!, 1), partOf(outputs[0]!, 2)];
    emit({ packed: true, dq, dk, dv }, outputs);
  } else if (tensors.length + 5 <= lowering.target.maxStorageBuffers) {
    const [dq, dk, dv] = outputs.map((x) => operandOf(x, merged)) as [HeadsOperand, HeadsOperand, HeadsOperand];
    emit({ packed: false, dq, dk, dv }, outputs);
  } else {
    // Few buffers may be bound: all gradients in one, then copied out.
    const size = batch * heads * width;
    const all = lowering.temporary([size * (queries + 2 * keys)], dtype);
    const starts = [0, size * queries, size * (queries + keys)];
    const places = outputs.map(({ shape }, i) => ({ shape, strides: rowMajor(shape), offset: starts[i]! }));
    const [dq, dk, dv] = places.map((x) => operandOf(x, merged)) as [HeadsOperand, HeadsOperand, HeadsOperand];
    emit({ packed: true, dq, dk, dv }, [all]);
    places.forEach((place, i) => copyInto(lowering, all, place, outputs[i]!, outputs[i]!));
  }
}
