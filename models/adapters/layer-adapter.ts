import { cast, isAutocasting } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Parameter } from '../parameter.ts';
import type { Module } from '../module.ts';

/** What an adapter does to one layer. */
export interface LayerAdapter {
  /** Of the layer, in the model. */
  readonly path: string;
  readonly layer: Module;
  /** Its parameters by the rest of their keys in the file: `lora_A.weight`. */
  readonly parameters: readonly (readonly [key: string, parameter: Parameter])[];
  /** The layer's input with the adapter. */
  before?(x: Tensor): Tensor;
  /** The layer's output with the adapter, of input x. */
  after?(output: Tensor, x: Tensor): Tensor;
  /** A parameter of the layer as it must be for the layer alone to compute the same. */
  merged(name: 'weight' | 'bias', before: Tensor): Tensor | undefined;
}

/** x in the type of another tensor, unless `autocast` sees to types. */
export const as = (like: Tensor, x: Tensor): Tensor =>
  x.dtype === like.dtype || isAutocasting() ? x : cast(x, like.dtype);
