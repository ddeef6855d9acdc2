/** Which tokens of a dialogue the assistant wrote: those that a model learns to write. */
import { showText } from '../../common/printable.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import { applyChatTemplate, generationSpans, templateOf } from './chat-template.ts';
import type { ChatMessage, ChatTemplateOptions, MarkedText } from './chat-template.ts';
import { tellsGeneration } from './jinja.ts';

/** A dialogue as a model reads it. */
export interface DialogueTokens {
  readonly ids: Int32Array;
  /** 1 for tokens of the assistant, with those that end its turns; 0 for all others. */
  readonly assistantMask: Uint8Array;
}

export interface DialogueTokensOptions extends Omit<
  ChatTemplateOptions,
  'addGenerationPrompt' | 'continueFinalMessage'
> {
  /** Only messages from this one on, by number, are the assistant's to learn; default 0, all. */
  readonly from?: number;
}

/**
 * The tokens of a dialogue by the tokenizer's template, and which of them the assistant wrote.
 *
 * A template with `{% generation %}` says so itself: the mask is that of Transformers'
 * `return_assistant_tokens_mask`. Of any other, a turn is what comes between the dialogue before it, with
 * what begins a reply (`add_generation_prompt`), and the dialogue with it. A first message has nothing before
 * it and is not learnt there.
 *
 * Errors, each one line: those of `applyChatTemplate`; a template without `{% generation %}` that writes a
 * turn otherwise when others follow, so that it cannot be found.
 *
 * @example
 * const { tokenizer } = await loadTextGenerator('models/pretrained/chat-small');
 * const messages = [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Hello!' }];
 * const { ids, assistantMask } = dialogueTokens(tokenizer, messages);
 * tokenizer.decode(ids.filter((_, i) => assistantMask[i])); // 'Hello!<|endoftext|>'
 */
export function dialogueTokens(
  tokenizer: AnyTokenizer,
  messages: readonly ChatMessage[],
  { from = 0, ...options }: DialogueTokensOptions = {},
): DialogueTokens {
  const isTold = tellsGeneration(templateOf(tokenizer, options));
  const { text, spans } = isTold
    ? laterSpans(tokenizer, messages, from, options)
    : turnSpans(tokenizer, messages, from, options);
  return tokensOf(tokenizer, text, spans);
}

/** What `{% generation %}` holds, of messages from number `from` on. */
function laterSpans(
  tokenizer: AnyTokenizer,
  messages: readonly ChatMessage[],
  from: number,
  options: ChatTemplateOptions,
): MarkedText {
  const all = generationSpans(tokenizer, messages, options);
  if (from === 0) return all;
  const before = generationSpans(tokenizer, messages.slice(0, from), options).spans.length;
  return { ...all, spans: all.spans.slice(before) };
}

/** Turns of the assistant by what each adds to the text. */
function turnSpans(
  tokenizer: AnyTokenizer,
  messages: readonly ChatMessage[],
  from: number,
  options: ChatTemplateOptions,
): MarkedText {
  const text = applyChatTemplate(tokenizer, messages, options);
  const spans = messages.flatMap(({ role }, i) => {
    if (role !== 'assistant' || i === 0 || i < from) return [];
    const before = applyChatTemplate(tokenizer, messages.slice(0, i), { ...options, addGenerationPrompt: true });
    const after = i === messages.length - 1 ? text : applyChatTemplate(tokenizer, messages.slice(0, i + 1), options);
    checkBegins(after, before, i, 'what begins a reply');
    checkBegins(text, after, i, 'the dialogue up to there');
    return [[before.length, after.length] as const];
  });
  return { text, spans };
}

function checkBegins(text: string, beginning: string, message: number, what: string): void {
  if (text.startsWith(beginning)) return;
  let at = 0;
  while (text[at] === beginning[at]) at++;
  const near = (whole: string): string => `"${showText(whole.slice(Math.max(0, at - 10), at + 10))}"`;
  throw new Error(
    `chat template: the turn of message ${message + 1} cannot be found, since the template writes ${what} ` +
      `otherwise when the rest follows (${near(beginning)}, then ${near(text)}); give a template with ` +
      '{% generation %} around what the assistant says',
  );
}

/** Tokens of a text, and which of them overlap a stretch of it. */
function tokensOf(tokenizer: AnyTokenizer, text: string, spans: MarkedText['spans']): DialogueTokens {
  const { inputIds, offsets } = tokenizer.encodeToArrays([text], { addSpecialTokens: false, returnOffsets: true });
  const assistantMask = new Uint8Array(inputIds.length);
  let at = 0;
  for (let i = 0; i < inputIds.length; i++) {
    while (at < spans.length && offsets![2 * i]! >= spans[at]![1]) at++;
    if (at === spans.length) break;
    if (offsets![2 * i + 1]! > spans[at]![0]) assistantMask[i] = 1;
  }
  return { ids: inputIds, assistantMask };
}
