import { mean } from '../../common/statistics.ts';
import { Random } from '../../common/random.ts';
import { bm25 } from '../embeddings/evaluate.ts';
import { rankByScore, rankedAveragePrecision, recallAtK, reciprocalRank } from '../metrics/rankings.ts';
import { textOf } from './data.ts';
import type { DialogueExample } from './data.ts';

/** Replies among which the true one of an example is to be found. */
export interface Candidates {
  readonly example: DialogueExample;
  readonly replies: readonly string[];
  /** Place of the true one. */
  readonly right: number;
}

/** How well true replies are found, by name, 0 to 1. */
export type RankingScores = Readonly<Record<string, number>>;

/**
 * The part of the wrong replies that is of the same dialogue or thread, where it has as many: the hard ones.
 */
const sameShare = 1 / 3;

/** Draws wrong replies: `draw(example, count, random)` gives `count` others, none twice. */
export type WrongReplies = (example: DialogueExample, count: number, random: Random) => string[];

/**
 * Wrong replies among those of examples, a third of them of the same dialogue or thread. Error, when drawn:
 * too few different replies.
 */
export function wrongReplies(examples: readonly DialogueExample[]): WrongReplies {
  const all = [...new Set(examples.map(({ reply }) => reply))];
  const byGroup = new Map<string, Set<string>>();
  for (const { group, reply } of examples) byGroup.set(group, (byGroup.get(group) ?? new Set()).add(reply));
  return ({ reply, group }, count, random) => {
    if (all.length <= count)
      throw new Error(
        `dialogues: ${count} wrong replies are needed beside each true one, and there are ${all.length} different ` +
          'replies in this part of the data; give more dialogues, or ask for fewer',
      );
    const own = [...(byGroup.get(group) ?? [])].filter((text) => text !== reply);
    const chosen = new Set(random.shuffle(own).slice(0, Math.floor(count * sameShare)));
    while (chosen.size < count) {
      const text = all[random.int(all.length)]!;
      if (text !== reply) chosen.add(text);
    }
    return [...chosen];
  };
}

/** A list of `count` candidates for each example, the true one at any place: a function of the seed. */
export function candidatesFor(examples: readonly DialogueExample[], count: number, seed: number): Candidates[] {
  const draw = wrongReplies(examples);
  return examples.map((example, i) => {
    const random = new Random(seed, i);
    const replies = random.shuffle([example.reply, ...draw(example, count - 1, random)]);
    return { example, replies, right: replies.indexOf(example.reply) };
  });
}

/**
 * Recall at k of n candidates (R_n@k, Lowe et al. 2015), MRR and MAP from a score of each candidate of each
 * list. With one true reply a list, MAP is MRR.
 */
export function scoreRankings(lists: readonly Candidates[], scores: readonly ArrayLike<number>[]): RankingScores {
  const queries = lists.map(({ right }, i) => ({ ranking: rankByScore(scores[i]!), relevance: new Set([right]) }));
  const recalls = depthsOf(lists).map((k) => [`R@${k}`, recallAtK(queries, { k }).mean] as const);
  return {
    ...Object.fromEntries(recalls),
    MRR: reciprocalRank(queries).mean,
    MAP: rankedAveragePrecision(queries).mean,
  };
}

/** What guessing gives in the mean. */
export function scoreGuesses(lists: readonly Candidates[]): RankingScores {
  const count = lists[0]!.replies.length;
  const expected = mean(Array.from({ length: count }, (_, i) => 1 / (i + 1)));
  return { ...Object.fromEntries(depthsOf(lists).map((k) => [`R@${k}`, k / count])), MRR: expected, MAP: expected };
}

/** Those of the Ubuntu corpus for 10 candidates, of DSTC7 for 100. */
function depthsOf(lists: readonly Candidates[]): number[] {
  const count = lists[0]!.replies.length;
  return (count < 100 ? [1, 2, 5] : [1, 10, 50]).filter((k) => k < count);
}

/** Scores that need no model: how often a reply was given in training, and BM25 with the history as query. */
export function baselineRankings(train: readonly DialogueExample[], lists: readonly Candidates[]) {
  const given = new Map<string, number>();
  for (const { reply } of train) given.set(reply, (given.get(reply) ?? 0) + 1);
  const frequencies = lists.map(({ replies }) => replies.map((reply) => given.get(reply) ?? 0));
  // Which words are rare is told by all replies, not by those of a list alone.
  const documents = [...new Set([...lists.flatMap(({ replies }) => replies), ...given.keys()])];
  const numberOf = new Map(documents.map((document, i) => [document, i]));
  const search = bm25(documents);
  const matches = lists.map(({ example, replies }) => {
    const scores = search(textOf(example.history));
    return replies.map((reply) => scores[numberOf.get(reply)!]!);
  });
  return { frequencies, matches };
}

/**
 * How many tokens of a history and of its reply are kept where both have room for `room` together: of the
 * reply at least half of it, of the history the last ones.
 */
export function fitTurns(history: number, reply: number, room: number): { history: number; reply: number } {
  const ofReply = Math.min(reply, Math.max(Math.ceil(room / 2), room - history));
  return { history: Math.min(history, room - ofReply), reply: ofReply };
}
