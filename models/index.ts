export { Adapter } from './adapters/adapter.ts';
export {
  adapterConfigFromJson,
  ia3Config,
  loraConfig,
  prefixTuningConfig,
  promptTuningConfig,
} from './adapters/config.ts';
export type {
  AdapterConfig,
  IA3Config,
  IA3Settings,
  LoraConfig,
  LoraSettings,
  PrefixTuningConfig,
  PrefixTuningSettings,
  PromptTuningConfig,
  PromptTuningSettings,
} from './adapters/config.ts';
export type { CombinationOptions, CombinationType } from './adapters/weighted.ts';
export { adaptersOf, addLora, getPeftModel, initAdapter, loadAdapter, PeftModel } from './adapters/peft-model.ts';
export type {
  LoadAdapterOptions,
  SavableModel,
  SaveAdapterOptions,
  TrainableParameters,
} from './adapters/peft-model.ts';
export { causalLoaders, loadModel } from './auto.ts';
export { defineConfig } from './config.ts';
export type { ConfigFormat, LabelSettings, ModelConfig } from './config.ts';
export * from './families.ts';
export * from './generation/index.ts';
export { GgufFile } from './gguf/file.ts';
export { ggufFile, ggufTypes } from './gguf/writer.ts';
export type { GgufType } from './gguf/writer.ts';
export { saveFiles } from '../common/file-access.ts';
export { dropMemoryFolder, filesInMemory, memoryFolder } from '../common/files.ts';
export type { FileData, FileMap } from '../common/files.ts';
export { zip } from '../common/zip.ts';
export { ImageProcessor } from './image/image-processor.ts';
export type { ImageProcessorSettings } from './image/image-processor.ts';
export { RawImage } from './image/raw-image.ts';
export type { Pixels } from './image/pixels.ts';
export type { ImageInput, ReadImageOptions } from './image/raw-image.ts';
export { isGguf } from './io/model-files.ts';
export { isAdapterFolder, readModelFolder, resolveModelFolder } from './io/resolve.ts';
export type { ResolveOptions } from './io/resolve.ts';
export { SafetensorsFile, SavedWeights, writeSafetensors, writeWeights } from './io/safetensors.ts';
export type { LoadReport } from './io/state-dict.ts';
export { runWithCache, runWithHooks } from './hooks/run.ts';
export type { ActivationHook, ActivationNames } from './hooks/run.ts';
export { withHooks } from './hooks/with-hooks.ts';
export type { ModuleHooks } from './hooks/with-hooks.ts';
export { evalMode, Module } from './module.ts';
export type { ForwardHook, ForwardPreHook, HookHandle, HookOptions } from './module.ts';
export * from './nn/index.ts';
export {
  ModuleBuffer,
  normalInit,
  onesInit,
  Parameter,
  parameter,
  uniformInit,
  xavierUniformInit,
  zeroRowInit,
  zerosInit,
} from './parameter.ts';
export type { Initializer } from './parameter.ts';
export type { Answer, AnswerOptions, Prediction, PredictionOptions } from './pipelines/question-answering/decode.ts';
export type { FeatureOptions, Question, QuestionFeature } from './pipelines/question-answering/features.ts';
export { answerQuestions, loadQuestionAnswerer } from './pipelines/question-answering/pipeline.ts';
export type { QuestionAnswerer, QuestionAnsweringOptions } from './pipelines/question-answering/pipeline.ts';
export type {
  ImageClassificationOptions,
  ImageClassifier,
  ImageFeatureExtractor,
  ImageFeatureOptions,
  ZeroShotImageClassifier,
  ZeroShotImageOptions,
} from './pipelines/image.ts';
export { pipeline, pipelineTasks } from './pipelines/pipeline.ts';
export type { Pipelines, PipelineTask } from './pipelines/pipeline.ts';
export { generateFromSources, taskOf } from './pipelines/text2text-generation.ts';
export type { Text2TextOptions } from './pipelines/text2text-generation.ts';
export { encoderSizes, loadWithHead, untrainedLike } from './auto.ts';
export type {
  EncodersByHead,
  Head,
  HeadOptions,
  HeadSettings,
  ImageClassificationModel,
  MaskedLanguageModel,
  ModelsByHead,
  QuestionAnsweringModel,
  SequenceClassificationModel,
  TokenClassificationModel,
} from './auto.ts';
export { rowLimits } from './bert/model.ts';
export type { RowLimits } from './bert/model.ts';
export { loadTextEncoder, paddingOf } from './pipelines/encoder.ts';
export type { TextEncoder } from './pipelines/encoder.ts';
export { PreTrainedModel } from './pretrained.ts';
export type { LoadOptions, SaveOptions } from './pretrained.ts';
export { quantizations } from './nn/quantize.ts';
export type { Quantization } from './nn/quantize.ts';
export { nearestNeighbours, VectorIndex } from './sentence-transformer/nearest-neighbours.ts';
export type { Neighbour } from './sentence-transformer/nearest-neighbours.ts';
export { SentenceTransformer } from './sentence-transformer/model.ts';
export type { EncodeTextsOptions } from './sentence-transformer/model.ts';
export type { PoolingMode } from './sentence-transformer/pooling.ts';
export type { AnyTokenizer, SpecialTokenIds } from './tokenizer/any-tokenizer.ts';
export { BertTokenizer } from './tokenizer/bert-tokenizer.ts';
export type { DecodeStream } from './tokenizer/any-tokenizer.ts';
export type { TextBatch } from './tokenizer/encode-options.ts';
export type { EncodeOptions } from './tokenizer/encode-options.ts';
export { encode } from './tokenizer/encode.ts';
export type { Encoding } from './tokenizer/encode.ts';
export { extendTokenizer } from './tokenizer/extend-tokenizer.ts';
export type { ExtendedTokenizer } from './tokenizer/extend-tokenizer.ts';
export { loadTokenizer } from './tokenizer/load.ts';
export type { Template } from './tokenizer/post-processors.ts';
export { Tokenizer } from './tokenizer/tokenizer.ts';
export { CausalLM, lmHead } from './transformer/causal-lm.ts';
export type { CausalLMInputs } from './transformer/causal-lm.ts';
export { extendVocabulary } from './transformer/extend-vocabulary.ts';
export type { ExtendOptions } from './transformer/extend-vocabulary.ts';
export { checkDecoderInputs, shiftRight } from './transformer/inputs.ts';
export type { DecoderInputs, Seq2SeqInputs, Seq2SeqLMInputs, TokenInputs } from './transformer/inputs.ts';
export { runLayers } from './transformer/layers.ts';
export type { LayerOutput } from './transformer/layers.ts';
export type {
  DecoderOutput,
  EncoderOutput,
  HeadOutput,
  Seq2SeqLMOutput,
  Seq2SeqOutput,
} from './transformer/outputs.ts';
export { Seq2SeqLM } from './transformer/seq2seq.ts';
export type { Seq2SeqConfig, Seq2SeqDecoderInputs, Seq2SeqSides } from './transformer/seq2seq.ts';
