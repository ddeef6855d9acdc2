/**
 * The bodies of requests, as OpenAI's API has them. What changes nothing here is taken and passed over; what
 * would have to change something is refused by its name, as is what nobody knows: a misspelt option is told.
 */
import * as z from 'zod';
import type { ResponseFormat } from '../../models/index.ts';
import { isWritingTask, servedTasks } from './models.ts';
import type { ReadingTask, ServedTask } from './models.ts';

/** What requests may ask for at most. */
export interface RequestLimits {
  /** New tokens of a text. */
  readonly maxTokens: number;
  /** Texts of one request: prompts times `n`, inputs, messages. */
  readonly maxTexts: number;
}

const penalty = z.number().min(-2).max(2).nullish();
const seed = z.int().nullish();
const text = z.string();

/** Of OpenAI's clients and of their services: without effect on the answer. */
const withoutEffect = {
  user: z.unknown().optional(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
  parallel_tool_calls: z.unknown().optional(),
};

/** May be sent, as clients do, with the value that asks for nothing. */
const only = <T extends z.ZodType>(value: T): z.ZodOptional<z.ZodNullable<T>> => value.nullish();

function sampling({ maxTokens, maxTexts }: RequestLimits) {
  const count = z.int().min(1).max(maxTokens).nullish();
  return {
    ...withoutEffect,
    model: z.string().max(200).nullish(),
    temperature: z.number().min(0).max(2).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    max_tokens: count,
    stop: z.union([z.string().min(1), z.array(z.string().min(1).max(200)).max(16)]).nullish(),
    n: z.int().min(1).max(maxTexts).nullish(),
    seed,
    frequency_penalty: penalty,
    presence_penalty: penalty,
    logit_bias: z.record(z.string().regex(/^\d{1,9}$/), z.number().min(-100).max(100)).nullish(),
    stream: z.boolean().nullish(),
    stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
    // As vLLM and llama.cpp have them.
    top_k: z.int().min(-1).nullish(),
    min_p: z.number().min(0).max(1).nullish(),
    repetition_penalty: z.number().positive().max(10).nullish(),
    min_tokens: z.int().min(0).max(maxTokens).nullish(),
  };
}

const responseFormat: z.ZodType<ResponseFormat | null | undefined> = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('text') }),
    z.strictObject({ type: z.literal('json_object') }),
    z.strictObject({ type: z.literal('json_schema'), json_schema: z.looseObject({ schema: z.unknown() }) }),
  ])
  .nullish();

const part = z.strictObject({
  type: z.literal('text', { error: 'parts of type "text" only: models here read no images and no sound' }),
  text,
});
const message = z.looseObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.union([text, z.array(part)]).nullish(),
});

const chatRequest = (limits: RequestLimits) =>
  z.strictObject({
    ...sampling(limits),
    messages: z.array(message).min(1).max(1000),
    max_completion_tokens: z.int().min(1).max(limits.maxTokens).nullish(),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(20).nullish(),
    response_format: responseFormat,
    tools: z
      .array(z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: text }) }))
      .max(128)
      .nullish(),
    tool_choice: only(z.enum(['none', 'auto'])),
    modalities: only(z.tuple([z.literal('text')])),
  });

const ids = z.array(z.int().min(0)).min(1);

const completionRequest = (limits: RequestLimits) =>
  z.strictObject({
    ...sampling(limits),
    prompt: z.union([text, z.array(text).min(1).max(limits.maxTexts), ids, z.array(ids).min(1).max(limits.maxTexts)]),
    logprobs: z.int().min(0).max(20).nullish(),
    echo: only(z.literal(false)),
    best_of: only(z.literal(1)),
    suffix: only(z.literal('')),
  });

const embeddingRequest = ({ maxTexts }: RequestLimits) =>
  z.strictObject({
    ...withoutEffect,
    model: z.string().max(200).nullish(),
    input: z.union([text.min(1), z.array(text.min(1)).min(1).max(maxTexts)]),
    encoding_format: z.enum(['float', 'base64']).nullish(),
    dimensions: z.int().min(1).max(100_000).nullish(),
  });

const topK = z.int().min(1).max(1000).nullable();

/** Parameters of each task, as Hugging Face's pipelines have them. */
const parameters = {
  'text-classification': {
    top_k: topK,
    function_to_apply: z.enum(['sigmoid', 'softmax', 'none']),
    truncation: z.boolean(),
  },
  'token-classification': {
    aggregation_strategy: z.enum(['none', 'simple', 'first', 'average', 'max']),
    ignore_labels: z.array(text.max(100)).max(1000),
    stride: z.int().min(0).max(10_000),
    truncation: z.boolean(),
  },
  'question-answering': {
    top_k: topK.unwrap(),
    max_answer_len: z.int().min(1).max(1000),
    max_seq_len: z.int().min(16).max(100_000),
    doc_stride: z.int().min(0).max(100_000),
    handle_impossible_answer: z.boolean(),
    align_to_words: z.boolean(),
  },
  'fill-mask': {
    top_k: topK.unwrap(),
    targets: z.array(text.max(100)).max(1000),
    truncation: z.boolean(),
  },
} satisfies Readonly<Record<ReadingTask, Readonly<Record<string, z.ZodType>>>>;

const writingParameters = ({ maxTokens }: RequestLimits) => ({
  max_new_tokens: z.int().min(1).max(maxTokens),
  min_new_tokens: z.int().min(0).max(maxTokens),
  num_beams: z.int().min(1).max(8),
  length_penalty: z.number().min(-10).max(10),
  no_repeat_ngram_size: z.int().min(0).max(100),
  repetition_penalty: z.number().positive().max(10),
  do_sample: z.boolean(),
  temperature: z.number().positive().max(10),
  top_k: z.int().min(0).max(100_000),
  top_p: z.number().gt(0).max(1),
  seed: z.int().min(0),
  src_lang: text.max(20),
  tgt_lang: text.max(20),
  truncation: z.boolean(),
});

const pair = z.strictObject({ text, text_pair: text });
const question = z.strictObject({ question: text.min(1), context: text.min(1) });

/** What a task reads, one or a list. */
const inputs = {
  'text-classification': z.union([text, pair]),
  'question-answering': question,
} as const;

function taskRequest(task: ServedTask, limits: RequestLimits) {
  const own: Readonly<Record<string, z.ZodType>> = isWritingTask(task) ? writingParameters(limits) : parameters[task];
  const input = Object.hasOwn(inputs, task) ? inputs[task as keyof typeof inputs] : text.min(1);
  return z.strictObject({
    model: z.string().max(200).nullish(),
    inputs: z.union([
      input,
      z
        .array(input as z.ZodType)
        .min(1)
        .max(limits.maxTexts),
    ]),
    parameters: z.strictObject(own).partial().nullish(),
  });
}

/**
 * The bodies of all requests, by a server's limits. They are to be made once: that takes a hundred times as
 * long as to check a request by them.
 */
export const requestBodies = (limits: RequestLimits) => ({
  chat: chatRequest(limits),
  completion: completionRequest(limits),
  embedding: embeddingRequest(limits),
  tasks: new Map(servedTasks.map((task) => [task, taskRequest(task, limits)])),
});
export type RequestBodies = ReturnType<typeof requestBodies>;
export type ChatRequest = z.output<RequestBodies['chat']>;
export type CompletionRequest = z.output<RequestBodies['completion']>;
