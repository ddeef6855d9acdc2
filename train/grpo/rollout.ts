import { join } from 'node:path';
import { Random } from '../../common/random.ts';
import { mean, sampleDeviation } from '../../common/statistics.ts';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { disk } from '../../common/file-system.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { applyChatTemplate, generateText } from '../../models/index.ts';
import type { AnyTokenizer, Generative } from '../../models/index.ts';
import { groupAdvantages } from '../objectives/grpo.ts';
import type { RewardScale } from '../objectives/grpo.ts';
import type { Problem } from './problems.ts';
import { rewards } from './rewards.ts';
import type { RewardName } from './rewards.ts';

/** One text that the model wrote, as it is learnt from. */
export interface RolloutText {
  readonly prompt: string;
  readonly text: string;
  readonly rewards: Readonly<Record<string, number>>;
  /** All rewards with their weights. */
  readonly reward: number;
  readonly advantage: number;
  readonly ended: boolean;
  /** Prompt and text; the text begins at `start`. */
  readonly ids: readonly number[];
  readonly start: number;
  /** ln p of the text's tokens when it was written, where more than one step learns from it. */
  logps?: readonly number[];
}

export interface RolloutOptions {
  readonly model: Generative;
  readonly tokenizer: AnyTokenizer;
  readonly chatTemplate?: string;
  readonly rewards: ReadonlyMap<RewardName, number>;
  /** Texts of one problem. */
  readonly numGenerations: number;
  readonly temperature: number;
  readonly maxNewTokens: number;
  readonly scaleRewards: RewardScale;
  readonly seed: number;
}

/** The text of a problem as the model reads it. */
export function promptOf({ prompt }: Problem, tokenizer: AnyTokenizer, chatTemplate?: string): string {
  if (typeof prompt === 'string') return prompt;
  return applyChatTemplate(tokenizer, prompt, { addGenerationPrompt: true, chatTemplate });
}

/** Lets the model write texts for problems, and tells how good they are: by its weights, seed and index. */
export async function writeRollout(
  problems: readonly Problem[],
  index: number,
  {
    model,
    tokenizer,
    chatTemplate,
    rewards: asked,
    numGenerations,
    scaleRewards,
    seed,
    temperature,
    maxNewTokens,
  }: RolloutOptions,
): Promise<RolloutText[]> {
  const prompts = problems.map((problem) => promptOf(problem, tokenizer, chatTemplate));
  const ids = prompts.map((text) => tokenizer.idsOf(text));
  const random = new Random(seed, index);
  const written = await generateText(model, tokenizer, ids, {
    temperature,
    maxNewTokens,
    doSample: true,
    topK: 0,
    numReturnSequences: numGenerations,
    seed: problems.map(() => random.nextU32()),
  });
  const texts = written.map(({ prompt, text, tokens, finish }) => {
    const completion = { problem: problems[prompt]!, text, ended: finish === 'eos' };
    const each = Object.fromEntries([...asked.keys()].map((name) => [name, rewards[name](completion)]));
    const reward = [...asked].reduce((sum, [name, weight]) => sum + weight * each[name]!, 0);
    const start = ids[prompt]!.length;
    return {
      prompt: prompts[prompt]!,
      text,
      rewards: each,
      reward,
      ended: completion.ended,
      start,
      tokens,
      row: prompt,
    };
  });
  const advantages = groupAdvantages(
    texts.map(({ reward }) => reward),
    numGenerations,
    scaleRewards,
  );
  return texts.map(({ tokens, row, ...text }, i) => ({
    ...text,
    advantage: advantages[i]!,
    ids: [...ids[row]!, ...tokens],
  }));
}

/** What a step's texts have in common, for logs and curves. */
export function measuresOf(texts: readonly RolloutText[]): Record<string, number> {
  const all = texts.map(({ reward }) => reward);
  const names = Object.keys(texts[0]!.rewards);
  return {
    reward: mean(all),
    ...(names.length > 1
      ? Object.fromEntries(names.map((name) => [`${name} reward`, mean(texts.map((text) => text.rewards[name]!))]))
      : {}),
    'reward deviation': all.length > 1 ? sampleDeviation(all) : 0,
    'tokens written': mean(texts.map(({ ids, start }) => ids.length - start)),
    'ended by themselves': mean(texts.map(({ ended }) => Number(ended))),
  };
}

const fileOf = (folder: string, index: number): string =>
  join(folder, 'rollouts', `${String(index).padStart(6, '0')}.json`);

/** Keeps what the model wrote in a run's folder: to be looked at, and to go on from in the midst of it. */
export async function keepRollout(folder: string, index: number, texts: readonly RolloutText[]): Promise<void> {
  await disk.makeFolder(join(folder, 'rollouts'));
  await writeFileAtomic(fileOf(folder, index), `${JSON.stringify({ texts }, null, 1)}\n`);
}

/** What `keepRollout` kept; undefined where there is nothing. */
export async function keptRollout(folder: string, index: number): Promise<RolloutText[] | undefined> {
  const path = fileOf(folder, index);
  if ((await pathKind(path)) !== 'file') return undefined;
  return (await readJsonFile(path))['texts'] as RolloutText[];
}
