import { chooseLanes } from '../../kernels/rows.ts';
import { softmax as softmaxKernel, softmaxBackward } from '../../kernels/softmax.ts';
import { rowBlocks } from '../blocks/leading.ts';
import { compositeVjp } from '../composite.ts';
import { normaliseAxis, requireFloat } from '../dtypes.ts';
import { defineOp } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { exp, mul, sub } from './arithmetic.ts';
import { sum } from './broadcast.ts';
import { transpose } from './movement.ts';

interface SoftmaxAttrs {
  readonly log: boolean;
}

/** Over the last axis. */
const softmaxOp = defineOp<SoftmaxAttrs>({
  name: ({ log }) => (log ? 'logSoftmax' : 'softmax'),
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower({ emit, source, sink, target }, [x], _, { log }) {
    const cols = x!.shape.at(-1)!;
    const [from, to] = [source(0), sink()];
    const size = { rows: x!.size / cols, cols, lanes: chooseLanes(target, cols), log };
    emit(softmaxKernel({ ...size, x: from.elements, y: to.elements }), [...from.tensors, ...to.tensors]);
  },
  fuses: { epilogue: true, prologues: [0], repeats: true },
  blocks: rowBlocks(),
  saves: { outputs: [0] },
  vjp: ({ g, output, attrs }) => apply(softmaxBackwardOp, [g, output(0)], attrs),
});

const softmaxBackwardOp = defineOp<SoftmaxAttrs>({
  name: ({ log }) => (log ? 'logSoftmaxBackward' : 'softmaxBackward'),
  infer: ([, y]) => [{ shape: y!.shape, dtype: y!.dtype }],
  lower({ emit, source, sink, target }, [, y], _, { log }) {
    const cols = y!.shape.at(-1)!;
    const [g, out, to] = [source(0), source(1), sink()];
    const size = { rows: y!.size / cols, cols, lanes: chooseLanes(target, cols), log };
    const dispatch = softmaxBackward({ ...size, g: g.elements, out: out.elements, y: to.elements });
    emit(dispatch, [...g.tensors, ...out.tensors, ...to.tensors]);
  },
  fuses: { epilogue: true, prologues: [0], repeats: true },
  blocks: rowBlocks(),
  saves: { inputs: [0, 1] },
  vjp: compositeVjp(([g, y], { log }) => {
    if (log) return [sub(g!, mul(exp(y!), sum(g!, -1, { keepDims: true })))];
    return [mul(y!, sub(g!, sum(mul(g!, y!), -1, { keepDims: true })))];
  }),
});

function alongAxis(name: string, x: Tensor, axis: number, log: boolean): Tensor {
  requireFloat(name, x);
  if (x.ndim === 0) throw new Error(`${name}: needs at least one axis, got a scalar`);
  const at = normaliseAxis(name, axis, x.ndim);
  if (at === x.ndim - 1) return apply(softmaxOp, [x], { log })[0]!;
  return transpose(apply(softmaxOp, [transpose(x, at, -1)], { log })[0]!, at, -1);
}

/** exp(x) / sum(exp(x)) along an axis. */
export function softmax(x: Tensor, axis = -1): Tensor {
  return alongAxis('softmax', x, axis, false);
}

/** log(softmax(x)) along an axis, without the loss of small probabilities. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return alongAxis('logSoftmax', x, axis, true);
}
