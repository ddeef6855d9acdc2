import type { Target } from '../../gpu/index.ts';

/**
 * The places of an operand over an index space: the element for (i0, i1, ...) is at
 * `offset + i0 * strides[0] + i1 * strides[1] + ...`, with stride 0 along axes that it does not have.
 */
export interface Footprint {
  readonly strides: readonly number[];
  readonly offset: number;
  /** Bytes of an element. */
  readonly bytes: number;
}

/** A part of an index space. */
export interface Block {
  readonly starts: readonly number[];
  readonly lengths: readonly number[];
}

export interface Space {
  readonly shape: readonly number[];
  readonly operands: readonly Footprint[];
  /** Axes that stay whole, such as the columns of a row op. */
  readonly whole?: readonly number[];
  /**
   * Kernels read operands from any element on; else each block begins at an aligned place of every operand.
   */
  readonly anywhere?: boolean;
}

type Limits = Pick<Target, 'bindingLimit' | 'bindingAlignment'>;

/**
 * Cuts an index space into blocks, as few as needed for each operand's part to fit one binding: along the
 * operand's axis of the largest extent first, into equal lengths. Along every axis the blocks come in order.
 * Returns undefined where no cut fits.
 */
export function cut(space: Space, limits: Limits): Block[] | undefined {
  return cutAt(space, limits, true) ?? (space.anywhere ? cutAt(space, limits, false) : undefined);
}

function cutAt({ shape, operands, whole = [] }: Space, limits: Limits, aligned: boolean): Block[] | undefined {
  const { bindingLimit, bindingAlignment } = limits;
  const quanta = shape.map((_, axis) => (aligned ? quantum(operands, axis, bindingAlignment) : 1));
  /** Elements that an operand's part may span: a window begins at the aligned place before the part. */
  const room = operands.map(({ strides, offset, bytes }) => {
    const known = aligned && strides.every((s) => s >= 0);
    const before = known ? (offset * bytes) % bindingAlignment : bindingAlignment - bytes;
    return Math.floor((bindingLimit - before) / bytes);
  });
  const blocks: Block[] = [];
  const visit = (starts: readonly number[], lengths: readonly number[]): boolean => {
    const k = operands.findIndex((operand, i) => span(operand, lengths) > room[i]!);
    if (k < 0) {
      blocks.push({ starts, lengths });
      return true;
    }
    const extents = operands[k]!.strides.map((s, axis) =>
      whole.includes(axis) || lengths[axis]! <= quanta[axis]! ? 0 : Math.abs(s) * (lengths[axis]! - 1),
    );
    const widest = Math.max(0, ...extents);
    if (widest === 0) return false;
    const axis = extents.indexOf(widest);
    const [length, step, stride] = [lengths[axis]!, quanta[axis]!, Math.abs(operands[k]!.strides[axis]!)];
    const others = span(operands[k]!, lengths) - (length - 1) * stride;
    const most = Math.floor((room[k]! - others) / stride) + 1;
    const count = Math.ceil(length / Math.max(step, most - (most % step)));
    const run = Math.ceil(length / count / step) * step;
    for (let start = 0; start < length; start += run) {
      const from = replaced(starts, axis, starts[axis]! + start);
      if (!visit(from, replaced(lengths, axis, Math.min(run, length - start)))) return false;
    }
    return true;
  };
  return visit(
    shape.map(() => 0),
    shape,
  )
    ? blocks
    : undefined;
}

/** Counts the elements from the first to the last that a block of these lengths touches. */
function span({ strides }: Footprint, lengths: readonly number[]): number {
  return strides.reduce((total, s, axis) => total + Math.abs(s) * (lengths[axis]! - 1), 1);
}

/**
 * Returns the smallest step along an axis that moves every operand by a multiple of `alignment`, a power of
 * 2.
 */
function quantum(operands: readonly Footprint[], axis: number, alignment: number): number {
  let step = 1;
  for (const { strides, bytes } of operands) while ((step * strides[axis]! * bytes) % alignment !== 0) step *= 2;
  return step;
}

function replaced(list: readonly number[], at: number, value: number): number[] {
  return list.map((own, i) => (i === at ? value : own));
}
