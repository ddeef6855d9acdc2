// ViT (Dosovitskiy et al. 2021): an encoder of pictures, whose tokens are patches. Layers normalise before
// each part (pre-LN); attention and the feed-forward part are BERT's.
import { reshape, select } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertIntermediate, BertSelfAttention } from '../bert/model.ts';
import type { LayerShape } from '../bert/model.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { gridOf, patchGrid, PatchProjection, resizePositions, withFirstToken } from '../nn/patches.ts';
import { normalInit, parameter } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { dense, labelLoss } from '../transformer/encoder-heads.ts';
import type { PooledOutput } from '../transformer/encoder-heads.ts';
import type { ImageInputs } from '../transformer/inputs.ts';
import { addAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { EncoderOutput, HeadOutput } from '../transformer/outputs.ts';
import { internalsOf } from '../transformer/outputs.ts';
import { ViTConfig } from './config.ts';

class ViTPatchEmbeddings extends Module {
  readonly projection: PatchProjection;

  constructor({ numChannels, hiddenSize, patchSize, initializerRange }: ViTConfig) {
    super();
    this.projection = new PatchProjection(numChannels, hiddenSize, patchSize, {
      weightInit: normalInit(initializerRange),
    });
  }

  override forward(pixels: Tensor): Tensor {
    return this.projection.forward(pixels); // (B, N, D)
  }
}

/** A first token and the patches of a picture, each with its position. */
class ViTEmbeddings extends Module {
  clsToken: Parameter;
  positionEmbeddings: Parameter;
  readonly patchEmbeddings: ViTPatchEmbeddings;
  readonly dropout: Dropout;
  readonly #config: ViTConfig;

  constructor(config: ViTConfig) {
    super();
    const { hiddenSize, initializerRange, imageSize, patchSize } = config;
    const [rows, columns] = patchGrid(imageSize, patchSize);
    this.clsToken = parameter([1, 1, hiddenSize], normalInit(initializerRange));
    this.positionEmbeddings = parameter([1, 1 + rows * columns, hiddenSize], normalInit(initializerRange));
    this.patchEmbeddings = new ViTPatchEmbeddings(config);
    this.dropout = new Dropout(config.hiddenDropoutProb);
    this.#config = config;
  }

  /** Pixels (B, C, H, W) -> (B, 1 + N, D). */
  override forward({ pixelValues, interpolatePosEncoding = false }: ImageInputs): Tensor {
    const { imageSize, patchSize, hiddenSize } = this.#config;
    const patches = this.patchEmbeddings.forward(pixelValues); // (B, N, D)
    const grid = gridOf(pixelValues, imageSize, patchSize, interpolatePosEncoding);
    const table = reshape(this.positionEmbeddings, [-1, hiddenSize]); // (1 + N, D)
    const positions = resizePositions(table, patchGrid(imageSize, patchSize), grid);
    return this.dropout.forward(withFirstToken(this.clsToken, patches, positions));
  }
}

/** dropout(dense(x)): the end of the attention and of the feed-forward part. */
class ViTOutput extends Module {
  readonly dense: Linear;
  readonly dropout: Dropout;

  constructor(config: LayerShape, inFeatures: number) {
    super();
    this.dense = dense(config, inFeatures, config.hiddenSize);
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  override forward(x: Tensor): Tensor {
    return this.dropout.forward(this.dense.forward(x)); // (B, T, D)
  }
}

class ViTAttention extends Module {
  readonly attention: BertSelfAttention;
  readonly output: ViTOutput;

  constructor(config: LayerShape, layer: number) {
    super();
    this.attention = new BertSelfAttention(config, layer);
    this.output = new ViTOutput(config, config.hiddenSize);
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { hidden, weights } = this.attention.forward(x, mask, outputWeights);
    return { hidden: this.output.forward(hidden), weights };
  }
}

class ViTLayer extends Module {
  readonly attention: ViTAttention;
  readonly intermediate: BertIntermediate;
  readonly output: ViTOutput;
  readonly layernormBefore: LayerNorm;
  readonly layernormAfter: LayerNorm;

  constructor(config: LayerShape, layer: number) {
    super();
    const { hiddenSize, layerNormEps: eps } = config;
    this.attention = new ViTAttention(config, layer);
    this.intermediate = new BertIntermediate(config);
    this.output = new ViTOutput(config, config.intermediateSize);
    this.layernormBefore = new LayerNorm(hiddenSize, { eps });
    this.layernormAfter = new LayerNorm(hiddenSize, { eps });
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { hidden, weights } = this.attention.forward(this.layernormBefore.forward(x), mask, outputWeights);
    const y = addAttention(x, hidden); // (B, T, D)
    const z = this.output.forward(this.intermediate.forward(this.layernormAfter.forward(y)));
    return { hidden: addFeedForward(y, z), weights };
  }
}

/** Layers one behind the other; what comes out is not normalised. */
export class ViTEncoder extends Module {
  readonly layer: readonly ViTLayer[];

  constructor(config: LayerShape) {
    super();
    this.layer = Array.from({ length: config.numHiddenLayers }, (_, i) => new ViTLayer(config, i));
  }

  override forward(
    x: Tensor,
    options: Pick<ImageInputs, 'outputHiddenStates' | 'outputAttentions'>,
    mask?: Tensor,
  ): EncoderOutput {
    return runLayers(x, this.layer, {
      ...options,
      run: (layer, y, outputWeights) => layer.forward(y, mask, outputWeights),
    });
  }
}

/** activation(dense(x)) of the first token. */
class ViTPooler extends Module {
  readonly dense: Linear;
  readonly activation: ActivationName;

  constructor(config: ViTConfig) {
    super();
    this.dense = dense(config, config.hiddenSize, config.poolerOutputSize ?? config.hiddenSize);
    this.activation = config.poolerAct;
  }

  override forward(hidden: Tensor): Tensor {
    return activations[this.activation](this.dense.forward(select(hidden, 1, 0))); // (B, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

abstract class ViTPreTrainedModel extends PreTrainedModel<ViTConfig> {
  static readonly configFormat = ViTConfig;
  static readonly keyRules = { baseModelPrefix: 'vit' };

  /** Checkpoints of classifiers do not have the pooler, which they do not use. */
  protected override mayBeNew(key: string): boolean {
    return /^(vit\.)?pooler\./.test(key) || super.mayBeNew(key);
  }
}

/**
 * The bare encoder: a picture to a vector for each of its patches, behind one for all of it.
 *
 * @example
 * const shape = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = ViTModel.fromConfig({ ...shape, imageSize: 12, patchSize: 4 });
 * model.forward({ pixelValues: zeros(2, 3, 12, 12) }).lastHiddenState.shape; // [2, 10, 8]
 */
export class ViTModel extends ViTPreTrainedModel {
  readonly embeddings: ViTEmbeddings;
  readonly encoder: ViTEncoder;
  readonly layernorm: LayerNorm;
  readonly pooler: ViTPooler | undefined;

  constructor(config: ViTConfig, { addPoolingLayer = true }: { readonly addPoolingLayer?: boolean } = {}) {
    super(config);
    this.embeddings = new ViTEmbeddings(config);
    this.encoder = new ViTEncoder(config);
    this.layernorm = new LayerNorm(config.hiddenSize, { eps: config.layerNormEps });
    this.pooler = addPoolingLayer ? new ViTPooler(config) : undefined;
  }

  /**
   * Pixels (B, C, H, W) as `ImageProcessor` gives them; the last hidden state (B, 1 + N, D) is normalised,
   * the hidden states are not. Error: pictures of another size than the config's, without
   * `interpolatePosEncoding`.
   */
  override forward(inputs: ImageInputs): PooledOutput {
    const encoded = this.encoder.forward(this.embeddings.forward(inputs), inputs);
    const lastHiddenState = this.layernorm.forward(encoded.lastHiddenState); // (B, 1 + N, D)
    return { ...encoded, lastHiddenState, ...(this.pooler && { pooled: this.pooler.forward(lastHiddenState) }) };
  }
}

/**
 * ViT as a classifier of pictures: a linear layer on the first token's vector.
 *
 * @example
 * const shape = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 }; const
 * model = ViTForImageClassification.fromConfig({ ...shape, imageSize: 12, patchSize: 4, numLabels: 3 });
 * model.forward({ pixelValues: zeros(2, 3, 12, 12) }).logits.shape; // [2, 3]
 */
export class ViTForImageClassification extends ViTPreTrainedModel {
  readonly vit: ViTModel;
  readonly classifier: Linear;

  constructor(config: ViTConfig) {
    super(config);
    this.vit = new ViTModel(config, { addPoolingLayer: false });
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  /** Logits (B, numLabels); labels as of classifiers of texts, see `config.problemType`. */
  override forward({ labels, ...inputs }: ImageInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.vit.forward(inputs);
    const logits = this.classifier.forward(select(output.lastHiddenState, 1, 0)); // (B, L)
    return { logits, ...(labels ? { loss: labelLoss(this, logits, labels) } : {}), ...internalsOf(output) };
  }
}
