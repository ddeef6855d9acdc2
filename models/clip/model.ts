// CLIP (Radford et al. 2021): an encoder of texts and one of pictures, trained so that a text and its picture
// have like vectors.
import {
  add,
  argmax,
  arange,
  cast,
  crossEntropy,
  div,
  eq,
  exp,
  matmul,
  mul,
  norm,
  select,
  transpose,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { selfAttend } from '../bert/model.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import { activate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding, firstRows } from '../nn/embedding.ts';
import { Linear, linearsSideBySide } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { gridOf, patchGrid, PatchProjection, resizePositions, withFirstToken } from '../nn/patches.ts';
import { rowsAt } from '../nn/rows-at.ts';
import { normalInit, parameter, zerosInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import type { PooledOutput } from '../transformer/encoder-heads.ts';
import { checkTokenInputs } from '../transformer/inputs.ts';
import type { ImageInputs, TokenInputs } from '../transformer/inputs.ts';
import { addAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { EncoderOutput, Internals } from '../transformer/outputs.ts';
import { internalsOf } from '../transformer/outputs.ts';
import { CLIPConfig, CLIPTextConfig, CLIPVisionConfig } from './config.ts';

/** What layers of both towers depend on. */
type TowerConfig = Pick<
  CLIPTextConfig & CLIPVisionConfig,
  | 'hiddenSize'
  | 'intermediateSize'
  | 'numHiddenLayers'
  | 'numAttentionHeads'
  | 'hiddenAct'
  | 'layerNormEps'
  | 'attentionDropout'
  | 'initializerFactor'
>;

/** The deviation of weights at first: they shrink with the width, into the residual with the depth too. */
function deviations({ hiddenSize: dim, numHiddenLayers: layers, initializerFactor: factor }: TowerConfig) {
  const narrow = factor * dim ** -0.5;
  return { into: narrow * (2 * layers) ** -0.5, out: narrow, hidden: factor * (2 * dim) ** -0.5 };
}

const dense = (into: number, out: number, std: number): Linear =>
  new Linear(into, out, { weightInit: normalInit(std), biasInit: zerosInit });

const layerNorm = ({ hiddenSize, layerNormEps: eps }: TowerConfig): LayerNorm => new LayerNorm(hiddenSize, { eps });

class CLIPAttention extends Module {
  kProj: Linear;
  vProj: Linear;
  qProj: Linear;
  readonly outProj: Linear;
  readonly dropout: Dropout;
  readonly headDim: number;
  /** Let position i attend to positions 0..i only. */
  readonly causal: boolean;

  constructor(config: TowerConfig, causal: boolean) {
    super();
    const { hiddenSize: dim, numAttentionHeads, attentionDropout } = config;
    const { into, out } = deviations(config);
    const options = { weightInit: normalInit(into), biasInit: zerosInit };
    const [query, key, value] = linearsSideBySide(dim, [dim, dim, dim], options) as [Linear, Linear, Linear];
    [this.kProj, this.vProj, this.qProj] = [key, value, query];
    this.outProj = dense(dim, dim, out);
    this.dropout = new Dropout(attentionDropout);
    this.headDim = dim / numAttentionHeads;
    this.causal = causal;
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { qProj, kProj, vProj, headDim, causal, dropout } = this;
    const options = { headDim, mask, causal, dropout, outputWeights };
    const { hidden, weights } = selfAttend([qProj, kProj, vProj], x, options);
    return { hidden: this.outProj.forward(hidden), weights };
  }
}

class CLIPMLP extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly activation: ActivationName;

  constructor(config: TowerConfig) {
    super();
    const { hiddenSize, intermediateSize, hiddenAct } = config;
    const { hidden, into } = deviations(config);
    this.fc1 = dense(hiddenSize, intermediateSize, hidden);
    this.fc2 = dense(intermediateSize, hiddenSize, into);
    this.activation = hiddenAct;
  }

  override forward(x: Tensor): Tensor {
    return this.fc2.forward(activate(this.activation, this.fc1.forward(x))); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

class CLIPEncoderLayer extends Module {
  static override readonly keys = { layerNorm1: 'layer_norm1', layerNorm2: 'layer_norm2' };

  readonly selfAttn: CLIPAttention;
  readonly layerNorm1: LayerNorm;
  readonly mlp: CLIPMLP;
  readonly layerNorm2: LayerNorm;

  constructor(config: TowerConfig, causal: boolean) {
    super();
    this.selfAttn = new CLIPAttention(config, causal);
    this.layerNorm1 = layerNorm(config);
    this.mlp = new CLIPMLP(config);
    this.layerNorm2 = layerNorm(config);
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { hidden, weights } = this.selfAttn.forward(this.layerNorm1.forward(x), mask, outputWeights);
    const y = addAttention(x, hidden); // (B, T, D)
    return { hidden: addFeedForward(y, this.mlp.forward(this.layerNorm2.forward(y))), weights };
  }
}

class CLIPEncoder extends Module {
  readonly layers: readonly CLIPEncoderLayer[];

  constructor(config: TowerConfig, { causal }: { readonly causal: boolean }) {
    super();
    this.layers = Array.from({ length: config.numHiddenLayers }, () => new CLIPEncoderLayer(config, causal));
  }

  override forward(
    x: Tensor,
    options: Pick<TokenInputs, 'outputHiddenStates' | 'outputAttentions'>,
    mask?: Tensor,
  ): EncoderOutput {
    return runLayers(x, this.layers, {
      ...options,
      run: (layer, y, outputWeights) => layer.forward(y, mask, outputWeights),
    });
  }
}

class CLIPTextEmbeddings extends Module {
  readonly tokenEmbedding: Embedding;
  readonly positionEmbedding: Embedding;

  constructor({ vocabSize, hiddenSize, maxPositionEmbeddings, initializerFactor }: CLIPTextConfig) {
    super();
    const weightInit = normalInit(0.02 * initializerFactor);
    this.tokenEmbedding = new Embedding(vocabSize, hiddenSize, { weightInit });
    this.positionEmbedding = new Embedding(maxPositionEmbeddings, hiddenSize, { weightInit });
  }

  override forward({ inputIds, positionIds }: TokenInputs): Tensor {
    const positions = positionIds
      ? this.positionEmbedding.forward(positionIds)
      : firstRows(this.positionEmbedding, inputIds.shape[1]!); // (T, D) or (B, T, D)
    return add(this.tokenEmbedding.forward(inputIds), positions); // (B, T, D)
  }
}

/** The encoder of texts: a causal Transformer. The vector of the token that ends a text stands for it. */
class CLIPTextTransformer extends Module {
  readonly embeddings: CLIPTextEmbeddings;
  readonly encoder: CLIPEncoder;
  readonly finalLayerNorm: LayerNorm;
  readonly #config: CLIPTextConfig;

  constructor(config: CLIPTextConfig) {
    super();
    this.embeddings = new CLIPTextEmbeddings(config);
    this.encoder = new CLIPEncoder(config, { causal: true });
    this.finalLayerNorm = layerNorm(config);
    this.#config = config;
  }

  /** What rows of tokens may have, see `rowLimits`. */
  get rowLimits() {
    return { positions: this.#config.maxPositionEmbeddings, tokenTypes: false };
  }

  override forward(inputs: TokenInputs): PooledOutput & { readonly pooled: Tensor } {
    const { vocabSize, maxPositionEmbeddings: positions } = this.#config;
    checkTokenInputs(inputs, { vocabSize, positions });
    const x = this.embeddings.forward(inputs); // (B, T, D)
    const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
    const encoded = this.encoder.forward(x, inputs, mask);
    const lastHiddenState = this.finalLayerNorm.forward(encoded.lastHiddenState); // (B, T, D)
    const pooled = select(rowsAt(lastHiddenState, this.#ends(inputs.inputIds)), 1, 0); // (B, D)
    return { ...encoded, lastHiddenState, pooled };
  }

  /** Where each text has the token whose vector stands for it, (B, 1): the first one that ends it. */
  #ends(inputIds: Tensor): Tensor {
    const { eosTokenId } = this.#config;
    const marks = eosTokenId === 2 ? inputIds : cast(eq(inputIds, eosTokenId), 'i32'); // (B, T)
    return argmax(marks, 1, { keepDims: true });
  }
}

class CLIPVisionEmbeddings extends Module {
  classEmbedding: Parameter;
  readonly patchEmbedding: PatchProjection;
  readonly positionEmbedding: Embedding;
  readonly #config: CLIPVisionConfig;

  constructor(config: CLIPVisionConfig) {
    super();
    const { hiddenSize: dim, numChannels, imageSize, patchSize, initializerFactor: factor } = config;
    const [rows, columns] = patchGrid(imageSize, patchSize);
    const weightInit = normalInit(config.initializerRange * factor);
    this.classEmbedding = parameter([dim], normalInit(factor * dim ** -0.5));
    this.patchEmbedding = new PatchProjection(numChannels, dim, patchSize, { weightInit, bias: false });
    this.positionEmbedding = new Embedding(1 + rows * columns, dim, { weightInit });
    this.#config = config;
  }

  override forward({ pixelValues, interpolatePosEncoding = false }: ImageInputs): Tensor {
    const { imageSize, patchSize } = this.#config;
    const patches = this.patchEmbedding.forward(pixelValues); // (B, N, D)
    const grid = gridOf(pixelValues, imageSize, patchSize, interpolatePosEncoding);
    const own = patchGrid(imageSize, patchSize);
    const table = firstRows(this.positionEmbedding, 1 + own[0] * own[1]); // (1 + N, D)
    return withFirstToken(this.classEmbedding, patches, resizePositions(table, own, grid));
  }
}

/** The encoder of pictures. The first token's vector stands for the picture, normalised. */
class CLIPVisionTransformer extends Module {
  readonly embeddings: CLIPVisionEmbeddings;
  /** Transformers spells it so. */
  readonly preLayrnorm: LayerNorm;
  readonly encoder: CLIPEncoder;
  readonly postLayernorm: LayerNorm;

  constructor(config: CLIPVisionConfig) {
    super();
    this.embeddings = new CLIPVisionEmbeddings(config);
    this.preLayrnorm = layerNorm(config);
    this.encoder = new CLIPEncoder(config, { causal: false });
    this.postLayernorm = layerNorm(config);
  }

  override forward(inputs: ImageInputs): PooledOutput & { readonly pooled: Tensor } {
    const x = this.preLayrnorm.forward(this.embeddings.forward(inputs)); // (B, 1 + N, D)
    const encoded = this.encoder.forward(x, inputs);
    return { ...encoded, pooled: this.postLayernorm.forward(select(encoded.lastHiddenState, 1, 0)) };
  }
}

function projection(config: TowerConfig, projectionDim: number): Linear {
  const { hiddenSize, initializerFactor: factor } = config;
  return new Linear(hiddenSize, projectionDim, { bias: false, weightInit: normalInit(factor * hiddenSize ** -0.5) });
}

const keyRules = { baseModelPrefix: 'clip', ignoredKeys: /embeddings\.position_ids$/ };

export interface CLIPInputs extends TokenInputs, Omit<ImageInputs, 'outputHiddenStates' | 'outputAttentions'> {
  /** Compute the loss: text i belongs to picture i, and to no other. Default false. */
  readonly returnLoss?: boolean;
}

export interface CLIPOutput {
  readonly loss?: Tensor;
  /** The scores of T texts for I pictures: cosines, scaled. (I, T). */
  readonly logitsPerImage: Tensor;
  /** (T, I). */
  readonly logitsPerText: Tensor;
  /** Vectors of length 1, (T, P) and (I, P). */
  readonly textEmbeds: Tensor;
  readonly imageEmbeds: Tensor;
  readonly textModelOutput: PooledOutput;
  readonly visionModelOutput: PooledOutput;
}

/** Rows (..., P) divided by their lengths. */
export const unit = (x: Tensor): Tensor => div(x, norm(x, 2, -1, { keepDims: true }));

/**
 * CLIP's loss of scores (N, N), text i and picture i being a pair: the mean of the cross-entropies of the
 * right picture for each text and the right text for each picture (Radford et al. 2021, figure 3).
 *
 * @example
 * await contrastiveLoss(tensor([[100, 0], [0, 100]])).item(); // 0
 */
export function contrastiveLoss(logits: Tensor): Tensor {
  if (logits.ndim !== 2 || logits.shape[0] !== logits.shape[1])
    throw new Error(
      `contrastiveLoss: scores are ${showShape(logits.shape)}; the loss needs as many texts as pictures, text i ` +
        'being that of picture i',
    );
  const right = arange(0, logits.shape[0]!, 1, { dtype: 'i32' });
  return mul(add(crossEntropy(logits, right), crossEntropy(transpose(logits), right)), 0.5);
}

/**
 * Both encoders: texts and pictures to vectors in one space, and the scores of each text for each picture.
 *
 * @example
 * const shape = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = CLIPModel.fromConfig({
 *   textConfig: { ...shape, vocabSize: 50, eosTokenId: 1 },
 *   visionConfig: { ...shape, imageSize: 8, patchSize: 4 },
 *   projectionDim: 6,
 * });
 * const inputIds = tensor([[2, 7, 1], [2, 1, 1]], { dtype: 'i32' });
 * model.forward({ inputIds, pixelValues: zeros(3, 3, 8, 8) }).logitsPerImage.shape; // [3, 2]
 */
export class CLIPModel extends PreTrainedModel<CLIPConfig> {
  static readonly configFormat = CLIPConfig;
  static readonly keyRules = keyRules;

  logitScale: Parameter;
  readonly textModel: CLIPTextTransformer;
  readonly visionModel: CLIPVisionTransformer;
  readonly visualProjection: Linear;
  readonly textProjection: Linear;

  constructor(config: CLIPConfig) {
    super(config);
    const { textConfig, visionConfig, projectionDim, initializerFactor, logitScaleInitValue } = config;
    this.logitScale = parameter([], (shape) => add(zerosInit(shape), logitScaleInitValue));
    this.textModel = new CLIPTextTransformer(textConfig);
    this.visionModel = new CLIPVisionTransformer(visionConfig);
    this.visualProjection = projection({ ...visionConfig, initializerFactor }, projectionDim);
    this.textProjection = projection({ ...textConfig, initializerFactor }, projectionDim);
  }

  /** Vectors of texts as they are projected, not yet of length 1: (T, P). */
  getTextFeatures(inputs: TokenInputs): Tensor {
    return this.textProjection.forward(this.textModel.forward(inputs).pooled);
  }

  /** The same of pictures: (I, P). */
  getImageFeatures(inputs: ImageInputs): Tensor {
    return this.visualProjection.forward(this.visionModel.forward(inputs).pooled);
  }

  /** Texts [T, tokens] and pictures [I, C, H, W]; with `returnLoss` as many of both, in pairs. */
  override forward(inputs: CLIPInputs & { readonly returnLoss: true }): CLIPOutput & { readonly loss: Tensor };
  override forward(inputs: CLIPInputs): CLIPOutput;
  override forward({ returnLoss = false, ...inputs }: CLIPInputs): CLIPOutput {
    const visionModelOutput = this.visionModel.forward(inputs);
    const textModelOutput = this.textModel.forward(inputs);
    const imageEmbeds = unit(this.visualProjection.forward(visionModelOutput.pooled)); // (I, P)
    const textEmbeds = unit(this.textProjection.forward(textModelOutput.pooled)); // (T, P)
    const logitsPerText = mul(matmul(textEmbeds, transpose(imageEmbeds)), exp(this.logitScale)); // (T, I)
    return {
      ...(returnLoss ? { loss: contrastiveLoss(logitsPerText) } : {}),
      logitsPerImage: transpose(logitsPerText),
      logitsPerText,
      textEmbeds,
      imageEmbeds,
      textModelOutput,
      visionModelOutput,
    };
  }
}

export interface CLIPTextOutput extends Internals {
  /** (B, P), not of length 1. */
  readonly textEmbeds: Tensor;
  /** (B, T, D). */
  readonly lastHiddenState: Tensor;
}

/**
 * The encoder of texts alone, with its projection. Loads folders of the whole model too.
 *
 * @example
 * const shape = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const config = { ...shape, vocabSize: 50, eosTokenId: 1, projectionDim: 6 };
 * const model = CLIPTextModelWithProjection.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 1]], { dtype: 'i32' }) }).textEmbeds.shape; // [1, 6]
 */
export class CLIPTextModelWithProjection extends PreTrainedModel<CLIPTextConfig> {
  static readonly configFormat = CLIPTextConfig;
  static readonly keyRules = keyRules;

  readonly textModel: CLIPTextTransformer;
  readonly textProjection: Linear;

  constructor(config: CLIPTextConfig) {
    super(config);
    this.textModel = new CLIPTextTransformer(config);
    this.textProjection = projection(config, config.projectionDim);
  }

  override forward(inputs: TokenInputs): CLIPTextOutput {
    const output = this.textModel.forward(inputs);
    const { lastHiddenState, pooled } = output;
    return { textEmbeds: this.textProjection.forward(pooled), lastHiddenState, ...internalsOf(output) };
  }
}

export interface CLIPVisionOutput extends Internals {
  /** (B, P), not of length 1. */
  readonly imageEmbeds: Tensor;
  /** (B, 1 + N, D). */
  readonly lastHiddenState: Tensor;
}

/**
 * The encoder of pictures alone, with its projection. Loads folders of the whole model too.
 *
 * @example
 * const shape = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const config = { ...shape, imageSize: 8, patchSize: 4, projectionDim: 6 };
 * const model = CLIPVisionModelWithProjection.fromConfig(config);
 * model.forward({ pixelValues: zeros(2, 3, 8, 8) }).imageEmbeds.shape; // [2, 6]
 */
export class CLIPVisionModelWithProjection extends PreTrainedModel<CLIPVisionConfig> {
  static readonly configFormat = CLIPVisionConfig;
  static readonly keyRules = keyRules;

  readonly visionModel: CLIPVisionTransformer;
  readonly visualProjection: Linear;

  constructor(config: CLIPVisionConfig) {
    super(config);
    this.visionModel = new CLIPVisionTransformer(config);
    this.visualProjection = projection(config, config.projectionDim);
  }

  override forward(inputs: ImageInputs): CLIPVisionOutput {
    const output = this.visionModel.forward(inputs);
    const { lastHiddenState, pooled } = output;
    return { imageEmbeds: this.visualProjection.forward(pooled), lastHiddenState, ...internalsOf(output) };
  }
}
