import { Module } from '../module.ts';
import type { Member } from '../module.ts';
import { trainedBiases } from './bias.ts';
import { hasVirtualTokens } from './config.ts';
import type { AdapterConfig, LayerConfig } from './config.ts';
import { ia3Layer, settleIA3 } from './ia3.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import { loraLayer } from './lora.ts';
import { headsOf, selectTargets, taskTypeOf } from './targets.ts';
import type { BaseModel, Target } from './targets.ts';
import { virtualTokens } from './virtual-tokens.ts';
import type { PromptTokenizer, VirtualTokens } from './virtual-tokens.ts';
import { wholeModules } from './whole-module.ts';
import type { WholeModule } from './whole-module.ts';

/** The selection of kinds of adapters that have no settings for it. */
const everyLayer = { layersToTransform: null, layersPattern: null };

export interface AdapterOptions {
  /** Whether it is to be trained on. */
  readonly trainable: boolean;
  /** Turns the text of prompt tuning's first values into tokens. */
  readonly tokenizer?: PromptTokenizer | undefined;
}

/** Keys of an adapter of layers begin so in its file: PEFT's model holds the base in `base_model.model`. */
export const keyPrefix = 'base_model.model.';

/**
 * The parameters of one adapter, by the keys that they have in PEFT's files, and what it does to the layers
 * of its model.
 */
export class Adapter extends Module {
  readonly name: string;
  /** With the layers named that `targetModules` stands for. */
  readonly config: AdapterConfig;
  readonly layers: readonly LayerAdapter[];
  /** Those among the layers that are copies of the base's biases, which PEFT trains in their place. */
  readonly biases: readonly LayerAdapter[];
  readonly wholes: readonly WholeModule[];
  /** What is read before every text. */
  readonly virtual: VirtualTokens | undefined;
  /** Whether its parameters are trained while it is active. */
  trainable: boolean;

  constructor(name: string, model: BaseModel, settings: AdapterConfig, { trainable, tokenizer }: AdapterOptions) {
    super();
    this.name = name;
    this.trainable = trainable;
    const taskType = settings.taskType ?? taskTypeOf(model);
    const heads = (taskType !== null && headsOf[taskType]) || [];
    const modulesToSave =
      heads.length > 0 ? [...new Set([...(settings.modulesToSave ?? []), ...heads])] : settings.modulesToSave;
    this.wholes = wholeModules(model, modulesToSave, heads);
    if (hasVirtualTokens(settings)) {
      this.virtual = virtualTokens(model, settings, taskType, tokenizer);
      this.config = Object.freeze({ ...this.virtual.config, taskType, modulesToSave });
      [this.layers, this.biases] = [[], []];
      return;
    }
    const given: LayerConfig = settings.peftType === 'IA3' ? settleIA3(settings, model) : settings;
    const { targets, targetModules } = selectTargets(model, { ...everyLayer, ...given, modulesToSave });
    const fanInFanOut = targets.some(({ layer }) => layer.constructor.name === 'Conv1D');
    this.config = Object.freeze({ ...given, taskType, modulesToSave, targetModules, fanInFanOut });
    const isWhole = (path: string): boolean =>
      this.wholes.some((whole) => path === whole.path || path.startsWith(`${whole.path}.`));
    this.biases = given.peftType === 'LORA' ? trainedBiases(model, given, targets, isWhole) : [];
    const layerOf = (target: Target): LayerAdapter =>
      given.peftType === 'IA3' ? ia3Layer(target, given) : loraLayer(target, given);
    this.layers = [...targets.map(layerOf), ...this.biases];
  }

  protected override members(): [string, Member][] {
    // PEFT puts virtual tokens on the model itself, and adapters of layers on a model of its own.
    const prefix = this.virtual ? 'base_model.' : keyPrefix;
    return [
      ...(this.virtual ? [['prompt_embeddings', this.virtual.table] as [string, Member]] : []),
      ...this.layers.flatMap(({ path, parameters }) =>
        parameters.map(([key, x]): [string, Member] => [`${prefix}${path}.${key}`, x]),
      ),
      ...this.wholes.map(({ path, copy }): [string, Member] => [`${prefix}${path}`, copy]),
    ];
  }
}
