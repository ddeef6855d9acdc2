import { gelu, mul, relu, sigmoid, silu, tanh } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';

const geluTanh = (x: Tensor): Tensor => gelu(x, { approximate: 'tanh' });

/** Activations by the names that Hugging Face configs use. */
export const activations = {
  gelu: (x: Tensor) => gelu(x),
  gelu_fast: geluTanh,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  quick_gelu: (x: Tensor) => mul(x, sigmoid(mul(x, 1.702))),
  relu: (x: Tensor) => relu(x),
  sigmoid: (x: Tensor) => sigmoid(x),
  silu: (x: Tensor) => silu(x),
  swish: (x: Tensor) => silu(x),
  tanh: (x: Tensor) => tanh(x),
} as const;

export type ActivationName = keyof typeof activations;

/** The activation of a feed-forward part, with hook points before and behind it. */
export function activate(name: ActivationName, x: Tensor): Tensor {
  return hookPoint('mlp.hook_post', activations[name](hookPoint('mlp.hook_pre', x)));
}

/** That of a gated one (Shazeer 2020): activation(gate) * x. */
export function activateGate(name: ActivationName, gate: Tensor, x: Tensor): Tensor {
  const active = activations[name](hookPoint('mlp.hook_pre', gate));
  return hookPoint('mlp.hook_post', mul(active, hookPoint('mlp.hook_pre_linear', x)));
}

/**
 * An elementwise function as a module, for Sequential.
 *
 * @example
 * new Activation('relu').forward(tensor([-1, 2])); // [0, 2]
 */
export class Activation extends Module {
  readonly kind: ActivationName;

  constructor(kind: ActivationName) {
    super();
    if (!Object.hasOwn(activations, kind))
      throw new Error(`Activation: "${kind}" is unknown; use ${Object.keys(activations).join(', ')}`);
    this.kind = kind;
  }

  override forward(x: Tensor): Tensor {
    return activations[this.kind](x); // as x
  }

  override extraRepr(): string {
    return this.kind;
  }
}
