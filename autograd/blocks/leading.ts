import { copyTo } from '../copy.ts';
import type { BlockLowering, Blocks } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { partsOf } from './parts.ts';
import type { Placed } from './parts.ts';
import { accumulate } from './reduce.ts';
import { windowed } from './window.ts';

/**
 * Blocks of ops that treat the entries of their first `axes` axes alike, which all tensors share: row ops,
 * scans, gathers along an inner axis. `whole`: inputs that every part reads as they are, such as a norm's
 * weight.
 */
export function leadingBlocks<A>(
  axes: (inputs: readonly Tensor[], attrs: A) => number,
  whole: (inputs: readonly Tensor[]) => readonly number[] = () => [],
): Blocks<A> {
  return (lowering, inputs, outputs, attrs) => {
    const { name, target, part } = lowering;
    const count = axes(inputs, attrs);
    const kept = whole(inputs);
    const placed = [
      ...placedSources(lowering, inputs, count).map((one, i) => (kept.includes(i) ? atRest(one.tensor) : one)),
      ...outputs.map((y) => leading(y, count)),
    ];
    for (const { tensors } of partsOf(name, target, inputs[0]!.shape.slice(0, count), placed)) {
      part(tensors.slice(0, inputs.length), tensors.slice(inputs.length), attrs);
    }
  };
}

/** Blocks of row ops over the last axis of the first input. */
export function rowBlocks<A>(whole?: (inputs: readonly Tensor[]) => readonly number[]): Blocks<A> {
  return leadingBlocks(([x]) => x!.ndim - 1, whole);
}

/**
 * Blocks of ops whose outputs are sums over the rows of all inputs, such as the gradient of a norm's weight:
 * what parts give is added up in order, in f32.
 */
export function rowSumBlocks<A>(): Blocks<A> {
  return (lowering, inputs, outputs, attrs) => {
    const { name, target, temporary, scratch, part } = lowering;
    const count = inputs[0]!.ndim - 1;
    const parts = partsOf(name, target, inputs[0]!.shape.slice(0, count), placedSources(lowering, inputs, count));
    const totals = outputs.map((y) => (parts.length > 1 && y.dtype === 'f16' ? temporary(y.shape, 'f32') : y));
    parts.forEach(({ tensors }, at) => {
      // Outputs of one shape each need scratch of their own.
      const results = at === 0 ? totals : totals.map((y, i) => scratch(y.shape, y.dtype, `sum ${i} `));
      part(tensors, results, attrs);
      if (at > 0) totals.forEach((y, i) => accumulate(lowering, 'sum', y, results[i]!));
    });
    totals.forEach((y, i) => y !== outputs[i] && copyTo(lowering, y, outputs[i]!));
  };
}

/** Kernels want row-major inputs: what would be copied part by part is copied at once. */
function placedSources<A>({ target, contiguous }: BlockLowering<A>, inputs: readonly Tensor[], axes: number): Placed[] {
  return inputs.map((x) => leading(windowed(x, target) ? x : contiguous(x), axes));
}

const leading = (tensor: Tensor, axes: number): Placed => ({
  tensor,
  axes: tensor.shape.map((_, axis) => (axis < axes ? axis : undefined)),
});
const atRest = (tensor: Tensor): Placed => ({ tensor, axes: tensor.shape.map(() => undefined) });
