import type { Tensor } from '../../autograd/index.ts';

/**
 * Parameters in two groups: with weight decay, and (biases, and the weights of norms, told by having one
 * axis) without, the usual practice for BERT.
 */
export function decayGroups(
  parameters: Iterable<readonly [name: string, parameter: Tensor]>,
  weightDecay: number,
): { parameters: Tensor[]; weightDecay: number }[] {
  const trained = [...parameters].filter(([, x]) => x.requiresGrad);
  const decays = ([name, x]: readonly [string, Tensor]): boolean => x.ndim > 1 && !/bias$|LayerNorm/.test(name);
  const groups = [
    { parameters: trained.filter(decays).map(([, x]) => x), weightDecay },
    { parameters: trained.filter((entry) => !decays(entry)).map(([, x]) => x), weightDecay: 0 },
  ];
  return groups.filter((group) => group.parameters.length > 0);
}
