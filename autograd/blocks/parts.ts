import type { Target } from '../../gpu/index.ts';
import { bytesOf } from '../../kernels/kernel.ts';
import type { Layout } from '../../kernels/layout.ts';
import type { Tensor } from '../tensor.ts';
import { cut } from './cut.ts';
import type { Block } from './cut.ts';
import { tooLarge, viewOf } from './window.ts';

/**
 * A tensor of a computation over an index space: the space's axis that each of the tensor's axes follows,
 * undefined for those that stay whole.
 */
export interface Placed {
  readonly tensor: Tensor;
  readonly axes: readonly (number | undefined)[];
}

/** A block of the index space, and the tensors' parts in it. */
export interface Part extends Block {
  readonly tensors: readonly Tensor[];
}

/**
 * Cuts tensors over an index space into parts that one binding holds; throws, naming the op, where that
 * cannot be. `anywhere`: the op's kernels read their inputs from any element on, else every part begins at
 * the beginning of a window.
 */
export function partsOf(
  op: string,
  target: Target,
  shape: readonly number[],
  placed: readonly Placed[],
  anywhere = false,
): Part[] {
  // Axes that stay whole count into what a part spans: they are further axes of the space.
  const whole = placed.flatMap(({ tensor, axes }, k) =>
    axes.flatMap((axis, own) => (axis === undefined ? [{ k, own, length: tensor.shape[own]! }] : [])),
  );
  const operands = placed.map(({ tensor, axes }, k) => ({
    offset: tensor.offset,
    bytes: bytesOf(tensor.dtype),
    strides: [
      ...shape.map((_, axis) => tensor.strides[axes.indexOf(axis)] ?? 0),
      ...whole.map((w) => (w.k === k ? tensor.strides[w.own]! : 0)),
    ],
  }));
  const space = {
    shape: [...shape, ...whole.map(({ length }) => length)],
    operands,
    whole: whole.map((_, i) => shape.length + i),
    anywhere,
  };
  const blocks = cut(space, target);
  if (!blocks) throw tooLarge(op, largest(placed), target);
  return blocks.map((block) => ({ ...block, tensors: placed.map((one) => partOf(one, block)) }));
}

/** Cuts a tensor along its first axis, as little as needed. */
export function rowParts(op: string, target: Target, x: Tensor): Part[] {
  return partsOf(
    op,
    target,
    [x.shape[0]!],
    [{ tensor: x, axes: x.shape.map((_, axis) => (axis === 0 ? 0 : undefined)) }],
  );
}

/** Cuts row-major tensors of one size into runs of elements, the same runs of all. */
export function flatParts(op: string, target: Target, tensors: readonly Tensor[]): Part[] {
  const size = tensors[0]!.size;
  const flat = tensors.map((x) => viewOf(x, { shape: [size], strides: [1], offset: x.offset }));
  return partsOf(
    op,
    target,
    [size],
    flat.map((tensor) => ({ tensor, axes: [0] })),
  );
}

function partOf({ tensor, axes }: Placed, { starts, lengths }: Block): Tensor {
  const shape = tensor.shape.map((length, own) => (axes[own] === undefined ? length : lengths[axes[own]]!));
  const offset = axes.reduce<number>(
    (at, axis, own) => (axis === undefined ? at : at + starts[axis]! * tensor.strides[own]!),
    tensor.offset,
  );
  const layout: Layout = { shape, strides: tensor.strides, offset };
  return viewOf(tensor, layout);
}

function largest(placed: readonly Placed[]): Tensor {
  return placed.map(({ tensor }) => tensor).reduce((a, b) => (b.storage.bytes > a.storage.bytes ? b : a));
}
