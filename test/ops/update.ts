import * as tf from '../../autograd/index.ts';
import type { Step } from '../../autograd/ops/update.ts';
import { build } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

const scale = 0.25;

/** Two steps over parameters and gradients given alternately; the second step's gradients are the first's, doubled. */
function optimize(
  op: 'adamw' | 'sgd',
  step: (n: number) => Step,
  ref: (x: number, gradients: readonly number[]) => number,
  inputs: readonly InputSpec[],
  scaled = false,
): OpCase {
  return {
    op,
    note: `${JSON.stringify(step(1))}${scaled ? ' scaled' : ''}`,
    inputs,
    run: (...pairs) => {
      const parameters = pairs.filter((_, i) => i % 2 === 0).map((x) => tf.clone(x));
      const gradients = pairs.filter((_, i) => i % 2 === 1);
      const state = new tf.OptimizerState(parameters, op === 'adamw' ? 2 : 1);
      const factor = scaled ? tf.tensor(scale) : undefined;
      const paired = (list: readonly tf.Tensor[]) => new Map(parameters.map((x, i) => [x, list[i]!]));
      state.apply(step(1), paired(gradients), factor);
      state.apply(step(2), paired(gradients.map((g) => tf.mul(g, 2))), factor);
      return parameters;
    },
    ref: (...pairs) =>
      pairs.flatMap((x, i): Nd[] => {
        const gradients = pairs[i + 1];
        if (i % 2 === 1) return [];
        const factor = scaled ? scale : 1;
        return [
          {
            shape: x.shape,
            data: x.data.map((value, k) =>
              ref(value, [gradients!.data[k]! * factor, 2 * gradients!.data[k]! * factor]),
            ),
          },
        ];
      }),
    grad: false,
  };
}

const adam = { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.05 };
/** Algorithm 2 of Loshchilov and Hutter (2019), in PyTorch's order. */
function adamw(x: number, gradients: readonly number[]): number {
  let [m, v, y] = [0, 0, x];
  gradients.forEach((g, k) => {
    y -= adam.lr * adam.weightDecay * y;
    m = adam.beta1 * m + (1 - adam.beta1) * g;
    v = adam.beta2 * v + (1 - adam.beta2) * g * g;
    const corrected = [m / (1 - adam.beta1 ** (k + 1)), v / (1 - adam.beta2 ** (k + 1))] as const;
    y -= (adam.lr * corrected[0]) / (Math.sqrt(corrected[1]) + adam.eps);
  });
  return y;
}

/** torch.optim.SGD. */
const descent =
  (momentum: number, dampening: number, nesterov: boolean) => (x: number, gradients: readonly number[]) => {
    let [velocity, y] = [0, x];
    gradients.forEach((raw, k) => {
      let g = raw + 0.05 * y;
      velocity = k === 0 ? g : momentum * velocity + (1 - dampening) * g;
      if (momentum !== 0) g = nesterov ? g + momentum * velocity : velocity;
      y -= 0.1 * g;
    });
    return y;
  };
const sgd =
  (momentum: number, dampening: number, nesterov: boolean) =>
  (step: number): Step => ({ kind: 'sgd', lr: 0.1, momentum, dampening, weightDecay: 0.05, nesterov, step });

const many = Array.from({ length: 11 }, (_, i) => [f32([i + 1]), f32([i + 1])]).flat();
const norm = (...x: Nd[]): Nd =>
  build([], () => Math.sqrt(x.reduce((sum, { data }) => sum + data.reduce((own, v) => own + v * v, 0), 0)));

export const cases: readonly OpCase[] = [
  optimize('adamw', (step) => ({ kind: 'adamw', ...adam, step }), adamw, [
    f32([3, 5]),
    f32([3, 5]),
    f32([4]),
    f32([4]),
  ]),
  optimize('adamw', (step) => ({ kind: 'adamw', ...adam, step }), adamw, many),
  optimize('adamw', (step) => ({ kind: 'adamw', ...adam, step }), adamw, [f32([7]), f32([7])], true),
  optimize('sgd', sgd(0, 0, false), descent(0, 0, false), [f32([3, 5]), f32([3, 5]), f32([1]), f32([1])]),
  optimize('sgd', sgd(0.9, 0.2, false), descent(0.9, 0.2, false), [f32([7]), f32([7])]),
  optimize('sgd', sgd(0.9, 0, true), descent(0.9, 0, true), [f32([7]), f32([7])], true),
  {
    op: 'globalNorm',
    inputs: [f32([3, 5]), f32([7]), f32([])],
    run: (...x) => tf.globalNorm(x),
    ref: norm,
    grad: false,
  },
  { op: 'globalNorm', note: 'many', inputs: many, run: (...x) => tf.globalNorm(x), ref: norm, grad: false },
  { op: 'globalNorm', note: 'long', inputs: [f32([20000])], run: (...x) => tf.globalNorm(x), ref: norm, grad: false },
  { op: 'globalNorm', inputs: [f32([0]), f32([2])], run: (...x) => tf.globalNorm(x), ref: norm, grad: false },
  { op: 'globalNorm', note: 'of nothing', inputs: [], run: () => tf.globalNorm([]), ref: norm, grad: false },
];

export const errors: readonly ErrorCase[] = [
  { op: 'globalNorm', run: () => tf.globalNorm([tf.zeros([2], { dtype: 'f16' })]), says: /f16 \[2\]/ },
  {
    op: 'sgd',
    run: () => {
      const x = tf.zeros([2, 3]);
      new tf.OptimizerState([x], 1).apply(sgd(0, 0, false)(1), new Map([[x, tf.zeros([3, 2])]]));
    },
    says: /\[2, 3\].*\[3, 2\]/,
  },
];
