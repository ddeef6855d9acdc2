// DeBERTa-v2 and -v3 (He et al. 2021): attention in which content and distance of tokens are apart.
import {
  add,
  cast,
  expand,
  gather,
  logicalAnd,
  matmul,
  mul,
  ne,
  reshape,
  select,
  transpose,
  where,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertLMPredictionHead } from '../bert/heads.ts';
import { BertAttention, BertEmbeddings, BertLayer } from '../bert/model.ts';
import type { BertInputs } from '../bert/model.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { attend, headPoints, splitHeads } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { byDistance } from '../nn/by-distance.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding, firstRows } from '../nn/embedding.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { normalInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { dense, encoderHeads, TokenPredictions } from '../transformer/encoder-heads.ts';
import type { PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import type { TokenInputs } from '../transformer/inputs.ts';
import { runLayers } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { DebertaV2Config } from './config.ts';

/**
 * Added to scores that the mask hides: so large that nothing else is left of a score. A padding token, whose
 * scores are all hidden, then attends to all alike, as in Transformers.
 */
const hiddenScore = -1e20;

/** How far apart two tokens are, as all layers see it. */
interface Distances {
  /** Which row of the table the distance of query i and key j has, (T, T). */
  readonly rows: Tensor;
  /** The table of distances (2 S, D); undefined without relative attention. */
  readonly table: Tensor | undefined;
  /** bool (B, 1, T, T): token i may attend to token j. */
  readonly mask: Tensor | undefined;
  /** 1 for tokens, 0 for padding, (B, 1, T, 1). */
  readonly isToken: Tensor | undefined;
}

/** The farthest distance, and how many are told apart on each side. */
function spanOf(config: DebertaV2Config): { readonly farthest: number; readonly span: number } {
  const { maxRelativePositions, maxPositionEmbeddings, positionBuckets } = config;
  const farthest = maxRelativePositions < 1 ? maxPositionEmbeddings : maxRelativePositions;
  return { farthest, span: positionBuckets > 0 ? positionBuckets : farthest };
}

/** Near distances are themselves, far ones count by logarithm: `make_log_bucket_position`, in its f32. */
function logBucket(distance: number, buckets: number, farthest: number): number {
  const middle = Math.floor(buckets / 2);
  const steps = Math.abs(distance);
  if (steps <= middle) return distance;
  const log = (x: number): number => Math.fround(Math.log(Math.fround(x)));
  const share = Math.fround(log(steps / middle) / log((farthest - 1) / middle));
  return Math.sign(distance) * (Math.ceil(Math.fround(share * (middle - 1))) + middle);
}

/** The row of the table for query i and key j, (T, T). */
function distanceRows(length: number, config: DebertaV2Config): Tensor {
  const { farthest, span } = spanOf(config);
  return byDistance(length, (behind) => {
    const distance = -behind;
    const bucket = config.positionBuckets > 0 ? logBucket(distance, config.positionBuckets, farthest) : distance;
    return Math.min(Math.max(bucket + span, 0), 2 * span - 1);
  });
}

/** Scores of content with content, of content with distance, and of distance with content. */
class DisentangledSelfAttention extends Module {
  queryProj: Linear;
  keyProj: Linear;
  valueProj: Linear;
  readonly posKeyProj: Linear | undefined;
  readonly posQueryProj: Linear | undefined;
  readonly posDropout: Dropout;
  readonly dropout: Dropout;
  readonly numHeads: number;
  readonly types: readonly ('c2p' | 'p2c')[];

  constructor(config: DebertaV2Config) {
    super();
    const { hiddenSize, posAttType, relativeAttention, shareAttKey } = config;
    const project = (): Linear => dense(config, hiddenSize, hiddenSize);
    this.types = posAttType ?? [];
    this.queryProj = project();
    this.keyProj = project();
    this.valueProj = project();
    const own = relativeAttention && !shareAttKey;
    this.posKeyProj = own && this.types.includes('c2p') ? project() : undefined;
    this.posQueryProj = own && this.types.includes('p2c') ? project() : undefined;
    this.posDropout = new Dropout(config.hiddenDropoutProb);
    this.dropout = new Dropout(config.attentionProbsDropoutProb);
    this.numHeads = config.numAttentionHeads;
  }

  override forward(x: Tensor, distances: Distances, outputWeights: boolean): Attended {
    const heads = (y: Tensor): Tensor => splitHeads(y, this.numHeads);
    const queries = heads(this.queryProj.forward(x)); // (B, H, T, D/H)
    // Hidden scores are constants: no gradient may flow through those of padding, which are all alike.
    const masked = distances.isToken ? mul(queries, distances.isToken) : queries;
    const [q, k, v] = headPoints([masked, heads(this.keyProj.forward(x)), heads(this.valueProj.forward(x))]);
    const scale = 1 / Math.sqrt(q.shape[3]! * (1 + this.types.length));
    const mask = this.#bias(q, k, distances, scale);
    return attend(q, k, v, { scale, mask, dropout: this.dropout, outputWeights });
  }

  /** What is added to the scores of contents, (B, H, T, T). */
  #bias(q: Tensor, k: Tensor, { rows, table, mask }: Distances, scale: number): Tensor | undefined {
    const [batch, heads, length] = q.shape as [number, number, number];
    const shape = [batch, heads, length, length];
    const index = expand(rows, shape);
    let bias: Tensor | undefined;
    if (table && this.types.length > 0) {
      const distances = reshape(this.posDropout.forward(table), [1, ...table.shape]); // (1, 2 S, D)
      const side = (content: Tensor, layer: Linear): Tensor => {
        const positions = splitHeads(layer.forward(distances), heads); // (1, H, 2 S, D/H)
        return matmul(mul(content, scale), transpose(positions)); // (B, H, T, 2 S)
      };
      if (this.types.includes('c2p')) bias = gather(side(q, this.posKeyProj ?? this.keyProj), 3, index);
      if (this.types.includes('p2c')) {
        // Of key j the row for query i: rows is that of i and j, so its transpose.
        const scores = side(k, this.posQueryProj ?? this.queryProj);
        const added = transpose(gather(scores, 3, expand(transpose(rows), shape))); // (B, H, Tq, Tk)
        bias = bias ? add(bias, added) : added;
      }
    }
    return mask ? where(mask, bias ?? zeros([1], { dtype: q.dtype }), hiddenScore) : bias;
  }

  override extraRepr(): string {
    return `heads: ${this.numHeads}${this.types.map((type) => `, ${type}`).join('')}`;
  }
}

type DebertaV2Layer = BertLayer<Distances, BertAttention<Distances, DisentangledSelfAttention>>;

class DebertaV2Encoder extends Module {
  readonly layer: readonly DebertaV2Layer[];
  readonly relEmbeddings: Embedding | undefined;
  readonly LayerNorm: LayerNorm | undefined;
  readonly #config: DebertaV2Config;

  constructor(config: DebertaV2Config) {
    super();
    const { numHiddenLayers, hiddenSize, layerNormEps, normRelEbd, relativeAttention, initializerRange } = config;
    this.#config = config;
    this.layer = Array.from(
      { length: numHiddenLayers },
      () => new BertLayer(config, new BertAttention(config, new DisentangledSelfAttention(config))),
    );
    this.relEmbeddings = relativeAttention
      ? new Embedding(2 * spanOf(config).span, hiddenSize, { weightInit: normalInit(initializerRange) })
      : undefined;
    const isNormed = normRelEbd
      .toLowerCase()
      .split('|')
      .some((part) => part.trim() === 'layer_norm');
    this.LayerNorm = isNormed ? new LayerNorm(hiddenSize, { eps: layerNormEps }) : undefined;
  }

  /** x (B, T, D) -> (B, T, D) and what was asked for; attentionMask [B, T]. */
  override forward(x: Tensor, { attentionMask, ...options }: TokenInputs): EncoderOutput {
    const [batch, length] = x.shape as [number, number];
    const weight = this.relEmbeddings && firstRows(this.relEmbeddings, this.relEmbeddings.weight.shape[0]!);
    const isToken = attentionMask && ne(attentionMask, 0); // (B, T)
    const queries = isToken && reshape(isToken, [batch, 1, length, 1]);
    const distances: Distances = {
      rows: distanceRows(length, this.#config),
      table: weight && (this.LayerNorm?.forward(weight) ?? weight),
      mask: queries && logicalAnd(reshape(isToken!, [batch, 1, 1, length]), queries),
      isToken: queries && cast(queries, x.dtype),
    };
    const run = (layer: DebertaV2Layer, y: Tensor, outputWeights: boolean): Attended =>
      layer.forward(y, distances, outputWeights);
    return runLayers(x, this.layer, { ...options, run });
  }
}

/** What all DeBERTa-v2 classes have in common. */
abstract class DebertaV2PreTrainedModel extends PreTrainedModel<DebertaV2Config> {
  static readonly configFormat = DebertaV2Config;
  static readonly keyRules = {
    baseModelPrefix: 'deberta',
    ignoredKeys: /(^|\.)embeddings\.position_ids$|^mask_predictions\./,
  };
}

/**
 * Tokens to one vector for each.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = DebertaV2Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class DebertaV2Model extends DebertaV2PreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly encoder: DebertaV2Encoder;

  constructor(config: DebertaV2Config) {
    super(config);
    this.embeddings = new BertEmbeddings(config, { hasPositions: config.positionBiasedInput });
    this.encoder = new DebertaV2Encoder(config);
  }

  /** attentionMask [B, T]. */
  override forward(inputs: BertInputs): PooledOutput {
    const x = this.embeddings.forward(inputs); // (B, T, D)
    const { attentionMask } = inputs;
    if (!attentionMask) return this.encoder.forward(x, inputs);
    if (attentionMask.ndim !== 2)
      throw new Error(`attentionMask is ${showShape(attentionMask.shape)}; DeBERTa takes one of keys, [batch, tokens]`);
    const isToken = reshape(cast(attentionMask, x.dtype), [...attentionMask.shape, 1]); // (B, T, 1)
    return this.encoder.forward(mul(x, isToken), inputs);
  }
}

const heads = encoderHeads<'deberta', BertInputs, DebertaV2Config, typeof DebertaV2PreTrainedModel, DebertaV2Model>(
  DebertaV2PreTrainedModel,
  {
    prefix: 'deberta',
    encoder: (config) => new DebertaV2Model(config),
    dim: ({ hiddenSize }) => hiddenSize,
    dropout: ({ hiddenDropoutProb }) => hiddenDropoutProb,
  },
);

/** `cls` in the files. */
class LegacyPredictions extends Module {
  readonly predictions: BertLMPredictionHead;

  constructor(config: DebertaV2Config, { embeddings }: DebertaV2Model) {
    super();
    this.predictions = new BertLMPredictionHead(config, embeddings.wordEmbeddings.weight);
  }
}

/** `lm_predictions` in the files: always tied. */
class Predictions extends Module {
  readonly lmHead: TokenPredictions;

  constructor(config: DebertaV2Config, { embeddings }: DebertaV2Model) {
    super();
    const settings = { ...config, tieWordEmbeddings: true, activation: config.hiddenAct };
    this.lmHead = new TokenPredictions(settings, embeddings.wordEmbeddings.weight);
  }
}

/**
 * Predicts masked tokens. The published weights are for a head that `legacy: false` asks for.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = DebertaV2ForMaskedLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class DebertaV2ForMaskedLM extends heads.MaskedLM {
  readonly cls: LegacyPredictions | undefined;
  readonly lmPredictions: Predictions | undefined;

  constructor(config: DebertaV2Config) {
    super(config);
    this.cls = config.legacy ? new LegacyPredictions(config, this.deberta) : undefined;
    this.lmPredictions = config.legacy ? undefined : new Predictions(config, this.deberta);
  }

  protected override get tokenHead(): TokenHead {
    return this.cls?.predictions ?? this.lmPredictions!.lmHead;
  }
}

/** activation(dense(dropout(x))) of the first token. */
class ContextPooler extends Module {
  readonly dense: Linear;
  readonly dropout: Dropout;
  readonly activation: ActivationName;

  constructor(config: DebertaV2Config) {
    super();
    this.dense = dense(config, config.hiddenSize, config.hiddenSize);
    this.dropout = new Dropout(config.poolerDropout);
    this.activation = config.poolerHiddenAct;
  }

  override forward(hidden: Tensor): Tensor {
    return activations[this.activation](this.dense.forward(this.dropout.forward(select(hidden, 1, 0)))); // (B, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = DebertaV2ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class DebertaV2ForSequenceClassification extends heads.SequenceClassification {
  readonly pooler: ContextPooler;
  readonly classifier: Linear;
  readonly dropout: Dropout;

  constructor(config: DebertaV2Config) {
    super(config);
    this.pooler = new ContextPooler(config);
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
    this.dropout = new Dropout(config.clsDropout ?? config.hiddenDropoutProb);
  }

  protected override score({ lastHiddenState }: PooledOutput): Tensor {
    return this.classifier.forward(this.dropout.forward(this.pooler.forward(lastHiddenState))); // (B, L)
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = DebertaV2ForTokenClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 2]
 */
export class DebertaV2ForTokenClassification extends heads.TokenClassification {}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = DebertaV2ForQuestionAnswering.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).startLogits.shape; // [1, 3]
 */
export class DebertaV2ForQuestionAnswering extends heads.QuestionAnswering {}
