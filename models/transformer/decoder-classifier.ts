// Decoders that classify texts, each once for all families, as Transformers'
// GenericForSequenceClassification.
import { arange, logicalAnd, max, ne, select, where } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { RowLimits } from '../bert/model.ts';
import type { ModelConfig } from '../config.ts';
import type { Module } from '../module.ts';
import { Linear } from '../nn/linear.ts';
import { rowsAt } from '../nn/rows-at.ts';
import { normalInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import type { PreTrainedClass } from '../pretrained.ts';
import type { DecoderConfig } from './decoder-config.ts';
import { labelLoss } from './encoder-heads.ts';
import type { EncoderSettings } from './encoder-heads.ts';
import type { DecoderInputs } from './inputs.ts';
import { internalsOf } from './outputs.ts';
import type { EncoderOutput, HeadOutput } from './outputs.ts';
import { positionsOf } from './rotary-decoder.ts';

/** What the head reads of a decoder's config. */
export interface ClassifierConfig extends ModelConfig, Pick<EncoderSettings, 'problemType'> {
  /** The token that rows are filled up with; null: the attention mask alone tells where a text ends. */
  readonly padTokenId: number | null;
}

/** What families call by names of their own. */
interface Sizes<C> {
  /** Width of the hidden states. */
  readonly width: (config: C) => number;
  readonly positions: (config: C) => number;
  readonly initializerRange: (config: C) => number;
}

export interface DecoderClassifierInputs extends Omit<DecoderInputs, 'cache'> {
  readonly labels?: Tensor;
}

/**
 * Classifies texts, or gives them scores: a linear layer without a bias on what the decoder makes of a text's
 * last token, which has seen all of them. `config.problemType` gives the loss, as of encoders.
 */
export interface DecoderClassifier<C extends ClassifierConfig, M> extends PreTrainedModel<C> {
  readonly model: M;
  readonly score: Linear;
  /** How long rows may be, for pipelines. */
  readonly rowLimits: RowLimits;

  /**
   * Logits (B, numLabels). Labels: class numbers [B]; or numbers [B, numLabels] (regression to one number:
   * [B] too). A text's last token is the last one that is not `padTokenId` and that the mask shows.
   */
  forward(inputs: DecoderClassifierInputs): HeadOutput;
}

type ClassifierClass<C extends ClassifierConfig, I, M> = Omit<typeof PreTrainedModel, 'prototype'> &
  (new (config: C) => DecoderClassifier<C, M>) &
  Pick<PreTrainedClass<C, I, PreTrainedModel<C>>, 'configFormat' | 'keyRules'>;

/**
 * The class with a classifier on a decoder, for the family's own to extend, which bears Transformers' name.
 */
export function classifierOf<
  C extends ClassifierConfig,
  I,
  M extends PreTrainedModel<C> & { forward(inputs: DecoderInputs): EncoderOutput },
>(decoder: PreTrainedClass<C, I, M>, { width, positions, initializerRange }: Sizes<C>): ClassifierClass<C, I, M> {
  const { configFormat, keyRules } = decoder;
  class ForSequenceClassification extends PreTrainedModel<C> {
    static readonly configFormat = configFormat;
    static readonly keyRules = keyRules;
    static override readonly keys = { model: keyRules.baseModelPrefix };

    readonly model: M;
    readonly score: Linear;

    constructor(config: C) {
      super(config);
      this.model = new decoder(config);
      this.score = new Linear(width(config), config.numLabels, {
        bias: false,
        weightInit: normalInit(initializerRange(config)),
      });
    }

    get rowLimits(): RowLimits {
      return { positions: positions(this.config), tokenTypes: false };
    }

    override forward(inputs: DecoderClassifierInputs): HeadOutput {
      const { labels, inputIds, attentionMask, positionIds, outputHiddenStates, outputAttentions } = inputs;
      const read = { inputIds, attentionMask, positionIds, outputHiddenStates, outputAttentions };
      const output = this.model.forward(read); // (B, T, D)
      const last = rowsAt(output.lastHiddenState, lastTokens(inputs, this.config.padTokenId)); // (B, 1, D)
      const logits = this.score.forward(select(last, 1, 0)); // (B, L)
      return { logits, ...(labels ? { loss: labelLoss(this, logits, labels) } : {}), ...internalsOf(output) };
    }
  }
  return ForSequenceClassification;
}

/** The same of a decoder with rotary positions. */
export const rotaryClassifierOf = <
  C extends DecoderConfig & ClassifierConfig,
  I,
  M extends PreTrainedModel<C> & Module & { forward(inputs: DecoderInputs): EncoderOutput },
>(
  decoder: PreTrainedClass<C, I, M>,
): ClassifierClass<C, I, M> =>
  classifierOf(decoder, {
    width: ({ hiddenSize }) => hiddenSize,
    positions: positionsOf,
    initializerRange: (config) => config.initializerRange,
  });

/** The place of each row's last token, [B, 1]; 0 in a row of padding. */
function lastTokens({ inputIds, attentionMask }: DecoderInputs, padTokenId: number | null): Tensor {
  const [batch, length] = inputIds.shape as [number, number];
  const places = arange(0, length, 1, { dtype: 'i32' }).expand(batch, length);
  const seen = attentionMask?.ndim === 2 ? ne(attentionMask, 0) : undefined;
  const told = padTokenId === null ? undefined : ne(inputIds, padTokenId);
  const isToken = seen && told ? logicalAnd(seen, told) : (seen ?? told);
  return max(isToken ? where(isToken, places, 0) : places, 1, { keepDims: true });
}
