import { broadcastLayout, collapse, contiguousLayout, sizeOf } from '../../kernels/layout.ts';
import type { Layout } from '../../kernels/layout.ts';
import { bytesOf } from '../../kernels/kernel.ts';
import { plainSink, plainSource } from '../../kernels/map/elements.ts';
import type { Elements } from '../../kernels/map/elements.ts';
import { input, scalar } from '../../kernels/map/expr.ts';
import type { Expr } from '../../kernels/map/expr.ts';
import { map } from '../../kernels/map/map.ts';
import { valuesOf, nameOf } from '../op.ts';
import type { Bound, ElementwiseForm, Lowering, Op, Spec, Tensors } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { cut } from './cut.ts';
import type { Block } from './cut.ts';
import { fitting, isBindable, tooLarge, viewOf } from './window.ts';

// Made once: kernels of equal expressions are remembered by their identity.
const identity = input(0);
const value0 = scalar(0);

/** The part of a lowering that emits elementwise kernels. */
export type Emitter = Pick<Lowering, 'emit' | 'target'>;

/**
 * The parts of an elementwise op's record that follow from its form: its kernel, and the form itself, so that
 * fusion can compose it with others. The form's input i is the op's i-th.
 */
export function elementwise<I extends Tensors, A>(
  name: Op<I, { y: Tensor }, A>['name'],
  form: (inputs: readonly Spec[], attrs: A, output: Spec) => ElementwiseForm,
): Pick<Op<I, { y: Tensor }, A>, 'name' | 'lower' | 'elementwise'> {
  return {
    name,
    elementwise: form,
    lower(lowering, inputs, { y }, attrs) {
      const operands = valuesOf<Tensor>(inputs);
      const { expr, kinds, scalars, draws, compute } = form(operands, attrs, y);
      const { shape, dtype } = y;
      const elements: Elements = {
        scalars,
        draws,
        compute,
        shape,
        operands: operands.map((x, i) => ({ dtype: x.dtype, kind: kinds[i]!, layout: broadcastLayout(x, shape) })),
        outputs: [{ expr, dtype, fresh: true }],
      };
      emitElements(lowering, nameOf({ name }, attrs), { elements, operands, outputs: [y] });
    },
  };
}

/** Reads a tensor's elements as they lie, over its shape or one that it broadcasts to. */
export function sourceOf(x: Tensor, shape: readonly number[] = x.shape): Bound {
  const elements = plainSource({ dtype: x.dtype, layout: broadcastLayout(x, shape) });
  return { elements, operands: [x], outputs: [] };
}

/** Stores a kernel's results as they are, row-major from offset 0. */
export function sinkOf(y: Tensor): Bound {
  return { elements: plainSink(y.shape, y.dtype), operands: [], outputs: [y] };
}

/** Stores a kernel's results where the elements of y lie. */
export function sinkInto(y: Tensor): Bound {
  return inPlace(y, identity, false);
}

/**
 * Combines a kernel's results with the elements of y by `expr`: input 0 is the result, input 1 the old
 * element.
 */
export function sinkOnto(y: Tensor, expr: Expr): Bound {
  return inPlace(y, expr, true);
}

function inPlace(y: Tensor, expr: Expr, reads: boolean): Bound {
  const { shape, strides, offset, dtype } = y;
  const layout = { shape, strides, offset };
  const operands = reads ? [{ dtype, kind: 'v' as const, layout, output: 0 }] : [];
  const outputs = [{ expr, dtype, layout }];
  const elements = { shape, operands, outputs, scalars: [], compute: 'f32' as const };
  return { elements, operands: operands.map(() => y), outputs: [y] };
}

/** Writes one value into every element of a freshly made tensor. */
export function fill(lowering: Emitter, y: Tensor, value: number): void {
  const { shape, dtype } = y;
  const outputs = [{ expr: value0, dtype, fresh: true }];
  const elements = { shape, operands: [], outputs, scalars: [value], compute: dtype };
  emitElements(lowering, 'fill', { elements, operands: [], outputs: [y] });
}

/**
 * Copies a strided tensor into a freshly made row-major one of the same shape, converting it to that one's
 * type.
 */
export function copyTo(lowering: Emitter, x: Tensor, y: Tensor): void {
  copy(lowering, x, x, y, y, true);
}

/** Copies elements of x, addressed by `source`, to a place inside another storage y. */
export function copyInto(lowering: Emitter, x: Tensor, source: Layout, y: Tensor, place: Layout): void {
  copy(lowering, x, source, y, place, false);
}

function copy(lowering: Emitter, x: Tensor, source: Layout, y: Tensor, place: Layout, fresh: boolean): void {
  const elements: Elements = {
    shape: place.shape,
    operands: [{ dtype: x.dtype, kind: 'v', layout: source }],
    outputs: [{ expr: identity, dtype: y.dtype, layout: place, fresh }],
    scalars: [],
    compute: x.dtype,
  };
  emitElements(lowering, 'copy', { elements, operands: [x], outputs: [y] });
}

/**
 * Emits an elementwise kernel, in blocks where an operand or an output exceeds one binding. Each layout in
 * the elements addresses its tensor.
 */
export function emitElements(lowering: Emitter, name: string, { elements, operands, outputs }: Bound): void {
  const { target } = lowering;
  const tensors = [...operands, ...outputs];
  if (tensors.every((x) => isBindable(x, target)))
    return lowering.emit(map, { elements: { elements, operands, outputs } }, { name });
  const { draws = [], start = 0 } = elements;
  const layouts = [
    ...elements.operands.map(({ layout }) => layout),
    ...elements.outputs.map(({ layout }) => layout ?? contiguousLayout(elements.shape)),
  ];
  const { shape, strides } = collapse(
    elements.shape,
    layouts.map((layout) => layout.strides),
  );
  // Only tensors that exceed one binding limit the blocks.
  const large = tensors.flatMap((x, k) =>
    isBindable(x, target) ? [] : [{ strides: strides[k]!, offset: layouts[k]!.offset, bytes: bytesOf(x.dtype) }],
  );
  const blocks = cut({ shape, operands: large, anywhere: draws.length === 0 }, target);
  // Random numbers are counted in row-major order over the whole, so that a block with draws must be a run of
  // it.
  if (!blocks || (draws.length > 0 && !blocks.every((block) => isRun(block, shape))))
    throw tooLarge(
      name,
      tensors.find((x) => !isBindable(x, target))!,
      target,
    );
  for (const { starts, lengths } of blocks) {
    const parts = tensors.map((x, k) => {
      const offset = starts.reduce((at, from, axis) => at + from * strides[k]![axis]!, layouts[k]!.offset);
      return fitting(viewOf(x, { shape: lengths, strides: strides[k]!, offset }), target);
    });
    const [read, written] = [parts.slice(0, operands.length), parts.slice(operands.length)];
    const last = starts.every((from, axis) => from + lengths[axis]! === shape[axis]);
    const block: Elements = {
      ...elements,
      shape: lengths,
      operands: elements.operands.map((operand, k) => ({ ...operand, layout: read[k]! })),
      outputs: elements.outputs.map((output, k) => ({
        ...output,
        layout: written[k]!,
        fresh: last && output.fresh === true,
      })),
      start: start + starts.reduce((at, from, axis) => at + from * sizeOf(shape.slice(axis + 1)), 0),
    };
    lowering.emit(map, { elements: { elements: block, operands: read, outputs: written } }, { name });
  }
}

/**
 * Whether a block is a run in row-major order: axes before the cut one have length 1, axes after it are
 * whole.
 */
function isRun({ lengths }: Block, shape: readonly number[]): boolean {
  const cutAxis = lengths.findLastIndex((length, axis) => length < shape[axis]!);
  return lengths.every((length, axis) => axis >= cutAxis || length === 1);
}
