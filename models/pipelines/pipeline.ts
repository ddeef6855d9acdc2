/**
 * `pipeline(task, model)`: a task in one line, by the names of Transformers and transformers.js. A pipeline
 * is a function of a text (or picture), which gives its result, or of a list, which gives a list of results.
 * Results have the keys of those libraries; options are theirs in camelCase. Places in texts are in UTF-16
 * units, as `slice` counts.
 */
import type { GenerationOptions } from '../generation/options.ts';
import { loadTextGenerator } from '../generation/load.ts';
import type { TextGenerator } from '../generation/load.ts';
import { generateText, streamText } from '../generation/text.ts';
import { applyChatTemplate } from '../generation/chat-template.ts';
import type { ChatMessage } from '../generation/chat-template.ts';
import type { ImageInput } from '../image/raw-image.ts';
import type { LoadOptions } from '../pretrained.ts';
import { shippedModel } from '../io/shipped.ts';
import { embedTexts, extractFeatures, loadFeatureExtractor, sentenceSimilarity } from './feature-extraction.ts';
import type { FeatureExtractor, FeatureOptions, Pooling } from './feature-extraction.ts';
import { fillMasks, loadMaskFiller } from './fill-mask.ts';
import type { FilledMask, FillMaskOptions } from './fill-mask.ts';
import {
  classifyImages,
  classifyImagesZeroShot,
  embedImages,
  extractImageFeatures,
  loadImageClassifier,
  loadImageFeatureExtractor,
  loadZeroShotImageClassifier,
} from './image.ts';
import type {
  ImageClassificationOptions,
  ImageClassifier,
  ImageFeatureExtractor,
  ImageFeatureOptions,
  ZeroShotImageClassifier,
  ZeroShotImageOptions,
} from './image.ts';
import type { Answer } from './question-answering/decode.ts';
import type { Question } from './question-answering/features.ts';
import { answerQuestions, loadQuestionAnswerer } from './question-answering/pipeline.ts';
import type { QuestionAnswerer, QuestionAnsweringOptions } from './question-answering/pipeline.ts';
import { classifyTexts, loadTextClassifier } from './text-classification.ts';
import type { ClassifiedText, ClassLabel, TextClassificationOptions, TextClassifier } from './text-classification.ts';
import { writeForTask } from './text2text-generation.ts';
import type { Text2TextOptions, textKeys, WritingTask } from './text2text-generation.ts';
import { labelTokens, loadTokenClassifier } from './token-classification.ts';
import type { Entity, TokenClassificationOptions, TokenLabel } from './token-classification.ts';
import { classifyZeroShot } from './zero-shot-classification.ts';
import type { ZeroShotLabels, ZeroShotOptions } from './zero-shot-classification.ts';
import { classifyByLikelihood, loadLikelihoodClassifier } from './zero-shot-likelihood.ts';
import type { LikelihoodClassifier, LikelihoodZeroShotOptions } from './zero-shot-likelihood.ts';

/** A function of one input or of a list of them. */
interface OneOrMany<Input, Options, Result> {
  (input: Input, options?: Options): Promise<Result>;
  (inputs: readonly Input[], options?: Options): Promise<Result[]>;
}

export interface TextClassificationPipeline extends TextClassifier {
  /** The best label of each text; with `topK` other than 1 a list of labels for each. */
  (text: ClassifiedText, options?: TextClassificationOptions): Promise<ClassLabel[]>;
  (
    texts: readonly ClassifiedText[],
    options?: TextClassificationOptions & { readonly topK?: 1 },
  ): Promise<ClassLabel[]>;
  (texts: readonly ClassifiedText[], options: TextClassificationOptions): Promise<ClassLabel[][]>;
}

type Aggregated = TokenClassificationOptions & {
  readonly aggregationStrategy: 'simple' | 'first' | 'average' | 'max';
};

export interface TokenClassificationPipeline {
  (text: string, options: Aggregated): Promise<Entity[]>;
  (texts: readonly string[], options: Aggregated): Promise<Entity[][]>;
  (text: string, options?: TokenClassificationOptions): Promise<TokenLabel[]>;
  (texts: readonly string[], options?: TokenClassificationOptions): Promise<TokenLabel[][]>;
}

/** An answer, or with `topK` above 1 several. */
export interface QuestionAnsweringPipeline extends QuestionAnswerer {
  (question: Question, options?: QuestionAnsweringOptions & { readonly topK?: 1 }): Promise<Answer>;
  (question: Question, options: QuestionAnsweringOptions): Promise<Answer[]>;
  (questions: readonly Question[], options?: QuestionAnsweringOptions & { readonly topK?: 1 }): Promise<Answer[]>;
  (questions: readonly Question[], options: QuestionAnsweringOptions): Promise<Answer[][]>;
}

/** Tokens for the mask of a text; of a text with several masks a list for each. */
export interface FillMaskPipeline {
  (text: string, options?: FillMaskOptions): Promise<FilledMask[]>;
  (texts: readonly string[], options?: FillMaskOptions): Promise<FilledMask[][]>;
}

/** The vectors of a text's tokens, [1][T][D]; with `pooling` the text's own, [D]. */
export interface FeatureExtractionPipeline extends FeatureExtractor {
  (text: string, options: FeatureOptions & { readonly pooling: Pooling }): Promise<Float32Array>;
  (texts: readonly string[], options: FeatureOptions & { readonly pooling: Pooling }): Promise<Float32Array[]>;
  (text: string, options?: FeatureOptions): Promise<number[][][]>;
  (texts: readonly string[], options?: FeatureOptions): Promise<number[][][][]>;
}

/** By entailment or by likelihood, as the model can; each takes its own options. */
export interface ZeroShotClassificationPipeline {
  (
    text: string,
    candidateLabels: string | readonly string[],
    options?: ZeroShotOptions | LikelihoodZeroShotOptions,
  ): Promise<ZeroShotLabels>;
  (
    texts: readonly string[],
    candidateLabels: string | readonly string[],
    options?: ZeroShotOptions | LikelihoodZeroShotOptions,
  ): Promise<ZeroShotLabels[]>;
  readonly model: TextClassifier['model'] | LikelihoodClassifier['model'];
  readonly tokenizer: TextClassifier['tokenizer'] | LikelihoodClassifier['tokenizer'];
}

/** How alike each of `sentences` is to `source_sentence`, -1 to 1. */
export interface SentenceSimilarityPipeline extends FeatureExtractor {
  (
    input: { readonly source_sentence: string; readonly sentences: readonly string[] },
    options?: FeatureOptions & { readonly pooling?: Pooling },
  ): Promise<number[]>;
}

export interface TextGenerationOptions extends GenerationOptions {
  /** The prompt before the text; default true, as in Transformers. */
  readonly returnFullText?: boolean;
  /** Ends the work at the next token with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A dialogue, for models with a chat template. */
export type Chat = readonly ChatMessage[];

export interface TextGenerationPipeline
  extends TextGenerator, OneOrMany<string, TextGenerationOptions, { readonly generated_text: string }[]> {
  /**
   * The dialogue with the reply; without `returnFullText` the reply's text. Where the last message is the
   * assistant's, the model goes on with it.
   */
  (
    messages: Chat,
    options: TextGenerationOptions & { readonly returnFullText: false },
  ): Promise<{ readonly generated_text: string }[]>;
  (messages: Chat, options?: TextGenerationOptions): Promise<{ readonly generated_text: ChatMessage[] }[]>;
  (chats: readonly Chat[], options?: TextGenerationOptions): Promise<{ readonly generated_text: ChatMessage[] }[][]>;
  /** The text after the prompt, in pieces as it grows. */
  stream(prompt: string | Chat, options?: TextGenerationOptions): AsyncGenerator<string>;
}

/** The most probable labels of a picture. */
export interface ImageClassificationPipeline
  extends ImageClassifier, OneOrMany<ImageInput, ImageClassificationOptions, ClassLabel[]> {}

/** The labels of a picture by texts, the most probable first. */
export interface ZeroShotImageClassificationPipeline extends ZeroShotImageClassifier {
  (
    image: ImageInput,
    candidateLabels: string | readonly string[],
    options?: ZeroShotImageOptions,
  ): Promise<ClassLabel[]>;
  (
    images: readonly ImageInput[],
    candidateLabels: string | readonly string[],
    options?: ZeroShotImageOptions,
  ): Promise<ClassLabel[][]>;
}

/**
 * The vectors of a picture's patches behind that of the whole, [1][1 + N][D]; with `pool` one vector, [D].
 */
export interface ImageFeatureExtractionPipeline extends ImageFeatureExtractor {
  (image: ImageInput, options: ImageFeatureOptions & { readonly pool: true }): Promise<Float32Array>;
  (images: readonly ImageInput[], options: ImageFeatureOptions & { readonly pool: true }): Promise<Float32Array[]>;
  (image: ImageInput, options?: ImageFeatureOptions): Promise<number[][][]>;
  (images: readonly ImageInput[], options?: ImageFeatureOptions): Promise<number[][][][]>;
}

/** A list of one for one text, as in Transformers. */
interface TextToTextPipeline<Key extends string> extends TextGenerator {
  (input: string | readonly string[], options?: Text2TextOptions): Promise<{ readonly [K in Key]: string }[]>;
}

export type TranslationPipeline = TextToTextPipeline<'translation_text'>;
export type SummarizationPipeline = TextToTextPipeline<'summary_text'>;
export type Text2TextGenerationPipeline = TextToTextPipeline<'generated_text'>;

/** Every task, and what its pipeline is. */
export interface Pipelines {
  'text-classification': TextClassificationPipeline;
  'token-classification': TokenClassificationPipeline;
  'question-answering': QuestionAnsweringPipeline;
  'fill-mask': FillMaskPipeline;
  'feature-extraction': FeatureExtractionPipeline;
  'zero-shot-classification': ZeroShotClassificationPipeline;
  'sentence-similarity': SentenceSimilarityPipeline;
  'text-generation': TextGenerationPipeline;
  translation: TranslationPipeline;
  summarization: SummarizationPipeline;
  'text2text-generation': Text2TextGenerationPipeline;
  'image-classification': ImageClassificationPipeline;
  'zero-shot-image-classification': ZeroShotImageClassificationPipeline;
  'image-feature-extraction': ImageFeatureExtractionPipeline;
}

export type PipelineTask = keyof Pipelines;

/** Models that come with the project, see their cards. */
const shippedFor: Partial<Record<PipelineTask, string>> = {
  'text-classification': 'spam-small',
  'fill-mask': 'bert-small',
  'feature-extraction': 'help-search-small',
  'sentence-similarity': 'help-search-small',
  'text-generation': 'gpt-small',
  'zero-shot-classification': 'gpt-small',
  translation: 'translation-en-fr-small',
};

/** How to come by a model for a task that none comes with. */
const trainedBy: Partial<Record<PipelineTask, string>> = {
  'question-answering': 'train/finetune-qa.ts trains one',
  summarization: 'train/train-summarization.ts trains one',
};

type Loaders = { readonly [Task in PipelineTask]: (id: string, options: LoadOptions) => Promise<Pipelines[Task]> };

const isList = <T>(input: T | readonly T[]): input is readonly T[] => Array.isArray(input);

/** The result of one input, or the list of results of a list; no inputs give no results. */
async function each<Input, Result>(
  input: Input | readonly Input[],
  run: (inputs: readonly Input[]) => Promise<Result[]>,
): Promise<Result | Result[]> {
  if (!isList(input)) return (await run([input]))[0]!;
  return input.length === 0 ? [] : run(input);
}

const isChat = (input: unknown): input is Chat =>
  Array.isArray(input) && typeof input[0] === 'object' && input[0] !== null && 'role' in input[0];

/** The prompt and what the model wrote. */
function withReply(prompt: string | Chat, text: string): string | ChatMessage[] {
  if (typeof prompt === 'string') return prompt + text;
  const last = prompt.at(-1);
  return last?.role === 'assistant'
    ? [...prompt.slice(0, -1), { ...last, content: `${String(last.content)}${text}` }]
    : [...prompt, { role: 'assistant', content: text }];
}

async function textToText<Task extends WritingTask>(
  task: Task,
  id: string,
  options: LoadOptions,
): Promise<TextToTextPipeline<(typeof textKeys)[Task]>> {
  const generator = await loadTextGenerator(id, options);
  const write = (input: string | readonly string[], given?: Text2TextOptions) =>
    writeForTask(generator, task, [input].flat(), given);
  return Object.assign(write, generator);
}

const entailmentOptions = ['hypothesisTemplate', 'multiLabel'] as const;
const likelihoodOptions = ['promptTemplate', 'examples', 'normalization'] as const;

const loaders: Loaders = {
  'text-classification': async (id, options) => {
    const classifier = await loadTextClassifier(id, options);
    const classify = async (
      input: ClassifiedText | readonly ClassifiedText[],
      given: TextClassificationOptions = {},
    ): Promise<ClassLabel[] | ClassLabel[][]> => {
      const { topK = 1 } = given;
      const all = await each(input, (texts) => classifyTexts(classifier, texts, given));
      return isList(input) && topK === 1 ? (all as ClassLabel[][]).flat() : all;
    };
    return Object.assign(classify, classifier) as TextClassificationPipeline;
  },
  'token-classification': async (id, options) => {
    const classifier = await loadTokenClassifier(id, options);
    const label = (input: string | readonly string[], given?: TokenClassificationOptions) =>
      each(input, (texts) => labelTokens(classifier, texts, given));
    return Object.assign(label, classifier) as TokenClassificationPipeline;
  },
  'question-answering': async (id, options) => {
    const answerer = await loadQuestionAnswerer(id, options);
    const answer = (input: Question | readonly Question[], given: QuestionAnsweringOptions = {}) =>
      each(input, async (questions): Promise<(Answer | Answer[])[]> => {
        const all = await answerQuestions(answerer, questions, given);
        return (given.topK ?? 1) === 1 ? all.map(([best]) => best!) : all;
      });
    return Object.assign(answer, answerer) as QuestionAnsweringPipeline;
  },
  'fill-mask': async (id, options) => {
    const filler = await loadMaskFiller(id, options);
    const fill = (input: string | readonly string[], given?: FillMaskOptions) =>
      each(input, async (texts) =>
        (await fillMasks(filler, texts, given)).map((masks) => (masks.length === 1 ? masks[0]! : masks)),
      );
    return Object.assign(fill, filler) as FillMaskPipeline;
  },
  'feature-extraction': async (id, options) => {
    const extractor = await loadFeatureExtractor(id, options);
    const extract = (input: string | readonly string[], given: FeatureOptions & { readonly pooling?: Pooling } = {}) =>
      each<string, Float32Array | number[][][]>(input, async (texts) =>
        given.pooling
          ? embedTexts(extractor, texts, given)
          : (await extractFeatures(extractor, texts, given)).map((tokens) => [tokens]),
      );
    return Object.assign(extract, extractor) as FeatureExtractionPipeline;
  },
  'zero-shot-classification': async (id, options) => {
    const writer = await loadLikelihoodClassifier(id, options);
    const classifier = writer ?? (await loadTextClassifier(id, options));
    const classify = async (
      input: string | readonly string[],
      candidateLabels: string | readonly string[],
      given: ZeroShotOptions & LikelihoodZeroShotOptions = {},
    ) => {
      const [ofOther, own] = writer ? [entailmentOptions, 'likelihood'] : [likelihoodOptions, 'entailment'];
      const wrong = ofOther.find((name) => given[name] !== undefined);
      if (wrong !== undefined)
        throw new Error(`zero-shot-classification: ${wrong} does nothing by ${own}, as this model classifies`);
      return each(input, (texts) =>
        writer
          ? classifyByLikelihood(writer, texts, candidateLabels, given)
          : classifyZeroShot(classifier as TextClassifier, texts, candidateLabels, given),
      );
    };
    return Object.assign(classify, classifier) as ZeroShotClassificationPipeline;
  },
  'sentence-similarity': async (id, options) => {
    const extractor = await loadFeatureExtractor(id, options);
    const compare: (...args: Parameters<SentenceSimilarityPipeline>) => Promise<number[]> = (input, given) =>
      sentenceSimilarity(extractor, input.source_sentence, input.sentences, given);
    return Object.assign(compare, extractor);
  },
  'text-generation': async (id, options) => {
    const generator = await loadTextGenerator(id, options);
    const { model, tokenizer, options: recommended } = generator;
    const settled = ({ returnFullText: _, signal: _signal, ...given }: TextGenerationOptions) => ({
      ...recommended,
      ...given,
    });
    const promptOf = (input: string | Chat): string => {
      if (typeof input === 'string') return input;
      const goesOn = input.at(-1)?.role === 'assistant';
      return applyChatTemplate(tokenizer, input, { addGenerationPrompt: !goesOn, continueFinalMessage: goesOn });
    };
    const writeAll = async (inputs: readonly (string | Chat)[], given: TextGenerationOptions) => {
      given.signal?.throwIfAborted();
      const texts = await generateText(model, tokenizer, inputs.map(promptOf), settled(given));
      const shown = (input: string | Chat, text: string): string | ChatMessage[] =>
        given.returnFullText === false ? text : withReply(input, text);
      return inputs.map((input, i) =>
        texts.filter(({ prompt }) => prompt === i).map(({ text }) => ({ generated_text: shown(input, text) })),
      );
    };
    const write = async (input: string | Chat | readonly (string | Chat)[], given: TextGenerationOptions = {}) => {
      if (isChat(input)) return (await writeAll([input], given))[0]!;
      return each(input, (inputs) => writeAll(inputs, given));
    };
    async function* stream(prompt: string | Chat, given: TextGenerationOptions = {}): AsyncGenerator<string> {
      for await (const { text } of streamText(model, tokenizer, promptOf(prompt), settled(given))) {
        given.signal?.throwIfAborted();
        yield text;
      }
    }
    return Object.assign(write, generator, { stream }) as unknown as TextGenerationPipeline;
  },
  translation: (id, options) => textToText('translation', id, options),
  summarization: (id, options) => textToText('summarization', id, options),
  'text2text-generation': (id, options) => textToText('text2text-generation', id, options),
  'image-classification': async (id, options) => {
    const classifier = await loadImageClassifier(id, options);
    const classify = (input: ImageInput | readonly ImageInput[], given?: ImageClassificationOptions) =>
      each(input, (images) => classifyImages(classifier, images, given));
    return Object.assign(classify, classifier) as ImageClassificationPipeline;
  },
  'zero-shot-image-classification': async (id, options) => {
    const classifier = await loadZeroShotImageClassifier(id, options);
    const classify = (
      input: ImageInput | readonly ImageInput[],
      candidateLabels: string | readonly string[],
      given?: ZeroShotImageOptions,
    ) => each(input, (images) => classifyImagesZeroShot(classifier, images, candidateLabels, given));
    return Object.assign(classify, classifier) as ZeroShotImageClassificationPipeline;
  },
  'image-feature-extraction': async (id, options) => {
    const extractor = await loadImageFeatureExtractor(id, options);
    const extract = (input: ImageInput | readonly ImageInput[], given: ImageFeatureOptions = {}) =>
      each<ImageInput, Float32Array | number[][][]>(input, async (images) =>
        given.pool
          ? embedImages(extractor, images, given)
          : (await extractImageFeatures(extractor, images, given)).map((vectors) => [vectors]),
      );
    return Object.assign(extract, extractor) as ImageFeatureExtractionPipeline;
  },
};

/** The tasks by name. */
export const pipelineTasks = Object.keys(loaders) as PipelineTask[];

/**
 * A pipeline for a task, with the model of a folder, the Hugging Face cache or the hub; without one the small
 * model that comes with the project, where there is one.
 *
 *     const classify = await pipeline('text-classification', 'runs/spam-assassin');
 *     await classify('You have won!'); // [{ label: 'spam', score: 0.99 }]
 *
 * Errors, each one line: an unknown task; no model for it comes with the project; a model that is not of the
 * task's kind, or was not trained for it.
 *
 * @example
 * const classify = await pipeline('text-classification');
 * const [{ label }] = await classify('Win a free prize now!!!');
 * label; // 'spam'
 */
export async function pipeline<Task extends PipelineTask>(
  task: Task,
  model?: string,
  options: LoadOptions = {},
): Promise<Pipelines[Task]> {
  if (!Object.hasOwn(loaders, task))
    throw new Error(`pipeline: unknown task "${String(task)}"; use one of ${pipelineTasks.join(', ')}`);
  const small = shippedFor[task];
  if (model === undefined && small === undefined)
    throw new Error(
      `pipeline: no model for ${task} comes with the project; name one` +
        (trainedBy[task] ? ` (${trainedBy[task]})` : ''),
    );
  return loaders[task](model ?? shippedModel(small!), options);
}
