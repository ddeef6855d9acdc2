import * as e from '../../kernels/map/expr.ts';
import { checkChoice, checkOptions } from '../shapes.ts';
import type { Tensor } from '../tensor.ts';
import { applyMap, mapFunction, unary } from './map-op.ts';

const float = { float: true };
const single = { float: true, autocast: 'f32' } as const;

/**
 * max(x, 0); NaN stays NaN.
 *
 * @example
 * relu(tensor([-1, 0, 2])); // [0, 0, 2]
 */
export const relu = unary('relu', (x) => e.select(e.le(x, 0), 0, x), { refuses: { bool: "convert with to('i32')" } });

const geluErf = unary('gelu', (x) => e.mul(e.mul(0.5, x), e.add(1, e.erf(e.mul(x, Math.SQRT1_2)))), float);
const geluTanh = unary(
  'geluTanh',
  (x) => {
    const inner = e.mul(Math.sqrt(2 / Math.PI), e.add(x, e.mul(0.044715, e.mul(x, e.mul(x, x)))));
    return e.mul(e.mul(0.5, x), e.add(1, e.tanh(inner)));
  },
  float,
);

/**
 * Computes the Gaussian error linear unit x * Phi(x) (Hendrycks and Gimpel 2016). The default, by erf, is
 * BERT's; `approximate: 'tanh'` is GPT-2's.
 *
 * @example
 * gelu(tensor([-1, 0, 1])); // [-0.1587, 0, 0.8413]
 */
export function gelu(x: Tensor, options: { readonly approximate?: 'none' | 'tanh' } = {}): Tensor {
  const { approximate = 'none' } = options;
  checkOptions('gelu', options, ['approximate']);
  checkChoice('gelu', 'approximate', approximate, ['none', 'tanh']);
  return approximate === 'tanh' ? geluTanh(x) : geluErf(x);
}

/**
 * x * sigmoid(x), also known as swish.
 *
 * @example
 * silu(tensor([-1, 0, 1])); // [-0.2689, 0, 0.7311]
 */
export const silu = unary('silu', (x) => e.mul(x, e.sigmoid(x)), float);

/**
 * log(1 + exp(x)), computed as max(x, 0) + log1p(exp(-|x|)), which does not overflow.
 *
 * @example
 * softplus(tensor([0, 1])); // [0.6931, 1.3133]
 */
export const softplus = unary('softplus', (x) => e.add(e.max(x, 0), e.log1p(e.exp(e.neg(e.abs(x))))), single);

/**
 * log(sigmoid(x)) = -softplus(-x).
 *
 * @example
 * logSigmoid(tensor([0, 1])); // [-0.6931, -0.3133]
 */
export const logSigmoid = unary('logSigmoid', (x) => e.sub(e.min(x, 0), e.log1p(e.exp(e.neg(e.abs(x))))), single);

const leaky = mapFunction('leakyRelu', ['v'], ([x], [slope]) => e.select(e.gt(x!, 0), x!, e.mul(slope!, x!)), {
  float: true,
  scalars: 1,
});

/**
 * x for positive x, else slope * x.
 *
 * @example
 * leakyRelu(tensor([-2, 2]), 0.1); // [-0.2, 2]
 */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => applyMap(leaky, [x], [slope]);
