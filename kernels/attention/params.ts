import { f32, i32, read, storedType, u32 } from '../kernel.ts';
import type { Binding, Dtype, Param } from '../kernel.ts';
import { drawParams } from '../random.ts';
import type { Draw } from '../random.ts';

/**
 * Queries, keys, values or their gradients [B, H, T, D] in a buffer: the last axis contiguous, the rest by
 * strides, all multiples of 4 elements.
 */
export interface HeadsOperand {
  readonly offset: number;
  readonly batch: number;
  readonly head: number;
  readonly token: number;
}

/** A mask of scores [B, H, Tq, Tk], broadcast by strides of 0. */
export interface MaskOperand {
  /** bool: true attends; numbers are added to the scores. */
  readonly dtype: 'bool' | 'f32' | 'f16';
  readonly offset: number;
  readonly strides: readonly [batch: number, head: number, query: number, key: number];
}

export interface AttentionParams {
  readonly batch: number;
  readonly heads: number;
  /** Neighbouring query heads that share a head of keys and values; default 1. */
  readonly group?: number;
  readonly queries: number;
  readonly keys: number;
  /** Size of a head, D: a multiple of 4. */
  readonly width: number;
  readonly dtype: 'f32' | 'f16';
  readonly q: HeadsOperand;
  readonly k: HeadsOperand;
  readonly v: HeadsOperand;
  readonly mask?: MaskOperand;
  /** Query i attends to keys 0..i only. */
  readonly causal: boolean;
  readonly scale: number;
  /** Probability of dropping a weight; 0 draws nothing. */
  readonly dropout: number;
  readonly draw?: Draw;
}

/**
 * Score of what a bool mask hides. Finite: a row that may attend to nothing gets even weights instead of NaN.
 */
export const maskedScore = -30000;

/** Parameters of a [B, H, T, D] operand, in units of vec4. */
export function headsUniforms(name: string, { offset, batch, head, token }: HeadsOperand): Record<string, Param> {
  return {
    [`${name}o`]: i32(offset / 4),
    [`${name}b`]: i32(batch / 4),
    [`${name}h`]: i32(head / 4),
    [`${name}t`]: i32(token / 4),
  };
}

/** WGSL: index of the first vec4 of a head, given `b` and `h`; of the one that a `group` of heads shares. */
export function headBase(name: string, group = 1): string {
  return `let ${name}Base = p.${name}o + i32(b) * p.${name}b + i32(h${group === 1 ? '' : ` / ${group}u`}) * p.${name}h;`;
}

/** The same for queries, keys and values. */
export function inputBases({ group }: AttentionParams): string {
  return `${headBase('q')}\n${headBase('k', group)}\n${headBase('v', group)}`;
}

/** Parameters that all passes read. The words of the draw come last, in order. */
export function attentionUniforms(params: AttentionParams): Record<string, Param> {
  const { batch, heads, queries, keys, q, k, v, mask, scale, dropout, draw } = params;
  const [mb, mh, mi, mj] = mask?.strides ?? [0, 0, 0, 0];
  return {
    count: u32(batch * heads),
    heads: u32(heads),
    tq: u32(queries),
    tk: u32(keys),
    scale: f32(scale),
    ...headsUniforms('q', q),
    ...headsUniforms('k', k),
    ...headsUniforms('v', v),
    ...(mask ? { mo: i32(mask.offset), mb: i32(mb), mh: i32(mh), mi: i32(mi), mj: i32(mj) } : {}),
    ...(dropout > 0
      ? { drop: f32(dropout), kept: f32(dropout < 1 ? 1 / (1 - dropout) : 0), ...drawParams(draw!) }
      : {}),
  };
}

export function vec4Of(dtype: Dtype): string {
  return `vec4<${storedType(dtype)}>`;
}

export function inputBindings({ dtype, mask }: AttentionParams): Binding[] {
  return [
    ...['q', 'k', 'v'].map((name) => read(name, vec4Of(dtype))),
    ...(mask ? [read('mask', storedType(mask.dtype))] : []),
  ];
}

/** Scores that are computed: half of them under a causal mask. */
export function scoreCount({ batch, heads, queries, keys, causal }: AttentionParams): number {
  const seen = Math.min(queries, keys);
  const each = causal ? (seen * (seen + 1)) / 2 + Math.max(0, queries - keys) * keys : queries * keys;
  return batch * heads * each;
}
