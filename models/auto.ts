import { join } from 'node:path';
import * as bert from './bert/index.ts';
import type { ModelConfig } from './config.ts';
import { GPT2LMHeadModel, GPT2Model } from './gpt2/index.ts';
import { readJsonFile } from '../common/json-file.ts';
import { resolveModelFolder } from './io/resolve.ts';
import * as llama from './llama/index.ts';
import { MarianModel, MarianMTModel } from './marian/index.ts';
import type { LoadOptions, PreTrainedClass, PreTrainedModel } from './pretrained.ts';
import { PreTrainedModel as Base } from './pretrained.ts';

type AnyModel = PreTrainedModel<ModelConfig>;
type AnyClass = PreTrainedClass<ModelConfig, unknown, AnyModel> & {
  fromPretrained(id: string, overrides: unknown, options: LoadOptions): Promise<AnyModel>;
};

/** A decoder that predicts the next token. */
export type CausalLM = GPT2LMHeadModel | llama.LlamaForCausalLM;

/**
 * How each model_type of config.json is loaded as one: whoever continues texts or trains on the next token
 * asks here.
 */
export const causalLoaders: Readonly<Record<string, (folder: string, options?: LoadOptions) => Promise<CausalLM>>> = {
  gpt2: (folder, options) => GPT2LMHeadModel.fromPretrained(folder, {}, options),
  llama: (folder, options) => llama.LlamaForCausalLM.fromPretrained(folder, {}, options),
  qwen2: (folder, options) => llama.Qwen2ForCausalLM.fromPretrained(folder, {}, options),
  qwen3: (folder, options) => llama.Qwen3ForCausalLM.fromPretrained(folder, {}, options),
};

/** Every class that a config.json may name, by that name. */
const classes: ReadonlyMap<string, AnyClass> = new Map(
  [...Object.values(bert), ...Object.values(llama), GPT2Model, GPT2LMHeadModel, MarianModel, MarianMTModel].flatMap(
    (value: unknown): [string, AnyClass][] =>
      typeof value === 'function' && value.prototype instanceof Base
        ? [[value.name, value as unknown as AnyClass]]
        : [],
  ),
);

/**
 * Loads a model as the class that its config.json names under `architectures`, the one it was saved as.
 * Errors: those of `fromPretrained`; a class that is not here.
 */
export async function loadModel(id: string, options: LoadOptions = {}): Promise<AnyModel> {
  const folder = await resolveModelFolder(id, options);
  const path = join(folder, 'config.json');
  const { architectures } = await readJsonFile(path);
  const name = Array.isArray(architectures) ? String(architectures[0]) : '';
  const found = classes.get(name);
  if (!found)
    throw new Error(
      `${path}: architectures is ${JSON.stringify(architectures)}, where one of ${[...classes.keys()].join(', ')} is needed; load it with the class you want`,
    );
  return found.fromPretrained(folder, undefined, options);
}
