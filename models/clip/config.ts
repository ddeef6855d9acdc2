import * as z from 'zod';
import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { checkHeads, defineConfig, outsideVocabulary } from '../config.ts';
import type { ConfigFormat } from '../config.ts';
import { kinds } from '../transformer/decoder-config.ts';
import { checkPictureEncoder, pictureKinds } from '../vit/config.ts';

const { size, activation, probability, epsilon, token } = kinds;
const scale = z.number().min(0);

/** Settings that both towers have. */
const tower = {
  projectionDim: size.default(512),
  numHiddenLayers: z.int().min(0).default(12),
  hiddenAct: activation.default('quick_gelu'),
  layerNormEps: epsilon.default(1e-5),
  attentionDropout: probability.default(0),
  initializerRange: scale.default(0.02),
  initializerFactor: scale.default(1),
};

const floats = ['layerNormEps', 'attentionDropout', 'initializerRange', 'initializerFactor', 'logitScaleInitValue'];

/** Without names of labels, which towers have not; of a file of the whole model, the part of this tower. */
function ofTower<C extends CLIPTowerConfig, I>(base: ConfigFormat<C, I>, part: string): ConfigFormat<C, I> {
  return {
    ...base,
    fromJson(json, file, overrides) {
      if (json['model_type'] !== 'clip') return base.fromJson(json, file, overrides);
      const { projection_dim = base.create().projectionDim } = json; // the one that the whole model goes by
      return base.fromJson({ ...partOf(json, part, file), projection_dim }, `${file}: ${part}`, overrides);
    },
    toJson: (config) => withoutLabels(base.toJson(config)),
  };
}

type CLIPTowerConfig = ReturnType<typeof textBase.create> | ReturnType<typeof visionBase.create>;

function withoutLabels({ id2label: _, label2id: __, ...json }: JsonObject): JsonObject {
  return json;
}

/** The settings of a tower in a file of the whole model. Old files have them a second time, which counts. */
function partOf(json: JsonObject, part: string, file: string): JsonObject {
  const [own, again] = [json[part] ?? {}, json[`${part}_dict`] ?? {}];
  if (!isJsonObject(own) || !isJsonObject(again))
    throw new Error(`${file}: ${part} must hold the settings of a tower of CLIP`);
  return { ...own, ...again };
}

const textBase = defineConfig(
  'clip_text_model',
  {
    ...tower,
    vocabSize: size.default(49408),
    hiddenSize: size.default(512),
    intermediateSize: size.default(2048),
    numAttentionHeads: size.default(8),
    maxPositionEmbeddings: kinds.positions.default(77),
    padTokenId: token.default(1),
    bosTokenId: token.default(49406),
    /**
     * The token whose vector stands for the text. 2 means, as in files of before 2023: the one with the
     * highest number.
     */
    eosTokenId: z.int().min(0).default(49407),
  },
  { floats, check: checkHeads },
);

const visionBase = defineConfig(
  'clip_vision_model',
  {
    ...tower,
    hiddenSize: size.default(768),
    intermediateSize: size.default(3072),
    numAttentionHeads: size.default(12),
    numChannels: pictureKinds.channels.default(3),
    imageSize: size.default(224),
    patchSize: size.default(32),
  },
  { floats, check: checkPictureEncoder },
);

/** The settings of CLIP's encoder of texts; it is read from files of the whole model too. */
export const CLIPTextConfig = ofTower(textBase, 'text_config');
export type CLIPTextConfig = ReturnType<typeof textBase.create>;

/** The settings of CLIP's encoder of pictures; it is read from files of the whole model too. */
export const CLIPVisionConfig = ofTower(visionBase, 'vision_config');
export type CLIPVisionConfig = ReturnType<typeof visionBase.create>;

/** A config of a tower that was checked already. */
const whole = <C extends { readonly modelType: string }>(modelType: string) =>
  z.custom<C>((value) => (value as C | undefined)?.modelType === modelType);

const base = defineConfig(
  'clip',
  {
    textConfig: whole<CLIPTextConfig>('clip_text_model'),
    visionConfig: whole<CLIPVisionConfig>('clip_vision_model'),
    /** Width of the space that both towers project to. */
    projectionDim: size.default(512),
    /** The logarithm of what cosines are multiplied by, at first: ln(1 / 0.07). */
    logitScaleInitValue: z.number().default(2.6592),
    initializerFactor: scale.default(1),
  },
  {
    floats,
    check: ({ textConfig: { vocabSize, eosTokenId } }) =>
      eosTokenId === 2 ? undefined : outsideVocabulary(vocabSize, { 'text_config.eos_token_id': eosTokenId }),
  },
);

export type CLIPConfig = ReturnType<typeof base.create>;

type TextSettings = NonNullable<Parameters<typeof textBase.create>[0]>;
type VisionSettings = NonNullable<Parameters<typeof visionBase.create>[0]>;

/** Settings of CLIP, those of a tower below its name; what is not given is default. */
export interface CLIPSettings {
  readonly textConfig?: TextSettings;
  readonly visionConfig?: VisionSettings;
  readonly projectionDim?: number;
  readonly logitScaleInitValue?: number;
  readonly initializerFactor?: number;
}

/** CLIP's settings: config.json in camelCase, with those of the towers in `textConfig` and `visionConfig`. */
export const CLIPConfig: ConfigFormat<CLIPConfig, CLIPSettings> = {
  modelType: 'clip',
  create({ textConfig = {}, visionConfig = {}, ...settings } = {}) {
    const projected = settings.projectionDim === undefined ? {} : { projectionDim: settings.projectionDim };
    return base.create({
      ...settings,
      textConfig: textBase.create({ ...projected, ...textConfig }),
      visionConfig: visionBase.create({ ...projected, ...visionConfig }),
    });
  },
  fromJson(json, file, { textConfig, visionConfig, ...overrides } = {}) {
    const { text_config_dict: _, vision_config_dict: __, ...rest } = json;
    const [text, vision] = ['text_config', 'vision_config'].map((part) => partOf(json, part, file)) as [
      JsonObject,
      JsonObject,
    ];
    const read = {
      ...rest,
      text_config: textBase.fromJson(text, `${file}: text_config`, textConfig),
      vision_config: visionBase.fromJson(vision, `${file}: vision_config`, visionConfig),
    };
    return base.fromJson(read, file, Object.keys(overrides).length > 0 ? overrides : undefined);
  },
  toJson: (config) => ({
    ...withoutLabels(base.toJson(config)),
    text_config: CLIPTextConfig.toJson(config.textConfig),
    vision_config: CLIPVisionConfig.toJson(config.visionConfig),
  }),
  toText: (json) => base.toText(json),
};
