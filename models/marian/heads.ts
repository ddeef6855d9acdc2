import { add, arange, lt, reshape, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Decoder } from '../generation/decoder.ts';
import { isPlainLinear } from '../nn/linear.ts';
import type { Linear } from '../nn/linear.ts';
import { linearTokenLoss, tokenLoss } from '../nn/token-loss.ts';
import { ModuleBuffer } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { lmHead } from '../transformer/causal-lm.ts';
import { checkLossInputs, shiftRight } from '../transformer/inputs.ts';
import type { Seq2SeqLMInputs } from '../transformer/inputs.ts';
import type { Seq2SeqInternals, Seq2SeqLMOutput } from '../transformer/outputs.ts';
import { MarianConfig, targetVocabulary } from './config.ts';
import { MarianModel } from './model.ts';

/**
 * The Transformer for translation (Vaswani et al. 2017; Junczys-Dowmunt et al. 2018, "Marian"): predicts the
 * target's next token from the source and those before. The head's weight is the table of the decoder's
 * embeddings, unless `config.tieWordEmbeddings` is false.
 */
export class MarianMTModel extends PreTrainedModel<MarianConfig> {
  static readonly configFormat = MarianConfig;
  static readonly keyRules = MarianModel.keyRules;

  readonly model: MarianModel;
  /** Added to the logits, [1, V]; not learned. */
  readonly finalLogitsBias: ModuleBuffer;
  readonly lmHead: Linear;

  constructor(config: MarianConfig) {
    super(config);
    const count = targetVocabulary(config);
    this.model = new MarianModel(config);
    this.finalLogitsBias = new ModuleBuffer(zeros([1, count]));
    const { tieWordEmbeddings, initStd: initializerRange } = config;
    this.lmHead = lmHead({ tieWordEmbeddings, initializerRange }, this.model.decoder.embedTokens);
  }

  /**
   * Logits (B, T, V), and with labels the mean cross-entropy of each target token with what is predicted for
   * it. Without decoderInputIds the decoder reads the labels, moved one place to the right.
   */
  override forward(
    inputs: Seq2SeqLMInputs & { readonly labels: Tensor; readonly outputLogits: false },
  ): Seq2SeqInternals & { readonly loss: Tensor };
  override forward(
    inputs: Seq2SeqLMInputs & { readonly labels: Tensor; readonly outputLogits?: true },
  ): Seq2SeqLMOutput & { readonly loss: Tensor };
  override forward(inputs: Seq2SeqLMInputs & { readonly outputLogits?: true }): Seq2SeqLMOutput;
  override forward({
    labels,
    labelSmoothing,
    outputLogits = true,
    ...inputs
  }: Seq2SeqLMInputs): Seq2SeqInternals & Partial<Seq2SeqLMOutput> {
    checkLossInputs(labels, outputLogits);
    const { decoderStartTokenId: start, padTokenId: padding } = this.config;
    const decoderInputIds = inputs.decoderInputIds ?? (labels && shiftRight(labels, { start, padding }));
    const { lastHiddenState: hidden, ...internals } = this.model.forward({ ...inputs, decoderInputIds }); // (B, T, D)
    if (!outputLogits && isPlainLinear(this.lmHead)) {
      const bias = reshape(this.finalLogitsBias, [-1]); // (V)
      return { loss: linearTokenLoss(hidden, this.lmHead.weight, labels!, { bias, labelSmoothing }), ...internals };
    }
    const logits = add(this.lmHead.forward(hidden), this.finalLogitsBias); // (B, T, V)
    return {
      ...(outputLogits ? { logits } : {}),
      ...(labels ? { loss: tokenLoss(logits, labels, { labelSmoothing }) } : {}),
      ...internals,
    };
  }

  /** The model as `generate` uses it. Prompts are sources, with the token that ends them. */
  decoder(): Decoder {
    const { config, model } = this;
    const { vocabSize, maxPositionEmbeddings: positions, decoderStartTokenId: start } = config;
    return {
      vocabSize: targetVocabulary(config),
      positions,
      source: {
        vocabSize,
        positions,
        start,
        read: (inputIds, lengths, cache) => {
          const [batch, length] = inputIds.shape as [number, number];
          const attentionMask = lt(arange(0, length, 1, { dtype: 'i32' }), reshape(lengths, [batch, 1])); // (B, S)
          cache.source.begin(lengths, length);
          model.decoder.readSource(model.encoder.forward({ inputIds, attentionMask }).lastHiddenState, cache);
        },
      },
      hidden: (inputIds, cache) => model.decoder.continueFrom(cache, inputIds),
      logits: (hidden) => add(this.lmHead.forward(hidden), this.finalLogitsBias),
    };
  }
}
