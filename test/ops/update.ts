import * as tf from '../../autograd/index.ts';
import { collectGradients, globalNorm } from '../../train/optim/step.ts';
import { AdamW, GradScaler, SGD } from '../../train/optim/index.ts';
import type { Optimizer } from '../../train/optim/index.ts';
import type { StepOptions } from '../../train/optim/index.ts';
import { build } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/** How the gradients are multiplied on their way, on the device and in the reference. */
interface Scaling {
  readonly note: string;
  readonly covers?: readonly string[];
  readonly options: () => StepOptions;
  readonly factor: (gradients: readonly (readonly number[])[]) => number;
}

const norm = (list: readonly (readonly number[])[]): number =>
  Math.sqrt(list.reduce((sum, data) => sum + data.reduce((own, v) => own + v * v, 0), 0));
const clip = (total: number): number => Math.min(1, 1.5 / (total + 1e-6));

const plain: Scaling = { note: '', options: () => ({}), factor: () => 1 };
const scaled: Scaling = {
  note: 'scaled',
  options: () => ({ gradScale: tf.tensor([9, 0.25]).slice(1) }),
  factor: () => 0.25,
};
const clipped: Scaling = {
  note: 'clipped',
  options: () => ({ maxNorm: 1.5 }),
  factor: (gradients) => clip(norm(gradients)),
};
const unscaled: Scaling = {
  note: 'loss scale 8, clipped',
  options: () => ({ scaler: new GradScaler({ initScale: 8 }), maxNorm: 1.5 }),
  factor: (gradients) => clip(norm(gradients) / 8) / 8,
};

/**
 * Two steps over parameters and gradients given alternately; the second step's gradients are the first's,
 * doubled.
 */
function optimize(
  op: 'adamw' | 'sgd',
  note: string,
  make: (parameters: tf.Tensor[]) => Optimizer<{ lr: number }>,
  ref: (x: number, gradients: readonly number[]) => number,
  inputs: readonly InputSpec[],
  covers: readonly string[] = [],
  { note: scaling, options, factor } = plain,
): OpCase {
  return {
    op,
    note: `${note} ${scaling}`,
    inputs,
    covers: ['prepareStep', ...covers],
    run: (...pairs) => {
      const parameters = pairs.filter((_, i) => i % 2 === 0).map((x) => tf.clone(x.detach()));
      const gradients = pairs.filter((_, i) => i % 2 === 1);
      for (const x of parameters) x.requiresGrad = true;
      const optimizer = make(parameters);
      for (const times of [1, 2]) {
        parameters.forEach((x, i) => (x.grad = times === 1 ? gradients[i] : tf.mul(gradients[i]!, times)));
        optimizer.step(options());
      }
      return parameters;
    },
    ref: (...pairs) => {
      const gradients = pairs.filter((_, i) => i % 2 === 1).map(({ data }) => Array.from(data));
      const factors = [1, 2].map((times) => times * factor(gradients.map((data) => data.map((v) => times * v))));
      return pairs.flatMap((x, i): Nd[] => {
        if (i % 2 === 1) return [];
        const g = pairs[i + 1]!.data;
        return [
          {
            shape: x.shape,
            data: x.data.map((value, k) =>
              ref(
                value,
                factors.map((f) => f * g[k]!),
              ),
            ),
          },
        ];
      });
    },
    grad: false,
    compiled: false, // an optimizer keeps state from call to call: test/train/mixed-precision.test.ts replays its steps
  };
}

const adam = { lr: 0.1, betas: [0.9, 0.99] as const, eps: 1e-8, weightDecay: 0.05 };
/** Algorithm 2 of Loshchilov and Hutter (2019), in PyTorch's order. */
function adamw(x: number, gradients: readonly number[]): number {
  let [m, v, y] = [0, 0, x];
  const [beta1, beta2] = adam.betas;
  gradients.forEach((g, k) => {
    y -= adam.lr * adam.weightDecay * y;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const corrected = [m / (1 - beta1 ** (k + 1)), v / (1 - beta2 ** (k + 1))] as const;
    y -= (adam.lr * corrected[0]) / (Math.sqrt(corrected[1]) + adam.eps);
  });
  return y;
}
const makeAdamw = (parameters: tf.Tensor[]) => new AdamW(parameters, adam);

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
const sgd = (momentum: number, dampening: number, nesterov: boolean, inputs: InputSpec[], scaling = plain): OpCase =>
  optimize(
    'sgd',
    `momentum ${momentum} dampening ${dampening}${nesterov ? ' nesterov' : ''}`,
    (parameters) => new SGD(parameters, { lr: 0.1, momentum, dampening, weightDecay: 0.05, nesterov }),
    descent(momentum, dampening, nesterov),
    inputs,
    inputs.length > 2 ? ['collect', 'sgd.packed'] : [],
    scaling,
  );

const pairs = (...shapes: number[][]): InputSpec[] => shapes.flatMap((shape) => [f32(shape), f32(shape)]);
const many = pairs(...Array.from({ length: 21 }, (_, i) => [i + 1]));
/**
 * Large enough to keep buffers of their own, more than one dispatch takes, sizes that are no multiples of 4.
 */
const large = pairs([1, 16385], ...Array.from({ length: 8 }, (_, i) => [5477 + i, 3]));
const total = (...x: Nd[]): Nd => build([], () => norm(x.map(({ data }) => Array.from(data))));

const packed = ['collect', 'adamw.packed'];

export const cases: readonly OpCase[] = [
  optimize('adamw', '', makeAdamw, adamw, pairs([7])),
  optimize('adamw', '', makeAdamw, adamw, pairs([3, 5], [4]), packed),
  optimize('adamw', 'many', makeAdamw, adamw, many, packed),
  optimize('adamw', 'large', makeAdamw, adamw, large),
  optimize('adamw', 'large and small', makeAdamw, adamw, [...many, ...large], packed, clipped),
  optimize('adamw', '', makeAdamw, adamw, pairs([7]), [], scaled),
  optimize('adamw', '', makeAdamw, adamw, pairs([3, 5], [300]), packed, clipped),
  optimize('adamw', '', makeAdamw, adamw, pairs([3, 5], [300]), packed, unscaled),
  sgd(0, 0, false, pairs([3, 5], [1])),
  sgd(0.9, 0.2, false, pairs([7])),
  sgd(0.9, 0, true, pairs([7]), scaled),
  sgd(0.9, 0, true, pairs([7], [65]), unscaled),
  {
    op: 'updateScale',
    inputs: [],
    run: () => {
      const scaler = new GradScaler({ initScale: 8, growthInterval: 1 });
      const x = tf.tensor([1], { requiresGrad: true });
      x.grad = tf.tensor([1]);
      scaler.step(new SGD([x]));
      scaler.update();
      return tf.clone(scaler.state);
    },
    ref: () => build([4], ([i]) => [16, 0, 0, 0][i!]!),
    grad: false,
    compiled: false,
  },
  {
    op: 'globalNorm',
    inputs: [f32([3, 5]), f32([7]), f32([])],
    run: (...x) => globalNorm(x),
    ref: total,
    grad: false,
  },
  { op: 'globalNorm', note: 'many', inputs: many, run: (...x) => globalNorm(x), ref: total, grad: false },
  { op: 'globalNorm', note: 'long', inputs: [f32([20003])], run: (...x) => globalNorm(x), ref: total, grad: false },
  { op: 'globalNorm', inputs: [f32([0]), f32([2])], run: (...x) => globalNorm(x), ref: total, grad: false },
  { op: 'globalNorm', note: 'of nothing', inputs: [], run: () => globalNorm([]), ref: total, grad: false },
  {
    op: 'collect',
    note: 'zeros follow a copy up to its room',
    inputs: [f32([3]), f32([2, 131])],
    run: (a, b) => collectGradients([a!, b!], { places: [128, 0], sums: false }).tensor,
    ref: (a, b) =>
      build([192, 4], ([q, e]) => {
        const at = 4 * q! + e!;
        return (at < 512 ? b!.data[at] : a!.data[at - 512]) ?? 0;
      }),
    grad: false,
  },
];

export const errors: readonly ErrorCase[] = [
  { op: 'globalNorm', run: () => globalNorm([tf.zeros([2], { dtype: 'f16' })]), says: /f16 \[2\]/ },
  {
    op: 'sgd',
    run: () => {
      const x = tf.zeros([2, 3], { requiresGrad: true });
      x.grad = tf.zeros([3, 2]);
      new SGD([x]).step();
    },
    says: /\[2, 3\].*\[3, 2\]/,
  },
  {
    op: 'sgd',
    run: () => {
      const x = tf.slice(tf.zeros([8]), [4, 8]);
      x.requiresGrad = true;
      x.grad = tf.zeros([4]);
      new SGD([x]).step();
    },
    says: /\[4\] is a view/,
  },
  {
    op: 'prepareStep',
    run: () => {
      const x = tf.zeros([4], { requiresGrad: true });
      x.grad = tf.zeros([4]);
      new SGD([x]).step({ gradScale: tf.zeros([2]) });
    },
    says: /f32 \[2\]/,
  },
];
