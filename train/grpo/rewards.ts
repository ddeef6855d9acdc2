import type { Problem } from './problems.ts';

/** A text that the model wrote. */
export interface Completion {
  readonly problem: Problem;
  readonly text: string;
  /** Whether it ended by itself, not for want of room. */
  readonly ended: boolean;
}

/** How good a text is; only differences within a group count. */
export type Reward = (completion: Completion) => number;

const number = /-?\d+(?:\.\d+)?/g;

/** Rewards that need no judge. */
export const rewards = {
  /** 1 where the last number of the text is the answer's. */
  arithmetic: ({ problem, text }) => {
    const found = text
      .replace(/(\d),(?=\d{3})/g, '$1')
      .match(number)
      ?.at(-1);
    return found !== undefined && Number(found) === Number(problem.answer) ? 1 : 0;
  },
  /** 1 where the text is the answer to the letter, but for space around it. */
  exact: ({ problem, text }) => (text.trim() === problem.answer ? 1 : 0),
  /** 1 for a number and nothing else, and an end. */
  format: ({ text, ended }) => (ended && /^\s*-?\d+(?:\.\d+)?\s*$/.test(text) ? 1 : 0),
} as const satisfies Record<string, Reward>;

export type RewardName = keyof typeof rewards;
export const rewardNames = Object.keys(rewards) as RewardName[];

/** Rewards and their weights, of "arithmetic, format:0.5". Error, one line: a name or weight that is none. */
export function rewardsOf(list: string): ReadonlyMap<RewardName, number> {
  return new Map(
    list.split(',').map((part) => {
      const [name = '', weight = '1'] = part.trim().split(':');
      if (!Object.hasOwn(rewards, name))
        throw new Error(`reward: there is no "${name}"; the rewards are ${rewardNames.join(', ')}`);
      if (weight === '' || !Number.isFinite(Number(weight)))
        throw new Error(`reward: the weight of ${name} is "${weight}"; give a number, as in ${name}:0.5`);
      return [name as RewardName, Number(weight)];
    }),
  );
}

/** Throws in one line where a reward asks for an answer that a problem does not have. */
export function checkAnswers(problems: readonly Problem[], asked: ReadonlyMap<RewardName, number>): void {
  for (const { where, answer } of problems) {
    if (answer === undefined && (asked.has('arithmetic') || asked.has('exact')))
      throw new Error(`${where}: there is no "answer", which the reward compares with; give one, or --reward format`);
    if (asked.has('arithmetic') && !Number.isFinite(Number(answer)))
      throw new Error(`${where}: the answer is no number; use --reward exact`);
  }
}
