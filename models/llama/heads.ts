// The models as they were trained: they predict the next token.
import { causalLMOf } from '../transformer/rotary-decoder.ts';
import { LlamaModel, MistralModel, Qwen2Model, Qwen3Model, SmolLM3Model } from './model.ts';

export class LlamaForCausalLM extends causalLMOf(LlamaModel) {}
export class MistralForCausalLM extends causalLMOf(MistralModel) {}
export class Qwen2ForCausalLM extends causalLMOf(Qwen2Model) {}
export class Qwen3ForCausalLM extends causalLMOf(Qwen3Model) {}
export class SmolLM3ForCausalLM extends causalLMOf(SmolLM3Model) {}
