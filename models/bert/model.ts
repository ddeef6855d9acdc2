import { select, tanh } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { additiveMask } from '../nn/attention-mask.ts';
import type { Linear } from '../nn/linear.ts';
import type { EncoderOutput } from '../outputs.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { BertConfig } from './config.ts';
import { BertEmbeddings } from './embeddings.ts';
import { BertEncoder } from './encoder.ts';
import type { BertInputs } from './inputs.ts';
import { dense } from './layers.ts';

/** What all BERT classes share: the config, and how their files name things. */
export abstract class BertPreTrainedModel extends PreTrainedModel<BertConfig> {
  static readonly configFormat = BertConfig;
  static readonly keyRules = {
    baseModelPrefix: 'bert',
    ignoredKeys: /(^|\.)embeddings\.(position_ids|token_type_ids)$/,
  };

  /** Checkpoints of heads that do not use the pooler lack it. */
  protected override mayBeNew(key: string): boolean {
    return /^(bert\.)?pooler\./.test(key) || super.mayBeNew(key);
  }
}

/** tanh(dense(x)) of the first token, [CLS]. */
export class BertPooler extends Module {
  readonly dense: Linear;

  constructor(config: BertConfig) {
    super();
    this.dense = dense(config, config.hiddenSize, config.hiddenSize);
  }

  override forward(hidden: Tensor): Tensor {
    return tanh(this.dense.forward(select(hidden, 1, 0))); // (B, D)
  }
}

export interface BertModelOutput extends EncoderOutput {
  /** The pooler's output, (B, D); undefined in models without one. */
  readonly pooled?: Tensor;
}

/** The bare encoder (Devlin et al. 2019): tokens to one vector for each, and one for the whole from [CLS]. */
export class BertModel extends BertPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly encoder: BertEncoder;
  readonly pooler: BertPooler | undefined;

  constructor(config: BertConfig, { addPoolingLayer = true }: { readonly addPoolingLayer?: boolean } = {}) {
    super(config);
    this.embeddings = new BertEmbeddings(config);
    this.encoder = new BertEncoder(config);
    this.pooler = addPoolingLayer ? new BertPooler(config) : undefined;
  }

  override forward(inputs: BertInputs): BertModelOutput {
    const x = this.embeddings.forward(inputs); // (B, T, D)
    const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
    const encoded = this.encoder.forward(x, mask, inputs);
    return this.pooler ? { ...encoded, pooled: this.pooler.forward(encoded.lastHiddenState) } : encoded;
  }
}
