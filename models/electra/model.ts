// ELECTRA (Clark et al. 2020): BERT's layers on embeddings of their own width, trained to tell which tokens
// a small masked-token model has replaced.
import { bceWithLogits, cast, div, eq, select, sum } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { classifierDropout } from '../bert/heads.ts';
import { BertEmbeddings, BertEncoder } from '../bert/model.ts';
import type { BertInputs } from '../bert/model.ts';
import { tokenRetentionOf } from '../bert/token-pruning.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask } from '../nn/attend.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { ClassificationHead, dense, encoderHeads, tokenHead } from '../transformer/encoder-heads.ts';
import type { PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import { internalsOf } from '../transformer/outputs.ts';
import type { HeadOutput } from '../transformer/outputs.ts';
import { ElectraConfig } from './config.ts';

/** What all ELECTRA classes have in common. */
abstract class ElectraPreTrainedModel extends PreTrainedModel<ElectraConfig> {
  static readonly configFormat = ElectraConfig;
  static readonly keyRules = {
    baseModelPrefix: 'electra',
    ignoredKeys: /(^|\.)embeddings\.(position_ids|token_type_ids)$/,
  };
}

/**
 * Tokens to one vector for each: the discriminator's or the generator's encoder.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = ElectraModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class ElectraModel extends ElectraPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly embeddingsProject: Linear | undefined;
  readonly encoder: BertEncoder;

  constructor(config: ElectraConfig) {
    super(config);
    const { embeddingSize, hiddenSize } = config;
    this.embeddings = new BertEmbeddings(config, { dim: embeddingSize });
    this.embeddingsProject = embeddingSize === hiddenSize ? undefined : dense(config, embeddingSize, hiddenSize);
    this.encoder = new BertEncoder(config);
  }

  override forward(inputs: BertInputs): PooledOutput {
    const x = this.embeddings.forward(inputs); // (B, T, E)
    const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
    return this.encoder.forward(this.embeddingsProject?.forward(x) ?? x, mask, inputs);
  }
}

const heads = encoderHeads<'electra', BertInputs, ElectraConfig, typeof ElectraPreTrainedModel, ElectraModel>(
  ElectraPreTrainedModel,
  {
    prefix: 'electra',
    encoder: (config) => new ElectraModel(config),
    dim: ({ hiddenSize }) => hiddenSize,
    dropout: classifierDropout,
  },
);

class ElectraDiscriminatorPredictions extends Module {
  readonly dense: Linear;
  readonly densePrediction: Linear;
  readonly activation: ActivationName;

  constructor(config: ElectraConfig) {
    super();
    this.dense = dense(config, config.hiddenSize, config.hiddenSize);
    this.densePrediction = dense(config, config.hiddenSize, 1);
    this.activation = config.hiddenAct;
  }

  /** (B, T, D) -> (B, T). */
  override forward(hidden: Tensor): Tensor {
    return select(this.densePrediction.forward(activations[this.activation](this.dense.forward(hidden))), 2, 0);
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/**
 * The discriminator: whether a token was replaced by another.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = ElectraForPreTraining.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3]
 */
export class ElectraForPreTraining extends ElectraPreTrainedModel {
  readonly electra: ElectraModel;
  readonly discriminatorPredictions: ElectraDiscriminatorPredictions;

  constructor(config: ElectraConfig) {
    super(config);
    this.electra = new ElectraModel(config);
    this.discriminatorPredictions = new ElectraDiscriminatorPredictions(config);
  }

  /**
   * Logits (B, T), above 0 for a token that was replaced. Labels [B, T]: 1 where it was, else 0; tokens that
   * the mask hides do not count.
   */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.electra.forward(inputs);
    const logits = this.discriminatorPredictions.forward(output.lastHiddenState); // (B, T)
    return {
      logits,
      ...(labels ? { loss: replacedLoss(logits, labels, inputs.attentionMask) } : {}),
      ...internalsOf(output),
    };
  }
}

/** Mean binary cross-entropy over the tokens of the mask [B, T]. */
function replacedLoss(logits: Tensor, labels: Tensor, mask?: Tensor): Tensor {
  if (labels.shape.join() !== logits.shape.join())
    throw new Error(`labels are ${showShape(labels.shape)}; one for each token is needed, ${showShape(logits.shape)}`);
  const target = cast(labels, logits.dtype);
  if (!mask || mask.ndim !== 2) return bceWithLogits(logits, target);
  const weight = cast(mask.dtype === 'bool' ? mask : eq(mask, 1), logits.dtype); // (B, T)
  return div(bceWithLogits(logits, target, { weight, reduction: 'sum' }), sum(weight));
}

class ElectraGeneratorPredictions extends Module {
  readonly LayerNorm: LayerNorm;
  readonly dense: Linear;

  constructor(config: ElectraConfig) {
    super();
    this.LayerNorm = new LayerNorm(config.embeddingSize, { eps: config.layerNormEps });
    this.dense = dense(config, config.hiddenSize, config.embeddingSize);
  }

  override forward(hidden: Tensor): Tensor {
    return this.LayerNorm.forward(activations.gelu(this.dense.forward(hidden))); // (B, T, E)
  }
}

/**
 * The generator.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = ElectraForMaskedLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class ElectraForMaskedLM extends heads.MaskedLM {
  readonly generatorPredictions: ElectraGeneratorPredictions;
  readonly generatorLmHead: Linear;

  constructor(config: ElectraConfig) {
    super(config);
    const { embeddingSize, vocabSize, tieWordEmbeddings } = config;
    const { weight } = this.electra.embeddings.wordEmbeddings;
    this.generatorPredictions = new ElectraGeneratorPredictions(config);
    this.generatorLmHead = dense(config, embeddingSize, vocabSize, tieWordEmbeddings ? { weight } : {});
  }

  protected override get tokenHead(): TokenHead {
    return tokenHead(this.generatorLmHead, (hidden) => this.generatorPredictions.forward(hidden));
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = ElectraForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class ElectraForSequenceClassification extends heads.SequenceClassification {
  readonly classifier: ClassificationHead;

  constructor(config: ElectraConfig) {
    super(config);
    this.electra.encoder.tokenRetention = tokenRetentionOf(config, config.numHiddenLayers);
    this.classifier = new ClassificationHead(config, { dropout: classifierDropout(config), activation: 'gelu' });
  }

  protected override score({ lastHiddenState }: PooledOutput): Tensor {
    return this.classifier.forward(lastHiddenState); // (B, L)
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = ElectraForTokenClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 2]
 */
export class ElectraForTokenClassification extends heads.TokenClassification {}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = ElectraForQuestionAnswering.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).startLogits.shape; // [1, 3]
 */
export class ElectraForQuestionAnswering extends heads.QuestionAnswering {}
