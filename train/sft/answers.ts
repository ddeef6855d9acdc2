import { applyChatTemplate, generateText } from '../../models/index.ts';
import type { AnyTokenizer, ChatMessage, Generative } from '../../models/index.ts';
import { chunks } from '../../models/pipelines/rows.ts';
import type { Conversation } from './conversations.ts';

/** A question, all that was said before it with it, and its answer. */
export interface Question {
  readonly before: readonly ChatMessage[];
  readonly answer: string;
}

/** The last reply of each dialogue that ends with one in words, as a question; `count` of them at most. */
export function questionsOf(conversations: readonly Conversation[], count: number): Question[] {
  const all = conversations.flatMap((conversation): Question[] => {
    const messages = 'messages' in conversation ? conversation.messages : [];
    const last = messages.at(-1);
    if (messages.length < 2 || last?.role !== 'assistant' || typeof last.content !== 'string') return [];
    return last.content.trim() === '' ? [] : [{ before: messages.slice(0, -1), answer: last.content.trim() }];
  });
  return all.slice(0, count);
}

export interface AnswerOptions {
  readonly chatTemplate?: string;
  readonly batchSize: number;
  readonly maxNewTokens: number;
}

/** The model's most probable answer to each question. */
export async function answersTo(
  model: Generative,
  tokenizer: AnyTokenizer,
  questions: readonly Question[],
  { chatTemplate, batchSize, maxNewTokens }: AnswerOptions,
): Promise<string[]> {
  const { positions } = model.decoder();
  const prompts = questions.map(({ before }) => {
    const text = applyChatTemplate(tokenizer, before, { addGenerationPrompt: true, chatTemplate });
    const ids = tokenizer.idsOf(text);
    return ids.slice(Math.max(0, ids.length - positions + maxNewTokens));
  });
  const answers: string[] = [];
  for (const numbers of chunks([...prompts.keys()], batchSize)) {
    const options = { doSample: false, maxNewTokens };
    const texts = await generateText(
      model,
      tokenizer,
      numbers.map((i) => prompts[i]!),
      options,
    );
    answers.push(...texts.map(({ text }) => text.trim()));
  }
  return answers;
}
