import type { ModelConfig } from '../config.ts';
import type { Module } from '../module.ts';
import { listNames, showText, showValue } from '../names.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { Embedding } from '../nn/embedding.ts';
import { Linear } from '../nn/linear.ts';
import type { LoraConfig, TaskType } from './config.ts';

/** A model that adapters are put on. */
export type BaseModel = Module & { readonly config: ModelConfig };

/** A layer that an adapter changes, with its name in the model. */
export interface Target {
  readonly path: string;
  readonly layer: Linear | Conv1D | Embedding;
}

type Selection = Pick<
  LoraConfig,
  'targetModules' | 'excludeModules' | 'layersToTransform' | 'layersPattern' | 'modulesToSave'
>;

/** Layers that PEFT adapts where target_modules is null, by model_type. */
const usualTargets: Readonly<Record<string, readonly string[]>> = {
  bart: ['q_proj', 'v_proj'],
  bert: ['query', 'value'],
  'deberta-v2': ['query_proj', 'value_proj'],
  electra: ['query', 'value'],
  gpt2: ['c_attn'],
  llama: ['q_proj', 'v_proj'],
  mistral: ['q_proj', 'v_proj'],
  qwen2: ['q_proj', 'v_proj'],
  qwen3: ['q_proj', 'v_proj'],
  roberta: ['query', 'value'],
  t5: ['q', 'v'],
};

/** What the class of a model is for, as PEFT names it. */
export function taskTypeOf({ constructor: { name } }: BaseModel): TaskType | null {
  const endings: readonly (readonly [RegExp, TaskType])[] = [
    [/ForSequenceClassification$/, 'SEQ_CLS'],
    [/ForTokenClassification$/, 'TOKEN_CLS'],
    [/ForQuestionAnswering$/, 'QUESTION_ANS'],
    [/ForConditionalGeneration$|MTModel$/, 'SEQ_2_SEQ_LM'],
    [/ForCausalLM$|LMHeadModel$/, 'CAUSAL_LM'],
    [/Model$/, 'FEATURE_EXTRACTION'],
  ];
  return endings.find(([ending]) => ending.test(name))?.[1] ?? null;
}

/** Names of new heads, which learn nothing where they are frozen. */
export const headsOf: Readonly<Partial<Record<TaskType, readonly string[]>>> = {
  SEQ_CLS: ['classifier', 'score'],
  TOKEN_CLS: ['classifier', 'score'],
  QUESTION_ANS: ['qa_outputs'],
};

/**
 * The layers that a config selects, in the order of the model, and `targetModules` that selects them, which
 * goes into the file. Errors, each one line: nothing is selected; a name or a pattern that selects nothing; a
 * module that is no layer an adapter knows.
 */
export function selectTargets(
  model: BaseModel,
  config: Selection,
  usual: readonly string[] | undefined = usualTargets[model.config.modelType],
): { readonly targets: readonly Target[]; readonly targetModules: string | string[] } {
  const type = model.config.modelType;
  const wanted = config.targetModules ?? usual;
  if (!wanted)
    throw new Error(
      `adapter: targetModules is missing, and no layers are usual for model_type ${showValue(type)}; ` +
        "give names of layers, or 'all-linear'",
    );
  const all = model.namedModules();
  const isLeftOut = leavesOut(config);
  if (typeof wanted === 'string' && wanted.toLowerCase() === 'all-linear') {
    const targets = all.flatMap(([path, layer]): Target[] =>
      isLinear(layer) && !isOutput(path, layer, model) && !isLeftOut(path) ? [{ path, layer }] : [],
    );
    if (targets.length === 0) throw new Error(`adapter: ${model.constructor.name} has no linear layers`);
    return { targets, targetModules: shortNames(targets, all) };
  }
  const found = all.filter(([path]) => path !== '' && selects(wanted, path) && isInLayers(config, wanted, path));
  const unused =
    typeof wanted === 'string' ? [] : wanted.filter((name) => !all.some(([path]) => selects([name], path)));
  if (unused.length > 0 || found.length === 0) {
    const layers = [...new Set(all.filter(([, layer]) => isAdaptable(layer)).map(([path]) => lastOf(path)))];
    const what =
      unused.length > 0 ? listNames(unused.map(quoted)) : `that ${describeSelection(wanted, config)} selects`;
    throw new Error(
      `adapter: ${model.constructor.name} has no module ${what}; its layers are called ${listNames(layers, 20)}`,
    );
  }
  const targets = found
    .filter(([path]) => !isLeftOut(path))
    .map(([path, layer]): Target => {
      if (isAdaptable(layer)) return { path, layer };
      throw new Error(
        `adapter: ${path} is a ${layer.constructor.name}; adapters go on Linear, Conv1D and Embedding layers, ` +
          'name those inside of it',
      );
    });
  if (targets.length === 0) throw new Error('adapter: excludeModules and modulesToSave leave no layer to adapt');
  return { targets, targetModules: typeof wanted === 'string' ? wanted : [...wanted] };
}

function describeSelection(wanted: string | readonly string[], config: Selection): string {
  const layers = config.layersToTransform;
  const of = layers === null ? '' : ` in layers ${[layers].flat().join(', ')}`;
  return `${typeof wanted === 'string' ? quoted(wanted) : listNames(wanted.map(quoted))}${of}`;
}

const quoted = (name: string): string => `"${showText(name)}"`;
const lastOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1);

/** Whether names, or ends of names, or a pattern for the whole name, select a module. */
export function selects(wanted: string | readonly string[], path: string): boolean {
  if (typeof wanted === 'string') return pattern(wanted, (text) => `^(?:${text})$`).test(path);
  return wanted.some((name) => path === name || path.endsWith(`.${name}`));
}

/**
 * Whether a module is in one of the layers of `layersToTransform`; a pattern for whole names says that
 * itself.
 */
function isInLayers(config: Selection, wanted: string | readonly string[], path: string): boolean {
  const { layersToTransform: layers, layersPattern } = config;
  if (layers === null || typeof wanted === 'string') return true;
  const stacks = layersPattern === null ? ['[^.]*'] : [layersPattern].flat();
  const index = stacks
    .map((stack) => pattern(stack, (text) => `^(?:|.*?\\.)(?:${text})\\.(\\d+)\\.`).exec(path)?.[1])
    .find((found) => found !== undefined);
  return index !== undefined && [layers].flat().includes(Number(index));
}

/** Tells the modules that `excludeModules` names, and those that are trained whole. */
function leavesOut({ excludeModules, modulesToSave }: Selection): (path: string) => boolean {
  const saved = (modulesToSave ?? []).map((name) => pattern(name, (text) => `^(?:|.*\\.)(?:${text})(?:$|\\.)`));
  return (path) =>
    (excludeModules !== null && selects(excludeModules, path)) || saved.some((expression) => expression.test(path));
}

/** The number that a pattern gives a module, rank or alpha. */
export function byPattern(patterns: Readonly<Record<string, number>>, path: string, otherwise: number): number {
  const found = Object.keys(patterns).find((key) => pattern(key, (text) => `^(?:.*\\.)?(?:${text})$`).test(path));
  return found === undefined ? otherwise : patterns[found]!;
}

/** A pattern of a config as a regular expression. Error, one line: it is none. */
function pattern(text: string, whole: (text: string) => string): RegExp {
  try {
    return new RegExp(whole(text.replaceAll('(?P<', '(?<')));
  } catch (error) {
    throw new Error(`adapter: ${quoted(text)} is no regular expression (${(error as Error).message})`, {
      cause: error,
    });
  }
}

const isLinear = (layer: Module): layer is Linear | Conv1D => layer instanceof Linear || layer instanceof Conv1D;
const isAdaptable = (layer: Module): layer is Target['layer'] => isLinear(layer) || layer instanceof Embedding;

/** Whether a layer gives the scores of tokens, or of classes: 'all-linear' leaves it out, as PEFT does. */
function isOutput(path: string, { weight }: Linear | Conv1D, model: BaseModel): boolean {
  const { vocabSize } = model.config as ModelConfig & { readonly vocabSize?: number };
  const scoresTokens = /(^|\.)(lm_head|decoder|generator_lm_head|vocab_projector|embed_out)$/.test(path);
  const isHead = headsOf[taskTypeOf(model) ?? 'CAUSAL_LM']?.includes(path) ?? false;
  return isHead || (scoresTokens && weight.shape[0] === vocabSize);
}

/** The last parts of the targets' names, where they select the same layers, else the whole names. */
function shortNames(targets: readonly Target[], all: readonly (readonly [string, Module])[]): string[] {
  const short = [...new Set(targets.map(({ path }) => lastOf(path)))].sort();
  const count = all.filter(([path]) => path !== '' && selects(short, path)).length;
  return count === targets.length ? short : targets.map(({ path }) => path).sort();
}
