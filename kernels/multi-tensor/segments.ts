import { u32 } from '../kernel.ts';
import type { Param } from '../kernel.ts';

/**
 * Kernels over many tensors at once: a model has hundreds of parameters, most of them tiny, and a dispatch
 * each would cost more than the arithmetic. A dispatch can bind few buffers (16 on most devices), so small
 * parameters share one buffer and every other binding counts.
 */

/** Elements of a tensor in units of vec4; buffers are padded to whole ones. */
export const quads = (size: number): number => Math.ceil(size / 4);

/** `if (id < end of tensor 0) {...} else if ...`, with `i` the index inside the tensor. */
export function bySegment(id: string, count: number, body: (k: number) => string): string {
  const branch = (k: number): string =>
    `if (${id} < p.end${k}) { let i = ${id} - ${k === 0 ? '0u' : `p.end${k - 1}`}; ${body(k)} }`;
  return Array.from({ length: count }, (_, k) => branch(k)).join(' else ');
}

/** Parameters end0, end1, ... that `bySegment` reads. */
export function segmentEnds(lengths: readonly number[]): { params: Record<string, Param>; total: number } {
  let total = 0;
  const ends = lengths.map((length) => (total += length));
  return { params: numbered('end', ends), total };
}

/** Parameters name0, name1, ... */
export function numbered(name: string, values: readonly number[]): Record<string, Param> {
  return Object.fromEntries(values.map((value, k) => [`${name}${k}`, u32(value)]));
}
