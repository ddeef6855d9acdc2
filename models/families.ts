// Every model family. Classes listed here are exported by the room, and `loadModel` finds them by name.
export { AlbertConfig } from './albert/config.ts';
export type { AlbertSettings } from './albert/config.ts';
export {
  AlbertForMaskedLM,
  AlbertForPreTraining,
  AlbertForQuestionAnswering,
  AlbertForSequenceClassification,
  AlbertForTokenClassification,
  AlbertModel,
} from './albert/model.ts';
export type { AlbertPreTrainingOutput } from './albert/model.ts';
export { BartConfig, MarianConfig, MBartConfig, PegasusConfig } from './bart/config.ts';
export type { BartSettings, MarianSettings } from './bart/config.ts';
export {
  BartForConditionalGeneration,
  BartForSequenceClassification,
  MarianMTModel,
  MBartForConditionalGeneration,
  PegasusForConditionalGeneration,
} from './bart/heads.ts';
export { BartModel, MarianModel, MBartModel, PegasusModel } from './bart/model.ts';
export { BertConfig } from './bert/config.ts';
export type { BertSettings } from './bert/config.ts';
export {
  BertForMaskedLM,
  BertForNextSentencePrediction,
  BertForPreTraining,
  BertForQuestionAnswering,
  BertForRotaryFill,
  BertForSequenceClassification,
  BertForTokenClassification,
} from './bert/heads.ts';
export { entropyOf, exitEarly, hasExits } from './bert/early-exit.ts';
export type { Exited } from './bert/early-exit.ts';
export type { PreTrainingOutput, RotaryFillOutput } from './bert/heads.ts';
export type { MaskedTokens, QuestionAnsweringOutput } from './transformer/encoder-heads.ts';
export { BertModel, BertPreTrainedModel } from './bert/model.ts';
export type { BertInputs, BertModelOutput } from './bert/model.ts';
export { CLIPConfig, CLIPTextConfig, CLIPVisionConfig } from './clip/config.ts';
export type { CLIPSettings } from './clip/config.ts';
export { CLIPModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection } from './clip/model.ts';
export type { CLIPInputs, CLIPOutput } from './clip/model.ts';
export { DebertaV2Config } from './deberta-v2/config.ts';
export type { DebertaV2Settings } from './deberta-v2/config.ts';
export {
  DebertaV2ForMaskedLM,
  DebertaV2ForQuestionAnswering,
  DebertaV2ForSequenceClassification,
  DebertaV2ForTokenClassification,
  DebertaV2Model,
} from './deberta-v2/model.ts';
export { DistilBertConfig } from './distilbert/config.ts';
export type { DistilBertSettings } from './distilbert/config.ts';
export {
  DistilBertForMaskedLM,
  DistilBertForQuestionAnswering,
  DistilBertForSequenceClassification,
  DistilBertForTokenClassification,
  DistilBertModel,
} from './distilbert/model.ts';
export { ElectraConfig } from './electra/config.ts';
export type { ElectraSettings } from './electra/config.ts';
export {
  ElectraForMaskedLM,
  ElectraForPreTraining,
  ElectraForQuestionAnswering,
  ElectraForSequenceClassification,
  ElectraForTokenClassification,
  ElectraModel,
} from './electra/model.ts';
export { FusionConfig } from './fusion/config.ts';
export type { FusionSettings } from './fusion/config.ts';
export { FusionForClassification } from './fusion/model.ts';
export type { FusionInputs } from './fusion/model.ts';
export { Gemma2Config, Gemma3TextConfig } from './gemma/config.ts';
export {
  Gemma2ForCausalLM,
  Gemma2ForSequenceClassification,
  Gemma2Model,
  Gemma3ForCausalLM,
  Gemma3TextForSequenceClassification,
  Gemma3TextModel,
} from './gemma/model.ts';
export { GPT2Config, gpt2Config } from './gpt2/config.ts';
export type { GPT2Settings, GPT2Size } from './gpt2/config.ts';
export { GPTNeoXConfig } from './gpt-neox/config.ts';
export { GPTNeoXForCausalLM, GPTNeoXForSequenceClassification, GPTNeoXModel } from './gpt-neox/model.ts';
export { GPT2ForSequenceClassification, GPT2LMHeadModel } from './gpt2/heads.ts';
export { GPT2Model } from './gpt2/model.ts';
export { LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config, SmolLM3Config } from './llama/config.ts';
export type { LlamaSettings } from './llama/config.ts';
export {
  LlamaForCausalLM,
  LlamaForSequenceClassification,
  MistralForCausalLM,
  MistralForSequenceClassification,
  Qwen2ForCausalLM,
  Qwen2ForSequenceClassification,
  Qwen3ForCausalLM,
  Qwen3ForSequenceClassification,
  SmolLM3ForCausalLM,
  SmolLM3ForSequenceClassification,
} from './llama/heads.ts';
export { LlamaModel, MistralModel, Qwen2Model, Qwen3Model, SmolLM3Model } from './llama/model.ts';
export { MPNetConfig } from './mpnet/config.ts';
export type { MPNetSettings } from './mpnet/config.ts';
export {
  MPNetForMaskedLM,
  MPNetForQuestionAnswering,
  MPNetForSequenceClassification,
  MPNetForTokenClassification,
  MPNetModel,
} from './mpnet/model.ts';
export { Olmo2Config } from './olmo2/config.ts';
export { Olmo2ForCausalLM, Olmo2ForSequenceClassification, Olmo2Model } from './olmo2/model.ts';
export { OPTConfig } from './opt/config.ts';
export { OPTForCausalLM, OPTForSequenceClassification, OPTModel } from './opt/model.ts';
export { Phi3Config } from './phi3/config.ts';
export { Phi3ForCausalLM, Phi3ForSequenceClassification, Phi3Model } from './phi3/model.ts';
export { RobertaConfig } from './roberta/config.ts';
export type { RobertaSettings } from './roberta/config.ts';
export {
  RobertaForMaskedLM,
  RobertaForQuestionAnswering,
  RobertaForSequenceClassification,
  RobertaForTokenClassification,
  RobertaModel,
} from './roberta/model.ts';
export { T5Config } from './t5/config.ts';
export type { T5Settings } from './t5/config.ts';
export { T5ForConditionalGeneration } from './t5/heads.ts';
export { T5Model } from './t5/model.ts';
export { ViTConfig } from './vit/config.ts';
export type { ViTSettings } from './vit/config.ts';
export { ViTForImageClassification, ViTModel } from './vit/model.ts';
