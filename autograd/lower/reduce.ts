import type { Dtype } from '../../kernels/kernel.ts';
import { bytesOf } from '../../kernels/kernel.ts';
import { collapse, contiguousLayout, sizeOf } from '../../kernels/layout.ts';
import { plainSource } from '../../kernels/map/elements.ts';
import { reduce, sharesRows } from '../../kernels/reduce.ts';
import type { ReduceKind } from '../../kernels/reduce.ts';
import type { Axes, Bound, Lowering } from '../op.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { sinkOf } from './elementwise.ts';

/** With fewer outputs a reduction leaves the device idle: axes of at least `longAxis` are cut into runs. */
const fewOutputs = ({ software, units }: Lowering['target']): number => (software ? 4096 : 1024 * units);
const longAxis = 512;

/** Returns the letters of a reduction over `axes` of x: rank 3 over axis 1 has x 'abc', y 'ac'. */
export function reduceAxes(rank: number, axes: readonly number[], combine: ReduceKind): Axes {
  const letters = [...'abcdefghijklmnopqrstuvwxyz'.slice(0, rank)];
  const kept = letters.filter((_, axis) => !axes.includes(axis));
  return { of: { x: letters.join(''), y: kept.join('') }, combine, anywhere: true };
}

/**
 * Emits the dispatches that reduce `axes` of input x (sorted; none of length 0) into y, row-major over the
 * kept axes.
 */
export function lowerReduce(
  lowering: Lowering<{ x: Tensor }>,
  kind: ReduceKind,
  x: Tensor,
  axes: readonly number[],
  y: Tensor,
): void {
  const pick = (list: readonly number[], kept: boolean): number[] =>
    list.filter((_, axis) => axes.includes(axis) !== kept);
  const keptShape = pick(x.shape, true);
  const keptStrides = pick(x.strides, true);
  const reduced = collapse(pick(x.shape, false), [pick(x.strides, false)]);
  const lengths = reduced.shape;
  const strides = reduced.strides[0]!;
  if (lengths.length === 0) {
    lengths.push(1);
    strides.push(0);
  }
  // Booleans and u32 are summed in the type of the result.
  const compute = isFloat(x.dtype) ? x.dtype : y.dtype;
  let source = { bound: lowering.source('x', flat(x, compute)), offset: x.offset };
  // Axes that do not merge are reduced one after the other, the fastest first; the rest become kept ones
  // meanwhile.
  let outer = { shape: [...lengths.slice(0, -1), ...keptShape], strides: [...strides.slice(0, -1), ...keptStrides] };
  const few = fewOutputs(lowering.target);
  let length = lengths[lengths.length - 1]!;
  let stride = strides[lengths.length - 1]!;
  for (let pending = lengths.length; pending > 0; pending--) {
    const count = sizeOf(outer.shape);
    const shares = sharesRows(lowering.target, source.bound.elements.compute, stride);
    const run = shares
      ? sharedRun(lowering.target.units, count, length)
      : count < few && length >= longAxis
        ? runLength(few, count, length)
        : length;
    const runs = Math.ceil(length / run);
    const last = pending === 1 && runs === 1;
    const shape = runs === 1 ? outer.shape : shares ? [...outer.shape, runs] : [runs, ...outer.shape];
    const into = last ? y : lowering.temporary(shape, partialDtype(y.dtype));
    const sink = last ? lowering.sink() : sinkOf(into);
    const attrs = { kind, ...outer, offset: source.offset, length, stride, run };
    lowering.emit(reduce, { x: source.bound, y: sink }, attrs);
    if (last) return;
    source = { bound: flat(into), offset: 0 };
    if (runs > 1) {
      pending++; // the runs are an axis still to reduce
      outer = { shape: outer.shape, strides: shares ? into.strides.slice(0, -1) : into.strides.slice(1) };
      length = runs;
      stride = into.strides.at(shares ? -1 : 0)!;
    } else {
      length = outer.shape[0]!;
      stride = into.strides[0]!;
      outer = { shape: outer.shape.slice(1), strides: into.strides.slice(1) };
    }
  }
}

/**
 * Returns the length of a run, in whole vec4s: about the square root of the axis, so that both passes are
 * short.
 */
function runLength(few: number, outputs: number, length: number): number {
  const runs = Math.min(Math.ceil(length / 64), Math.ceil(few / outputs), Math.ceil(Math.sqrt(length)));
  return Math.ceil(length / runs / 4) * 4;
}

/** The same where a workgroup of a GPU takes a run: as many as keep it busy, each worth a workgroup. */
function sharedRun(units: number, outputs: number, length: number): number {
  const runs = Math.max(1, Math.min(Math.floor(length / 4096), Math.ceil((4 * units) / outputs)));
  return Math.ceil(length / runs / 4) * 4;
}

/** Reads the whole memory of a tensor as one axis, which the strides of a reduction index. */
function flat(x: Tensor, compute = x.dtype): Bound {
  const layout = contiguousLayout([Math.floor(x.storage.bytes / bytesOf(x.dtype))]);
  return { elements: { ...plainSource({ dtype: x.dtype, layout }), compute }, operands: [x], outputs: [] };
}

/** Partial sums of f16 stay in f32. */
function partialDtype(dtype: Dtype): Dtype {
  return dtype === 'f16' ? 'f32' : dtype;
}
