import { arange, eq, max, reshape, select, where, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { RowLimits } from '../bert/model.ts';
import type { Linear } from '../nn/linear.ts';
import { rowsAt } from '../nn/rows-at.ts';
import { ModuleBuffer } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { lmHead } from '../transformer/causal-lm.ts';
import { ClassificationHead, labelLoss } from '../transformer/encoder-heads.ts';
import { shiftRight } from '../transformer/inputs.ts';
import type { Seq2SeqInputs, TokenInputs } from '../transformer/inputs.ts';
import type { Seq2SeqInternals, Seq2SeqOutput } from '../transformer/outputs.ts';
import { Seq2SeqLM } from '../transformer/seq2seq.ts';
import type { Seq2SeqSides } from '../transformer/seq2seq.ts';
import { BartConfig, MarianConfig, MBartConfig, PegasusConfig, targetVocabulary } from './config.ts';
import type { BartLikeConfig } from './config.ts';
import { BartModel, MarianModel, MBartModel, PegasusModel } from './model.ts';
import type { BartLikeModel } from './model.ts';

/**
 * A model of BART's kind with the head that it was trained with. The head's weight is the table of the
 * decoder's embeddings, unless `config.tieWordEmbeddings` is false.
 */
abstract class BartLikeLM<C extends BartLikeConfig> extends Seq2SeqLM<C> {
  readonly model: BartLikeModel<C>;
  /** Added to the logits, [1, V]; not learned. */
  readonly finalLogitsBias: ModuleBuffer;
  readonly lmHead: Linear;

  constructor(config: C, model: BartLikeModel<C>) {
    super(config);
    this.model = model;
    this.finalLogitsBias = new ModuleBuffer(zeros([1, targetVocabulary(config)]));
    const { tieWordEmbeddings, initStd: initializerRange } = config;
    this.lmHead = lmHead({ tieWordEmbeddings, initializerRange }, model.decoder.embedTokens);
  }

  protected override get sides(): Seq2SeqSides {
    return this.model;
  }

  protected override get positions(): number {
    return this.config.maxPositionEmbeddings;
  }

  protected override get logitsBias(): Tensor {
    return reshape(this.finalLogitsBias, [-1]); // (V)
  }

  protected override run(inputs: Seq2SeqInputs): Seq2SeqOutput {
    return this.model.forward(inputs);
  }
}

/**
 * BART (Lewis et al. 2020): restores, summarises, or writes what it was fine-tuned for.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = BartForConditionalGeneration.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).logits.shape; // [1, 2, 50]
 */
export class BartForConditionalGeneration extends BartLikeLM<BartConfig> {
  static readonly configFormat = BartConfig;
  static readonly keyRules = BartModel.keyRules;

  constructor(config: BartConfig) {
    super(config, new BartModel(config));
  }
}

export interface BartClassificationOutput extends Seq2SeqInternals {
  /** (B, numLabels). */
  readonly logits: Tensor;
  readonly loss?: Tensor;
}

/**
 * Classifies texts or pairs of them, such as whether one follows from the other: both sides read the text,
 * and what the decoder makes of the last token that ends texts is scored. Each row must have one.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = BartForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[0, 7, 2]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class BartForSequenceClassification extends PreTrainedModel<BartConfig> {
  static readonly configFormat = BartConfig;
  static readonly keyRules = BartModel.keyRules;

  readonly model: BartModel;
  readonly classificationHead: ClassificationHead;

  constructor(config: BartConfig) {
    super(config);
    const { dModel: hiddenSize, initStd: initializerRange, classifierDropout: dropout } = config;
    this.model = new BartModel(config);
    this.classificationHead = new ClassificationHead({ ...config, hiddenSize, initializerRange }, { dropout });
  }

  /** How long rows may be, for pipelines. */
  get rowLimits(): RowLimits {
    return { positions: this.config.maxPositionEmbeddings, tokenTypes: false };
  }

  /**
   * Logits (B, numLabels). Labels: class numbers [B]; or numbers [B, numLabels] (regression to one number:
   * [B] too).
   */
  override forward(inputs: TokenInputs & { readonly labels?: Tensor }): BartClassificationOutput {
    const { labels, inputIds, attentionMask, outputHiddenStates, outputAttentions } = inputs;
    const { decoderStartTokenId: start, padTokenId: padding } = this.config;
    const decoderInputIds = shiftRight(inputIds, { start, padding });
    const read = { inputIds, attentionMask, decoderInputIds, outputHiddenStates, outputAttentions };
    const { lastHiddenState, ...internals } = this.model.forward(read); // (B, T, D)
    const end = rowsAt(lastHiddenState, this.#ends(inputIds)); // (B, 1, D)
    const logits = this.classificationHead.forward(select(end, 1, 0)); // (B, L)
    return { logits, ...(labels ? { loss: labelLoss(this, logits, labels) } : {}), ...internals };
  }

  /** The place of each row's last token that ends texts, [B, 1]. */
  #ends(inputIds: Tensor): Tensor {
    const [end] = [this.config.eosTokenId ?? []].flat();
    if (end === undefined) throw new Error('BartForSequenceClassification: eosTokenId is null; give that of the texts');
    const places = arange(0, inputIds.shape[1]!, 1, { dtype: 'i32' });
    return max(where(eq(inputIds, end), places, 0), 1, { keepDims: true });
  }
}

/**
 * mBART (Liu et al. 2020): translates between languages, whose codes the texts bear. In training the decoder
 * begins with the last of the labels, the language's code, whatever `decoderStartTokenId` is.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = MBartForConditionalGeneration.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).logits.shape; // [1, 2, 50]
 */
export class MBartForConditionalGeneration extends BartLikeLM<MBartConfig> {
  static readonly configFormat = MBartConfig;
  static readonly keyRules = MBartModel.keyRules;

  constructor(config: MBartConfig) {
    super(config, new MBartModel(config));
  }

  protected override decoderInputsOf(labels: Tensor): Tensor {
    return shiftRight(labels, { start: 'last', padding: this.config.padTokenId });
  }
}

/**
 * Pegasus (Zhang et al. 2020): summarises.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = PegasusForConditionalGeneration.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).logits.shape; // [1, 2, 50]
 */
export class PegasusForConditionalGeneration extends BartLikeLM<PegasusConfig> {
  static readonly configFormat = PegasusConfig;
  static readonly keyRules = PegasusModel.keyRules;

  constructor(config: PegasusConfig) {
    super(config, new PegasusModel(config));
  }
}

/**
 * Marian (Junczys-Dowmunt et al. 2018): the Transformer of Vaswani et al. 2017, for translation.
 *
 * @example
 * const config = { dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = MarianMTModel.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).logits.shape; // [1, 2, 58101]
 */
export class MarianMTModel extends BartLikeLM<MarianConfig> {
  static readonly configFormat = MarianConfig;
  static readonly keyRules = MarianModel.keyRules;

  constructor(config: MarianConfig) {
    super(config, new MarianModel(config));
  }
}
