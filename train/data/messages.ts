import { brief } from '../../common/printable.ts';
import type { ChatMessage } from '../../models/index.ts';

/** Who may speak, as OpenAI's files name them. */
export const chatRoles = ['system', 'developer', 'user', 'assistant', 'tool', 'function'] as const;

export interface MessageRules {
  /** Roles that may be; default `chatRoles`. */
  readonly roles?: readonly string[];
  /** Messages may say nothing; default false. */
  readonly mayBeEmpty?: boolean;
  /** The list's name in errors; default "messages". */
  readonly name?: string;
}

/**
 * A list of {"role", "content"} as messages, with their further keys. The content is a text, or a list of
 * parts; of a message with `tool_calls` it may be missing. Error, one line beginning with `where`: no list,
 * an unknown role, a content that is none or empty.
 */
export function messagesOf(value: unknown, where: string, rules: MessageRules = {}): ChatMessage[] {
  const { roles = chatRoles, mayBeEmpty = false, name = 'messages' } = rules;
  if (!Array.isArray(value)) throw new Error(`${where}: "${name}" is ${brief(value)}, no list of {"role", "content"}`);
  if (value.length === 0 && !mayBeEmpty) throw new Error(`${where}: "${name}" is empty; give at least one message`);
  return value.map((each: unknown, i): ChatMessage => {
    const message = (typeof each === 'object' && each !== null ? each : {}) as Record<string, unknown>;
    const { role, content } = message;
    if (typeof role !== 'string' || !roles.includes(role))
      throw new Error(`${where}: message ${i + 1} has the role ${brief(role)}; use ${roles.join(', ')}`);
    const calls = Array.isArray(message['tool_calls']) && message['tool_calls'].length > 0;
    const isContent = typeof content === 'string' || Array.isArray(content) || (calls && (content ?? null) === null);
    const isEmpty =
      typeof content === 'string' ? content.trim() === '' : Array.isArray(content) && content.length === 0;
    if (!isContent || (isEmpty && !calls && !mayBeEmpty))
      throw new Error(
        `${where}: message ${i + 1}, ${role}'s, is ${isContent ? 'empty' : brief(content)}; it must be a text`,
      );
    return { ...message, role, ...(content === null || content === undefined ? { content: '' } : {}) };
  });
}
