import { applyChatTemplate } from './chat-template.ts';
import type { ChatMessage, ChatTemplateOptions } from './chat-template.ts';
import type { TextGenerator } from './load.ts';
import type { GenerationOptions } from './options.ts';
import { streamText } from './text.ts';
import type { TextPiece } from './text.ts';

/** The text of a dialogue that a reply follows, as it fits. */
export interface ChatPrompt {
  readonly text: string;
  readonly ids: Int32Array;
  /** Messages that were left out, since the model has no room for them. */
  readonly left: number;
}

/**
 * A dialogue by the model's template, with room for a reply of `room` tokens: where the model has no
 * positions for all of it, the oldest turns are left out, a question with its answers, and the system's
 * message stays. Error, one line: the last turn alone is too long; those of `applyChatTemplate`.
 *
 * @example
 * const generator = await loadTextGenerator('models/pretrained/chat-small');
 * const prompt = chatPrompt(generator, [{ role: 'user', content: 'How do I save?' }], 40);
 */
export function chatPrompt(
  { model, tokenizer }: Pick<TextGenerator, 'model' | 'tokenizer'>,
  messages: readonly ChatMessage[],
  room: number,
  options: ChatTemplateOptions = {},
): ChatPrompt {
  const { positions } = model.decoder();
  const first = messages[0]?.role === 'system' ? 1 : 0;
  const leaving = (left: number): ChatPrompt => {
    const kept = [...messages.slice(0, first), ...messages.slice(first + left)];
    const text = applyChatTemplate(tokenizer, kept, { addGenerationPrompt: true, ...options });
    return { text, ids: tokenizer.idsOf(text), left };
  };
  const whole = leaving(0);
  const fits = ({ ids }: ChatPrompt): boolean => ids.length + room <= positions;
  if (fits(whole)) return whole;
  // What is kept begins with a question, as templates want it. A text of fewer messages is shorter, so the
  // longest that fits is found by halving: a dialogue of a thousand turns is not written a thousand times.
  const questions = messages.flatMap(({ role }, i) => (role === 'user' && i > first ? [i - first] : []));
  let found = questions.length === 0 ? whole : leaving(questions.at(-1)!);
  if (!fits(found))
    throw new Error(
      `chat: the last message has ${found.ids.length} tokens with what the template adds, a reply may have ` +
        `${room}, and the model reads ${positions}; say it shorter, or lower maxNewTokens`,
    );
  for (let [low, high] = [0, questions.length - 1]; low < high;) {
    const middle = (low + high) >> 1;
    const tried = leaving(questions[middle]!);
    if (fits(tried)) [found, high] = [tried, middle];
    else low = middle + 1;
  }
  return found;
}

/**
 * The reply to a dialogue, in pieces as it grows. What the model read and wrote for the turns before is not
 * read again. Errors: those of `chatPrompt` and `streamText`.
 *
 * @example
 * const generator = await loadTextGenerator('models/pretrained/chat-small');
 * const messages = [{ role: 'user', content: 'How do I save a file?' }];
 * for await (const { text } of streamReply(generator, messages, { maxNewTokens: 20 })) console.log(text);
 */
export async function* streamReply(
  generator: TextGenerator,
  messages: readonly ChatMessage[],
  options: GenerationOptions & { readonly template?: ChatTemplateOptions } = {},
): AsyncGenerator<TextPiece> {
  const { template, ...given } = options;
  const settings = { ...generator.options, ...given };
  // A model of few positions is left half of them to listen with.
  const room = Math.min(settings.maxNewTokens ?? 20, Math.floor(generator.model.decoder().positions / 2));
  const { ids } = chatPrompt(generator, messages, room, template);
  yield* streamText(generator.model, generator.tokenizer, ids, { ...settings, reuseCache: true });
}
