// The models as they were trained, which predict the next token, and as classifiers of texts.
import { rotaryClassifierOf } from '../transformer/decoder-classifier.ts';
import { causalLMOf } from '../transformer/rotary-decoder.ts';
import { LlamaModel, MistralModel, Qwen2Model, Qwen3Model, SmolLM3Model } from './model.ts';

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = LlamaForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class LlamaForCausalLM extends causalLMOf(LlamaModel) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = MistralForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class MistralForCausalLM extends causalLMOf(MistralModel) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Qwen2ForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class Qwen2ForCausalLM extends causalLMOf(Qwen2Model) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Qwen3ForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class Qwen3ForCausalLM extends causalLMOf(Qwen3Model) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, padTokenId: null };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = SmolLM3ForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class SmolLM3ForCausalLM extends causalLMOf(SmolLM3Model) {}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = LlamaForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class LlamaForSequenceClassification extends rotaryClassifierOf(LlamaModel) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = MistralForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class MistralForSequenceClassification extends rotaryClassifierOf(MistralModel) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Qwen2ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class Qwen2ForSequenceClassification extends rotaryClassifierOf(Qwen2Model) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Qwen3ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class Qwen3ForSequenceClassification extends rotaryClassifierOf(Qwen3Model) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, padTokenId: null };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = SmolLM3ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class SmolLM3ForSequenceClassification extends rotaryClassifierOf(SmolLM3Model) {}
