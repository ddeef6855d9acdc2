import { gatherAxis, gatherRows, linkOccurrences, scatterAddAxis, scatterAddRows } from '../../kernels/gather.ts';
import type { RowBound } from '../../kernels/gather.ts';
import { sizeOf } from '../../kernels/layout.ts';
import { emitElements, fill } from '../lower/elementwise.ts';
import { leadingAxes } from '../lower/split.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Lowering, Op, Spec } from '../op.ts';
import { normaliseAxis, show } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { arange } from '../create.ts';
import { knownRange, whenKnown, wholeNumbers } from './known-range.ts';
import { add } from './arithmetic.ts';
import { cast, expand } from './broadcast.ts';
import { eq, ge, logicalAnd, lt, where } from './comparison.ts';
import { transpose } from './movement.ts';
import { reshape, unsqueeze } from './reshape.ts';
import { pad, slice } from './slice.ts';
import type { Range } from './slice.ts';

/** A number that no index equals. */
const none = -(2 ** 31);

interface RowsAttrs {
  /** The row that gets no gradient. */
  readonly ignore: number;
  /** Whether negative indices count from the end. */
  readonly wraps: boolean;
}

type Rows = Op<{ table: Tensor; index: Tensor }, { y: Tensor }, RowsAttrs>;

/** table [rows, cols], index [...]; y [..., cols]. */
const rowsOp: Rows = defineOp<Rows>({
  name: 'gatherRows',
  infer: ({ table, index }) => ({ y: { shape: [...index.shape, table.shape[1]!], dtype: table.dtype } }),
  lower({ emit, contiguous, sink, part }, { table, index }, _, { wraps }) {
    const operands = { table: contiguous(table), index: contiguous(index), y: sink() };
    emit(gatherRows, operands, { wraps, bound: boundOf(part('r')) });
  },
  fuses: { epilogue: true },
  // Each part of the table fills in the rows that it has.
  axes: ({ index }) => {
    const i = lettersOf(index);
    return { of: { table: 'rC', index: i, y: `${i}C` }, combine: 'fill' };
  },
  saves: { inputs: ['index'] },
  vjp({ g, input, specs: { table }, attrs }) {
    const [rows, cols] = table.shape as [number, number];
    const count = input('index').size;
    const inputs = { x: reshape(g, [count, cols]), index: reshape(input('index'), [count]) };
    return { table: apply(addRowsOp, inputs, { rows, ...attrs }).y };
  },
});

type AddRowsInputs = { x: Tensor; index: Tensor; onto?: Tensor };
type AddRows = Op<AddRowsInputs, { y: Tensor }, RowsAttrs & { readonly rows: number }>;

/** x [count, cols], index [count]; y[r, :] [rows, cols] = sum of x[i, :] over index[i] = r, + onto[r, :]. */
const addRowsOp: AddRows = defineOp<AddRows>({
  name: 'scatterAddRows',
  infer: ({ x }, { rows }) => ({ y: { shape: [rows, x.shape.at(-1)!], dtype: x.dtype } }),
  lower(lowering, { x, index, onto }, { y }, attrs) {
    const { start: begin } = lowering.part('i') ?? { start: 0 };
    if (begin === 0 && onto) {
      const { elements, operands } = lowering.source('onto');
      const outputs = elements.outputs.map((output) => ({ ...output, dtype: y.dtype, fresh: true }));
      emitElements(lowering, 'onto', { elements: { ...elements, outputs }, operands, outputs: [y] });
    } else if (begin === 0) fill(lowering, y, 0);
    if (index.size === 0) return;
    const at = lowering.contiguous(index);
    const links = lowering.temporary([index.size, 2], 'i32');
    lowering.emit(linkOccurrences, { index: at, links }, attrs);
    const operands = { x: lowering.contiguous(x), index: at, links, y };
    lowering.emit(scatterAddRows, operands, { bound: boundOf(lowering.part('r')), begin, onto: !!onto });
  },
  fuses: { prologues: ['onto'] },
  adds: 'onto',
  // Each part of x adds to the sums that the parts before it left in y.
  axes: ({ onto }) => ({ of: { x: 'iC', index: 'I', ...(onto ? { onto: 'rC' } : {}), y: 'rC' }, combine: 'fill' }),
  saves: { inputs: ['index'] },
  vjp: ({ g, input, attrs: { wraps } }) => ({
    x: apply(rowsOp, { table: g, index: input('index') }, { ignore: none, wraps }).y,
    onto: g,
  }),
});

/** Returns the rows that a part of a large table holds; undefined for all. */
const boundOf = (part: ReturnType<Lowering['part']>): RowBound | undefined =>
  part && { first: part.start, rows: part.whole };

const lettersOf = ({ shape }: Spec): string => 'abcdefghijkl'.slice(0, shape.length);

/**
 * Converts indices to i32. Throws for one out of range where the host knows it. Where only the device does
 * the kernels answer it: NaN in what is picked, or in the line that it should have been added to.
 */
export function checkIndex(op: string, index: Tensor, length: number, least = -length): Tensor {
  if (index.dtype === 'bool' || index.dtype === 'f16')
    throw new ShapeError(`${op}: indices must be whole numbers, got ${index.dtype}`);
  whenKnown(index, ([low, high]) => {
    if (high < length && low >= least) return;
    const bad = high >= length ? high : low;
    const range = length === 0 ? 'there is nothing to pick' : `indices run from ${Math.min(least, 0)} to ${length - 1}`;
    throw new ShapeError(`${op}: index ${bad} is out of range for ${length} entries; ${range}`);
  });
  return wholeNumbers(op, 'index', index);
}

/**
 * Looks up rows of a table [rows, cols] by index [...]: the result is [..., cols]. Row `paddingIdx` gets no
 * gradient (torch.nn.functional.embedding). A negative index, and one past the last row, is an error where
 * the host knows it; where only the device does, its row is NaN.
 *
 * @example
 * embedding(tensor([[1, 2], [3, 4]]), tensor([1, 0, 1], { dtype: 'i32' })); // [[3, 4], [1, 2], [3, 4]]
 */
export function embedding(table: Tensor, index: Tensor, { paddingIdx }: { readonly paddingIdx?: number } = {}): Tensor {
  if (table.ndim !== 2) throw new ShapeError(`embedding: the table must be [rows, cols], got ${show(table.shape)}`);
  const rows = checkIndex('embedding', index, table.shape[0]!, 0);
  return apply(rowsOp, { table, index: rows }, { ignore: paddingIdx ?? none, wraps: false }).y;
}

/**
 * Picks entries of x along an axis by a vector of indices, or by one (torch.index_select).
 *
 * @example
 * indexSelect(tensor([5, 6, 7]), 0, tensor([2, 0], { dtype: 'i32' })); // [7, 5]
 */
export function indexSelect(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = normaliseAxis('indexSelect', axis, x.ndim);
  if (index.ndim > 1) throw new ShapeError(`indexSelect: the index must be a vector, got ${show(index.shape)}`);
  if (x.ndim === 0) {
    if (index.size !== 1) throw new ShapeError(`indexSelect: a scalar [] gives one entry, got ${index.size} indices`);
    return reshape(indexSelect(reshape(x, [1]), 0, index), []);
  }
  const front = transpose(x, 0, at);
  const cols = sizeOf(front.shape.slice(1));
  const rows = checkIndex('indexSelect', index, x.shape[at]!);
  const { y } = apply(
    rowsOp,
    { table: reshape(front, [x.shape[at]!, cols]), index: rows },
    { ignore: none, wraps: true },
  );
  return transpose(reshape(y, [index.size, ...front.shape.slice(1)]), 0, at);
}

type Along = Op<{ x: Tensor; index: Tensor }, { y: Tensor }, { readonly axis: number; readonly length: number }>;

const gatherOp: Along = defineOp<Along>({
  name: 'gather',
  infer: ({ x, index }) => ({ y: { shape: index.shape, dtype: x.dtype } }),
  lower: ({ emit, contiguous }, { x, index }, { y }, attrs) =>
    emit(gatherAxis, { x: contiguous(x), index: contiguous(index), y }, attrs),
  saves: { inputs: ['index'] },
  axes: ({ x, index }, { axis }) => leadingAxes(axis, { x, index, y: index }),
  vjp: ({ g, input, attrs }) => ({ x: apply(scatterAddOp, { x: g, index: input('index') }, attrs).y }),
});

/** `length` is that of y along the axis. */
const scatterAddOp: Along = defineOp<Along>({
  name: 'scatterAdd',
  infer: ({ x }, { axis, length }) => ({
    y: { shape: x.shape.map((own, i) => (i === axis ? length : own)), dtype: x.dtype },
  }),
  lower: ({ emit, contiguous }, { x, index }, { y }, attrs) =>
    emit(scatterAddAxis, { x: contiguous(x), index: contiguous(index), y }, attrs),
  saves: { inputs: ['index'] },
  axes: ({ x, index }, { axis }) => leadingAxes(axis, { x, index, y: x }),
  vjp: ({ g, input, attrs }) => ({ x: apply(gatherOp, { x: g, index: input('index') }, attrs).y }),
});

function checkAxisShapes(op: string, x: Spec, index: Spec, axis: number): void {
  const fits =
    x.shape.length === index.shape.length && x.shape.every((length, i) => i === axis || length >= index.shape[i]!);
  if (!fits)
    throw new ShapeError(
      `${op}: the index's ${show(index.shape)} must not exceed ${show(x.shape)} ` +
        `in any axis${axis >= 0 ? ` but ${axis}` : ''}`,
    );
}

/** Crops x along every axis but one to the lengths of `shape`. */
function cropTo(x: Tensor, shape: readonly number[], axis: number): Tensor {
  return slice(x, ...shape.map((length, i): Range => (i === axis ? null : [0, length])));
}

/**
 * Computes y[..., j, ...] = x[..., index[..., j, ...], ...] along an axis (torch.gather). Along the other
 * axes the index may be shorter than x.
 *
 * @example
 * gather(tensor([[1, 2], [3, 4]]), 1, tensor([[1], [0]], { dtype: 'i32' })); // [[2], [3]]
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = normaliseAxis('gather', axis, x.ndim);
  if (x.ndim === 0 && index.ndim <= 1) return reshape(gather(reshape(x, [1]), 0, reshape(index, [-1])), index.shape);
  checkAxisShapes('gather', x, index, at);
  const length = x.shape[at]!;
  const inputs = { x: cropTo(x, index.shape, at), index: checkIndex('gather', index, length) };
  return apply(gatherOp, inputs, { axis: at, length }).y;
}

/**
 * Returns x with source[..., j, ...] added at index[..., j, ...] along an axis (torch.scatter_add), the
 * adjoint of gather, with the same bits on every run. The index may be shorter than the source, and along the
 * other axes than x.
 *
 * @example
 * scatterAdd(zeros(3), 0, tensor([0, 2, 0], { dtype: 'i32' }), tensor([1, 2, 3])); // [4, 0, 2]
 */
export function scatterAdd(x: Tensor, axis: number, index: Tensor, source: Tensor): Tensor {
  const at = normaliseAxis('scatterAdd', axis, x.ndim);
  checkAxisShapes('scatterAdd', x, index, at);
  checkAxisShapes('scatterAdd', source, index, -1);
  if (x.ndim === 0) {
    const [own, places, added] = [x, index, source].map((scalar) => reshape(scalar, [1])) as [Tensor, Tensor, Tensor];
    return reshape(scatterAdd(own, 0, places, added), []);
  }
  const places = checkIndex('scatterAdd', index, x.shape[at]!);
  const inputs = { x: cropTo(source, index.shape, -1), index: places };
  const { y: sums } = apply(scatterAddOp, inputs, { axis: at, length: x.shape[at]! });
  return add(
    x,
    pad(
      sums,
      sums.shape.map((length, i) => [0, x.shape[i]! - length] as const),
    ),
  );
}

/**
 * Returns f32 [..., classes]: 1 where the index [...] equals the place along the last axis, else 0. An index
 * that is no class is an error where the host knows it; where only the device does, its row is NaN.
 *
 * @example
 * oneHot(tensor([0, 2], { dtype: 'i32' }), 3); // [[1, 0, 0], [0, 0, 1]]
 */
export function oneHot(index: Tensor, classes: number): Tensor {
  if (!(Number.isInteger(classes) && classes >= 0))
    throw new ShapeError(`oneHot: the number of classes must be a whole number from 0, got ${classes}`);
  const at = unsqueeze(checkIndex('oneHot', index, classes, 0), -1);
  const hot = cast(eq(expand(at, [...index.shape, classes]), arange(0, classes, 1, { dtype: 'i32' })), 'f32');
  return knownRange(index) ? hot : where(logicalAnd(ge(at, 0), lt(at, classes)), hot, NaN);
}
