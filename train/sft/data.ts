import { brief } from '../../common/printable.ts';
import { splitApart } from '../data/duplicates/split-apart.ts';
import type { SplitFractions } from '../data/split.ts';
import { hashOfJson } from '../data/text-hash.ts';
import { readConversations } from './conversations.ts';
import type { Conversation } from './conversations.ts';
import { lessons } from './lessons.ts';

export interface ConversationData {
  readonly train: readonly Conversation[];
  readonly validation: readonly Conversation[];
  readonly test: readonly Conversation[];
  /** One line about where they come from and what was left out. */
  readonly origin: string;
}

/** What `loadConversations` takes instead of a file. */
export const lessonsName = 'lessons';
const lessonCount = 2400;

/** All that a conversation says, one part after another. */
export function textOf(conversation: Conversation): string {
  if ('text' in conversation) return conversation.text;
  if ('prompt' in conversation) return conversation.prompt + conversation.completion;
  return conversation.messages
    .map(({ content }) => (typeof content === 'string' ? content : brief(content)))
    .join('\n');
}

/**
 * Reads conversations and splits them so that none is in two parts; of a file, held-out ones that are nearly
 * trained on are left out, see `splitApart`. Errors: those of `readConversations`.
 */
export async function loadConversations(
  data: string,
  { testData, seed }: { readonly testData?: string; readonly seed: number },
): Promise<ConversationData> {
  const isOwn = data === lessonsName;
  const all = isOwn ? ownLessons(seed) : await readConversations(data);
  const fractions: SplitFractions = testData
    ? { train: 0.9, validation: 0.1, test: 0 }
    : { train: 0.8, validation: 0.1, test: 0.1 };
  // Where they come from tells nothing of what they are.
  const keyOf = ({ where: _, ...said }: Conversation): string => hashOfJson(said);
  const { counts, ...split } = splitApart(all, {
    // Sums are nearly one another, and are to be told apart all the same.
    textOf: isOwn ? keyOf : textOf,
    keyOf,
    groupOf: () => undefined,
    seed,
    fractions,
    op: 'conversations',
    items: 'conversations',
  });
  const other = testData === undefined ? undefined : await readConversations(testData);
  return {
    ...split,
    test: other ?? split.test,
    origin:
      `${isOwn ? 'lessons made by a grammar' : brief(data)}, ${all.length} conversations; left out: ` +
      `${counts.repeated} that came before, ${counts.near} held out that are nearly trained on` +
      (other ? `; test: ${brief(testData)}` : ''),
  };
}

const ownLessons = (seed: number): Conversation[] =>
  lessons(lessonCount, seed).map(({ messages, kind }, i) => ({ where: `lesson ${i + 1}, ${kind}`, messages, from: 0 }));
