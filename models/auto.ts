import { join } from '../common/platform.ts';
import type { Tensor } from '../autograd/index.ts';
import type { BertInputs } from './bert/model.ts';
import type { LabelSettings, ModelConfig } from './config.ts';
import * as families from './families.ts';
import type { Generative } from './generation/decoder.ts';
import { readModelJson } from './io/model-files.ts';
import { modelParts, readModelFolder, resolveModelFolder } from './io/resolve.ts';
import { Module } from './module.ts';
import { showValue } from './names.ts';
import { modelOf } from './nn/changed-layers.ts';
import { PreTrainedModel } from './pretrained.ts';
import type { LoadOptions, PreTrainedClass } from './pretrained.ts';
import { CausalLM } from './transformer/causal-lm.ts';
import type {
  AnswerLabels,
  EncoderSettings,
  MaskedTokens,
  PooledOutput,
  QuestionAnsweringOutput,
} from './transformer/encoder-heads.ts';
import type { ImageInputs } from './transformer/inputs.ts';
import type { HeadOutput } from './transformer/outputs.ts';

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

/** An encoder of any family, from BERT's inputs and perhaps labels to what its head gives. */
type EncoderWith<Labels, Output> = PreTrainedModel<EncoderSettings> & { forward(inputs: BertInputs & Labels): Output };

/** A classifier of pictures, from pixels and perhaps labels to its logits. */
export type ImageClassificationModel = PreTrainedModel<ModelConfig> & {
  forward(inputs: ImageInputs & { readonly labels?: Tensor }): HeadOutput;
};

/**
 * The models of all families of encoders, by what they compute on top of their family's base, as the ending
 * of their class's name says; '' for the base itself.
 */
export interface EncodersByHead {
  '': EncoderWith<unknown, PooledOutput>;
  ForMaskedLM: EncoderWith<MaskedTokens, HeadOutput>;
  ForSequenceClassification: EncoderWith<{ readonly labels?: Tensor }, HeadOutput>;
  ForTokenClassification: EncoderWith<{ readonly labels?: Tensor }, HeadOutput>;
  ForQuestionAnswering: EncoderWith<AnswerLabels, QuestionAnsweringOutput>;
}
export type Head = keyof EncodersByHead;

/** Those, and models with heads on encoders of pictures. */
export interface ModelsByHead extends EncodersByHead {
  ForImageClassification: ImageClassificationModel;
}
export type MaskedLanguageModel = EncodersByHead['ForMaskedLM'];
export type SequenceClassificationModel = EncodersByHead['ForSequenceClassification'];
export type TokenClassificationModel = EncodersByHead['ForTokenClassification'];
export type QuestionAnsweringModel = EncodersByHead['ForQuestionAnswering'];

/** Settings that replace those of config.json, and what every family calls by a name of its own. */
export interface HeadSettings extends LabelSettings {
  readonly problemType?: EncoderSettings['problemType'];
  /** Probability of dropping hidden values and weights of attention. */
  readonly dropout?: number;
}

export interface HeadOptions extends LoadOptions {
  readonly settings?: HeadSettings;
  /** Whether the head may be new, to be trained; default false: nothing would have taught it. */
  readonly newHead?: boolean;
}

/**
 * Loads a model of the family that its config.json names, with this head, as Transformers' AutoModelFor...
 * do. Errors, each one line: those of `fromPretrained`; a family that is not here or has no such head;
 * without `newHead` a head that the folder has no weights for.
 *
 * @example
 * const model = await loadWithHead('models/pretrained/bert-small', 'ForSequenceClassification', {
 *   settings: { labels: ['ham', 'spam'] },
 *   newHead: true,
 * });
 * model.constructor.name; // 'BertForSequenceClassification'
 */
export async function loadWithHead<H extends keyof ModelsByHead>(
  id: string,
  head: H,
  { settings, newHead = false, ...options }: HeadOptions = {},
): Promise<ModelsByHead[H]> {
  const folder = await resolveModelFolder(id, options);
  const { config } = await modelParts(folder, options);
  const path = join(config, 'config.json');
  const { model_type: type, architectures } = await readModelJson(config, 'config.json');
  const ofFamily = [...classes.values()].filter(({ configFormat }) => configFormat.modelType === type);
  const found = ofFamily.find(({ name }) => (head === '' ? /(?<!For.*)Model$/.test(name) : name.endsWith(head)));
  if (!found)
    throw new Error(
      `${path}: no model of the kind ${head.replace(/^For/, '') || 'Model'} is here for model_type ` +
        `${showValue(type)}; ` +
        `its classes here are ${ofFamily.map(({ name }) => name).join(', ') || 'none'}`,
    );
  // That the base alone needs no head, and that another head than a new one is not used.
  const { baseModelPrefix } = found.keyRules;
  const goesWithoutSaying = (line: string): boolean => {
    const unused = /^not used by .*?: (.*)$/.exec(line)?.[1];
    const isOfBase = (key: string): boolean => key.startsWith(`${baseModelPrefix}.`) && !key.includes('pooler.');
    return unused !== undefined && (head === '' || (newHead && !unused.split(', ').some(isOfBase)));
  };
  const fresh: string[] = [];
  const { log = (line: string): void => console.error(line) } = options;
  const model = await found.fromPretrained(folder, settings && settingsFor(found, settings), {
    // A head for other labels is new too.
    ...(newHead ? { ignoreMismatchedSizes: true } : {}),
    ...options,
    log: (line) => {
      const isNew = line.startsWith('newly initialised');
      if (isNew && !newHead) fresh.push(line);
      else if (!isNew && !goesWithoutSaying(line)) log(line);
    },
  });
  if (head !== '' && fresh.length > 0)
    throw new Error(
      `${folder} holds a ${showValue(Array.isArray(architectures) ? architectures[0] : architectures)} without the ` +
        `head of ${found.name} (${fresh[0]!.replace(/ \(train them before use\)$/, '')}); fine-tune it for that first`,
    );
  return model as unknown as ModelsByHead[H];
}

/** Settings by the names that a family's config has for them. */
function settingsFor({ configFormat }: AnyClass, { dropout, ...rest }: HeadSettings): object {
  if (dropout === undefined) return rest;
  const names = [
    ...['dropout', 'attentionDropout', 'hiddenDropoutProb', 'attentionProbsDropoutProb', 'hiddenDropout'],
    ...['residPdrop', 'embdPdrop', 'attnPdrop'],
  ];
  const known = configFormat.create();
  return { ...rest, ...Object.fromEntries(names.filter((name) => name in known).map((name) => [name, dropout])) };
}

/**
 * Width of the hidden states and number of layers, which families call by names of their own.
 *
 * @example
 * const config = BertConfig.create({ hiddenSize: 128, numHiddenLayers: 2, numAttentionHeads: 2 });
 * encoderSizes(config); // { width: 128, layers: 2 }
 */
export function encoderSizes(config: ModelConfig): { readonly width: number; readonly layers: number } {
  const named = config as unknown as Readonly<Record<string, number>>;
  const { hiddenSize, dim, nEmbd, numHiddenLayers, nLayers, nLayer } = named;
  return { width: (hiddenSize ?? dim ?? nEmbd)!, layers: (numHiddenLayers ?? nLayers ?? nLayer)! };
}

/**
 * The same class and config as a model's, with nothing learnt; seed it with `manualSeed`.
 *
 * @example
 * const trained = await loadModel('models/pretrained/bert-small');
 * untrainedLike(trained).constructor.name; // 'BertForMaskedLM'
 */
export function untrainedLike<M extends AnyModel>(model: M): M {
  return modelOf(model.constructor as new (config: M['config']) => M, model.config);
}

/**
 * Loads a model as the class that its config.json names under `architectures`, the one it was saved as.
 * Errors: those of `fromPretrained`; a class that is not here.
 *
 * @example
 * const model = await loadModel('models/pretrained/bert-small');
 * model.constructor.name; // 'BertForMaskedLM'
 */
export async function loadModel(id: string, options: LoadOptions = {}): Promise<AnyModel> {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, () => loadNamed(folder, options));
}

async function loadNamed(folder: string, options: LoadOptions): Promise<AnyModel> {
  const { config } = await modelParts(folder, options);
  const path = join(config, 'config.json');
  const { architectures, model_type: type } = await readModelJson(config, 'config.json');
  const name = Array.isArray(architectures) ? String(architectures[0]) : '';
  const found = classes.get(name);
  if (!found) {
    const all = [...classes.values()];
    const ofFamily = all.filter(({ configFormat }) => configFormat.modelType === type).map((each) => each.name);
    const types = [...new Set(all.map(({ configFormat }) => configFormat.modelType))];
    throw new Error(
      `${path}: architectures is ${showValue(architectures)}, where ` +
        (ofFamily.length > 0
          ? `one of ${ofFamily.join(', ')} is needed; load it with the class you want`
          : `a class of a family here is needed, whose model_type is one of ${types.join(', ')}`),
    );
  }
  return found.fromPretrained(folder, undefined, options);
}
