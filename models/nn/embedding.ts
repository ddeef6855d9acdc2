import { arange, embedding, quantizedEmbedding, slice } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { normalInit, parameter, zeroRowInit } from '../parameter.ts';
import type { Initializer, Parameter } from '../parameter.ts';

export interface EmbeddingOptions {
  /** A table [count, dim] to share with another module: the encoder's tied to the decoder's. */
  readonly weight?: Parameter;
  /** The row of the padding token: zeros at first, and without a gradient. */
  readonly paddingIdx?: number;
  /** Default: normal with deviation 1, as in PyTorch. */
  readonly weightInit?: Initializer;
}

/**
 * Rows of a learned table [count, dim] by index: (...) -> (..., dim).
 *
 * @example
 * new Embedding(100, 16).forward(tensor([[2, 7, 3]], { dtype: 'i32' })).shape; // [1, 3, 16]
 */
export class Embedding extends Module {
  weight: Parameter;
  readonly paddingIdx: number | undefined;

  constructor(count: number, dim: number, { paddingIdx, weight, weightInit = normalInit(1) }: EmbeddingOptions = {}) {
    super();
    if (paddingIdx !== undefined && !(Number.isInteger(paddingIdx) && paddingIdx >= 0 && paddingIdx < count)) {
      throw new Error(`Embedding: paddingIdx ${paddingIdx} is no row of a table of ${count}; use 0 to ${count - 1}`);
    }
    this.paddingIdx = paddingIdx;
    const init = paddingIdx === undefined ? weightInit : zeroRowInit(weightInit, paddingIdx);
    this.weight = weight ?? parameter([count, dim], init);
    if (this.weight.shape.join() !== `${count},${dim}`)
      throw new Error(
        `Embedding: a shared table [${this.weight.shape.join(', ')}] has not the shape asked for, [${count}, ${dim}]`,
      );
  }

  override forward(index: Tensor): Tensor {
    const { weight, paddingIdx } = this;
    if (weight.quantized) return quantizedEmbedding(weight.quantized, index);
    return embedding(weight, index, { paddingIdx }); // (..., dim)
  }

  override extraRepr(): string {
    return `${this.weight.shape.join(', ')}${this.paddingIdx === undefined ? '' : `, paddingIdx: ${this.paddingIdx}`}`;
  }
}

/**
 * The first rows of a table behind those before `from`, (count, dim): what it gives for these numbers,
 * without a gather where nothing else happens in its forward.
 */
export function firstRows(table: Embedding, count: number, from = 0): Tensor {
  const isPlain = !table.isHooked && table.constructor === Embedding && !table.weight.quantized;
  const end = from + count;
  return isPlain ? slice(table.weight, [from, end]) : table.forward(arange(from, end, 1, { dtype: 'i32' }));
}
