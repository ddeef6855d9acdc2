import { linear } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { parameter, uniformInit } from '../init.ts';
import type { Initializer } from '../init.ts';
import { Module } from '../module.ts';
import type { Parameter } from '../parameter.ts';

export interface LinearOptions {
  /** Whether to add a learned bias (default), or one to share with another module. */
  readonly bias?: boolean | Parameter;
  /** A weight [out, in] to share with another module: a decoder tied to an embedding. */
  readonly weight?: Parameter;
  /** Default, for both: even in +-1/sqrt(in), as in PyTorch. */
  readonly weightInit?: Initializer;
  readonly biasInit?: Initializer;
}

/** x @ weight^T + bias: (..., in) -> (..., out); weight [out, in], bias [out]. */
export class Linear extends Module {
  weight: Parameter;
  bias: Parameter | undefined;

  constructor(
    inFeatures: number,
    outFeatures: number,
    { bias = true, weight, weightInit, biasInit }: LinearOptions = {},
  ) {
    super();
    const even = uniformInit(1 / Math.sqrt(Math.max(inFeatures, 1)));
    this.weight = weight ?? parameter([outFeatures, inFeatures], weightInit ?? even);
    this.bias = bias === true ? parameter([outFeatures], biasInit ?? even) : bias || undefined;
    const shape = `weight [${this.weight.shape.join(', ')}]`;
    if (this.weight.ndim !== 2 || this.weight.shape[0] !== outFeatures || this.weight.shape[1] !== inFeatures) {
      throw new Error(
        `Linear: a shared ${shape} does not map ${inFeatures} to ${outFeatures}; it must be [${outFeatures}, ${inFeatures}]`,
      );
    }
  }

  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias); // (..., out)
  }

  override extraRepr(): string {
    const [out, into] = this.weight.shape;
    return `${into}, ${out}${this.bias ? '' : ', bias: false'}`;
  }
}
