import { argReduce, sharesPlaces } from '../../kernels/reduce.ts';
import { sizeOf } from '../../kernels/layout.ts';
import { normaliseAxes, normaliseAxis, requireFloat, show } from '../shapes.ts';
import { lowerReduce, reduceAxes } from '../lower/reduce.ts';
import { defineOp, ShapeError } from '../op.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { add, div, exp, log, mul, sub } from './arithmetic.ts';
import { cast, expand, keepsDims, keptShape, sum } from './broadcast.ts';
import type { ReduceOptions } from './broadcast.ts';
import { eq, isFinite, where } from './comparison.ts';
import { reshape } from './reshape.ts';

/**
 * Mean over the given axes (default all); f32 for integers, NaN of no elements.
 *
 * @example
 * mean(tensor([[1, 2], [3, 4]]), 0); // [2, 3]
 */
export function mean(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  const list = normaliseAxes('mean', axes, x.ndim);
  keepsDims('mean', options);
  const total = sum(cast(x, 'f32'), list, options); // a sum in f16 overflows where the mean does not
  return cast(div(total, sizeOf(list.map((axis) => x.shape[axis]!))), isFloat(x.dtype) ? x.dtype : 'f32');
}

interface ExtremeAttrs {
  readonly kind: 'max' | 'min';
  readonly axes: readonly number[];
}

const extremeOp = defineOp<{ x: Tensor }, { y: Tensor }, ExtremeAttrs>({
  name: ({ kind }) => kind,
  infer({ x }, { kind, axes }) {
    if (axes.some((axis) => x.shape[axis] === 0)) {
      throw new ShapeError(
        `${kind}: shape ${show(x.shape)} has nothing to reduce along axes [${axes.join(', ')}]; it has no identity`,
      );
    }
    return { y: { shape: x.shape.filter((_, axis) => !axes.includes(axis)), dtype: x.dtype } };
  },
  lower: (lowering, { x }, { y }, { kind, axes }) => lowerReduce(lowering, kind, x, axes, y),
  fuses: { epilogue: true, prologues: ['x'] },
  axes: ({ x }, { kind, axes }) => reduceAxes(x.shape.length, axes, kind),
  saves: { inputs: ['x'], outputs: ['y'] },
  vjp({ g, input, output, attrs: { axes } }) {
    const x = input('x');
    const kept = keptShape(x, axes);
    const hit = cast(eq(x, reshape(output('y'), kept)), g.dtype);
    const share = div(reshape(g, kept), sum(hit, axes, { keepDims: true }));
    return { x: mul(hit, share) };
  },
});

function extreme(
  kind: 'max' | 'min',
  x: Tensor,
  axes: number | readonly number[] | undefined,
  options: ReduceOptions,
): Tensor {
  const list = normaliseAxes(kind, axes, x.ndim);
  const keepDims = keepsDims(kind, options);
  const { y } = apply(extremeOp, { x }, { kind, axes: list });
  return keepDims ? reshape(y, keptShape(x, list)) : y;
}

/**
 * Largest element over the given axes (default all), or NaN where there is one; ties share the gradient
 * (amax).
 *
 * @example
 * max(tensor([[1, 5], [7, 2]])); // 7
 * max(tensor([[1, 5], [7, 2]]), 1); // [5, 7]
 */
export function max(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return extreme('max', x, axes, options);
}

/**
 * Smallest element over the given axes (default all), or NaN where there is one; ties share the gradient
 * (amin).
 *
 * @example
 * min(tensor([[1, 5], [7, 2]]), 0); // [1, 2]
 */
export function min(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return extreme('min', x, axes, options);
}

/** Elements of a run of indices, on GPUs. */
const placesOfRun = 2048;

const argOp = defineOp<{ x: Tensor }, { y: Tensor }, { kind: 'argmax' | 'argmin'; axis: number }>({
  name: ({ kind }) => kind,
  infer({ x }, { kind, axis }) {
    if (x.shape[axis] === 0)
      throw new ShapeError(`${kind}: axis ${axis} of ${show(x.shape)} is empty; it has no index`);
    return { y: { shape: x.shape.filter((_, i) => i !== axis), dtype: 'i32' } };
  },
  lower({ emit, target, temporary }, { x }, { y }, attrs) {
    const length = x.shape[attrs.axis]!;
    const runs = Math.ceil(length / placesOfRun);
    if (runs === 1 || !sharesPlaces(target, x, attrs.axis)) return emit(argReduce, { x, y }, attrs);
    // One workgroup would wait for all of a vocabulary: others compare parts of it.
    const shape = [...y.shape, runs];
    const [values, places] = [temporary(shape, 'f32'), temporary(shape, 'i32')];
    emit(argReduce, { x, y: places, values }, { ...attrs, run: placesOfRun });
    emit(argReduce, { x: values, places, y }, { kind: attrs.kind, axis: y.shape.length });
  },
  axes({ x }, { axis }) {
    // The reduced axis stays whole, because an index alone cannot be compared with that of another part.
    const letters = x.shape.map((_, i) => (i === axis ? 'X' : 'abcdefghijklmnopqrstuvwxyz'[i]!));
    return { of: { x: letters.join(''), y: letters.filter((_, i) => i !== axis).join('') } };
  },
  vjp: 'none',
});

/**
 * Index, i32, of the first largest element along an axis; without an axis among all elements, flattened.
 *
 * @example
 * argmax(tensor([1, 5, 3])); // 1
 */
export function argmax(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return arg('argmax', x, axis, options);
}

/**
 * Index, i32, of the first smallest element along an axis; without an axis among all elements, flattened.
 *
 * @example
 * argmin(tensor([[1, 5], [7, 2]]), 1); // [0, 1]
 */
export function argmin(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return arg('argmin', x, axis, options);
}

function arg(kind: 'argmax' | 'argmin', x: Tensor, axis: number | undefined, options: ReduceOptions): Tensor {
  const keepDims = keepsDims(kind, options);
  const flat = axis === undefined ? reshape(x, [-1]) : x;
  const at = axis === undefined ? 0 : normaliseAxis(kind, axis, x.ndim);
  const { y } = apply(argOp, { x: flat }, { kind, axis: at });
  if (!keepDims) return y;
  return reshape(y, axis === undefined ? x.shape.map(() => 1) : keptShape(x, [at]));
}

export interface VarianceOptions extends ReduceOptions {
  /** Subtracted from the count: 1 (default) for the unbiased estimate, 0 for the population's. */
  readonly correction?: number;
}

/**
 * Variance over the given axes (default all), by the two-pass formula; computed in f32.
 *
 * @example
 * variance(tensor([1, 2, 3, 4])); // 1.6667
 */
export function variance(x: Tensor, axes?: number | readonly number[], options: VarianceOptions = {}): Tensor {
  const { correction = 1 } = options;
  const keepDims = keepsDims('variance', options, 'correction');
  requireFloat('variance', x);
  const list = normaliseAxes('variance', axes, x.ndim);
  const single = cast(x, 'f32'); // squares overflow f16 from 256 on
  const centred = sub(single, mean(single, list, { keepDims: true }));
  const count = sizeOf(list.map((axis) => x.shape[axis]!));
  return cast(div(sum(mul(centred, centred), list, { keepDims }), Math.max(0, count - correction)), x.dtype);
}

/**
 * log(sum(exp(x))) over the given axes (default all), shifted by the largest element so that exp cannot
 * overflow.
 *
 * @example
 * logsumexp(tensor([10, 10])); // 10.6931
 */
export function logsumexp(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  requireFloat('logsumexp', x);
  const keepDims = keepsDims('logsumexp', options);
  const list = normaliseAxes('logsumexp', axes, x.ndim);
  const top = max(x, list, { keepDims: true }).detach();
  const shift = where(isFinite(top), top, 0); // all -inf must give -inf, not NaN
  const y = sum(exp(sub(x, expand(shift, x.shape))), list, { keepDims });
  return add(log(y), keepDims ? shift : reshape(shift, y.shape));
}
