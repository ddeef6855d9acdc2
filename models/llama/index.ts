export { LlamaForCausalLM } from './causal-lm.ts';
export { LlamaConfig, Qwen2Config, Qwen3Config } from './config.ts';
export type { LlamaSettings } from './config.ts';
export { LlamaModel, LlamaPreTrainedModel } from './model.ts';
export { Qwen2ForCausalLM, Qwen2Model, Qwen3ForCausalLM, Qwen3Model } from './qwen.ts';
