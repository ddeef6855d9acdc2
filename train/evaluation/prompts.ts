import type { ChatMessage } from '../../models/index.ts';

/** A piece of a prompt: a turn of a dialogue, or as text what it says and what goes after it. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
  /** Written after it where the prompt is no dialogue. */
  readonly after: string;
}

/** How a prompt becomes a text. */
export interface PromptStyle {
  /**
   * Writes a dialogue as the model reads it; `isOpen`: it goes on with the last turn. Else prompts are plain
   * text.
   */
  readonly chat?: ((messages: readonly ChatMessage[], isOpen: boolean) => string) | undefined;
  /** In a dialogue: each example is a question and a reply, not all of them a part of one question. */
  readonly fewshotAsMultiturn?: boolean | undefined;
  /** Before all else: the system's turn of a dialogue. */
  readonly systemInstruction?: string | undefined;
}

const startsWithSpace = (text: string): boolean => /^\s/.test(text);
export const endsWithSpace = (text: string): boolean => /\s$/.test(text);

/** `a` and `b` with a delimiter between them, unless one is empty or a space is there already. */
export function delimited(a: string, b: string, delimiter: string): string {
  return a === '' || b === '' || endsWithSpace(a) || startsWithSpace(b) ? a + b : a + delimiter + b;
}

interface Parts {
  /** Of an example. */
  readonly answer?: string;
  /** What an answer begins with. */
  readonly prefix: string;
  readonly between: string;
  readonly after: string;
}

/** A question, and what is known of its answer. */
export function turnsOf(question: string, { answer = '', prefix, between, after }: Parts): Turn[] {
  const isApart = prefix === '' || !(question === '' || endsWithSpace(question) || startsWithSpace(prefix));
  const given = answer !== '' || prefix !== '';
  const user: Turn = { role: 'user', content: question, after: given && isApart ? between : '' };
  if (answer !== '') return [user, { role: 'assistant', content: delimited(prefix, answer, ' '), after }];
  return prefix === '' ? [user] : [user, { role: 'assistant', content: prefix, after: '' }];
}

/** The text of a prompt, which ends with a question or with what its answer begins with. */
export function writePrompt(turns: readonly Turn[], { chat, fewshotAsMultiturn = false }: PromptStyle): string {
  if (chat === undefined) return textOf(turns);
  const isOpen = turns.at(-1)!.role === 'assistant';
  const messages = fewshotAsMultiturn ? turns : asOneQuestion(turns, isOpen);
  return chat(
    messages.map(({ role, content }) => ({ role, content })),
    isOpen,
  );
}

const textOf = (turns: readonly Turn[]): string => turns.map(({ content, after }) => content + after).join('');

/** Examples and question as one turn of the user; what it ends with is not written. */
function asOneQuestion(turns: readonly Turn[], isOpen: boolean): Turn[] {
  const first = turns[0]!.role === 'system' ? 1 : 0;
  const end = turns.length - Number(isOpen);
  const asked = turns.slice(first, end);
  const content = textOf([...asked.slice(0, -1), { ...asked.at(-1)!, after: '' }]);
  return [...turns.slice(0, first), { role: 'user', content, after: '' }, ...turns.slice(end)];
}
