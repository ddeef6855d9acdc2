import * as z from 'zod';
import { listNames, showValue } from '../names.ts';
import { responseFormat } from './constraint/response-format.ts';
import type { Generative, SpecialTokens } from './decoder.ts';

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
  /** No end of the text before so many tokens, with the prompt; used where minNewTokens is not given. */
  minLength: z.int().min(0),
  /** No end of the text before so many new tokens. */
  minNewTokens: z.int().min(0),
  /** Seconds after which texts end with the token that is being made. */
  maxTime: z.number().min(0),
  /**
   * Draw tokens by their probability, or take the most probable one. Default: draw if there is one beam and a
   * seed is given or an option that only counts for draws, such as temperature. (Transformers wants doSample
   * said, and warns.)
   */
  doSample: z.boolean(),
  /** Divides the logits: below 1 the probable becomes more probable. */
  temperature: z.number().positive('it must be above 0; for the most probable token set doSample to false'),
  /** Draw among so many; 0 for all. Default 50, as in Transformers. */
  topK: z.int().min(0),
  /** Draw among the most probable tokens that have this probability together. */
  topP: z.number().gt(0).max(1),
  /** Draw among tokens at least so probable relative to the most probable one. */
  minP: z.number().min(0).max(1),
  /** Draw among the most probable tokens that have this share of the entropy. */
  topH: z.number().gt(0).max(1),
  /** Draw among the tokens nearest to the expected surprise that have this probability together. */
  typicalP: z.number().gt(0).max(1),
  /** Draw among tokens with at least this probability. */
  epsilonCutoff: z.number().min(0).lt(1),
  /** The same, with less where many tokens are probable. */
  etaCutoff: z.number().min(0).lt(1),
  /** Above 1: tokens that came before, in the prompt too, become less probable. */
  repetitionPenalty: z.number().positive(),
  /** Above 1: tokens of the source, of a decoder's prompt, become more probable. */
  encoderRepetitionPenalty: z.number().positive(),
  /** No run of so many tokens twice; 0 for any. */
  noRepeatNgramSize: z.int().min(0),
  /** No run of so many tokens of the source, of a decoder's prompt, again; 0 for any. */
  encoderNoRepeatNgramSize: z.int().min(0),
  /** Runs of tokens that must not come: [[40]] for a token alone. */
  badWordsIds: z.array(z.array(id).min(1)),
  /** Added to the scores of runs of tokens: [[[40], -2], [[5, 7], 1.5]]. */
  sequenceBias: z.array(z.tuple([z.array(id).min(1), z.number()])),
  /** Tokens that must not come. */
  suppressTokens: z.array(id),
  /** Tokens that must not come first. */
  beginSuppressTokens: z.array(id),
  /** The token after the one that a text begins with. */
  forcedBosTokenId: id,
  /** Ends a text that reaches its greatest length. */
  forcedEosTokenId: z.union([id, z.array(id)]),
  /** [start, factor]: from so many new tokens on, the end becomes more probable with each. */
  exponentialDecayLengthPenalty: z.tuple([z.int(), z.number()]),
  /** NaN in scores counts as 0, infinities as the largest numbers. */
  removeInvalidValues: z.boolean(),
  /** Scores are log-probabilities again after all changes. */
  renormalizeLogits: z.boolean(),
  /**
   * Above 1: what the prompt makes probable becomes more so (classifier-free guidance). The model reads each
   * text twice, with its prompt and with the last token of it alone.
   */
  guidanceScale: z.number(),
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
  /**
   * Guesses so many tokens at once and looks at all of them in one pass of the model: the text is the same,
   * but for rounding, and sooner there where the guesses are right. With this, they are what followed the
   * last tokens when these came before, in the prompt or the text: for answers that repeat what was asked.
   * Of one text at a time; several are not guessed at.
   */
  promptLookupNumTokens: z.int().min(0),
  /** Of these, how many of the last tokens must have come before, at most. Default 2. */
  maxMatchingNgramSize: count,
  /** Guesses of `assistantModel` at once. Default 5. */
  numAssistantTokens: count,
  /** Ids that end a text. Default: the model's. */
  eosTokenId: z.union([id, z.array(id)]).nullable(),
  bosTokenId: id.nullable(),
  padTokenId: id.nullable(),
  /** The token that an encoder-decoder's texts begin with; a list gives each prompt its own. */
  decoderStartTokenId: z.union([id, z.array(id)]),
  /**
   * Texts that end the text before them, wherever tokens begin and end. (Transformers keeps the stop string,
   * here it is cut off.)
   */
  stopStrings: z.union([z.string().min(1), z.array(z.string().min(1))]),
} as const;

/** Settings of generation_config.json that ask for what is not here: refused where they ask for it. */
const refused = {
  assistantEarlyExit: 'drafts by the first layers',
  constraints: 'a search with constraints',
  diversityPenalty: 'groups of beams',
  dolaLayers: 'DoLa decoding',
  forceWordsIds: 'a search with constraints',
  isAssistant: 'drafts for another model',
  numBeamGroups: 'groups of beams',
  penaltyAlpha: 'contrastive search',
  speculationType: 'drafts by another model',
  tokenHealing: "other ids for the prompt's last token",
  useMtp: 'several tokens at once',
  watermarkingConfig: 'a watermark',
} as const;

type Refused = keyof typeof refused;
const refusedNames = Object.keys(refused) as Refused[];
const refusedSchema = Object.fromEntries(refusedNames.map((name) => [name, z.unknown()])) as Record<
  Refused,
  z.ZodUnknown
>;

const schema = z
  .strictObject({
    ...settings,
    ...refusedSchema,
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
    /**
     * 'int8' keeps keys and values in 8 bits: half of the memory of f16, a quarter of that of f32, for logits
     * that differ a little. Of models that go on from a prompt. Default: the type that the model computes in.
     * (Transformers has cache_implementation "quantized".)
     */
    cacheDtype: z.enum(['int8']),
    /**
     * One prompt that begins as the last one and its text did, as the turns of a dialogue do, is read from
     * there on only. What is computed is the same but for rounding. Default false.
     */
    reuseCache: z.boolean(),
    /**
     * The adapter of each prompt, by name, '__base__' for none: prompts of several adapters in one batch. The
     * model must have them. Default: those that are active, for all prompts.
     */
    adapterNames: z.array(z.string()),
    /**
     * What the text has to be: JSON, JSON of a schema, a regular expression, one of some texts. Tokens that
     * it may not go on with are never chosen; `maxNewTokens` may cut it off. Of `generateText` and
     * `streamText`. Default: any text.
     */
    responseFormat,
    /**
     * A smaller model of the same tokenizer, which guesses as `promptLookupNumTokens` does (Leviathan et al.
     * 2023): `numAssistantTokens` of its most probable tokens.
     */
    assistantModel: z.custom<Generative>((value) => typeof (value as Generative | null)?.decoder === 'function', {
      error: 'it must be a model that generates',
    }),
    /**
     * Gives the log-probability of each token, before any option changes it, and so many of the most probable
     * ones beside it; 0 for none beside. Default: none at all.
     */
    logprobs: z.int().min(0),
    /**
     * Taken from a token's logit for each time that it came before in the text, the prompt left out: OpenAI's
     * frequency_penalty. Default 0.
     */
    frequencyPenalty: z.number().min(-2).max(2),
    /** Taken once from the logits of tokens that came before in the text: OpenAI's presence_penalty. */
    presencePenalty: z.number().min(-2).max(2),
    /** Other keys of generation_config.json. */
    extra: z.record(z.string(), z.unknown()),
  })
  .partial();

export const settingNames: readonly string[] = [...Object.keys(settings), ...refusedNames];

/** Settings that are real numbers, written with a point: Transformers refuses `2` for some of them. */
export const realSettings: ReadonlySet<string> = new Set(
  Object.entries(settings)
    .filter(([, type]) => type instanceof z.ZodNumber && !(type instanceof z.ZodNumberFormat))
    .map(([name]) => name),
);

export type GenerationOptions = Readonly<z.input<typeof schema>>;

/** Where an option is not given, this counts. */
const defaults = {
  minLength: 0,
  maxTime: Infinity,
  temperature: 1,
  topK: 50,
  topP: 1,
  minP: 0,
  typicalP: 1,
  epsilonCutoff: 0,
  etaCutoff: 0,
  repetitionPenalty: 1,
  encoderRepetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  noRepeatNgramSize: 0,
  encoderNoRepeatNgramSize: 0,
  badWordsIds: [],
  sequenceBias: [],
  promptLookupNumTokens: 0,
  maxMatchingNgramSize: 2,
  numAssistantTokens: 5,
  suppressTokens: [],
  beginSuppressTokens: [],
  removeInvalidValues: false,
  renormalizeLogits: false,
  guidanceScale: 1,
  numBeams: 1,
  lengthPenalty: 1,
  earlyStopping: false,
  numReturnSequences: 1,
  reuseCache: false,
  seed: 42,
} as const satisfies GenerationOptions;

/** Options with their defaults. */
export type Settled = GenerationOptions &
  Required<Pick<GenerationOptions, keyof typeof defaults>> & {
    readonly doSample: boolean;
    /** Ids that end a text. */
    readonly ends: ReadonlySet<number>;
    /** Ids of which one ends a text of the greatest length. */
    readonly forcedEnds: readonly number[];
  };

/**
 * Throws in one line that begins with `where` and names the option as `spell` spells it. Options that are
 * null or undefined are not given.
 */
export function checkOptions(
  where: string,
  options: Readonly<Record<string, unknown>>,
  spell: (name: string) => string = (name) => name,
): GenerationOptions {
  const given = Object.fromEntries(
    Object.entries(options).filter(([key, value]) => value !== undefined && (value !== null || key === 'eosTokenId')),
  );
  const { data, error } = schema.safeParse(given);
  const issue = error?.issues[0];
  if (!issue) return data!;
  if (issue.code === 'unrecognized_keys')
    throw new Error(
      `${where}: there is no option ${listNames(issue.keys)}; the options are ${Object.keys(schema.shape).join(', ')}`,
    );
  const [name, ...path] = issue.path.map(String);
  const place = [spell(name!), ...path].join('.');
  throw new Error(`${where}: ${place} is ${showValue(given[name!])}: ${issue.message}`);
}

/** Options that only count for draws, and where they change nothing. */
export const ofDraws = {
  temperature: [1],
  topK: [0, 50],
  topP: [1],
  minP: [0],
  topH: [],
  typicalP: [1],
  epsilonCutoff: [0],
  etaCutoff: [0],
} as const;

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
  const { eosTokenId = special.eosTokenId, forcedEosTokenId = [] } = given;
  const settled: Settled = {
    ...defaults,
    ...given,
    doSample,
    ends: new Set([eosTokenId ?? []].flat()),
    forcedEnds: [forcedEosTokenId].flat(),
  };
  const wrong = conflict(settled);
  if (wrong) throw new Error(`generate: ${wrong}`);
  return settled;
}

/** Returns what does not go together, and the mend. */
function conflict(settled: Settled): string | undefined {
  const { doSample, numBeams, numReturnSequences, guidanceScale, suppressTokens } = settled;
  const asked = refusedNames.find((name) => asks(name, settled[name]));
  if (asked)
    return `${asked} ${showValue(settled[asked])} asks for ${refused[asked]}, which is not here; set it to null`;
  if (doSample && numBeams > 1)
    return `doSample does not go with ${numBeams} beams; sample with numBeams 1, or search without doSample`;
  if (!doSample && numReturnSequences > numBeams)
    return (
      `${numReturnSequences} texts for each prompt need doSample or as many beams, there ` +
      `${numBeams === 1 ? 'is 1' : `are ${numBeams}`}; set doSample or numBeams`
    );
  if (settled.logprobs !== undefined && numBeams > 1)
    return `logprobs does not go with ${numBeams} beams; set numBeams to 1, or leave it out`;
  if (settled.promptLookupNumTokens > 0 && settled.assistantModel)
    return 'assistantModel and promptLookupNumTokens both guess tokens; leave one of them out';
  if (guidanceScale !== 1 && numBeams > 1)
    return `guidanceScale ${guidanceScale} does not go with ${numBeams} beams; set one of them to 1`;
  if (settled.exponentialDecayLengthPenalty && settled.ends.size === 0)
    return 'exponentialDecayLengthPenalty makes the end of a text more probable, and no token ends it; give eosTokenId';
  for (const name of ['forcedBosTokenId', 'forcedEosTokenId'] as const) {
    const forced = [settled[name] ?? []].flat();
    if (forced.length > 0 && forced.every((id) => suppressTokens.includes(id)))
      return `${name} ${showValue(settled[name])} is also in suppressTokens; take it out of one of them`;
  }
  return undefined;
}

/** Whether a refused setting asks for something, or has the value of one that is switched off. */
function asks(name: Refused, value: unknown): boolean {
  const isOff = value === undefined || value === false || value === 0 || (name === 'numBeamGroups' && value === 1);
  return !isOff && !(Array.isArray(value) && value.length === 0);
}
