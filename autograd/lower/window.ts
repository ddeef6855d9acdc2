import { showBytes } from '../../common/memory.ts';
import { GpuError } from '../../gpu/index.ts';
import type { Allocation, Binding, Target } from '../../gpu/index.ts';
import { bytesOf } from '../../kernels/kernel.ts';
import type { Layout } from '../../kernels/layout.ts';
import { show } from '../shapes.ts';
import { Tensor } from '../tensor.ts';

/**
 * Tensors larger than one binding: a dispatch sees a window of the buffer, and the tensor's offset counts
 * from the window's beginning. Windowed tensors exist inside lowerings only.
 */

/** Whether a dispatch can bind a tensor as it is. */
export function isBindable({ storage, window }: Tensor, { bindingLimit }: Target): boolean {
  return window !== undefined || storage.bytes <= bindingLimit;
}

/**
 * Counts the elements of x from the beginning of a window around them; undefined where they exceed one
 * binding.
 */
export function windowed(x: Tensor, { bindingLimit, bindingAlignment }: Target): Tensor | undefined {
  const bytes = bytesOf(x.dtype);
  const [first, end] = range(x);
  const from = (x.window?.offset ?? 0) + first * bytes;
  const offset = from - (from % bindingAlignment);
  const size = Math.ceil((from - offset + (end - first) * bytes) / 16) * 16;
  if (size > bindingLimit) return undefined;
  const moved = offset - (x.window?.offset ?? 0);
  return new Tensor(x.storage, x.dtype, { ...layoutOf(x), offset: x.offset - moved / bytes }, { offset, size });
}

/** Returns x where one binding holds its storage, else x in a window; the caller knows that it fits. */
export function fitting(x: Tensor, target: Target): Tensor {
  return isBindable(x, target) ? x : windowed(x, target)!;
}

/** Returns a view in the same window, from whose beginning the offset of the layout counts. */
export function viewOf(x: Tensor, layout: Layout): Tensor {
  return new Tensor(x.storage, x.dtype, layout, x.window);
}

/** A view with the last two axes swapped. */
export function transposed(x: Tensor): Tensor {
  const swap = (list: readonly number[]): number[] => [...list.slice(0, -2), list.at(-1)!, list.at(-2)!];
  return viewOf(x, { shape: swap(x.shape), strides: swap(x.strides), offset: x.offset });
}

const layoutOf = ({ shape, strides, offset }: Layout): Layout => ({ shape, strides, offset });

/** Returns the first element that a layout touches, and the one after the last. */
function range({ shape, strides, offset }: Layout): readonly [number, number] {
  if (shape.includes(0)) return [offset, offset];
  let [first, last] = [offset, offset];
  shape.forEach((length, axis) => {
    const reach = (length - 1) * strides[axis]!;
    if (reach < 0) first += reach;
    else last += reach;
  });
  return [first, last + 1];
}

/** Returns the buffer and window that a dispatch binds for a tensor. Throws where it exceeds one binding. */
export function bindingOf(op: string, x: Tensor, allocation: Allocation, target: Target): Binding {
  if (!isBindable(x, target)) throw tooLarge(op, x, target);
  // A compiled program may have put a small tensor into memory that it shares with large ones.
  const shares = allocation.bytes > target.bindingLimit;
  const window = x.window ?? (shares ? { offset: 0, size: Math.ceil(x.storage.bytes / 16) * 16 } : undefined);
  return window ? { buffer: allocation.buffer, window } : allocation;
}

export function tooLarge(op: string, x: Tensor, { bindingLimit }: Target): GpuError {
  const { storage, shape } = x;
  return new GpuError(
    `${op}: a tensor of shape ${show(shape)} in ${showBytes(storage.bytes)} exceeds this device's limit of ` +
      `${showBytes(bindingLimit)} for one binding, and these shapes cannot be cut into parts that fit; ` +
      'split it along its first axis',
  );
}
