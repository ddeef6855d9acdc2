import { LlamaForCausalLM } from './causal-lm.ts';
import { Qwen2Config, Qwen3Config } from './config.ts';
import { LlamaModel } from './model.ts';

/** Llama with biases on queries, keys and values (Yang et al. 2024): Qwen2 and Qwen2.5. */
export class Qwen2Model extends LlamaModel {
  static override readonly configFormat = Qwen2Config;
}

/** Qwen2 as it was trained: predicts the next token. */
export class Qwen2ForCausalLM extends LlamaForCausalLM {
  static override readonly configFormat = Qwen2Config;
}

/** Llama with queries and keys normalised by head (Yang et al. 2025). */
export class Qwen3Model extends LlamaModel {
  static override readonly configFormat = Qwen3Config;
}

/** Qwen3 as it was trained: predicts the next token. */
export class Qwen3ForCausalLM extends LlamaForCausalLM {
  static override readonly configFormat = Qwen3Config;
}
