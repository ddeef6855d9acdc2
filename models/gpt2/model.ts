import { add, slice } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { normalInit } from '../init.ts';
import { checkCacheInputs, checkTokenInputs } from '../inputs.ts';
import type { DecoderInputs } from '../inputs.ts';
import { additiveMask } from '../nn/attention-mask.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { LayerNorm } from '../nn/norm.ts';
import type { EncoderOutput } from '../outputs.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { GPT2Block } from './block.ts';
import { GPT2Config } from './config.ts';
import { norm } from './layers.ts';

/** What all GPT-2 classes share: the config, and how their files name things. */
export abstract class GPT2PreTrainedModel extends PreTrainedModel<GPT2Config> {
  static readonly configFormat = GPT2Config;
  static readonly keyRules = {
    baseModelPrefix: 'transformer',
    // The causal mask, which old files carry in every layer.
    ignoredKeys: /(^|\.)h\.\d+\.attn\.(bias|masked_bias)$/,
  };
}

/**
 * The bare decoder (Radford et al. 2019): tokens to one vector for each, which knows of that token and those
 * before it.
 */
export class GPT2Model extends GPT2PreTrainedModel {
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
    const { cache, attentionMask, outputHiddenStates = false, outputAttentions = false } = inputs;
    checkTokenInputs(inputs, { vocabSize: this.config.vocabSize, positions: this.config.nPositions });
    checkCacheInputs(inputs);
    let x = this.#embed(inputs); // (B, T, D)
    const mask = attentionMask && additiveMask(attentionMask, x.dtype); // (B, 1, 1 or T, T)
    const states = [x]; // (B, T, D) each
    const attentions: Tensor[] = []; // (B, H, T, T) each
    for (const [i, block] of this.h.entries()) {
      const { hidden, weights } = block.forward(x, mask, outputAttentions, cache?.layer(i));
      x = hidden; // (B, T, D)
      if (outputHiddenStates) states.push(x);
      if (weights) attentions.push(weights);
    }
    const lastHiddenState = this.lnF.forward(x); // (B, T, D)
    return {
      lastHiddenState,
      // As in Transformers: the last layer's is the normalised one.
      ...(outputHiddenStates ? { hiddenStates: [...states.slice(0, -1), lastHiddenState] } : {}),
      ...(outputAttentions ? { attentions } : {}),
    };
  }

  /** The sum of the embeddings of token and position, (B, T, D). */
  #embed({ inputIds, cache, positionIds = cache?.positions(inputIds.shape[1]!) }: DecoderInputs): Tensor {
    const positions = positionIds
      ? this.wpe.forward(positionIds) // (T, D) or (B, T, D)
      : slice(this.wpe.weight, [0, inputIds.shape[1]!]); // (T, D), no gather
    return this.drop.forward(add(this.wte.forward(inputIds), positions));
  }
}
