import { arange } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { normalInit } from '../init.ts';
import { checkCacheInputs, checkTokenInputs } from '../inputs.ts';
import type { DecoderInputs } from '../inputs.ts';
import { additiveMask } from '../nn/attention-mask.ts';
import { Embedding } from '../nn/embedding.ts';
import type { RMSNorm } from '../nn/norm.ts';
import { RotaryEmbedding } from '../nn/rotary.ts';
import type { EncoderOutput } from '../outputs.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { headSize, LlamaConfig } from './config.ts';
import { LlamaDecoderLayer } from './layer.ts';
import { norm } from './layers.ts';

/** What all classes of the family share: the config, and how their files name things. */
export abstract class LlamaPreTrainedModel extends PreTrainedModel<LlamaConfig> {
  static readonly configFormat = LlamaConfig;
  static readonly keyRules = {
    baseModelPrefix: 'model',
    // Frequencies, which old files carry in every layer.
    ignoredKeys: /rotary_emb\.inv_freq$/,
  };
}

/**
 * The bare decoder (Touvron et al. 2023): tokens to one vector for each, which knows of that token and those
 * before it.
 */
export class LlamaModel extends LlamaPreTrainedModel {
  readonly embedTokens: Embedding;
  readonly layers: readonly LlamaDecoderLayer[];
  readonly norm: RMSNorm;
  readonly rotaryEmb: RotaryEmbedding;

  constructor(config: LlamaConfig) {
    super(config);
    const { vocabSize, hiddenSize, padTokenId, initializerRange, numHiddenLayers } = config;
    this.embedTokens = new Embedding(vocabSize, hiddenSize, {
      ...(padTokenId === null ? {} : { paddingIdx: padTokenId }),
      weightInit: normalInit(initializerRange),
    });
    this.layers = Array.from({ length: numHiddenLayers }, () => new LlamaDecoderLayer(config));
    this.norm = norm(config);
    this.rotaryEmb = new RotaryEmbedding(headSize(config), {
      theta: config.ropeTheta,
      ...(config.ropeScaling ? { scaling: config.ropeScaling } : {}),
      maxPositions: config.maxPositionEmbeddings,
    });
  }

  override forward(inputs: DecoderInputs): EncoderOutput {
    const { inputIds, cache, attentionMask, outputHiddenStates = false, outputAttentions = false } = inputs;
    checkTokenInputs(inputs, {
      vocabSize: this.config.vocabSize,
      positions: this.config.maxPositionEmbeddings,
    });
    checkCacheInputs(inputs);
    const length = inputIds.shape[1]!;
    const { positionIds = cache?.positions(length) ?? arange(0, length) } = inputs;
    let x = this.embedTokens.forward(inputIds); // (B, T, D)
    const rotation = this.rotaryEmb.forward(positionIds);
    const mask = attentionMask && additiveMask(attentionMask, x.dtype); // (B, 1, 1 or T, T)
    const states = [x]; // (B, T, D) each
    const attentions: Tensor[] = []; // (B, H, T, T) each
    for (const [i, layer] of this.layers.entries()) {
      const { hidden, weights } = layer.forward(x, rotation, mask, outputAttentions, cache?.layer(i));
      x = hidden; // (B, T, D)
      if (outputHiddenStates) states.push(x);
      if (weights) attentions.push(weights);
    }
    const lastHiddenState = this.norm.forward(x); // (B, T, D)
    return {
      lastHiddenState,
      // As in Transformers: the last layer's is the normalised one.
      ...(outputHiddenStates ? { hiddenStates: [...states.slice(0, -1), lastHiddenState] } : {}),
      ...(outputAttentions ? { attentions } : {}),
    };
  }
}
