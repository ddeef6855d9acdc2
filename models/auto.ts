import { join } from 'node:path';
import type { ModelConfig } from './config.ts';
import * as families from './families.ts';
import type { Generative } from './generation/decoder.ts';
import { readJsonFile } from '../common/json-file.ts';
import { readModelFolder, resolveModelFolder } from './io/resolve.ts';
import { Module } from './module.ts';
import { showValue } from './names.ts';
import { PreTrainedModel } from './pretrained.ts';
import type { LoadOptions, PreTrainedClass } from './pretrained.ts';
import { CausalLM } from './transformer/causal-lm.ts';

type AnyModel = PreTrainedModel<ModelConfig>;
type AnyClass = PreTrainedClass<ModelConfig, unknown, AnyModel> & {
  readonly prototype: AnyModel;
  fromPretrained(id: string, overrides: unknown, options?: LoadOptions): Promise<AnyModel>;
};

/** Loads a model of one kind from a folder. */
type Loader<M> = (folder: string, options?: LoadOptions) => Promise<M>;

/** Whether a class computes something: `BertPreTrainedModel` is what others have in common. */
const isWhole = ({ forward }: AnyModel): boolean => forward !== Module.prototype.forward;

/** Every class that a config.json may name, by that name. */
const classes: ReadonlyMap<string, AnyClass> = new Map(
  Object.values(families).flatMap((value: unknown): [string, AnyClass][] =>
    typeof value === 'function' && value.prototype instanceof PreTrainedModel && isWhole(value.prototype)
      ? [[value.name, value as unknown as AnyClass]]
      : [],
  ),
);

/** How each model_type of config.json is loaded as the class of a kind. */
function loadersOf<M>(isOfKind: (prototype: AnyModel) => boolean): Readonly<Record<string, Loader<M>>> {
  const found = [...classes.values()].filter(({ prototype }) => isOfKind(prototype));
  return Object.fromEntries(
    found.map((kind): [string, Loader<M>] => [
      kind.configFormat.modelType,
      async (folder, options) => (await kind.fromPretrained(folder, {}, options)) as unknown as M,
    ]),
  );
}

/** Loads models that predict the next token, by model_type: to train them on, or to adapt them. */
export const causalLoaders = loadersOf<CausalLM>((prototype) => prototype instanceof CausalLM);

/** Loads models that generate texts, by model_type: decoders and encoder-decoders. */
export const generativeLoaders = loadersOf<Generative>((prototype) => 'decoder' in prototype);

/**
 * Loads a model as the class that its config.json names under `architectures`, the one it was saved as.
 * Errors: those of `fromPretrained`; a class that is not here.
 */
export async function loadModel(id: string, options: LoadOptions = {}): Promise<AnyModel> {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, () => loadNamed(folder, options));
}

async function loadNamed(folder: string, options: LoadOptions): Promise<AnyModel> {
  const path = join(folder, 'config.json');
  const { architectures } = await readJsonFile(path);
  const name = Array.isArray(architectures) ? String(architectures[0]) : '';
  const found = classes.get(name);
  if (!found)
    throw new Error(
      `${path}: architectures is ${showValue(architectures)}, where one of ${[...classes.keys()].join(', ')} ` +
        'is needed; load it with the class you want',
    );
  return found.fromPretrained(folder, undefined, options);
}
