import { brief } from '../../common/printable.ts';
import { messageRoles } from '../../models/index.ts';
import type { Message } from '../../models/index.ts';
import { splitApart } from '../data/duplicates/split-apart.ts';
import { mailDialogues } from '../data/mail-dialogues.ts';
import { messagesOf } from '../data/messages.ts';
import { cell, stringCell } from '../data/read-table.ts';
import type { SplitFractions } from '../data/split.ts';
import { tableRows } from '../data/table-rows.ts';
import { textKey } from '../data/text-hash.ts';

/** What was said, and what was answered. */
export interface DialogueExample {
  /** At least one turn. */
  readonly history: readonly Message[];
  readonly reply: string;
  /** The dialogue or thread that it is of: its examples go to one part of the data together. */
  readonly group: string;
}

export interface DialogueData {
  readonly train: readonly DialogueExample[];
  readonly validation: readonly DialogueExample[];
  readonly test: readonly DialogueExample[];
  /** One line about where they come from and what was left out. */
  readonly origin: string;
}

export interface DialogueOptions {
  /** Column of what belongs together; default each row by itself. */
  readonly groupColumn?: string;
}

/** What `loadDialogues` takes instead of a file, for `--help`. */
export const dialogueNames = 'spam-assassin (answers in public mails)';

/**
 * Reads JSONL rows {"messages": [{"role", "content"}, ...]}: each message of the assistant that follows
 * another one is a reply to learn. Throws one line naming file and line: no list of messages, a role or a
 * content that is none, a row without a reply.
 */
export async function readDialogues(path: string, { groupColumn }: DialogueOptions = {}): Promise<DialogueExample[]> {
  const examples: DialogueExample[] = [];
  for await (const { line, cells } of tableRows(path, { format: 'jsonl' })) {
    const where = `${path}:${line}`;
    const messages = messagesOf(cell(cells, 'messages', undefined, where), where, { roles: messageRoles }).map(
      ({ role, content }): Message => ({ role: role as Message['role'], content: textOfContent(content, where) }),
    );
    const group = groupColumn === undefined ? String(line) : stringCell(cells, groupColumn, 'groupColumn', where);
    const found = repliesIn(messages, group);
    if (found.length === 0)
      throw new Error(`${where}: no message of the assistant follows another one; there is no reply to learn`);
    examples.push(...found);
  }
  if (examples.length === 0) throw new Error(`${path}: no rows; each has {"messages": [{"role", "content"}, ...]}`);
  return examples;
}

function textOfContent(content: unknown, where: string): string {
  if (typeof content === 'string') return content.trim();
  throw new Error(`${where}: the content ${brief(content)} is no text; replies are learnt from texts alone`);
}

function repliesIn(messages: readonly Message[], group: string): DialogueExample[] {
  return messages.flatMap(({ role, content }, i) =>
    role === 'assistant' && i > 0 ? [{ history: messages.slice(0, i), reply: content, group }] : [],
  );
}

/** Answers in mails; the author of the answer is the assistant, whom the others speak to. */
async function answersInMails(): Promise<DialogueExample[]> {
  return (await mailDialogues()).map(({ turns, thread }) => {
    const messages = turns.map((content, i): Message => {
      return { role: (turns.length - 1 - i) % 2 === 0 ? 'assistant' : 'user', content };
    });
    return { history: messages.slice(0, -1), reply: turns.at(-1)!, group: thread };
  });
}

async function examplesOf(data: string, options: DialogueOptions): Promise<DialogueExample[]> {
  return data === 'spam-assassin' ? answersInMails() : readDialogues(data, options);
}

/** The texts of a history, one after another. */
export const textOf = (history: readonly Message[]): string => history.map(({ content }) => content).join('\n');

/**
 * Reads dialogues and splits them so that no dialogue or thread is in two parts; held-out ones that are
 * nearly trained on are left out, see `splitApart`.
 */
export async function loadDialogues(
  data: string,
  { testData, seed, ...options }: DialogueOptions & { readonly testData?: string; readonly seed: number },
): Promise<DialogueData> {
  const examples = await examplesOf(data, options);
  const fractions: SplitFractions = testData
    ? { train: 0.9, validation: 0.1, test: 0 }
    : { train: 0.8, validation: 0.1, test: 0.1 };
  const { counts, ...split } = splitApart(examples, {
    textOf: ({ history, reply }) => `${history.at(-1)!.content}\n${reply}`,
    keyOf: ({ history, reply }) => `${textKey(textOf(history))} ${textKey(reply)}`,
    groupOf: ({ group }) => group,
    seed,
    fractions,
    data,
    items: 'replies',
  });
  const other = testData === undefined ? undefined : await examplesOf(testData, options);
  const threads = new Set(examples.map(({ group }) => group)).size;
  return {
    ...split,
    test: other ?? split.test,
    origin:
      `${brief(data)}, ${examples.length} replies in ${threads} dialogues; left out: ${counts.repeated} that came ` +
      `before, ${counts.near} held out that are nearly trained on${other ? `; test: ${brief(testData)}` : ''}`,
  };
}
