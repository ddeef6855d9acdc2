// /v1/chat/completions and /v1/completions: the same work, told in two forms.
import { randomInt, randomUUID } from 'node:crypto';
import { applyChatTemplate } from '../../models/index.ts';
import type { ChatMessage, Finish, GenerationOptions, TextPiece, TokenLogprobs } from '../../models/index.ts';
import { ofDraws } from '../../models/generation/options.ts';
import { textIds } from '../../models/generation/text.ts';
import type { TextTokenizer } from '../../models/generation/text.ts';
import { firstLine } from '../../common/printable.ts';
import { unixTime } from './models.ts';
import type { GenerativeModel, ServedModel } from './models.ts';
import { badField, checked } from './request-error.ts';
import type { ChatRequest, CompletionRequest } from './requests.ts';
import { checkQueue, clientGone, countFindings, failureOf, guarded, modelOf } from './service.ts';
import type { Call, Service } from './service.ts';

/** Why a text ended, in OpenAI's words. */
type FinishReason = 'stop' | 'length' | 'content_filter';

/** A text on its way, or whole. */
interface Choice {
  readonly index: number;
  text: string;
  tokens: number;
  finish: FinishReason | null;
  /** Of its tokens, where they are asked for. */
  readonly logprobs: TokenLogprobs[] | undefined;
}

/** What a request asks for, whichever form it has. */
interface Wanted {
  readonly model: GenerativeModel;
  readonly prompts: readonly Int32Array[];
  /** Texts of each prompt. */
  readonly n: number;
  readonly options: GenerationOptions;
  readonly seed: number | null | undefined;
  readonly stream: boolean;
  readonly usage: boolean;
}

/** How answers are told. */
interface Form {
  readonly prefix: string;
  readonly object: string;
  readonly chunkObject: string;
  /** A whole text. */
  whole(text: string): object;
  /** What comes before a text in pieces. */
  readonly first?: object;
  part(text: string): object;
  logprobs(tokens: readonly TokenLogprobs[]): object;
}

type Sampling = ChatRequest | CompletionRequest;

const reasonOf = (finish: Finish): FinishReason => (finish === 'eos' || finish === 'stop' ? 'stop' : 'length');

const isGenerative = (model: ServedModel): model is GenerativeModel => model.kind === 'generation';

/** What a form of request calls things by names of its own. */
interface Own extends Pick<GenerationOptions, 'logprobs' | 'responseFormat'> {
  /** The field of the prompts. */
  readonly param: string;
  /** New tokens at most. */
  readonly asked: number | null | undefined;
}

/** Errors, 400: prompts that leave no room for an answer; a token that the model has not. */
function wantedOf(
  { limits: { maxTokens } }: Service,
  body: Sampling,
  model: GenerativeModel,
  prompts: readonly Int32Array[],
  { param, asked, logprobs, responseFormat }: Own,
): Wanted {
  const { generator, adapter } = model;
  const { positions, vocabSize } = generator.model.decoder();
  const length = Math.max(...prompts.map((ids) => ids.length));
  // A text of as many tokens as there are positions can be followed by one more.
  const room = positions - length + 1;
  if (room < 2)
    throw badField(
      param,
      `${param}: ${length} tokens leave no room for an answer, the model reads ${positions}; send less`,
      'context_length_exceeded',
    );
  const {
    numBeams: _beams,
    numReturnSequences: _texts,
    maxLength: _length,
    maxNewTokens: recommended = maxTokens,
    ...others
  } = generator.options;
  const temperature = body.temperature ?? others.temperature ?? 1;
  const doSample = temperature > 0;
  const bias = Object.entries(body.logit_bias ?? {}).map(([id, value]): [number[], number] => [[Number(id)], value]);
  const outside = bias.find(([[id]]) => id! >= vocabSize)?.[0];
  if (outside) throw badField('logit_bias', `logit_bias: the model has no token ${outside[0]}`);
  const kept = Object.entries(others).filter(([name]) => !(name in ofDraws));
  const draws = {
    temperature,
    topK: body.top_k === undefined || body.top_k === null ? (others.topK ?? 0) : Math.max(0, body.top_k),
    topP: body.top_p ?? others.topP ?? 1,
    minP: body.min_p ?? others.minP ?? 0,
  };
  const given: GenerationOptions = {
    ...Object.fromEntries(kept),
    ...(doSample ? draws : {}),
    doSample,
    maxNewTokens: Math.min(asked ?? recommended, maxTokens, room),
    minNewTokens: body.min_tokens ?? others.minNewTokens,
    repetitionPenalty: body.repetition_penalty ?? others.repetitionPenalty,
    frequencyPenalty: body.frequency_penalty ?? 0,
    presencePenalty: body.presence_penalty ?? 0,
    sequenceBias: bias.length > 0 ? bias : others.sequenceBias,
    stopStrings: body.stop === null || body.stop?.length === 0 ? undefined : body.stop,
    adapterNames: adapter === undefined ? undefined : [adapter],
    logprobs: logprobs ?? others.logprobs,
    responseFormat: responseFormat ?? others.responseFormat,
  };
  return {
    model,
    prompts,
    n: body.n ?? 1,
    options: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    seed: body.seed,
    stream: body.stream ?? false,
    usage: body.stream_options?.include_usage ?? false,
  };
}

/** Contents of one text; a list of parts is their texts. */
const plainMessages = (messages: ChatRequest['messages']): ChatMessage[] =>
  messages.map(({ role, content, ...rest }) => ({
    ...rest,
    role: role === 'developer' ? 'system' : role,
    content: Array.isArray(content) ? content.map(({ text }) => text).join('\n') : (content ?? ''),
  }));

async function wantedOfChat(service: Service, body: ChatRequest): Promise<Wanted> {
  const model = modelOf(service, body.model, 'generates texts', isGenerative);
  const { tokenizer } = model.generator;
  if (tokenizer.chatTemplate === undefined)
    throw badField('model', `model: ${model.name} was not trained on dialogues; use /v1/completions`);
  if (body.top_logprobs && !body.logprobs) throw badField('top_logprobs', 'top_logprobs: it wants logprobs: true');
  const messages = await guarded(service, 'messages', plainMessages(body.messages), ['role']);
  const tools = body.tool_choice === 'none' ? undefined : await guarded(service, 'tools', body.tools ?? undefined);
  let text: string;
  try {
    text = applyChatTemplate(tokenizer, messages, { addGenerationPrompt: true, tools });
  } catch (error) {
    throw badField('messages', `messages: ${firstLine(error)}`);
  }
  const format = body.response_format ?? undefined;
  return wantedOf(service, body, model, [tokenizer.idsOf(text)], {
    param: 'messages',
    asked: body.max_completion_tokens ?? body.max_tokens,
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    responseFormat: format?.type === 'text' ? undefined : format,
  });
}

async function wantedOfCompletion(service: Service, body: CompletionRequest): Promise<Wanted> {
  const model = modelOf(service, body.model, 'generates texts', isGenerative);
  const { tokenizer, model: weights } = model.generator;
  const { vocabSize } = weights.decoder();
  const given = body.prompt;
  const list = typeof given === 'string' || typeof given[0] === 'number' ? [given] : given;
  const first = weights.config.bosTokenId ?? tokenizer.bosTokenId ?? tokenizer.eosTokenId;
  const begins = typeof first === 'number' ? first : undefined;
  const withBegin = (text: string): Int32Array => Int32Array.from(textIds(tokenizer, text, begins));
  const idsOf = async (prompt: string | readonly number[]): Promise<Int32Array> => {
    if (typeof prompt === 'string') return withBegin(await guarded(service, 'prompt', prompt));
    const outside = prompt.find((id) => id >= Math.min(vocabSize, tokenizer.vocabSize));
    if (outside !== undefined) throw badField('prompt', `prompt: the model has no token ${outside}`);
    const text = tokenizer.decode(prompt);
    const looked = await guarded(service, 'prompt', text);
    return looked === text ? Int32Array.from(prompt) : withBegin(looked);
  };
  const all = await Promise.all((list as readonly (string | readonly number[])[]).map(idsOf));
  const prompts = all.map((ids) => {
    if (ids.length > 0) return ids;
    if (begins === undefined) throw badField('prompt', 'prompt: it is empty; begin with any text');
    return Int32Array.of(begins);
  });
  return wantedOf(service, body, model, prompts, {
    param: 'prompt',
    asked: body.max_tokens ?? 16, // OpenAI's default
    logprobs: body.logprobs ?? undefined,
  });
}

interface TokenText {
  readonly token: string;
  readonly bytes: number[] | null;
}

/** A token as a text by itself, and its bytes where they are known. */
function tokenText({ generator: { tokenizer } }: GenerativeModel, id: number): TokenText {
  if (id >= tokenizer.vocabSize) return { token: '', bytes: null };
  const bytes = (tokenizer as TextTokenizer).tokenBytes?.(id);
  return bytes
    ? { token: new TextDecoder().decode(bytes), bytes: Array.from(bytes) }
    : { token: tokenizer.decode([id]), bytes: null };
}

const chatLogprobs = (model: GenerativeModel, logprobs: readonly TokenLogprobs[]): object => ({
  content: logprobs.map(({ id, logprob, top }) => ({
    ...tokenText(model, id),
    logprob,
    top_logprobs: top.map((other) => ({ ...tokenText(model, other.id), logprob: other.logprob })),
  })),
  refusal: null,
});

function completionLogprobs(model: GenerativeModel, logprobs: readonly TokenLogprobs[]): object {
  const tokens = logprobs.map(({ id }) => tokenText(model, id).token);
  let at = 0;
  return {
    tokens,
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top }) =>
      Object.fromEntries(top.map(({ id, logprob }) => [tokenText(model, id).token, logprob])),
    ),
    text_offset: tokens.map((token) => (at += token.length) - token.length),
  };
}

const chatForm = (model: GenerativeModel): Form => ({
  prefix: 'chatcmpl-',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  whole: (text) => ({ message: { role: 'assistant', content: text, refusal: null } }),
  first: { delta: { role: 'assistant', content: '' } },
  part: (text) => ({ delta: text === '' ? {} : { content: text } }),
  logprobs: (tokens) => chatLogprobs(model, tokens),
});

const completionForm = (model: GenerativeModel): Form => ({
  prefix: 'cmpl-',
  object: 'text_completion',
  chunkObject: 'text_completion',
  whole: (text) => ({ text }),
  part: (text) => ({ text }),
  logprobs: (tokens) => completionLogprobs(model, tokens),
});

export async function chatCompletions(service: Service, call: Call): Promise<Response> {
  const body = checked(service.bodies.chat, call.body);
  const wanted = await wantedOfChat(service, body);
  return answer(service, call, wanted, chatForm(wanted.model));
}

export async function completions(service: Service, call: Call): Promise<Response> {
  const body = checked(service.bodies.completion, call.body);
  const wanted = await wantedOfCompletion(service, body);
  return answer(service, call, wanted, completionForm(wanted.model));
}

async function answer(service: Service, call: Call, wanted: Wanted, form: Form): Promise<Response> {
  const { model, prompts, n, options } = wanted;
  const texts = prompts.length * n;
  if (texts > service.limits.maxTexts)
    throw badField('n', `n: ${prompts.length} prompts, ${n} texts each, are more than ${service.limits.maxTexts}`);
  const guard = service.guard?.has('output') ? service.guard : undefined;
  if (guard && options.logprobs !== undefined)
    throw badField('logprobs', 'logprobs: they would show what the guard of this server masks; leave them out');
  checkQueue(service, texts);
  const seed = seedOf(wanted);
  const growing = prompts.flatMap((ids, prompt) =>
    Array.from({ length: n }, (_, sample) =>
      model.lane.submit(ids, { ...options, seed: seed + prompt * n + sample }, call.signal),
    ),
  );
  const choices = growing.map((_, index): Choice => {
    const logprobs = options.logprobs === undefined ? undefined : [];
    return { index, text: '', tokens: 0, finish: null, logprobs };
  });
  const head = { id: `${form.prefix}${randomUUID().replaceAll('-', '')}`, created: unixTime(), model: model.name };
  const labels = { model: model.name };
  const { metrics } = service;
  const told = (index: number, own: object, logprobs?: readonly TokenLogprobs[], finish?: FinishReason | null) => ({
    index,
    ...own,
    logprobs: logprobs ? form.logprobs(logprobs) : null,
    finish_reason: finish ?? null,
  });
  let isFirst = true;
  /** Follows one text to its end. */
  const follow = async (index: number, tell: (text: string, piece: TextPiece, finish: FinishReason | null) => void) => {
    const choice = choices[index]!;
    const filter = guard?.stream('output');
    for await (const piece of growing[index]!) {
      if (isFirst) metrics.observe('tapeform_first_token_seconds', (performance.now() - call.began) / 1000, labels);
      isFirst = false;
      choice.tokens++;
      if (piece.logprobs) choice.logprobs?.push(piece.logprobs);
      let { text } = piece;
      if (piece.finish) choice.finish = reasonOf(piece.finish);
      if (filter) {
        const shown = [filter.push(text)];
        if (piece.finish) shown.push(await filter.end());
        for (const { findings } of shown) countFindings(service, findings, 'output');
        text = shown.map((part) => part.text).join('');
        if (filter.refused !== undefined) choice.finish = 'content_filter';
      }
      choice.text += text;
      tell(text, piece, choice.finish);
      if (choice.finish) return;
    }
  };
  const usage = () => {
    const prompt_tokens = prompts.reduce((sum, { length }) => sum + length, 0);
    const completion_tokens = choices.reduce((sum, { tokens }) => sum + tokens, 0);
    return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
  };
  const count = (): void => {
    const { prompt_tokens, completion_tokens } = usage();
    metrics.count('tapeform_prompt_tokens_total', labels, prompt_tokens);
    metrics.count('tapeform_completion_tokens_total', labels, completion_tokens);
  };
  if (wanted.stream) {
    const base = { ...head, object: form.chunkObject, ...(wanted.usage ? { usage: null } : {}) };
    return eventStream(call, async (send) => {
      try {
        if (form.first) for (const { index } of choices) send({ ...base, choices: [told(index, form.first)] });
        const following = choices.map(({ index }) =>
          follow(index, (text, { logprobs }, finish) => {
            const shown = logprobs && [logprobs];
            if (text === '' && !finish && !shown) return;
            send({ ...base, choices: [told(index, form.part(text), shown, finish)] });
          }),
        );
        await Promise.all(following);
        if (wanted.usage) send({ ...base, choices: [], usage: usage() });
      } finally {
        count();
      }
    });
  }
  try {
    await Promise.all(choices.map(({ index }) => follow(index, () => undefined)));
  } finally {
    count();
  }
  return Response.json({
    ...head,
    object: form.object,
    choices: choices.map(({ index, text, logprobs, finish }) => told(index, form.whole(text), logprobs, finish)),
    usage: usage(),
  });
}

/** The request's seed, or one that nobody knows. */
function seedOf({ n, prompts, seed }: Wanted): number {
  const most = Number.MAX_SAFE_INTEGER - n * prompts.length;
  return seed === undefined || seed === null ? randomInt(2 ** 47) : Math.min(Math.abs(seed), most);
}

/** Comments keep proxies from ending a connection on which nothing comes while a text waits. */
const heartbeat = 15_000;

/** Server-sent events, each of JSON, then [DONE]; a failure on the way is the last of them. */
function eventStream(call: Call, write: (send: (event: object) => void) => Promise<void>): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      let isOpen = true;
      const raw = (text: string): void => {
        if (!isOpen) return;
        try {
          controller.enqueue(encoder.encode(text));
        } catch {
          isOpen = false; // its reader is gone
        }
      };
      const send = (event: object): void => raw(`data: ${JSON.stringify(event)}\n\n`);
      const beat = setInterval(() => raw(': still here\n\n'), heartbeat);
      beat.unref();
      const writing = write(send)
        .then(() => raw('data: [DONE]\n\n'))
        .catch((error: unknown) => {
          call.stop(error as Error);
          send(failureOf(error).toJSON());
        })
        .finally(() => {
          clearInterval(beat);
          if (isOpen) controller.close();
        })
        .catch(() => undefined);
      call.lasts(writing); // the answer's head goes out before its first event
    },
    cancel() {
      call.stop(clientGone());
    },
  });
  return new Response(body, {
    headers: { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' },
  });
}
