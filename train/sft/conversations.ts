// What instruction tuning learns from, in the forms in which such data come.
import { brief } from '../../common/printable.ts';
import type { ChatMessage } from '../../models/index.ts';
import { messagesOf } from '../data/messages.ts';
import { stringCell } from '../data/read-table.ts';
import { tableRows } from '../data/table-rows.ts';

/** Something to learn from: a dialogue, a text that is to be gone on with, or a text. */
export type Conversation = { readonly where: string } & (
  | {
      readonly messages: readonly ChatMessage[];
      /** Only what the assistant says from this message on is to be learnt. */
      readonly from: number;
      /** JSON schemas of functions that the model may call. */
      readonly tools?: readonly object[];
    }
  | { readonly prompt: string; readonly completion: string }
  | { readonly text: string }
);

type Cells = Readonly<Record<string, unknown>>;

interface Form {
  /** Its fields, by the first of which it is known. */
  readonly fields: string;
  readonly isIt: (cells: Cells) => boolean;
  readonly read: (cells: Cells, where: string) => Omit<Conversation, 'where'>;
}

const has = (cells: Cells, ...names: readonly string[]): boolean => names.every((name) => Object.hasOwn(cells, name));

/** The forms of a row; the first that it has the fields of. */
const forms: readonly Form[] = [
  {
    fields: '"messages"',
    isIt: (cells) => has(cells, 'messages'),
    read: (cells, where) => ({ messages: messagesOf(cells['messages'], where), from: 0, ...toolsOf(cells, where) }),
  },
  {
    fields: '"conversations"',
    isIt: (cells) => has(cells, 'conversations'),
    read: (cells, where) => ({ messages: shareGptOf(cells['conversations'], where, cells['system']), from: 0 }),
  },
  { fields: '"prompt" and "completion"', isIt: (cells) => has(cells, 'prompt', 'completion'), read: completionOf },
  {
    fields: '"instruction" and "output"',
    isIt: (cells) => has(cells, 'instruction', 'output'),
    read: (cells, where) => ({ messages: alpacaOf(cells, where), from: 0 }),
  },
  {
    fields: '"text"',
    isIt: (cells) => has(cells, 'text'),
    read: (cells, where) => ({ text: filled(cells, 'text', where) }),
  },
];

/** What `readConversations` takes, for `--help`. */
export const conversationForms =
  'JSONL of {"messages": [{"role", "content"}, ...]}, ShareGPT, Alpaca, prompt and completion, or text';

/**
 * Reads a file of conversations, each row in the form that its fields tell: OpenAI's {"messages"}, ShareGPT's
 * {"conversations": [{"from", "value"}]}, {"prompt", "completion"} (texts, or messages), Alpaca's
 * {"instruction", "input", "output"}, {"text"}. Other fields are passed over.
 *
 * Errors, each one line with file and line: no JSON; fields of no form; a role or a content that is none; an
 * empty text; a dialogue without a turn of the assistant after another one.
 */
export async function readConversations(path: string): Promise<Conversation[]> {
  const found: Conversation[] = [];
  for await (const { line, cells } of tableRows(path)) found.push(conversationOf(cells, `${path}:${line}`));
  if (found.length === 0) throw new Error(`${path}: no rows; give ${conversationForms}`);
  return found;
}

/** One row; `where` begins errors. */
export function conversationOf(cells: Cells, where: string): Conversation {
  const form = forms.find(({ isIt }) => isIt(cells));
  if (!form)
    throw new Error(
      `${where}: the fields ${
        Object.keys(cells)
          .map((name) => brief(name))
          .join(', ') || '(none)'
      } are of no known ` + `form; give ${forms.map(({ fields }) => fields).join(', or ')}`,
    );
  const conversation = { where, ...form.read(cells, where) } as Conversation;
  if ('messages' in conversation) checkReply(conversation.messages, Math.max(1, conversation.from), where);
  return conversation;
}

/** Throws where the assistant says nothing from message number `from` on. */
function checkReply(messages: readonly ChatMessage[], from: number, where: string): void {
  if (messages.slice(from).some(({ role }) => role === 'assistant')) return;
  throw new Error(`${where}: no message of the assistant follows another one; there is no reply to learn`);
}

/** A text of a row that says something. */
export function filled(cells: Cells, name: string, where: string): string {
  const text = stringCell(cells, name, undefined, where);
  if (text.trim() === '') throw new Error(`${where}: "${name}" is empty; fill it or take the row out`);
  return text;
}

function toolsOf(cells: Cells, where: string): { readonly tools?: readonly object[] } {
  const { tools = null } = cells;
  if (tools === null) return {};
  const isObject = (each: unknown): each is object => typeof each === 'object' && each !== null;
  if (!Array.isArray(tools) || !tools.every(isObject))
    throw new Error(`${where}: "tools" is ${brief(tools)}, no list of JSON schemas`);
  return { tools };
}

/** Roles of ShareGPT's files. */
const speakers: Readonly<Record<string, string>> = {
  system: 'system',
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  bot: 'assistant',
  tool: 'tool',
  observation: 'tool',
};

function shareGptOf(value: unknown, where: string, system: unknown): ChatMessage[] {
  const turns = Array.isArray(value) ? (value as unknown[]) : undefined;
  const messages = turns?.map((each, i) => {
    const { from, value: content, ...rest } = (typeof each === 'object' && each !== null ? each : {}) as Cells;
    // Some files have messages in this field.
    if (from === undefined && has(rest, 'role')) return each;
    const role = typeof from === 'string' && Object.hasOwn(speakers, from) ? speakers[from] : undefined;
    if (role === undefined)
      throw new Error(`${where}: turn ${i + 1} is from ${brief(from)}; use ${Object.keys(speakers).join(', ')}`);
    return { role, content };
  });
  const first = typeof system === 'string' && system.trim() !== '' ? [{ role: 'system', content: system }] : [];
  return messagesOf(messages ? [...first, ...messages] : value, where, { name: 'conversations' });
}

function alpacaOf(cells: Cells, where: string): ChatMessage[] {
  const instruction = filled(cells, 'instruction', where);
  const { input = null, system = null, history = null } = cells;
  for (const [name, value] of Object.entries({ input, system }))
    if (value !== null && typeof value !== 'string')
      throw new Error(`${where}: "${name}" is ${brief(value)}, not a string`);
  const question = input === null || input === '' ? instruction : `${instruction}\n\n${input as string}`;
  const turns = history === null ? [] : history;
  const isPair = (each: unknown): each is [string, string] =>
    Array.isArray(each) && each.length === 2 && each.every((text) => typeof text === 'string');
  if (!Array.isArray(turns) || !turns.every(isPair))
    throw new Error(`${where}: "history" is ${brief(history)}, no list of [question, answer]`);
  return messagesOf(
    [
      ...(system ? [{ role: 'system', content: system }] : []),
      ...turns.flatMap(([said, answer]) => [
        { role: 'user', content: said },
        { role: 'assistant', content: answer },
      ]),
      { role: 'user', content: question },
      { role: 'assistant', content: filled(cells, 'output', where) },
    ],
    where,
  );
}

function completionOf(cells: Cells, where: string): Omit<Conversation, 'where'> {
  const { prompt, completion } = cells;
  if (typeof prompt === 'string' && typeof completion === 'string')
    return { prompt, completion: filled(cells, 'completion', where) };
  const before = messagesOf(prompt, where, { name: 'prompt' });
  const after = messagesOf(completion, where, { name: 'completion' });
  return { messages: [...before, ...after], from: before.length, ...toolsOf(cells, where) };
}
