import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from './activation.ts';
import type { ActivationName } from './activation.ts';
import { Dropout } from './dropout.ts';
import { Linear } from './linear.ts';

export interface FeedForwardOptions {
  readonly activation?: ActivationName;
  /** Probability of dropping an element of the hidden layer. */
  readonly dropout?: number;
  readonly bias?: boolean;
}

/**
 * linear2(dropout(activation(linear1(x)))): (..., dim) -> (..., dim) through `hidden` units (Vaswani et al.
 * 2017, section 3.3).
 *
 * @example
 * new FeedForward(16, 64).forward(zeros(1, 5, 16)).shape; // [1, 5, 16]
 */
export class FeedForward extends Module {
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly dropout: Dropout;
  readonly activation: ActivationName;

  constructor(dim: number, hidden: number, { activation = 'gelu', dropout = 0, bias = true }: FeedForwardOptions = {}) {
    super();
    this.linear1 = new Linear(dim, hidden, { bias });
    this.linear2 = new Linear(hidden, dim, { bias });
    this.dropout = new Dropout(dropout);
    this.activation = activation;
  }

  override forward(x: Tensor): Tensor {
    const hidden = activations[this.activation](this.linear1.forward(x)); // (..., hidden)
    return this.linear2.forward(this.dropout.forward(hidden)); // (..., dim)
  }

  override extraRepr(): string {
    return this.activation;
  }
}
