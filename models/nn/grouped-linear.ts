import { add, matmul, permute, reshape, transpose } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { parameter, uniformInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';

/**
 * (..., in) -> (..., out) in G groups, with a G-th of the weights and of the products of a dense layer
 * (SqueezeBERT, Iandola et al. 2020): outputs of group g, which lie side by side, read the inputs g, g + G, g
 * + 2 G, ... So two layers behind each other read everything, as with the shuffled channels of ShuffleNet
 * (Zhang et al. 2018), and nothing has to be shuffled. weight [out, in / G], bias [out]; initial values as in
 * a convolution of groups. Error: groups do not divide both.
 *
 * @example
 * new GroupedLinear(8, 4, 2).weight.shape; // [4, 4]
 */
export class GroupedLinear extends Module {
  weight: Parameter;
  bias: Parameter | undefined;
  readonly groups: number;

  constructor(inFeatures: number, outFeatures: number, groups: number, { bias = true } = {}) {
    super();
    if (!(Number.isInteger(groups) && groups >= 1 && inFeatures % groups === 0 && outFeatures % groups === 0))
      throw new Error(`GroupedLinear: ${groups} groups do not divide ${inFeatures} inputs and ${outFeatures} outputs`);
    const own = inFeatures / groups;
    const even = uniformInit(1 / Math.sqrt(Math.max(own, 1)));
    this.weight = parameter([outFeatures, own], even);
    this.bias = bias ? parameter([outFeatures], even) : undefined;
    this.groups = groups;
  }

  override forward(x: Tensor): Tensor {
    const { weight, bias, groups } = this;
    const [out, own] = weight.shape as [number, number];
    const before = x.shape.slice(0, -1);
    const read = permute(reshape(x, [-1, own, groups]), [2, 0, 1]); // (G, N, in/G)
    const products = matmul(read, transpose(reshape(weight, [groups, out / groups, own]))); // (G, N, out/G)
    const y = bias ? add(products, reshape(bias, [groups, 1, out / groups])) : products;
    return reshape(permute(y, [1, 0, 2]), [...before, out]);
  }

  override extraRepr(): string {
    const [out, own] = this.weight.shape as [number, number];
    return `${own * this.groups}, ${out}, groups: ${this.groups}${this.bias ? '' : ', bias: false'}`;
  }
}
