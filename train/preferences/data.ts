// Questions with a better and a worse answer, in the forms in which such data come.
import { Random } from '../../common/random.ts';
import { brief } from '../../common/printable.ts';
import type { AnyTokenizer, ChatMessage } from '../../models/index.ts';
import { showValue } from '../../models/names.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { splitApart } from '../data/duplicates/split-apart.ts';
import { messagesOf } from '../data/messages.ts';
import { tableRows } from '../data/table-rows.ts';
import { hashOfJson } from '../data/text-hash.ts';
import type { LabelledTokens } from '../objectives/labelled-tokens.ts';
import type { PreferencePair } from '../objectives/preference.ts';
import type { RewardPair } from '../objectives/reward.ts';
import { filled } from '../sft/conversations.ts';
import type { Conversation } from '../sft/conversations.ts';
import { lessonsName, textOf } from '../sft/data.ts';
import { lessons } from '../sft/lessons.ts';
import { sequencesOf } from '../sft/sequences.ts';
import type { SequenceOptions } from '../sft/sequences.ts';

/** A question with two answers, of which the first is better. */
export interface Preference {
  readonly where: string;
  readonly chosen: Conversation;
  readonly rejected: Conversation;
  /** By how much the first is better, for a reward model. */
  readonly margin?: number;
}

export interface PreferenceData {
  readonly train: readonly Preference[];
  readonly test: readonly Preference[];
  readonly origin: string;
}

type Cells = Readonly<Record<string, unknown>>;

/**
 * Reads JSONL rows {"prompt", "chosen", "rejected"}: texts, or lists of messages, of which those that both
 * answers begin with may be their prompt; and perhaps a "margin", a number. Errors, each one line with file
 * and line: a field that is missing or empty, answers that are equal, lists without a message in common.
 */
export async function readPreferences(path: string): Promise<Preference[]> {
  const found: Preference[] = [];
  for await (const { line, cells } of tableRows(path)) found.push(preferenceOf(cells, `${path}:${line}`));
  if (found.length === 0) throw new Error(`${path}: no rows; each has {"prompt", "chosen", "rejected"}`);
  return found;
}

/** One row; `where` begins errors. */
export function preferenceOf(cells: Cells, where: string): Preference {
  const { margin } = cells;
  if (margin === undefined || margin === null) return answersOf(cells, where);
  // A CSV file has texts.
  const number = typeof margin === 'string' && margin.trim() !== '' ? Number(margin) : margin;
  if (typeof number !== 'number' || !Number.isFinite(number))
    throw new Error(`${where}: "margin" is ${showValue(margin)}; give a number, by how much "chosen" is better`);
  return { ...answersOf(cells, where), margin: number };
}

function answersOf(cells: Cells, where: string): Preference {
  const { prompt, chosen, rejected } = cells;
  if (JSON.stringify(chosen) === JSON.stringify(rejected) && chosen !== undefined)
    throw new Error(`${where}: "chosen" and "rejected" are equal; there is nothing to prefer`);
  if (Array.isArray(chosen) || Array.isArray(rejected)) return ofMessages(cells, where);
  const question = typeof prompt === 'string' ? prompt : filled(cells, 'prompt', where);
  const of = (name: 'chosen' | 'rejected'): Conversation => ({
    where,
    prompt: question,
    completion: filled(cells, name, where),
  });
  return { where, chosen: of('chosen'), rejected: of('rejected') };
}

function ofMessages({ prompt, chosen, rejected }: Cells, where: string): Preference {
  const before = Array.isArray(prompt) ? messagesOf(prompt, where, { name: 'prompt' }) : [];
  const answers = [
    messagesOf(chosen, where, { name: 'chosen' }),
    messagesOf(rejected, where, { name: 'rejected' }),
  ] as const;
  const [better, worse] = answers.map((answer) => [...before, ...answer]) as [ChatMessage[], ChatMessage[]];
  let from = before.length;
  while (from < better.length && JSON.stringify(better[from]) === JSON.stringify(worse[from])) from++;
  if (from === 0) throw new Error(`${where}: "chosen" and "rejected" begin with no message in common; give "prompt"`);
  const of = (messages: readonly ChatMessage[], name: string): Conversation => {
    if (messages.slice(from).some(({ role }) => role === 'assistant')) return { where, messages, from };
    throw new Error(`${where}: "${name}" has no message of the assistant that the other has not`);
  };
  return { where, chosen: of(better, 'chosen'), rejected: of(worse, 'rejected') };
}

/** Pairs of a right answer and that of another lesson: of the same kind, where that has a different one. */
function lessonPairs(count: number, seed: number): Preference[] {
  const all = lessons(count, seed);
  return all.flatMap(({ kind, messages }, i): Preference[] => {
    const question = messages.slice(0, 2);
    const random = new Random(seed, 2 ** 31 + i);
    const others = all.filter(({ messages }) => messages[1]!.content !== question[1]!.content);
    const alike = others.filter((other) => other.kind === kind);
    const drawn = alike.length > 0 ? alike : others;
    const wrong = drawn[random.int(drawn.length)]!.messages[1]!;
    const where = `lesson ${i + 1}, ${kind}`;
    const of = (answer: ChatMessage): Conversation => ({ where, messages: [question[0]!, answer], from: 1 });
    return [{ where, chosen: of(question[1]!), rejected: of(wrong) }];
  });
}

const pairCount = 600;

/** Reads pairs and splits them so that none is in two parts; see `splitApart`. */
export async function loadPreferences(
  data: string,
  { testData, seed }: { readonly testData?: string; readonly seed: number },
): Promise<PreferenceData> {
  const isOwn = data === lessonsName;
  const all = isOwn ? lessonPairs(pairCount, seed) : await readPreferences(data);
  const keyOf = ({ chosen, rejected }: Preference): string => hashOfJson([textOf(chosen), textOf(rejected)]);
  const { counts, ...split } = splitApart(all, {
    // Sums are nearly one another, and are to be told apart all the same.
    textOf: isOwn ? keyOf : ({ chosen, rejected }) => `${textOf(chosen)}\n${textOf(rejected)}`,
    keyOf,
    groupOf: () => undefined,
    seed,
    fractions: testData ? { train: 1, validation: 0, test: 0 } : { train: 0.9, validation: 0, test: 0.1 },
    data,
    items: 'pairs',
  });
  return {
    train: split.train,
    test: testData === undefined ? split.test : await readPreferences(testData),
    origin:
      `${isOwn ? 'answers to lessons made by a grammar' : brief(data)}, ${all.length} pairs; left out: ` +
      `${counts.repeated} that came before, ${counts.near} held out that are nearly trained on` +
      (testData === undefined ? '' : `; test: ${brief(testData)}`),
  };
}

/** With the margin that the data give it. */
type MarginPair = PreferencePair & Pick<Preference, 'margin'>;

/** Pairs as tokens; those of which an answer is left out are. Errors: those of `sequencesOf`. */
export function pairsOf(
  tokenizer: AnyTokenizer,
  preferences: readonly Preference[],
  options: SequenceOptions,
): MarginPair[] {
  const pairs = preferences.flatMap(({ chosen, rejected, margin }): MarginPair[] => {
    const [better, worse] = [chosen, rejected].map((each) => sequencesOf(tokenizer, [each], options, true).sequences);
    if (!better![0] || !worse![0]) return [];
    return [{ chosen: better![0], rejected: worse![0], ...(margin === undefined ? {} : { margin }) }];
  });
  if (pairs.length === 0) throw new Error(`no pair is left of ${preferences.length}; allow longer rows`);
  return pairs;
}

/**
 * The same for a reward model; an encoder's rows begin and end with its own tokens, also those of dialogues.
 */
export function rewardPairsOf(
  tokenizer: AnyTokenizer,
  preferences: readonly Preference[],
  { maxLength, ...options }: SequenceOptions,
): RewardPair[] {
  const { clsTokenId: first, sepTokenId: last } = tokenizer;
  const isFramed = first !== undefined && last !== undefined;
  const rowOf = ({ ids }: LabelledTokens): TokenRow => {
    const inputIds = Int32Array.from(isFramed && ids[0] !== first ? [first, ...Array.from(ids), last] : ids);
    return { inputIds, tokenTypeIds: new Int32Array(inputIds.length) };
  };
  const pairs = pairsOf(tokenizer, preferences, { ...options, maxLength: maxLength - (isFramed ? 2 : 0) });
  return pairs.map(({ chosen, rejected, margin }) => ({ chosen: rowOf(chosen), rejected: rowOf(rejected), margin }));
}
