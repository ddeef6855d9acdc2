// A text and a picture in one classifier. Early fusion: words and patches are tokens of one Transformer, told
// apart by an embedding of their kind (ViLT, Kim et al. 2021). Late fusion: each side has a Transformer of
// its own, and the vectors of both stand side by side.
import { add, cast, concat, mul, ones, reshape, select, slice, sub } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { additiveMask } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding, firstRows } from '../nn/embedding.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { gridOf, patchGrid, PatchProjection } from '../nn/patches.ts';
import { normalInit, parameter } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { dense, labelLoss } from '../transformer/encoder-heads.ts';
import { checkShape, checkTokenInputs } from '../transformer/inputs.ts';
import type { HeadOutput } from '../transformer/outputs.ts';
import { ViTEncoder } from '../vit/model.ts';
import { FusionConfig } from './config.ts';

/** A batch of texts, of pictures, or of both; some rows may lack one of the two. */
export interface FusionInputs {
  /** Token numbers, [B, T]. */
  readonly inputIds?: Tensor | undefined;
  /** 1 for tokens, 0 for padding, [B, T]. */
  readonly attentionMask?: Tensor | undefined;
  /** f32 [B, C, H, W]. */
  readonly pixelValues?: Tensor | undefined;
  /** 1 for rows whose text counts, 0 where it is missing, [B]. Default: all have one. */
  readonly hasText?: Tensor | undefined;
  /** The same of pictures. */
  readonly hasImage?: Tensor | undefined;
}

/** Words and patches as vectors, each with its place. */
class FusionEmbeddings extends Module {
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding;
  readonly patchEmbeddings: PatchProjection;
  readonly patchPositionEmbeddings: Embedding;
  readonly dropout: Dropout;
  readonly #config: FusionConfig;

  constructor(config: FusionConfig) {
    super();
    const { hiddenSize: dim, vocabSize, padTokenId, imageSize, patchSize, numChannels } = config;
    const weightInit = normalInit(config.initializerRange);
    const [rows, columns] = patchGrid(imageSize, patchSize);
    this.wordEmbeddings = new Embedding(vocabSize, dim, { weightInit, paddingIdx: padTokenId ?? undefined });
    this.positionEmbeddings = new Embedding(config.maxPositionEmbeddings, dim, { weightInit });
    this.patchEmbeddings = new PatchProjection(numChannels, dim, patchSize, { weightInit });
    this.patchPositionEmbeddings = new Embedding(rows * columns, dim, { weightInit });
    this.dropout = new Dropout(config.hiddenDropoutProb);
    this.#config = config;
  }

  /** What rows of tokens may have, see `rowLimits`. */
  get rowLimits() {
    return { positions: this.#config.maxPositionEmbeddings, tokenTypes: false };
  }

  /** (B, T, D). */
  texts(inputIds: Tensor): Tensor {
    return add(this.wordEmbeddings.forward(inputIds), firstRows(this.positionEmbeddings, inputIds.shape[1]!));
  }

  /** (B, N, D). */
  pictures(pixelValues: Tensor): Tensor {
    const { imageSize, patchSize } = this.#config;
    const patches = this.patchEmbeddings.forward(pixelValues); // (B, N, D)
    const [rows, columns] = gridOf(pixelValues, imageSize, patchSize, false);
    return add(patches, firstRows(this.patchPositionEmbeddings, rows * columns));
  }
}

/** A Transformer whose first token's vector, normalised, stands for all that it read. */
class FusionEncoder extends Module {
  clsToken: Parameter;
  readonly encoder: ViTEncoder;
  readonly layernorm: LayerNorm;

  constructor(config: FusionConfig) {
    super();
    this.clsToken = parameter([1, 1, config.hiddenSize], normalInit(config.initializerRange));
    this.encoder = new ViTEncoder(config);
    this.layernorm = new LayerNorm(config.hiddenSize, { eps: config.layerNormEps });
  }

  /** Tokens (B, T, D), and a mask of those that count [B, T] -> (B, D). */
  override forward(tokens: Tensor, mask: Tensor | undefined): Tensor {
    const [batch, , dim] = tokens.shape as [number, number, number];
    const x = concat([this.clsToken.expand(batch, 1, dim), tokens], 1); // (B, 1 + T, D)
    const whole = mask && concat([ones([batch, 1]), cast(mask, 'f32')], 1); // (B, 1 + T)
    const { lastHiddenState } = this.encoder.forward(x, {}, whole && additiveMask(whole, x.dtype));
    return this.layernorm.forward(select(lastHiddenState, 1, 0)); // (B, D)
  }
}

/** 1 for the tokens (B, T) that count: those of the mask, in rows that have this side. */
function seen(tokens: Tensor, mask: Tensor | undefined, has: Tensor | undefined): Tensor {
  const [batch, length] = tokens.shape as [number, number];
  const own = mask ? cast(mask, 'f32') : ones([batch, length]);
  return has ? mul(own, reshape(cast(has, 'f32'), [batch, 1])) : own; // (B, T)
}

/**
 * Classifies texts with pictures. Each may be missing, of the whole batch (leave it out) or of single rows
 * (`hasText`, `hasImage`): a model that was trained with rows that lack one (modality dropout) then answers
 * by the other.
 *
 * @example
 * const shape = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const config = { ...shape, vocabSize: 20, imageSize: 8, patchSize: 4, numLabels: 3 };
 * const model = FusionForClassification.fromConfig(config);
 * const inputIds = tensor([[2, 7, 3]], { dtype: 'i32' });
 * model.forward({ inputIds, pixelValues: zeros(1, 3, 8, 8) }).logits.shape; // [1, 3]
 */
export class FusionForClassification extends PreTrainedModel<FusionConfig> {
  static readonly configFormat = FusionConfig;
  static readonly keyRules = { baseModelPrefix: 'fusion' };

  readonly embeddings: FusionEmbeddings;
  /**
   * Early: what is added to tokens of texts and of pictures. Late: what stands for a side that is missing.
   */
  modalityEmbeddings: Parameter;
  /** Early: that of both; late: that of texts, and that of pictures. */
  readonly encoders: readonly FusionEncoder[];
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: FusionConfig) {
    super(config);
    const { hiddenSize, fusion, initializerRange, hiddenDropoutProb, numLabels } = config;
    const sides = fusion === 'early' ? 1 : 2;
    this.embeddings = new FusionEmbeddings(config);
    this.modalityEmbeddings = parameter([2, hiddenSize], normalInit(initializerRange));
    this.encoders = Array.from({ length: sides }, () => new FusionEncoder(config));
    this.dropout = new Dropout(hiddenDropoutProb);
    this.classifier = dense(config, sides * hiddenSize, numLabels);
  }

  /** Logits (B, numLabels); labels as of other classifiers. Error: neither texts nor pictures. */
  override forward({ labels, ...inputs }: FusionInputs & { readonly labels?: Tensor }): HeadOutput {
    const vector = this.config.fusion === 'early' ? this.#early(inputs) : this.#late(inputs);
    const logits = this.classifier.forward(this.dropout.forward(vector)); // (B, L)
    return { logits, ...(labels ? { loss: labelLoss(this, logits, labels) } : {}) };
  }

  /** The tokens of each side that is there, and which of them count. */
  #sides({ inputIds, attentionMask, pixelValues, hasText, hasImage }: FusionInputs) {
    if (!inputIds && !pixelValues) throw new Error('FusionForClassification: give inputIds, pixelValues or both');
    const { vocabSize, maxPositionEmbeddings: positions } = this.config;
    if (inputIds) checkTokenInputs({ inputIds, attentionMask }, { vocabSize, positions });
    if (inputIds && pixelValues && inputIds.shape[0] !== pixelValues.shape[0])
      throw new Error(
        `FusionForClassification: ${inputIds.shape[0]} texts and ${pixelValues.shape[0]} pictures; row i of both ` +
          'belongs together',
      );
    const batch = (inputIds ?? pixelValues)!.shape[0]!;
    checkShape('hasText', hasText, [[batch]]);
    checkShape('hasImage', hasImage, [[batch]]);
    const texts = inputIds && this.embeddings.texts(inputIds); // (B, T, D)
    const pictures = pixelValues && this.embeddings.pictures(pixelValues); // (B, N, D)
    return {
      texts: texts && { tokens: texts, mask: seen(texts, attentionMask, hasText), has: hasText },
      pictures: pictures && { tokens: pictures, mask: seen(pictures, undefined, hasImage), has: hasImage },
    };
  }

  #early(inputs: FusionInputs): Tensor {
    const { texts, pictures } = this.#sides(inputs);
    const there = [texts, pictures].flatMap((side, i) =>
      side ? [{ tokens: add(side.tokens, slice(this.modalityEmbeddings, [i, i + 1])), mask: side.mask }] : [],
    );
    const joined = (parts: readonly Tensor[]): Tensor => (parts.length > 1 ? concat(parts, 1) : parts[0]!);
    const tokens = this.embeddings.dropout.forward(joined(there.map((side) => side.tokens))); // (B, T + N, D)
    return this.encoders[0]!.forward(tokens, joined(there.map((side) => side.mask)));
  }

  #late(inputs: FusionInputs): Tensor {
    const { texts, pictures } = this.#sides(inputs);
    const batch = (texts ?? pictures)!.tokens.shape[0]!;
    const vectors = [texts, pictures].map((side, i) => {
      const missing = slice(this.modalityEmbeddings, [i, i + 1]); // (1, D)
      if (!side) return missing.expand(batch, this.config.hiddenSize);
      const vector = this.encoders[i]!.forward(this.embeddings.dropout.forward(side.tokens), side.mask); // (B, D)
      if (!side.has) return vector;
      const has = reshape(cast(side.has, 'f32'), [batch, 1]);
      return add(mul(vector, has), mul(missing, sub(1, has)));
    });
    return concat(vectors, 1); // (B, 2 D)
  }

  override extraRepr(): string {
    return `${this.config.fusion} fusion`;
  }
}
