import { linear, quantizedLinear } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { joinedRows, parameter, parametersSideBySide, uniformInit } from '../parameter.ts';
import type { Initializer, Parameter } from '../parameter.ts';

export interface LinearOptions {
  /** Whether to add a learned bias (default), or one to share with another module. */
  readonly bias?: boolean | Parameter;
  /** A weight [out, in] to share with another module: a decoder tied to an embedding. */
  readonly weight?: Parameter;
  /** Default, for both: even in +-1/sqrt(in), as in PyTorch. */
  readonly weightInit?: Initializer;
  readonly biasInit?: Initializer;
}

/**
 * x @ weight^T + bias: (..., in) -> (..., out); weight [out, in], bias [out].
 *
 * @example
 * new Linear(4, 2).forward(zeros(3, 4)).shape; // [3, 2]
 */
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
        `Linear: a shared ${shape} does not map ${inFeatures} to ${outFeatures}; it must be [${outFeatures}, ` +
          `${inFeatures}]`,
      );
    }
  }

  override forward(x: Tensor): Tensor {
    const { weight, bias } = this;
    return weight.quantized ? quantizedLinear(x, weight.quantized, bias) : linear(x, weight, bias); // (..., out)
  }

  override extraRepr(): string {
    const [out, into] = this.weight.shape;
    return `${into}, ${out}${this.bias ? '' : ', bias: false'}`;
  }
}

/**
 * Linear layers of one input whose weights lie side by side, so that `projectTogether` computes all of them
 * in one product. Initial values are those of a single layer with all the outputs.
 */
export function linearsSideBySide(
  inFeatures: number,
  outFeatures: readonly number[],
  {
    weightInit,
    biasInit,
    bias = true,
  }: Required<Pick<LinearOptions, 'weightInit' | 'biasInit'>> & { readonly bias?: boolean },
): Linear[] {
  const total = outFeatures.reduce((sum, count) => sum + count, 0);
  const weights = parametersSideBySide([total, inFeatures], outFeatures, weightInit);
  const biases = bias ? parametersSideBySide([total], outFeatures, biasInit) : [];
  return outFeatures.map(
    (count, i) => new Linear(inFeatures, count, { weight: weights[i]!, bias: biases[i] ?? false }),
  );
}

/**
 * The outputs of layers from `linearsSideBySide`, one behind the other, of one product: x (..., in) -> (...,
 * sum of outs). undefined where a layer has to run by itself: it was replaced or wrapped, it has hooks, or
 * its weights have moved or have another type.
 */
export function projectTogether(layers: readonly Module[], x: Tensor): Tensor | undefined {
  const plain = layers.filter(isPlainLinear);
  if (plain.length < layers.length) return undefined;
  const weight = joinedRows(plain.map((layer) => layer.weight));
  const biases = plain.flatMap((layer) => layer.bias ?? []);
  if (biases.length === 0) return weight && linear(x, weight);
  const bias = biases.length === plain.length ? joinedRows(biases) : undefined;
  return weight && bias && linear(x, weight, bias);
}

/** Whether nothing but x @ weight^T + bias happens in a layer, so that another kernel may compute it. */
export function isPlainLinear(layer: Module): layer is Linear {
  return !layer.isHooked && layer.constructor === Linear && !(layer as Linear).weight.quantized;
}
