import { assign, clone, noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { keysByTensor } from '../io/state-dict.ts';
import type { Module } from '../module.ts';
import { Parameter } from '../parameter.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import type { BaseModel } from './targets.ts';
import type { WholeModule } from './whole-module.ts';

export interface Merged {
  /** Gives the base its weights back, bit for bit; only of a merge that keeps copies of them. */
  readonly undo: () => void;
  /** Whether a tied weight became two. */
  readonly untied: boolean;
}

/** Writes what adapters change into the weights of their base; `keep` keeps the old ones to undo it. */
export function mergeInto(
  base: BaseModel,
  layers: Iterable<readonly [layer: Module, parts: readonly LayerAdapter[]]>,
  wholes: readonly WholeModule[],
  keep: boolean,
): Merged {
  const keys = keysByTensor(base.stateTensors());
  const steps: (() => void)[] = [];
  let untied = false;
  const put = (owner: Module, before: Tensor, value: Tensor): void => {
    const fields = owner as unknown as Record<string, Tensor>;
    const field = Object.keys(fields).find((name) => fields[name] === before)!;
    if (keys.get(before)!.length > 1) {
      fields[field] = new Parameter(clone(value)).keep();
      fields[field].requiresGrad = false;
      steps.push(() => (fields[field] = before));
      untied = true;
      return;
    }
    if (keep) {
      const copy = clone(before).keep();
      steps.push(() => {
        noGrad(() => assign(before, copy));
        copy.storage.free();
      });
    }
    assign(before, value);
  };
  noGrad(() => {
    for (const [layer, parts] of layers) {
      for (const name of ['weight', 'bias'] as const) {
        const before = (layer as unknown as Record<string, Tensor | undefined>)[name];
        const value = before && parts.reduce((x, { merged }) => merged(name, x) ?? x, before);
        if (value && value !== before) put(layer, before!, value);
      }
    }
    for (const { original, copy } of wholes) {
      const values = copy.stateTensors();
      const owners = new Map(original.namedModules());
      for (const [key, before] of original.stateTensors())
        put(owners.get(key.slice(0, Math.max(0, key.lastIndexOf('.'))))!, before, values.get(key)!);
    }
  });
  const undo = (): void => {
    for (const step of steps.reverse()) step();
  };
  return { undo, untied };
}
