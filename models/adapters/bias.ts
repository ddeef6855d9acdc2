import { add, clone, noGrad, sub } from '../../autograd/index.ts';
import type { Module } from '../module.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { Parameter, parameter } from '../parameter.ts';
import type { LoraConfig } from './config.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import type { BaseModel, Target } from './targets.ts';

/** Layers whose output a bias is added to. */
type Biased = Module & { readonly bias: Parameter };
const hasBias = (module: Module): module is Biased =>
  [Linear, Conv1D, LayerNorm].some((kind) => module instanceof kind) && (module as Biased).bias instanceof Parameter;

/**
 * Biases that are trained with an adapter, as copies that take the place of the base's while it is active.
 * Error, one line: a bias that is not added to the output of its module.
 */
export function trainedBiases(
  model: BaseModel,
  { bias }: Pick<LoraConfig, 'bias'>,
  targets: readonly Target[],
  isWhole: (path: string) => boolean,
): LayerAdapter[] {
  if (bias === 'none') return [];
  const adapted = new Set<Module>(targets.map(({ layer }) => layer));
  const biased = model
    .namedModules()
    .filter((entry): entry is [string, Biased] => hasBias(entry[1]) && !isWhole(entry[0]));
  const chosen = bias === 'all' ? biased : biased.filter(([, layer]) => adapted.has(layer));
  const first = new Map(chosen.map((entry) => [entry[1].bias, entry])); // a tied one once
  if (bias === 'all') {
    const odd = model.namedParameters().find(([key, x]) => /(^|\.)bias$/.test(key) && !first.has(x) && !isWhole(key));
    if (odd)
      throw new Error(
        `adapter: bias: 'all' cannot train ${odd[0]}, which is not added to a layer's output; use 'lora_only'`,
      );
  }
  return [...first.values()].map(([path, layer]): LayerAdapter => {
    const own = parameter(layer.bias.shape, () => noGrad(() => clone(layer.bias)));
    return {
      path,
      layer,
      parameters: [[adapted.has(layer) ? 'base_layer.bias' : 'bias', own]],
      after: (output) => add(output, sub(own, layer.bias)),
      merged: (name) => (name === 'bias' ? own : undefined),
    };
  });
}
