import { softmax as softmaxKernel, softmaxBackward } from '../../kernels/softmax.ts';
import type { SoftmaxAttrs } from '../../kernels/softmax.ts';
import { defineOp } from '../op.ts';
import { normaliseAxis, requireFloat } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { exp, mul, sub } from './arithmetic.ts';
import { sum } from './broadcast.ts';
import { compositeVjp } from './composite.ts';
import { transpose } from './movement.ts';
import { reshape } from './reshape.ts';

/** Over the last axis. */
const softmaxOp = defineOp<{ x: Tensor }, { y: Tensor }, SoftmaxAttrs>({
  name: ({ log }) => (log ? 'logSoftmax' : 'softmax'),
  infer: ({ x }) => ({ y: { shape: x.shape, dtype: x.dtype } }),
  lower: ({ emit, source, sink }, _, __, attrs) => emit(softmaxKernel, { x: source('x'), y: sink() }, attrs),
  fuses: { epilogue: true, prologues: ['x'], repeats: true },
  axes: () => ({ of: { x: '...C', y: '...C' } }),
  autocast: ({ log }) => (log ? 'f32' : undefined),
  saves: { outputs: ['y'] },
  vjp: ({ g, output, attrs }) => ({ x: apply(softmaxBackwardOp, { g, out: output('y') }, attrs).dx }),
});

const softmaxBackwardOp = defineOp<{ g: Tensor; out: Tensor }, { dx: Tensor }, SoftmaxAttrs>({
  name: ({ log }) => (log ? 'logSoftmaxBackward' : 'softmaxBackward'),
  infer: ({ out }) => ({ dx: { shape: out.shape, dtype: out.dtype } }),
  lower: ({ emit, source, sink }, _, __, attrs) =>
    emit(softmaxBackward, { g: source('g'), out: source('out'), y: sink() }, attrs),
  fuses: { epilogue: true, prologues: ['g'], repeats: true },
  axes: () => ({ of: { g: '...C', out: '...C', dx: '...C' } }),
  saves: { inputs: ['g', 'out'] },
  vjp: compositeVjp(({ g, out }, { log }) => {
    if (log) return { dx: sub(g, mul(exp(out), sum(g, -1, { keepDims: true }))) };
    return { dx: mul(out, sub(g, sum(mul(g, out), -1, { keepDims: true }))) };
  }),
});

function alongAxis(name: string, x: Tensor, axis: number, log: boolean): Tensor {
  requireFloat(name, x);
  if (x.ndim === 0) return reshape(alongAxis(name, reshape(x, [1]), normaliseAxis(name, axis, 0), log), []);
  const at = normaliseAxis(name, axis, x.ndim);
  if (at === x.ndim - 1) return apply(softmaxOp, { x }, { log }).y;
  return transpose(apply(softmaxOp, { x: transpose(x, at, -1) }, { log }).y, at, -1);
}

/**
 * exp(x) / sum(exp(x)) along an axis.
 *
 * @example
 * softmax(tensor([0, 1])); // [0.2689, 0.7311]
 */
export function softmax(x: Tensor, axis = -1): Tensor {
  return alongAxis('softmax', x, axis, false);
}

/**
 * log(softmax(x)) along an axis, without the loss of small probabilities.
 *
 * @example
 * logSoftmax(tensor([0, 0])); // [-0.6931, -0.6931]
 */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return alongAxis('logSoftmax', x, axis, true);
}
