import { z } from 'zod';
import type { SpecialTokens } from './decoder.ts';

const count = z.int().min(1);
const id = z.int().min(0);

/**
 * The settings of generation_config.json, in camelCase; names, defaults and meaning are Transformers', but
 * where noted.
 */
const settings = {
  /** The most tokens after the prompt; default 20. */
  maxNewTokens: count,
  /** The most tokens with the prompt; used where maxNewTokens is not given. */
  maxLength: count,
  /** No end of the text before so many new tokens. */
  minNewTokens: z.int().min(0),
  /**
   * Draw tokens by their probability, or take the most probable one. Default: draw if temperature, topK,
   * topP, minP or a seed is given, and there is one beam. (Transformers wants doSample said, and warns.)
   */
  doSample: z.boolean(),
  /** Divides the logits: below 1 the probable becomes more probable. */
  temperature: z.number().positive(),
  /** Draw among so many; 0 for all. Default 50, as in Transformers. */
  topK: z.int().min(0),
  /** Draw among the most probable tokens that have this probability together. */
  topP: z.number().gt(0).max(1),
  /** Draw among tokens at least so probable relative to the most probable one. */
  minP: z.number().min(0).max(1),
  /** Above 1: tokens that came before, in the prompt too, become less probable. */
  repetitionPenalty: z.number().positive(),
  /** No run of so many tokens twice; 0 for any. */
  noRepeatNgramSize: z.int().min(0),
  /** Runs of tokens that must not come: [[40]] for a token alone. */
  badWordsIds: z.array(z.array(id).min(1)),
  /** Ends a text that reaches its greatest length. */
  forcedEosTokenId: z.union([id, z.array(id)]),
  /** Texts searched side by side; 1 is no search. */
  numBeams: count,
  /** A text's score is the sum of its log-probabilities over its length to this power. */
  lengthPenalty: z.number(),
  /**
   * When a beam search ends: true, once there are numBeams whole texts; false, when better ones are unlikely;
   * "never", when there cannot be better ones.
   */
  earlyStopping: z.union([z.boolean(), z.literal('never')]),
  /** Texts for each prompt. */
  numReturnSequences: count,
  /** Ids that end a text. Default: the model's. */
  eosTokenId: z.union([id, z.array(id)]).nullable(),
  bosTokenId: id.nullable(),
  padTokenId: id.nullable(),
  /**
   * Texts that end the text before them, wherever tokens begin and end. (Transformers keeps the stop string,
   * here it is cut off.)
   */
  stopStrings: z.union([z.string().min(1), z.array(z.string().min(1))]),
} as const;

const schema = z
  .strictObject({
    ...settings,
    /**
     * Of the draws; a list gives each prompt its own. A text depends on its prompt, its seed and its number
     * among the prompt's texts, not on what is generated beside it. Default 42.
     */
    seed: z.union([z.int().min(0), z.array(z.int().min(0))]),
    /**
     * Tokens that the cache has room for at first: it doubles when full. Default: enough for prompt and new
     * tokens.
     */
    cacheCapacity: count,
    /** Other keys of generation_config.json. */
    extra: z.record(z.string(), z.unknown()),
  })
  .partial();

export const settingNames: readonly string[] = Object.keys(settings);

export type GenerationOptions = Readonly<z.input<typeof schema>>;

/** Options with their defaults. */
export interface Settled {
  readonly maxNewTokens: number | undefined;
  readonly maxLength: number | undefined;
  readonly minNewTokens: number;
  readonly doSample: boolean;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly noRepeatNgramSize: number;
  readonly badWordsIds: readonly (readonly number[])[];
  readonly forcedEnds: readonly number[];
  readonly numBeams: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | 'never';
  readonly numReturnSequences: number;
  readonly ends: ReadonlySet<number>;
  readonly stopStrings: readonly string[];
  readonly seed: number | readonly number[];
  readonly cacheCapacity: number | undefined;
}

/**
 * Throws in one line that begins with `where` and names the option. Options that are null or undefined are
 * not given.
 */
export function checkOptions(where: string, options: Readonly<Record<string, unknown>>): GenerationOptions {
  const given = Object.fromEntries(
    Object.entries(options).filter(([key, value]) => value !== undefined && (value !== null || key === 'eosTokenId')),
  );
  const { data, error } = schema.safeParse(given);
  const issue = error?.issues[0];
  if (!issue) return data!;
  if (issue.code === 'unrecognized_keys')
    throw new Error(
      `${where}: there is no option ${issue.keys.join(', ')}; the options are ${Object.keys(schema.shape).join(', ')}`,
    );
  const key = issue.path.join('.');
  const value = JSON.stringify(given[String(issue.path[0])]) ?? 'undefined';
  throw new Error(`${where}: ${key} is ${value}: ${issue.message}`);
}

/** Options that only count for draws, and where they change nothing. */
const ofDraws = { temperature: [1], topK: [0, 50], topP: [1], minP: [0] } as const;

/** Whether tokens are drawn. Says in one line which options do nothing, where they are not. */
function draws(given: GenerationOptions): boolean {
  const names = Object.keys(ofDraws) as (keyof typeof ofDraws)[];
  const { numBeams = 1, seed } = given;
  const isMeant = numBeams === 1 && [seed, ...names.map((name) => given[name])].some((value) => value !== undefined);
  const doSample = given.doSample ?? isMeant;
  const idle = names.filter((name) => {
    const value = given[name];
    return value !== undefined && !(ofDraws[name] as readonly number[]).includes(value);
  });
  if (!doSample && idle.length > 0) {
    const why = given.doSample === false ? 'doSample is false' : `numBeams ${numBeams} is a search`;
    console.warn(`generate: ${idle.join(', ')} ${idle.length > 1 ? 'do' : 'does'} nothing, since ${why}`);
  }
  return doSample;
}

export function settle(options: GenerationOptions, special: SpecialTokens): Settled {
  const given = checkOptions('generate', options);
  const doSample = draws(given);
  const { numBeams = 1, numReturnSequences = 1, eosTokenId = special.eosTokenId, stopStrings = [] } = given;
  if (doSample && numBeams > 1)
    throw new Error(
      `generate: doSample does not go with ${numBeams} beams; sample with numBeams 1, or search without doSample`,
    );
  if (!doSample && numReturnSequences > numBeams)
    throw new Error(
      `generate: ${numReturnSequences} texts for each prompt need doSample or as many beams, there ` +
        `${numBeams === 1 ? 'is 1' : `are ${numBeams}`}; set doSample or numBeams`,
    );
  const ends = eosTokenId === null || eosTokenId === undefined ? [] : [eosTokenId].flat();
  return {
    maxNewTokens: given.maxNewTokens,
    maxLength: given.maxLength,
    minNewTokens: given.minNewTokens ?? 0,
    doSample,
    temperature: given.temperature ?? 1,
    topK: given.topK ?? 50,
    topP: given.topP ?? 1,
    minP: given.minP ?? 0,
    repetitionPenalty: given.repetitionPenalty ?? 1,
    noRepeatNgramSize: given.noRepeatNgramSize ?? 0,
    badWordsIds: given.badWordsIds ?? [],
    forcedEnds: [given.forcedEosTokenId ?? []].flat(),
    numBeams,
    lengthPenalty: given.lengthPenalty ?? 1,
    earlyStopping: given.earlyStopping ?? false,
    numReturnSequences,
    ends: new Set(ends),
    stopStrings: [stopStrings].flat(),
    seed: given.seed ?? 42,
    cacheCapacity: given.cacheCapacity,
  };
}
