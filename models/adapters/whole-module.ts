import { noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Module } from '../module.ts';
import { showText } from '../names.ts';
import { modelOf } from '../nn/changed-layers.ts';
import { PackedParameter } from '../nn/packed-parameter.ts';
import { postponeInit } from '../parameter.ts';
import type { BaseModel } from './targets.ts';

/** A module that an adapter trains whole, and the copy that takes its place. */
export interface WholeModule {
  readonly path: string;
  readonly original: Module;
  readonly copy: Module;
}

/**
 * Copies of the modules whose names end in one of `names`, with the same values. Heads that a class lacks are
 * passed over (`optional`); other names must be there. Error, one line: a name that no module has.
 */
export function wholeModules(
  model: BaseModel,
  names: readonly string[] | null,
  optional: readonly string[] = [],
): WholeModule[] {
  if (names === null) return [];
  const all = model.namedModules();
  const missing = names.find((name) => !optional.includes(name) && !all.some(([path]) => path.endsWith(name)));
  if (missing !== undefined)
    throw new Error(`adapter: ${model.constructor.name} has no module "${showText(missing)}" of modulesToSave`);
  const chosen = all.filter(([path]) => path !== '' && names.some((name) => path.endsWith(name)));
  if (chosen.length === 0) return [];
  // A model of the same class and config has a module of the same make there; its weights take no memory.
  const { module: fresh } = postponeInit(() =>
    modelOf(model.constructor as new (config: BaseModel['config']) => BaseModel, model.config),
  );
  for (const buffer of fresh.buffers()) buffer.storage.free();
  const made = new Map(fresh.namedModules());
  return chosen.map(([path, original]) => {
    const copy = made.get(path);
    if (!copy) throw new Error(`adapter: ${path} was added to the model; modulesToSave takes those of its class`);
    copy.loadStateDict(noGrad(() => elementsOf(original)));
    followMode(copy, original);
    return { path, original, copy };
  });
}

/** A module's tensors, packed ones as the elements that they stand for: the copy is trained. */
function elementsOf(module: Module): Map<string, Tensor> {
  const state = [...module.stateDict()];
  return new Map(state.map(([key, x]) => [key, x instanceof PackedParameter ? x.elements() : x]));
}

/** Lets a copy and all in it be in training or evaluation mode as the original is. */
function followMode(copy: Module, original: Module): void {
  const others = new Map(original.namedModules());
  for (const [path, module] of copy.namedModules()) {
    const other = others.get(path)!;
    Object.defineProperty(module, 'training', {
      get: () => other.training,
      set: (value: boolean) => void (other.training = value),
      configurable: true,
    });
  }
}
