import { bytesOf } from '../../kernels/kernel.ts';
import { collapse, contiguousLayout, sizeOf } from '../../kernels/layout.ts';
import { map } from '../../kernels/map/map.ts';
import type { MapParams } from '../../kernels/map/map.ts';
import type { Emitter } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { cut } from './cut.ts';
import type { Block } from './cut.ts';
import { fitting, isBindable, tooLarge, viewOf } from './window.ts';

/**
 * Emits an elementwise kernel, in blocks where an operand or an output exceeds one binding. Tensors in the
 * kernel's binding order: the operands (without those that are outputs before they are overwritten), then the
 * outputs; each layout in the parameters addresses its tensor.
 */
export function emitMap({ emit, target }: Emitter, params: MapParams, tensors: readonly Tensor[]): void {
  if (tensors.every((x) => isBindable(x, target))) return emit(map(params), tensors);
  const { operands, outputs, draws = [], start = 0 } = params;
  const results = tensors.slice(tensors.length - outputs.length);
  let next = 0;
  const placed = [
    ...operands.map(({ layout, output }) => ({
      tensor: output === undefined ? tensors[next++]! : results[output]!,
      layout,
    })),
    ...outputs.map(({ layout }, k) => ({ tensor: results[k]!, layout: layout ?? contiguousLayout(params.shape) })),
  ];
  const { shape, strides } = collapse(
    params.shape,
    placed.map(({ layout }) => layout.strides),
  );
  // What one binding holds whole puts no bounds on the blocks.
  const large = placed.flatMap(({ tensor, layout }, k) =>
    isBindable(tensor, target) ? [] : [{ strides: strides[k]!, offset: layout.offset, bytes: bytesOf(tensor.dtype) }],
  );
  const blocks = cut({ shape, operands: large, anywhere: draws.length === 0 }, target);
  // Random numbers are numbered in row-major order over the whole: with them a block must be a run of it.
  if (!blocks || (draws.length > 0 && !blocks.every((block) => isRun(block, shape)))) {
    throw tooLarge(params.name, placed.find(({ tensor }) => !isBindable(tensor, target))!.tensor, target);
  }
  for (const { starts, lengths } of blocks) {
    const parts = placed.map(({ tensor, layout }, k) => {
      const offset = starts.reduce((at, from, axis) => at + from * strides[k]![axis]!, layout.offset);
      return fitting(viewOf(tensor, { shape: lengths, strides: strides[k]!, offset }), target);
    });
    const last = starts.every((from, axis) => from + lengths[axis]! === shape[axis]);
    const block: MapParams = {
      ...params,
      shape: lengths,
      operands: operands.map((operand, k) => ({ ...operand, layout: parts[k]! })),
      outputs: outputs.map((output, k) => ({
        ...output,
        layout: parts[operands.length + k]!,
        fresh: last && output.fresh === true,
      })),
      start: start + starts.reduce((at, from, axis) => at + from * sizeOf(shape.slice(axis + 1)), 0),
    };
    const bound = parts.filter((_, k) => operands[k]?.output === undefined);
    emit(map(block), bound);
  }
}

/**
 * Whether a block is a run of the space in row-major order: its leading axes one long, the axes after the cut
 * one whole.
 */
function isRun({ lengths }: Block, shape: readonly number[]): boolean {
  const cutAxis = lengths.findLastIndex((length, axis) => length < shape[axis]!);
  return lengths.every((length, axis) => axis >= cutAxis || length === 1);
}
