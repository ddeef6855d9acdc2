import * as z from 'zod';
import type { JsonObject } from '../../common/json-file.ts';
import { checkHeads, defineConfig } from '../config.ts';
import type { HeadSizes } from '../config.ts';
import { showValue } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { problemTypes } from '../transformer/encoder-heads.ts';

const size = z.int().min(1);
const probability = z.number().min(0).max(1);
const names = Object.keys(activations) as [ActivationName, ...ActivationName[]];

/**
 * The settings of BERT with Transformers' defaults, those of bert-base-uncased; other encoders take most of
 * them.
 */
export const bertShape = {
  vocabSize: size.default(30522),
  hiddenSize: size.default(768),
  numHiddenLayers: z.int().min(0).default(12),
  numAttentionHeads: size.default(12),
  intermediateSize: size.default(3072),
  hiddenAct: z.enum(names).default('gelu'),
  hiddenDropoutProb: probability.default(0.1),
  attentionProbsDropoutProb: probability.default(0.1),
  maxPositionEmbeddings: size.default(512),
  typeVocabSize: size.default(2),
  initializerRange: z.number().min(0).default(0.02),
  layerNormEps: z.number().positive().default(1e-12),
  padTokenId: z.int().min(0).nullable().default(0),
  /** Dropout before a classifier; null: hiddenDropoutProb. */
  classifierDropout: probability.nullable().default(null),
  /** The kind of the labels of a sequence; null: told from the first labels given. */
  problemType: z.enum(problemTypes).nullable().default(null),
  tieWordEmbeddings: z.boolean().default(true),
};

/** The settings of encoders whose layers are BERT's own. */
export const encoderShape = {
  ...bertShape,
  /**
   * Heads that are gone from layers, by the number of the layer: `{ 0: [2, 5] }`, as Transformers 4 writes
   * `pruned_heads`. Transformers 5 cannot read such a model.
   */
  prunedHeads: z
    .record(z.string().regex(/^\d+$/), z.array(z.int().min(0)))
    .optional()
    .transform((heads) => (heads && Object.keys(heads).length > 0 ? heads : undefined)),
};

/** Those of the settings that are real numbers. */
export const bertFloats = [
  'hiddenDropoutProb',
  'attentionProbsDropoutProb',
  'initializerRange',
  'layerNormEps',
  'classifierDropout',
];

interface EncoderSizes extends HeadSizes {
  readonly padTokenId: number | null;
  readonly vocabSize: number;
  readonly numHiddenLayers?: number;
  readonly prunedHeads?: Readonly<Record<string, readonly number[]>> | undefined;
}

/** The fault of an encoder's settings as a whole, if there is one. */
export function checkEncoder(values: EncoderSizes): string | undefined {
  const { padTokenId, vocabSize } = values;
  const wrong = checkHeads(values);
  if (wrong !== undefined) return wrong;
  if (padTokenId !== null && padTokenId >= vocabSize)
    return `pad_token_id ${padTokenId} must be below vocab_size ${vocabSize}`;
  return checkPrunedHeads(values);
}

function checkPrunedHeads(values: EncoderSizes): string | undefined {
  const { prunedHeads = {}, numHiddenLayers: layers = 0, numAttentionHeads: heads } = values;
  for (const [layer, gone] of Object.entries(prunedHeads)) {
    if (Number(layer) >= layers) return `pruned_heads names layer ${layer}, and there are ${layers}`;
    const odd = gone.find((head, i) => head >= heads || gone.indexOf(head) !== i);
    if (odd !== undefined)
      return `pruned_heads of layer ${layer} has ${odd}, which is there twice or is none of the ${heads} heads`;
    if (gone.length === heads) return `pruned_heads takes all ${heads} heads of layer ${layer}; leave one`;
  }
  return undefined;
}

/** The fault of a config.json that asks for what the encoder `name` cannot do. */
export const checkEncoderJson =
  (name: string) =>
  (json: JsonObject): string | undefined => {
    const position = json['position_embedding_type'] ?? 'absolute';
    if (position !== 'absolute')
      return `position_embedding_type ${showValue(position)} is not supported, only "absolute" is`;
    for (const key of ['is_decoder', 'add_cross_attention']) {
      if (json[key] === true) return `${key} is true, but this ${name} is an encoder; load an encoder checkpoint`;
    }
    return undefined;
  };

/**
 * BERT's settings: config.json in camelCase. `BertConfig.create({ hiddenSize: 128 })` makes a checked config;
 * what is not given has Transformers' default.
 */
export const BertConfig = defineConfig('bert', encoderShape, {
  floats: bertFloats,
  check: checkEncoder,
  checkJson: checkEncoderJson('BERT'),
});

export type BertConfig = ReturnType<typeof BertConfig.create>;
export type BertSettings = NonNullable<Parameters<typeof BertConfig.create>[0]>;
