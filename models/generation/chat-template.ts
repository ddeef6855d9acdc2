/**
 * Dialogues as the text that a model was trained to read: its chat template, in Jinja, byte for byte as
 * Transformers' apply_chat_template renders it.
 */
import { isJsonObject } from '../../common/json-file.ts';
import { brief, firstLine } from '../../common/printable.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import { listNames } from '../names.ts';
import { environmentOf, generationMarks, mostSteps, parseTemplate, PythonInterpreter } from './jinja.ts';
import type { Program } from './jinja.ts';

/** A turn of a dialogue; templates may ask for further keys, such as `tool_calls`. */
export interface ChatMessage {
  /** "system", "user", "assistant", "tool", or what else the template knows. */
  readonly role: string;
  /** A text, or as templates of models of images take it, a list of parts. */
  readonly content?: unknown;
  readonly [key: string]: unknown;
}

export interface ChatTemplateOptions {
  /** End with what begins a reply, so that the model writes one. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Leave the last message open, so that the model goes on with it. */
  readonly continueFinalMessage?: boolean;
  /** JSON schemas of functions that the model may call. */
  readonly tools?: readonly object[];
  /** Texts to answer from, for templates that take them. */
  readonly documents?: readonly object[];
  /** A template in place of the tokenizer's own, or the name of one of several. */
  readonly chatTemplate?: string;
  /** What templates take for today; default now. */
  readonly date?: Date;
  /** Further names that the template knows, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** Marks the end of a last message that is to stay open. */
const openEnd = 'CONTINUE_FINAL_MESSAGE_TAG ';

/**
 * The text of a dialogue, by the template that came with the tokenizer.
 *
 * Errors, each one line: no messages; no template; a template that is no Jinja, that fails on these messages
 * (many refuse roles that do not alternate), or that does not end.
 *
 * @example
 * const { tokenizer } = await loadTextGenerator('models/pretrained/chat-small');
 * applyChatTemplate(tokenizer, [{ role: 'user', content: 'Hi' }]); // 'user:\nHi\n'
 */
export function applyChatTemplate(
  tokenizer: ChatTokenizer,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions = {},
): string {
  return renderDialogue(tokenizer, messages, options);
}

/**
 * A text and the stretches of it that the template puts into `{% generation %}`, [start, end) in UTF-16
 * units.
 */
export interface MarkedText {
  readonly text: string;
  readonly spans: readonly (readonly [start: number, end: number])[];
}

/**
 * The text of a dialogue with what its template says to be the assistant's. Errors as `applyChatTemplate`.
 */
export function generationSpans(
  tokenizer: ChatTokenizer,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions = {},
): MarkedText {
  const [open, close] = generationMarks;
  if (JSON.stringify(messages).match(`[${open}${close}]`))
    throw new Error('chat template: a message holds U+FDD0 or U+FDD1, which are no characters; take them out');
  const spans: (readonly [number, number])[] = [];
  let text = '';
  let start = 0;
  for (const part of renderDialogue(tokenizer, messages, options, generationMarks).split(/(?=[\ufdd0\ufdd1])/)) {
    if (part.startsWith(open)) start = text.length;
    if (part.startsWith(close)) spans.push([start, text.length]);
    text += part.replace(/^[\ufdd0\ufdd1]/, '');
  }
  return { text, spans };
}

function renderDialogue(
  tokenizer: ChatTokenizer,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
  marks?: readonly [string, string],
): string {
  const { addGenerationPrompt = false, continueFinalMessage = false, tools = null, documents = null } = options;
  if (messages.length === 0) throw new Error('chat template: there are no messages; give at least one');
  for (const [i, message] of messages.entries())
    if (typeof message !== 'object' || message === null || typeof message.role !== 'string')
      throw new Error(`chat template: message ${i} is ${brief(message)}, where { role, content } is needed`);
  if (continueFinalMessage && addGenerationPrompt)
    throw new Error('chat template: either the last message goes on, or a reply begins; leave out one of the two');
  const last = messages.at(-1);
  const given = continueFinalMessage
    ? [...messages.slice(0, -1), { ...last!, content: opened(last!.content) }]
    : messages;
  const names = {
    ...specialTokens(tokenizer),
    ...options.variables,
    messages: given,
    tools,
    documents,
    add_generation_prompt: addGenerationPrompt,
  };
  const text = render(templateOf(tokenizer, options), options.date, names, marks);
  if (!continueFinalMessage) return text;
  const end = text.lastIndexOf(openEnd.trim());
  if (end === -1 || !text.includes(lastText(last!.content).trim()))
    throw new Error('chat template: the last message is not in the text as it was given, it cannot be gone on with');
  const open = text.slice(0, end);
  // A template that trims messages took the space that ends the mark.
  return text.startsWith(openEnd, end) ? open : open.trimEnd();
}

const isText = (part: unknown): part is { readonly text: string } =>
  isJsonObject(part) && typeof part['text'] === 'string';

/** A content's text, or the last of its texts. */
const lastText = (content: unknown): string =>
  typeof content === 'string' ? content : ((content as readonly unknown[]).findLast(isText)?.text ?? '');

/** A content whose text, or last text, ends with the mark. */
function opened(content: unknown): unknown {
  if (typeof content === 'string') return `${content}${openEnd}`;
  const parts: readonly unknown[] = Array.isArray(content) ? content : [];
  const at = parts.findLastIndex(isText);
  if (at === -1) throw new Error('chat template: the last message has no text to go on with');
  return parts.map((part, i) => (i === at && isText(part) ? { ...part, text: `${part.text}${openEnd}` } : part));
}

/** What a template needs of a tokenizer. */
export type ChatTokenizer = Pick<
  AnyTokenizer,
  | 'idToToken'
  | 'bosTokenId'
  | 'eosTokenId'
  | 'unkTokenId'
  | 'sepTokenId'
  | 'padTokenId'
  | 'clsTokenId'
  | 'maskTokenId'
  | 'chatTemplate'
>;

/** The template that a dialogue is rendered by. Error: there is none, or the tokenizer has several. */
export function templateOf(
  { chatTemplate: own }: Pick<ChatTokenizer, 'chatTemplate'>,
  { chatTemplate: asked, tools }: ChatTemplateOptions = {},
): string {
  const named = typeof own === 'object' ? own : {};
  if (asked !== undefined) return Object.hasOwn(named, asked) ? named[asked]! : asked;
  if (typeof own === 'string') return own;
  // As in Transformers, the one for tools where there are tools.
  const found = (tools ? named['tool_use'] : undefined) ?? named['default'];
  if (found !== undefined) return found;
  throw new Error(
    own === undefined
      ? 'chat template: the tokenizer has none (chat_template in tokenizer_config.json); the model was not trained ' +
          'on dialogues, or give chatTemplate'
      : `chat template: name one of ${listNames(Object.keys(named))} as chatTemplate`,
  );
}

function specialTokens(tokenizer: ChatTokenizer): Record<string, string> {
  const ids = {
    bos_token: tokenizer.bosTokenId,
    eos_token: tokenizer.eosTokenId,
    unk_token: tokenizer.unkTokenId,
    sep_token: tokenizer.sepTokenId,
    pad_token: tokenizer.padTokenId,
    cls_token: tokenizer.clsTokenId,
    mask_token: tokenizer.maskTokenId,
  };
  return Object.fromEntries(
    Object.entries(ids).flatMap(([name, id]) => (id === undefined ? [] : [[name, tokenizer.idToToken(id)!]])),
  );
}

const programs = new Map<string, Program>();

function programOf(template: string): Program {
  const known = programs.get(template);
  if (known) return known;
  // Transformers' settings: a tag takes the line's blanks before it and the line end after it.
  const program = parseTemplate(template, { lstrip_blocks: true, trim_blocks: true });
  if (programs.size >= 16) programs.clear();
  programs.set(template, program);
  return program;
}

function render(
  template: string,
  date: Date | undefined,
  names: Readonly<Record<string, unknown>>,
  marks?: readonly [string, string],
): string {
  const globals = {
    range,
    raise_exception: (message: unknown): never => {
      throw new Error(String(message));
    },
    strftime_now: (format: string): string => formatDate(date ?? new Date(), format),
  };
  try {
    const environment = environmentOf({ ...globals, ...names });
    return String(new PythonInterpreter(environment, marks).run(programOf(template)).value);
  } catch (error) {
    throw new Error(`chat template: ${firstLine(error)}`, { cause: error });
  }
}

function range(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end];
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!(length <= mostSteps)) throw new Error(`range(${from}, ${to}, ${step}) is too long`);
  return Array.from({ length }, (_, i) => from + i * step);
}

const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November'],
  'December',
];
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** A date as Python's strftime writes it in English, for the letters that templates use. */
function formatDate(date: Date, format: string): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const parts: Readonly<Record<string, () => string>> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    e: () => String(date.getDate()).padStart(2),
    b: () => months[date.getMonth()]!.slice(0, 3),
    B: () => months[date.getMonth()]!,
    a: () => days[date.getDay()]!.slice(0, 3),
    A: () => days[date.getDay()]!,
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    '%': () => '%',
  };
  return format.replace(/%(-?)([A-Za-z%])/g, (whole, short: string, letter: string) => {
    const part = parts[letter]?.();
    if (part === undefined) return whole;
    return short === '' ? part : part.replace(/^[0 ](?=.)/, '');
  });
}
