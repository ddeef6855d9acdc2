import type { Linear } from '../nn/linear.ts';
import { CausalLM, lmHead } from '../transformer/causal-lm.ts';
import { classifierOf } from '../transformer/decoder-classifier.ts';
import { GPT2Config } from './config.ts';
import { GPT2Model } from './model.ts';

/**
 * GPT-2 as it was trained: predicts the next token.
 *
 * @example
 * const config = { vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 };
 * const model = GPT2LMHeadModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class GPT2LMHeadModel extends CausalLM<GPT2Config> {
  static readonly configFormat = GPT2Config;
  static readonly keyRules = GPT2Model.keyRules;

  readonly transformer: GPT2Model;
  readonly lmHead: Linear;

  constructor(config: GPT2Config) {
    super(config);
    this.transformer = new GPT2Model(config);
    this.lmHead = lmHead(config, this.transformer.wte);
  }

  protected override get decoderModel(): GPT2Model {
    return this.transformer;
  }

  protected override get positions(): number {
    return this.config.nPositions;
  }
}

/**
 * GPT-2 as a classifier of texts.
 *
 * @example
 * const config = { vocabSize: 50, nEmbd: 8, nLayer: 1, nHead: 2 };
 * const model = GPT2ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class GPT2ForSequenceClassification extends classifierOf(GPT2Model, {
  width: ({ nEmbd }) => nEmbd,
  positions: ({ nPositions }) => nPositions,
  initializerRange: ({ initializerRange }) => initializerRange,
}) {}
