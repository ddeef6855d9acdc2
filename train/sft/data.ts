import { brief } from '../../common/printable.ts';
import { splitApart } from '../data/duplicates/split-apart.ts';
import type { SplitFractions } from '../data/split.ts';
import { hashOfJson } from '../data/text-hash.ts';
import { firstSentence } from '../seq2seq/baselines.ts';
import { loadPairs, namesPairs } from '../seq2seq/pairs.ts';
import type { TextPair } from '../seq2seq/pairs.ts';
import { readConversations } from './conversations.ts';
import type { Conversation } from './conversations.ts';
import { lessons } from './lessons.ts';

export interface ConversationData {
  readonly train: readonly Conversation[];
  readonly validation: readonly Conversation[];
  readonly test: readonly Conversation[];
  /** One line about where they come from and what was left out. */
  readonly origin: string;
  /** Of pairs: the first sentence of each text that is tested on, to be better than. */
  readonly firstSentences?: readonly string[];
}

export interface ConversationOptions {
  readonly testData?: string;
  readonly seed: number;
  /** Pairs: what the user says before each text, such as "Summarise in a line:". */
  readonly instruction?: string;
  /** Of the grammar: how many lessons it makes; 2400 without. */
  readonly lessons?: number;
  /** Of the conversations to train on as many at most; the first ones of their random order. */
  readonly maxTrainSamples?: number;
  /** Of those to validate on, and of those to test on, as many at most. */
  readonly maxEvalSamples?: number;
}

/** What `loadConversations` takes instead of a file. */
export const lessonsName = 'lessons';

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
 * trained on are left out, see `splitApart`. Names of pairs (`pairNames`) become a question with its answer
 * each. Errors: those of `readConversations` and `loadPairs`; options of other data.
 */
export async function loadConversations(data: string, options: ConversationOptions): Promise<ConversationData> {
  const { instruction, maxTrainSamples, maxEvalSamples } = options;
  const isPairs = namesPairs(data);
  if (options.lessons !== undefined && data !== lessonsName)
    throw new Error(`--lessons is how many the grammar makes; ${brief(data)} has its own conversations`);
  if (instruction !== undefined && !isPairs)
    throw new Error(`--instruction is said before texts of pairs; ${brief(data)} are whole conversations`);
  const { train, validation, test, origin, firstSentences } = await (isPairs ? pairsAsked : split)(data, options);
  return {
    train: train.slice(0, maxTrainSamples),
    validation: validation.slice(0, maxEvalSamples),
    test: test.slice(0, maxEvalSamples),
    origin,
    ...(firstSentences && { firstSentences }),
  };
}

/** Pairs as questions with their answers. */
async function pairsAsked(
  data: string,
  { testData, seed, instruction }: ConversationOptions,
): Promise<ConversationData> {
  const { origin, ...parts } = await loadPairs(data, { testData, seed });
  const asked = (part: readonly TextPair[], name: string): Conversation[] =>
    part.map(({ source, target }, i) => ({
      where: `pair ${i + 1} ${name}`,
      messages: [
        { role: 'user', content: instruction === undefined ? source : `${instruction}\n\n${source}` },
        { role: 'assistant', content: target },
      ],
      from: 0,
    }));
  return {
    train: asked(parts.train, 'to train'),
    validation: asked(parts.validation, 'to validate'),
    test: asked(parts.test, 'to test'),
    origin,
    firstSentences: parts.test.map(({ source }) => firstSentence(source)),
  };
}

async function split(data: string, { testData, seed, lessons: count }: ConversationOptions): Promise<ConversationData> {
  const isOwn = data === lessonsName;
  const all = isOwn ? ownLessons(count ?? 2400, seed) : await readConversations(data);
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
    data,
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

const ownLessons = (count: number, seed: number): Conversation[] =>
  lessons(count, seed).map(({ messages, kind }, i) => ({ where: `lesson ${i + 1}, ${kind}`, messages, from: 0 }));
