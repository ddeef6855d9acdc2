import type { Target } from '../../gpu/device.ts';
import type { Cost } from '../../gpu/dispatch.ts';
import { bytesOf, f32, i32, read, storedType, u32 } from '../kernel.ts';
import type { Binding, Dtype, Param } from '../kernel.ts';
import { sizeOf } from '../layout.ts';
import type { Layout, Operand } from '../layout.ts';
import { readFour } from '../quant/tokens.ts';
import { drawParams } from '../random.ts';
import type { Draw } from '../random.ts';

/**
 * Queries, keys and values by head, f32 or f16, with any strides that `readsFours` accepts: they may be views
 * of one packed tensor [B, T, 3, H, D]. Keys and values of a cache may have 8 bits, u32 [B, Hkv, Tk, words],
 * see quant/tokens.ts; forward only.
 */
export interface AttentionOperands {
  /** [B, H, Tq, D]. */
  readonly q: Operand;
  /** [B, Hkv, Tk, D]: H / Hkv neighbouring query heads share one of these heads (Ainslie et al. 2023). */
  readonly k: Operand;
  readonly v: Operand;
  /** [B, H, Tq, Tk], broadcast by strides of 0: true attends; numbers are added to the scores. */
  readonly mask?: Operand;
  /**
   * i32, [B], or [] or [1] for all, at least 1: with `causal`, query i sees keys 0..lengths[b] + i - 1, as
   * new tokens at a cache's end do. Default 1. Forward only.
   */
  readonly lengths?: Operand;
  /**
   * i32 [B, T, 2], row-major, of self-attention: token i sees tokens ranges[b, i, 0] .. ranges[b, i, 1] - 1
   * only, those of its document, and they see it.
   */
  readonly ranges?: Operand;
}

export interface ForwardOperands extends AttentionOperands {
  /** [B, H, Tq, D], of any strides as the inputs. */
  readonly y: Operand;
  /**
   * f32 [B, H, Tq, 2], row-major: each row's largest score and the logarithm of its sum of exponentials above
   * it (apart, since their sum would be rounded to the larger's precision). A row without keys has 0 as its
   * largest, above all of its scores, so that its weights are 0 in the backward pass.
   */
  readonly stats: Operand;
}

export interface DeltaOperands {
  /** Output of the forward pass and its cotangent, [B, H, Tq, D], of any strides as the inputs. */
  readonly y: Operand;
  readonly g: Operand;
  /** Of the forward pass. */
  readonly stats: Operand;
  /**
   * f32 [B, H, Tq, 4], row-major, for each query: its stats, delta = g . y, which softmax subtracts from each
   * score's gradient, and 0.
   */
  readonly perQuery: Operand;
}

export interface BackwardOperands extends AttentionOperands, Pick<DeltaOperands, 'g' | 'perQuery'> {
  /**
   * [B, H, T, D], of any strides as the inputs. Those of keys and values are by query head: where a group of
   * these shares a head, they are still to be added up.
   */
  readonly dq: Operand;
  readonly dk: Operand;
  readonly dv: Operand;
  /** The tensor of which dq, dk and dv are views, where it is one: it is bound once, and in their place. */
  readonly gradients?: Operand;
}

export interface AttentionAttrs {
  /** Query i attends to keys 0..i only. */
  readonly causal: boolean;
  /** With `causal`, query i attends to the last so many keys only, i - slidingWindow + 1..i. Default all. */
  readonly slidingWindow?: number;
  /** Factor of the products of queries and keys. */
  readonly scale: number;
  /** Scores s become softCap * tanh(s / softCap), before a mask is added. Default: as they are. */
  readonly softCap?: number;
  /** Probability of dropping a weight, by the numbers of `draw`; default 0, which draws nothing. */
  readonly dropout?: number;
  readonly draw?: Draw;
}

/** A device as far as kernels of attention depend on it; tests force each way of working through it. */
export type AttentionTarget = Pick<Target, 'software'> &
  Partial<
    Pick<Target, 'subgroupMatrix' | 'subgroupSizes' | 'subgroupSizeControl' | 'workgroupMemory' | 'maxInvocations'>
  >;

/** Whether the last axis can be read four elements at once. Axes of length 1 do not matter. */
export const readsFours = (layout: Layout): boolean => readsMany(layout, 4);
export const readsEights = (layout: Layout): boolean => readsMany(layout, 8);

function readsMany({ shape, strides, offset }: Layout, many: number): boolean {
  const last = shape.length - 1;
  const whole = (length: number): boolean => length % many === 0;
  return whole(offset) && strides[last] === 1 && strides.every((s, i) => i === last || shape[i] === 1 || whole(s));
}

export function sizesOf({ q, k }: Pick<AttentionOperands, 'q' | 'k'>) {
  const [batch, heads, queries, width] = q.shape as [number, number, number, number];
  const [, own, keys] = k.shape as [number, number, number];
  return { batch, heads, group: heads / own, queries, keys, width };
}

/** Scores that are computed: half of them under a causal mask, fewer within a sliding window. */
export function scoreCount(operands: AttentionOperands, { causal, slidingWindow }: AttentionAttrs): number {
  const { batch, heads, queries, keys } = sizesOf(operands);
  if (!causal) return batch * heads * queries * keys;
  /** Pairs of a query and an earlier or equal key that are `from` or more apart. */
  const apart = (from: number): number => {
    const seen = Math.max(0, Math.min(queries - from, keys));
    return (seen * (seen + 1)) / 2 + Math.max(0, queries - from - keys) * keys;
  };
  return batch * heads * (apart(0) - (slidingWindow === undefined ? 0 : apart(slidingWindow)));
}

/** Work of the forward pass, and of the backward pass, which computes the weights twice. */
export function forwardCost(operands: AttentionOperands, attrs: AttentionAttrs): Cost {
  const { batch, heads, queries, keys, width } = sizesOf(operands);
  return {
    flops: 4 * scoreCount(operands, attrs) * width,
    bytes: batch * heads * (2 * queries + 2 * keys) * width * bytesOf(operands.q.dtype),
  };
}

export function backwardCost(operands: AttentionOperands, attrs: AttentionAttrs): Cost {
  const { batch, heads, queries, keys, width } = sizesOf(operands);
  return {
    flops: 14 * scoreCount(operands, attrs) * width,
    bytes: batch * heads * (3 * queries + 4 * keys) * width * bytesOf(operands.q.dtype),
  };
}

export function vec4Of({ dtype }: { readonly dtype: Dtype }): string {
  return `vec4<${storedType(dtype)}>`;
}

/** WGSL: vec4 number `at` of a token that begins at `start`. */
export type ReadFour = (name: string, start: string, at: string) => string;
export const fourAsItIs: ReadFour = (name, start, at) => `vec4<f32>(${name}[${start} + ${at}])`;

/** How queries, keys and values are bound, and the latter read: as they are, or in 8 bits. */
export function tokensOf({ q, k }: Pick<AttentionOperands, 'q' | 'k'>) {
  const bytes = k.dtype === 'u32';
  const four: ReadFour = bytes ? (name, start, at) => `${name}Four(${start}, ${at})` : fourAsItIs;
  const type = bytes ? 'u32' : vec4Of(q);
  return {
    bytes,
    bindings: [read('q', vec4Of(q)), read('k', type), read('v', type)],
    four,
    /** WGSL functions that `four` calls. */
    functions: bytes ? ['k', 'v'].map((name) => readFour(name, q.shape[3]!)).join('') : '',
  };
}

export function inputBindings({ mask, lengths, ranges, ...tokens }: AttentionOperands): Binding[] {
  return [
    ...tokensOf(tokens).bindings,
    ...(mask ? [read('mask', storedType(mask.dtype))] : []),
    ...(lengths ? [read('lengths', 'i32')] : []),
    ...(ranges ? [read('ranges', 'vec2<u32>')] : []),
  ];
}

/** Strides; 0 for axes of length 1, along which nothing steps. */
export function stepsOf({ shape, strides }: Layout): number[] {
  return strides.map((stride, axis) => (shape[axis] === 1 ? 0 : stride));
}

/** Parameters of operands [B, H, T, D], in units of vec4, or in words of 8 bits. */
export function headParams(operands: Readonly<Record<string, Layout & { dtype?: Dtype }>>): Record<string, Param> {
  const params: Record<string, Param> = {};
  for (const [name, operand] of Object.entries(operands)) {
    const places = [operand.offset, ...stepsOf(operand)];
    const unit = operand.dtype === 'u32' ? 1 : 4;
    ['o', 'b', 'h', 't'].forEach((letter, i) => (params[`${name}${letter}`] = i32(places[i]! / unit)));
  }
  return params;
}

/** Parameters of what makes scores of products. */
export function scoringParams(
  attrs: Pick<AttentionAttrs, 'scale' | 'slidingWindow' | 'softCap'>,
): Readonly<Record<string, Param>> {
  const { scale, slidingWindow, softCap } = attrs;
  return {
    scale: f32(scale),
    // Positions stay below 2^31, so that sums with them fit.
    ...(slidingWindow === undefined ? {} : { window: u32(Math.min(slidingWindow, 2 ** 31)) }),
    ...(softCap === undefined ? {} : { cap: f32(softCap) }),
  };
}

/** Parameters that forward and backward pass share. The words of the draw come last, in order. */
export function attentionParams(operands: AttentionOperands, attrs: AttentionAttrs): Record<string, Param> {
  const { q, k, v, mask, lengths, ranges } = operands;
  const { dropout = 0, draw } = attrs;
  const { batch, heads, queries, keys } = sizesOf(operands);
  const [mb, mh, mi, mj] = mask ? stepsOf(mask).map(i32) : [];
  return {
    count: u32(batch * heads),
    heads: u32(heads),
    tq: u32(queries),
    tk: u32(keys),
    ...scoringParams(attrs),
    ...headParams({ q, k, v }),
    ...(mask ? { mo: i32(mask.offset), mb: mb!, mh: mh!, mi: mi!, mj: mj! } : {}),
    ...(lengths ? rowParams('lengths', lengths) : {}),
    ...(ranges ? { ro: u32(ranges.offset / 2) } : {}),
    ...(dropout > 0
      ? { drop: f32(dropout), kept: f32(dropout < 1 ? 1 / (1 - dropout) : 0), ...drawParams(draw!) }
      : {}),
  };
}

/** Parameters of a number for each row of the batch, [B], or [] or [1] for all. */
export function rowParams(name: string, { shape, strides, offset }: Layout): Record<string, Param> {
  return { [`${name}o`]: i32(offset), [`${name}s`]: i32(sizeOf(shape) === 1 ? 0 : strides[0]!) };
}

/** WGSL: that number, given `b`; at least 0. */
export const rowNumber = (name: string): string => `u32(max(${name}[p.${name}o + i32(b) * p.${name}s], 0))`;

/** WGSL: index of the first vec4 of a head, given `b` and `h`; of the one that a `group` of heads shares. */
export function headBase(name: string, group = 1): string {
  const own = group === 1 ? 'h' : `h / ${group}u`;
  return `let ${name}Base = p.${name}o + i32(b) * p.${name}b + i32(${own}) * p.${name}h;`;
}

/** The same for queries, keys and values. */
export function inputBases(operands: AttentionOperands): string {
  const { group } = sizesOf(operands);
  return `${headBase('q')}\n${headBase('k', group)}\n${headBase('v', group)}`;
}
