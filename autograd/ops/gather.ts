import { gatherRows, linkOccurrences, scatterAddRows } from '../../kernels/gather.ts';
import { gatherAxis, scatterAddAxis } from '../../kernels/gather-axis.ts';
import { contiguousLayout, sizeOf } from '../../kernels/layout.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import { leadingBlocks } from '../blocks/leading.ts';
import { partsOf, rowParts } from '../blocks/parts.ts';
import { fitting, viewOf, windowed } from '../blocks/window.ts';
import { normaliseAxis, show } from '../dtypes.ts';
import { whenKnown } from '../known-range.ts';
import { wholeNumbers } from '../labels.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { cast, expand } from './broadcast.ts';
import { eq } from './comparison.ts';
import { fillInto } from './fill.ts';
import { transpose } from './movement.ts';
import { reshape, unsqueeze } from './reshape.ts';
import { pad, slice } from './slice.ts';
import type { Range } from './slice.ts';
import { arange } from '../create.ts';

/** No index is equal to it. */
const none = -(2 ** 31);

/** Inputs table [rows, cols], index [...]; output [..., cols]. */
const rowsOp: Op<{ ignore: number }> = defineOp<{ ignore: number }>({
  name: 'gatherRows',
  infer: ([table, index]) => [{ shape: [...index!.shape, table!.shape[1]!], dtype: table!.dtype }],
  lower({ emit, contiguous, sink }, [table, index]) {
    const [source, at, to] = [contiguous(table!), contiguous(index!), sink()];
    emit(gatherRows({ ...rowsParams(table!.shape, source, at, at.size), y: to.elements }), [source, at, ...to.tensors]);
  },
  fuses: { epilogue: true },
  // Each part of the table fills in the rows that it has, of each part of the result.
  blocks({ name, target, emit, contiguous }, [table, index], [y]) {
    const [rows, cols] = table!.shape as [number, number];
    const [count, at] = [index!.size, contiguous(index!)];
    const results = [viewOf(at, contiguousLayout([count], at.offset)), viewOf(y!, contiguousLayout([count, cols]))];
    const resultParts = partsOf(
      name,
      target,
      [count],
      [
        { tensor: results[0]!, axes: [0] },
        { tensor: results[1]!, axes: [0, undefined] },
      ],
    );
    for (const { starts, lengths, tensors } of rowParts(name, target, contiguous(table!))) {
      const bound = { first: starts[0]!, rows: lengths[0]! };
      for (const part of resultParts) {
        // The result has no offset of its own: its part is the beginning of a window.
        const [source, places, result] = [tensors[0]!, ...part.tensors].map((x) => windowed(x, target)!);
        const y = plainSink(result!.shape, result!.dtype);
        const params = rowsParams([rows, cols], source!, places!, places!.size);
        emit(gatherRows({ ...params, bound, y }), [source!, places!, result!]);
      }
    }
  },
  saves: { inputs: [1] },
  vjp: ({ g, input, specs, attrs: { ignore } }) => [
    apply(addRowsOp, [g, input(1)], { rows: specs[0]!.shape[0]!, ignore })[0]!,
    null,
  ],
});

/** Inputs x [..., cols], index [...]; output [rows, cols], the sums of the rows of x that name each row. */
const addRowsOp: Op<{ rows: number; ignore: number }> = defineOp<{ rows: number; ignore: number }>({
  name: 'scatterAddRows',
  infer: ([x], { rows }) => [{ shape: [rows, x!.shape.at(-1)!], dtype: x!.dtype }],
  lower(lowering, [x, index], [y], { rows, ignore }) {
    fillInto(lowering, y!, 0);
    const count = index!.size;
    if (count === 0) return;
    const [source, at] = [lowering.contiguous(x!), lowering.contiguous(index!)];
    const links = lowering.temporary([count, 2], 'i32');
    lowering.emit(linkOccurrences({ count, rows, indexOffset: at.offset, ignore }), [at, links]);
    const { target } = lowering;
    const sums = rowParts('scatterAddRows', target, y!);
    const terms = rowParts(
      'scatterAddRows',
      target,
      viewOf(source, contiguousLayout([count, y!.shape[1]!], source.offset)),
    );
    for (const part of sums) {
      for (const term of terms) {
        const [into, from] = [fitting(part.tensors[0]!, target), fitting(term.tensors[0]!, target)];
        const params = {
          ...rowsParams(y!.shape, from, at, count),
          bound: { first: part.starts[0]!, rows: part.lengths[0]! },
          terms: { first: term.starts[0]!, count: term.lengths[0]! },
        };
        lowering.emit(scatterAddRows(params), [from, at, links, into]);
      }
    }
  },
  saves: { inputs: [1] },
  vjp({ g, input }) {
    return [apply(rowsOp, [g, input(1)], { ignore: none })[0]!, null];
  },
});

function rowsParams(shape: readonly number[], table: Tensor, index: Tensor, count: number) {
  const [rows, cols] = [shape[0]!, shape[1]!];
  return { rows, cols, count, dtype: table.dtype, tableOffset: table.offset, indexOffset: index.offset };
}

/**
 * Indices as i32; out of range ones are an error here where the host knows them, NaN in the result where only
 * the device does.
 */
export function checkIndex(op: string, index: Tensor, length: number): Tensor {
  if (index.dtype === 'bool' || index.dtype === 'f16')
    throw new ShapeError(`${op}: indices must be whole numbers, got ${index.dtype}`);
  whenKnown(index, ([low, high]) => {
    if (high < length && low >= -length) return;
    const bad = high >= length ? high : low;
    throw new ShapeError(
      `${op}: index ${bad} is out of range for ${length} entries; indices run from 0 to ${length - 1}`,
    );
  });
  return wholeNumbers(op, 'index', index);
}

/**
 * Rows of a table [rows, cols] by index [...]: result [..., cols]. The gradient of row `paddingIdx` is left
 * out, as in PyTorch.
 */
export function embedding(table: Tensor, index: Tensor, { paddingIdx }: { readonly paddingIdx?: number } = {}): Tensor {
  if (table.ndim !== 2) throw new ShapeError(`embedding: the table must be [rows, cols], got ${show(table.shape)}`);
  return apply(rowsOp, [table, checkIndex('embedding', index, table.shape[0]!)], { ignore: paddingIdx ?? none })[0]!;
}

/** Entries of x along an axis by a vector of indices. */
export function indexSelect(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = normaliseAxis('indexSelect', axis, x.ndim);
  if (index.ndim !== 1) throw new ShapeError(`indexSelect: the index must be a vector, got ${show(index.shape)}`);
  const front = transpose(x, 0, at);
  const cols = sizeOf(front.shape.slice(1));
  const rows = checkIndex('indexSelect', index, x.shape[at]!);
  const [picked] = apply(rowsOp, [reshape(front, [x.shape[at]!, cols]), rows], { ignore: none });
  return transpose(reshape(picked!, [index.size, ...front.shape.slice(1)]), 0, at);
}

const gatherOp: Op<{ axis: number }> = defineOp<{ axis: number }>({
  name: 'gather',
  infer: ([x, index]) => [{ shape: index!.shape, dtype: x!.dtype }],
  lower({ emit, contiguous }, [x, index], [y], { axis }) {
    const [source, at] = [contiguous(x!), contiguous(index!)];
    emit(gatherAxis(axisParams(x!.shape, at, axis, source)), [source, at, y!]);
  },
  saves: { inputs: [1] },
  blocks: leadingBlocks((_, { axis }) => axis),
  vjp: ({ g, input, specs, attrs: { axis } }) => [
    apply(scatterAddOp, [g, input(1)], { axis, length: specs[0]!.shape[axis]! })[0]!,
    null,
  ],
});

const scatterAddOp: Op<{ axis: number; length: number }> = defineOp<{ axis: number; length: number }>({
  name: 'scatterAdd',
  infer: ([x], { axis, length }) => [{ shape: x!.shape.map((own, i) => (i === axis ? length : own)), dtype: x!.dtype }],
  lower({ emit, contiguous }, [x, index], [y], { axis }) {
    const [source, at] = [contiguous(x!), contiguous(index!)];
    emit(scatterAddAxis(axisParams(y!.shape, at, axis, source)), [source, at, y!]);
  },
  saves: { inputs: [1] },
  blocks: leadingBlocks((_, { axis }) => axis),
  vjp: ({ g, input, attrs: { axis } }) => [apply(gatherOp, [g, input(1)], { axis })[0]!, null],
});

function axisParams(shape: readonly number[], index: Tensor, axis: number, x: Tensor) {
  return {
    outer: sizeOf(shape.slice(0, axis)),
    length: shape[axis]!,
    count: index.shape[axis]!,
    inner: sizeOf(shape.slice(axis + 1)),
    dtype: x.dtype,
    xOffset: x.offset,
    indexOffset: index.offset,
  };
}

function checkAxisShapes(op: string, x: Spec, index: Spec, axis: number): void {
  const fits =
    x.shape.length === index.shape.length && x.shape.every((length, i) => i === axis || length >= index.shape[i]!);
  if (!fits)
    throw new ShapeError(
      `${op}: the index's ${show(index.shape)} must not exceed ${show(x.shape)} in any axis${axis >= 0 ? ` but ${axis}` : ''}`,
    );
}

/** The beginning of x along every axis but one, as long as the index there. */
function cropTo(x: Tensor, shape: readonly number[], axis: number): Tensor {
  return slice(x, ...shape.map((length, i): Range => (i === axis ? null : [0, length])));
}

/**
 * y[..., j, ...] = x[..., index[..., j, ...], ...] along an axis; in the other axes the index may be shorter
 * than x (torch.gather).
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = normaliseAxis('gather', axis, x.ndim);
  checkAxisShapes('gather', x, index, at);
  return apply(gatherOp, [cropTo(x, index.shape, at), checkIndex('gather', index, x.shape[at]!)], { axis: at })[0]!;
}

/**
 * x with source[..., j, ...] added at index[..., j, ...] along an axis, the adjoint of gather. The index may
 * be shorter than the source, and than x in the other axes (torch.scatter_add). The same bits on every run.
 */
export function scatterAdd(x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  const at = normaliseAxis('scatterAdd', axis, x.ndim);
  checkAxisShapes('scatterAdd', x, index, at);
  checkAxisShapes('scatterAdd', source, index, -1);
  const places = checkIndex('scatterAdd', index, x.shape[at]!);
  const [sums] = apply(scatterAddOp, [cropTo(source, index.shape, -1), places], { axis: at, length: x.shape[at]! });
  return add(
    x,
    pad(
      sums!,
      sums!.shape.map((length, i) => [0, x.shape[i]! - length] as const),
    ),
  );
}

/** 1 where the index equals the position along a new last axis, else 0; f32. */
export function oneHot(index: Tensor, classes: number): Tensor {
  const at = unsqueeze(checkIndex('oneHot', index, classes), -1);
  return cast(eq(expand(at, [...index.shape, classes]), arange(0, classes, 1, { dtype: 'i32' })), 'f32');
}
