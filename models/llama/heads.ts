// The models as they were trained, which predict the next token, and as classifiers of texts.
import { rotaryClassifierOf } from '../transformer/decoder-classifier.ts';
import { causalLMOf } from '../transformer/rotary-decoder.ts';
import { LlamaModel, MistralModel, Qwen2Model, Qwen3Model, SmolLM3Model } from './model.ts';

export class LlamaForCausalLM extends causalLMOf(LlamaModel) {}
export class MistralForCausalLM extends causalLMOf(MistralModel) {}
export class Qwen2ForCausalLM extends causalLMOf(Qwen2Model) {}
export class Qwen3ForCausalLM extends causalLMOf(Qwen3Model) {}
export class SmolLM3ForCausalLM extends causalLMOf(SmolLM3Model) {}

export class LlamaForSequenceClassification extends rotaryClassifierOf(LlamaModel) {}
export class MistralForSequenceClassification extends rotaryClassifierOf(MistralModel) {}
export class Qwen2ForSequenceClassification extends rotaryClassifierOf(Qwen2Model) {}
export class Qwen3ForSequenceClassification extends rotaryClassifierOf(Qwen3Model) {}
export class SmolLM3ForSequenceClassification extends rotaryClassifierOf(SmolLM3Model) {}
