import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attendPacked, mergeHeads, splitPacked } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding, firstRows } from '../nn/embedding.ts';
import { LayerNorm } from '../nn/norm.ts';
import { normalInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkDecoderInputs } from '../transformer/inputs.ts';
import type { DecoderInputs } from '../transformer/inputs.ts';
import { addAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import type { LayerInputs } from '../transformer/rotary-decoder.ts';
import { GPT2Config } from './config.ts';

/** A linear layer with GPT-2's initialisation: normal weights, biases 0. */
function projection({ initializerRange }: GPT2Config, inFeatures: number, outFeatures: number): Conv1D {
  return new Conv1D(inFeatures, outFeatures, { weightInit: normalInit(initializerRange) });
}

/**
 * One whose output is added to the residual stream: its weights are smaller by the root of the number of such
 * additions, two a layer (Radford et al. 2019, section 2.3).
 */
function residualProjection(config: GPT2Config, inFeatures: number, outFeatures: number): Conv1D {
  const deviation = config.initializerRange / Math.sqrt(2 * config.nLayer);
  return new Conv1D(inFeatures, outFeatures, { weightInit: normalInit(deviation) });
}

function norm({ nEmbd, layerNormEpsilon }: GPT2Config): LayerNorm {
  return new LayerNorm(nEmbd, { eps: layerNormEpsilon });
}

/** Of attention and blocks, x (B, T, D) -> (B, T, D). */
type BlockInputs = Omit<LayerInputs, 'rotation'>;

class GPT2Attention extends Module {
  readonly cAttn: Conv1D;
  readonly cProj: Conv1D;
  readonly attnDropout: Dropout;
  readonly residDropout: Dropout;
  readonly numHeads: number;
  /** Factor of the scores. */
  readonly scale: number;

  constructor(config: GPT2Config, layer: number) {
    super();
    const { nEmbd, nHead, scaleAttnWeights, scaleAttnByInverseLayerIdx } = config;
    this.cAttn = projection(config, nEmbd, 3 * nEmbd);
    this.cProj = residualProjection(config, nEmbd, nEmbd);
    this.attnDropout = new Dropout(config.attnPdrop);
    this.residDropout = new Dropout(config.residPdrop);
    this.numHeads = nHead;
    this.scale = (scaleAttnWeights ? 1 / Math.sqrt(nEmbd / nHead) : 1) / (scaleAttnByInverseLayerIdx ? layer + 1 : 1);
  }

  override forward(x: Tensor, { mask, documentIds: documents, outputWeights, past }: BlockInputs): Attended {
    const qkv = this.cAttn.forward(x); // (B, T, 3 D)
    const { numHeads: heads, scale, attnDropout: dropout } = this;
    if (past) return { hidden: this.cProj.forward(mergeHeads(past.attend(...splitPacked(qkv, heads), { scale }))) };
    const { hidden, weights } = attendPacked(qkv, {
      ...{ heads, mask, documents, causal: true, scale, dropout, outputWeights },
    });
    return { hidden: this.residDropout.forward(this.cProj.forward(hidden)), weights }; // (B, T, D)
  }
}

class GPT2MLP extends Module {
  readonly cFc: Conv1D;
  readonly cProj: Conv1D;
  readonly dropout: Dropout;
  readonly activation: ActivationName;

  constructor(config: GPT2Config) {
    super();
    const { nEmbd, nInner } = config;
    const hidden = nInner ?? 4 * nEmbd;
    this.cFc = projection(config, nEmbd, hidden);
    this.cProj = residualProjection(config, hidden, nEmbd);
    this.dropout = new Dropout(config.residPdrop);
    this.activation = config.activationFunction;
  }

  override forward(x: Tensor): Tensor {
    const hidden = activate(this.activation, this.cFc.forward(x)); // (B, T, F)
    return this.dropout.forward(this.cProj.forward(hidden)); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/**
 * Causal self-attention and a feed-forward part, each normalised before and added to what went in (pre-LN).
 */
class GPT2Block extends Module {
  static override readonly keys = { ln1: 'ln_1', ln2: 'ln_2' };

  readonly ln1: LayerNorm;
  readonly attn: GPT2Attention;
  readonly ln2: LayerNorm;
  readonly mlp: GPT2MLP;

  constructor(config: GPT2Config, layer: number) {
    super();
    this.ln1 = norm(config);
    this.attn = new GPT2Attention(config, layer);
    this.ln2 = norm(config);
    this.mlp = new GPT2MLP(config);
  }

  override forward(x: Tensor, inputs: BlockInputs): Attended {
    const { hidden, weights } = this.attn.forward(this.ln1.forward(x), inputs);
    const y = addAttention(x, hidden); // (B, T, D)
    return { hidden: addFeedForward(y, this.mlp.forward(this.ln2.forward(y))), weights };
  }
}

/**
 * The bare decoder (Radford et al. 2019): tokens to one vector for each, which knows of that token and those
 * before it.
 *
 * @example
 * const config = { vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 };
 * const model = GPT2Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class GPT2Model extends PreTrainedModel<GPT2Config> {
  static readonly configFormat = GPT2Config;
  static readonly keyRules = {
    baseModelPrefix: 'transformer',
    // The causal mask, which old files carry in every layer.
    ignoredKeys: /(^|\.)h\.\d+\.attn\.(bias|masked_bias)$/,
  };

  readonly wte: Embedding;
  readonly wpe: Embedding;
  readonly drop: Dropout;
  readonly h: readonly GPT2Block[];
  readonly lnF: LayerNorm;

  constructor(config: GPT2Config) {
    super(config);
    const weightInit = normalInit(config.initializerRange);
    this.wte = new Embedding(config.vocabSize, config.nEmbd, { weightInit });
    this.wpe = new Embedding(config.nPositions, config.nEmbd, { weightInit });
    this.drop = new Dropout(config.embdPdrop);
    this.h = Array.from({ length: config.nLayer }, (_, layer) => new GPT2Block(config, layer));
    this.lnF = norm(config);
  }

  override forward(inputs: DecoderInputs): EncoderOutput {
    const { vocabSize, nPositions: positions } = this.config;
    checkDecoderInputs(inputs, { vocabSize, positions });
    const x = this.#embed(inputs); // (B, T, D)
    const { documentIds, cache } = inputs;
    const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
    return runLayers(x, this.h, {
      ...inputs,
      run: (block, y, outputWeights, i) =>
        block.forward(y, { mask, documentIds, outputWeights, past: cache?.layer(i) }),
      norm: (y) => this.lnF.forward(y),
    });
  }

  /** The sum of the embeddings of token and position, (B, T, D). */
  #embed({ inputIds, cache, positionIds = cache?.positions(inputIds.shape[1]!) }: DecoderInputs): Tensor {
    const positions = positionIds
      ? this.wpe.forward(positionIds) // (T, D) or (B, T, D)
      : firstRows(this.wpe, inputIds.shape[1]!); // (T, D)
    return this.drop.forward(add(hookPoint('hook_embed', this.wte.forward(inputIds)), positions));
  }
}
