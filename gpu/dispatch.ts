/** One compute dispatch as plain data: kernel generators make it, the device runs it. */

/**
 * How a dispatch uses a storage buffer. A buffer must not appear twice in one dispatch unless all its uses
 * are reads.
 */
export type Access = 'read' | 'read_write';

/**
 * Estimated work, for rooflines: floating-point operations, and bytes that must cross memory at least once.
 */
export interface Cost {
  readonly flops: number;
  readonly bytes: number;
}

export interface Dispatch {
  /** Short and stable, such as `softmax.rows`: the row name in profiles and the label in error messages. */
  readonly name: string;
  /** Whole shader source; the entry point is `main`. The pipeline cache is keyed by this text. */
  readonly wgsl: string;
  /** Storage buffers in binding order, from `@group(0) @binding(0)`: names in the shader, and uses. */
  readonly names: readonly string[];
  readonly access: readonly Access[];
  /** Contents of the uniform struct at the next binding; empty when the shader has none. */
  readonly params: Uint8Array<ArrayBuffer>;
  /**
   * Where in `params`, in words, random draws stand (key0, key1, stream low, stream high), and their streams:
   * what changes from replay to replay.
   */
  readonly draws: readonly { readonly word: number; readonly stream: number }[];
  /** Workgroups to launch. */
  readonly grid: readonly [number, number, number];
  readonly cost: Cost;
  /** The dispatches that this one computes abreast (kernels/abreast.ts). */
  readonly parts?: readonly Dispatch[];
}

/**
 * A uniform binding has one size for all kernels that share a layout; 128 words hold the largest parameter
 * struct.
 */
export const maxParamBytes = 512;

/** Workgroups a dimension that every WebGPU device accepts. */
export const maxGroupsPerDimension = 65535;

/** Spreads `groups` workgroups over x and y; shaders read `id = y * gridX + x` and drop the overhang. */
export function spread(groups: number): [number, number, number] {
  if (groups <= maxGroupsPerDimension) return [groups, 1, 1];
  const y = Math.ceil(groups / maxGroupsPerDimension);
  return [Math.ceil(groups / y), y, 1];
}
