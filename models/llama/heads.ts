import type { Linear } from '../nn/linear.ts';
import { CausalLM, lmHead } from '../transformer/causal-lm.ts';
import { LlamaConfig, Qwen2Config, Qwen3Config } from './config.ts';
import { LlamaModel } from './model.ts';

/** Llama as it was trained: predicts the next token. */
export class LlamaForCausalLM extends CausalLM<LlamaConfig> {
  static readonly configFormat = LlamaConfig;
  static readonly keyRules = LlamaModel.keyRules;

  readonly model: LlamaModel;
  readonly lmHead: Linear;

  constructor(config: LlamaConfig) {
    super(config);
    this.model = new LlamaModel(config);
    this.lmHead = lmHead(config, this.model.embedTokens);
  }

  protected override get decoderModel(): LlamaModel {
    return this.model;
  }

  protected override get positions(): number {
    return this.config.maxPositionEmbeddings;
  }
}

/** Qwen2 as it was trained: predicts the next token. */
export class Qwen2ForCausalLM extends LlamaForCausalLM {
  static override readonly configFormat = Qwen2Config;
}

/** Qwen3 as it was trained: predicts the next token. */
export class Qwen3ForCausalLM extends LlamaForCausalLM {
  static override readonly configFormat = Qwen3Config;
}
