import type { Decoder, Generative } from './decoder.ts';
import { settle } from './options.ts';
import type { GenerationOptions, Settled } from './options.ts';
import { capacityFor } from './pool.ts';
import * as processors from './processors.ts';
import type { LogitsProcessor } from './processors.ts';

/** One text on its way. */
export interface Row {
  readonly prompt: number;
  readonly sample: number;
  readonly seed: number;
  /** The prompt and what came after it. */
  readonly tokens: number[];
  /** Of an encoder-decoder: the prompt, of which `tokens` then say nothing. */
  readonly source?: readonly number[];
  /** New tokens at most. */
  readonly most: number;
  /** The options of its prompt. */
  readonly settled: Settled;
}

/** Options of all prompts, or a list with those of each. */
export type OptionsByPrompt = GenerationOptions | readonly GenerationOptions[];

export const isList = (options: OptionsByPrompt): options is readonly GenerationOptions[] => Array.isArray(options);

/** What `fn` makes of the options of each prompt; of those that are for all of them once. */
export function byPrompt<T>(options: OptionsByPrompt, prompts: number, fn: (options: GenerationOptions) => T): T[] {
  if (!isList(options)) return new Array<T>(prompts).fill(fn(options));
  if (options.length !== prompts)
    throw new Error(`generate: there are ${options.length} options for ${prompts} prompts; give those of each, or one`);
  return options.map(fn);
}

/** Options that are of a batch, which a list gives each prompt the same of. */
const ofBatches = [
  'numBeams',
  'guidanceScale',
  'cacheCapacity',
  'cacheDtype',
  'reuseCache',
  'assistantModel',
  'promptLookupNumTokens',
] as const;

/** The options of a batch; of options for each prompt, their lists are joined. */
function settleAll(each: readonly Settled[]): Settled {
  const [first, ...others] = each as [Settled, ...Settled[]];
  const other = ofBatches.find((name) => others.some((settled) => settled[name] !== first[name]));
  if (other)
    throw new Error(`generate: ${other} is of all prompts side by side; give each the same, or generate one by one`);
  const lists = each.flatMap(({ adapterNames }) => adapterNames ?? []);
  return { ...first, adapterNames: lists.length > 0 ? lists : undefined };
}

/**
 * Why a text ended: a token that ends texts; a stop string; maxNewTokens; maxTime; the model has no position
 * for another token.
 */
export type Finish = 'eos' | 'stop' | 'length' | 'time' | 'positions';

/** ln p of a token that might have come. */
export interface TokenLogprob {
  readonly id: number;
  readonly logprob: number;
}

/** ln p of the token that came, and of the most probable ones. */
export interface TokenLogprobs extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

/** A whole text. */
export interface Generated {
  readonly prompt: number;
  readonly sample: number;
  /** The new tokens; a token that ended the text is the last of them. */
  readonly tokens: readonly number[];
  readonly finish: Finish;
  /** Of each token, where `logprobs` asks for them. */
  readonly logprobs?: readonly TokenLogprobs[];
  /**
   * In a beam search, what it was ranked by: the sum of log-probabilities over the length to lengthPenalty.
   */
  readonly score?: number;
}

/** What a caller adds to the options: the place of matters of text, see text.ts. */
export interface GenerationHooks {
  /** Asked after each new token whether the text ends with it. */
  readonly isStop?: (token: Pick<Row, 'prompt' | 'sample'> & { readonly id: number }) => boolean;
  /** Processors of a text that come before those of the options; its tokens are those of the prompt. */
  readonly processors?: (
    text: Pick<Row, 'prompt' | 'sample' | 'tokens'>,
    settled: Settled,
  ) => readonly LogitsProcessor[];
}

/** The prompts and options of one call, checked. */
export interface Request {
  /** The options that are of all rows; those of a row are its own. */
  readonly settled: Settled;
  /** In the order of prompts; in a beam search numBeams of each, else numReturnSequences. */
  readonly rows: readonly Row[];
  readonly positions: number;
  readonly vocabSize: number;
  /** Tokens that the cache should have room for at first. */
  readonly capacity: number;
  readonly hooks: GenerationHooks;
}

/** More texts at once are a mistake, and would end the process for want of memory. */
const mostTexts = 65535;

export function requestOf(
  model: Generative,
  prompts: readonly ArrayLike<number>[],
  options: OptionsByPrompt,
  hooks: GenerationHooks = {},
): Request {
  if (prompts.length === 0) throw new Error('generate: there are no prompts; give a list of lists of token ids');
  const each = byPrompt(options, prompts.length, (own) => settle(own, model.config));
  const settled = isList(options) ? settleAll(each) : each[0]!;
  const { positions, vocabSize, source } = model.decoder();
  if (each.some(({ responseFormat: form }) => form && form.type !== 'text') && !hooks.processors)
    throw new Error('generate: responseFormat is about text; use generateText or streamText, which have the tokenizer');
  const { adapterNames, cacheCapacity } = settled;
  if (adapterNames && adapterNames.length !== prompts.length)
    throw new Error(
      `generate: there are ${adapterNames.length} adapterNames for ${prompts.length} prompts; give one for each`,
    );
  for (const own of new Set(each)) {
    const count = isList(options) ? 1 : prompts.length;
    const { seed } = own;
    if (typeof seed !== 'number' && seed.length !== count)
      throw new Error(
        `generate: there are ${seed.length} seeds for ${count} prompts; give one for each, or one number`,
      );
    checkIds(own, vocabSize, count, source !== undefined);
  }
  const copiesOf = ({ numBeams, numReturnSequences }: Settled): number =>
    numBeams > 1 ? numBeams : numReturnSequences;
  const total = each.reduce((sum, own) => sum + copiesOf(own), 0);
  if (total > mostTexts)
    throw new Error(
      `generate: ${Math.ceil(total / prompts.length)} texts for each of ${prompts.length} prompts are more than ` +
        `${mostTexts} at once; ask for fewer at a time`,
    );
  const rows = prompts.flatMap((ids, prompt) => {
    const own = each[prompt]!;
    const { seed, maxLength } = own;
    // A list in the options of one prompt is of this one.
    const at = isList(options) ? 0 : prompt;
    const starts = [own.decoderStartTokenId ?? []].flat();
    const name = prompts.length > 1 ? `prompt ${prompt}` : 'the prompt';
    const given = Array.from(ids);
    checkPrompt(name, given, source ?? { vocabSize, positions });
    const tokens = source ? [starts[starts.length > 1 ? at : 0] ?? source.start] : given;
    const most = own.maxNewTokens ?? (maxLength === undefined ? 20 : maxLength - tokens.length);
    if (most < 1)
      throw new Error(
        `generate: ${name} has ${tokens.length} tokens, maxLength ${maxLength} leaves room for none; ` +
          'raise it or give maxNewTokens',
      );
    if (own.minNewTokens !== undefined && own.minNewTokens > most)
      throw new Error(
        `generate: minNewTokens ${own.minNewTokens} is more than the ${most} tokens that ${name} may get; ` +
          'lower it or raise maxNewTokens',
      );
    return Array.from({ length: copiesOf(own) }, (_, sample): Row => ({
      prompt,
      sample,
      seed: typeof seed === 'number' ? seed : seed[at]!,
      tokens: [...tokens],
      ...(source ? { source: given } : {}),
      most,
      settled: own,
    }));
  });
  const longest = Math.max(...rows.map(({ tokens, most }) => tokens.length + most - 1));
  return { settled, rows, positions, vocabSize, capacity: cacheCapacity ?? capacityFor(longest), hooks };
}

/** Checks the options that depend on the model. */
function checkIds(settled: Settled, vocabSize: number, prompts: number, hasSource: boolean): void {
  const { badWordsIds, sequenceBias, forcedBosTokenId, forcedEnds, decoderStartTokenId } = settled;
  const ids = {
    badWordsIds: badWordsIds.flat(),
    sequenceBias: sequenceBias.flatMap(([run]) => run),
    forcedBosTokenId: [forcedBosTokenId ?? []].flat(),
    forcedEosTokenId: forcedEnds,
    decoderStartTokenId: [decoderStartTokenId ?? []].flat(),
  };
  for (const [name, list] of Object.entries(ids)) {
    const bad = list.find((id) => id >= vocabSize);
    if (bad !== undefined)
      throw new Error(
        `generate: ${name} has the token ${bad}, which is outside the model's vocabulary, 0 to ${vocabSize - 1}; ` +
          'take it out',
      );
  }
  if (Array.isArray(decoderStartTokenId) && decoderStartTokenId.length !== prompts)
    throw new Error(
      `generate: decoderStartTokenId has ${decoderStartTokenId.length} ids for ${prompts} prompts; give one each, ` +
        'or one number',
    );
  const { guidanceScale, cacheDtype } = settled;
  const given = guidanceScale !== 1 ? `guidanceScale ${guidanceScale}` : cacheDtype && `cacheDtype ${cacheDtype}`;
  if (given && hasSource)
    throw new Error(
      `generate: ${given} is for models that go on from a prompt, and this one reads a source; leave it out`,
    );
}

function checkPrompt(
  name: string,
  tokens: readonly number[],
  { vocabSize, positions }: Pick<Decoder, 'vocabSize' | 'positions'>,
): void {
  if (tokens.length === 0)
    throw new Error(`generate: ${name} is empty; begin with the token that begins texts, or with any text`);
  if (tokens.length > positions)
    throw new Error(
      `generate: ${name} has ${tokens.length} tokens, more than the model's ${positions} positions; give at most ` +
        `its last ${positions}`,
    );
  const bad = tokens.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (bad !== undefined)
    throw new Error(
      `generate: ${name} has the token ${bad}, which is outside the model's vocabulary, 0 to ${vocabSize - 1}; ` +
        'use the tokenizer the model was trained with',
    );
}

/**
 * Changes to the scores of a row's next token, in the order of Transformers' `_get_logits_processor`. The row
 * has its prompt alone. Those for draws are left out of a beam search and of the most probable text.
 */
export function processorsOf({ hooks }: Request, row: Row, most: number): LogitsProcessor[] {
  const { tokens, source = [...tokens], settled } = row;
  const list = [...(hooks.processors?.(row, settled) ?? [])];
  const { length } = tokens;
  const { ends, minNewTokens, forcedBosTokenId: forcedBos, exponentialDecayLengthPenalty: decay } = settled;
  const minLength = minNewTokens === undefined ? settled.minLength : length + minNewTokens;
  // A single token is alone an end, which badWordsIds does not rule out.
  const badWords = settled.badWordsIds.filter((run) => run.length > 1 || !ends.has(run[0]!));
  const begin = length > 1 || forcedBos === undefined ? length : length + 1;
  const add = (isMeant: boolean, make: () => LogitsProcessor): void => {
    if (isMeant) list.push(make());
  };
  add(settled.sequenceBias.length > 0, () => processors.sequenceBias(settled.sequenceBias));
  add(settled.encoderRepetitionPenalty !== 1, () =>
    processors.encoderRepetitionPenalty(settled.encoderRepetitionPenalty, source),
  );
  add(settled.repetitionPenalty !== 1, () => processors.repetitionPenalty(settled.repetitionPenalty));
  const { frequencyPenalty, presencePenalty } = settled;
  add(frequencyPenalty !== 0 || presencePenalty !== 0, () =>
    processors.occurrencePenalties(frequencyPenalty, presencePenalty, length),
  );
  add(settled.noRepeatNgramSize > 0, () => processors.noRepeatNgram(settled.noRepeatNgramSize));
  add(settled.encoderNoRepeatNgramSize > 0, () =>
    processors.encoderNoRepeatNgram(settled.encoderNoRepeatNgramSize, source),
  );
  add(badWords.length > 0, () => processors.badWords(badWords));
  add(minLength > length, () => processors.minLength(minLength, ends));
  add(forcedBos !== undefined, () => processors.forcedBos(forcedBos!));
  add(settled.forcedEnds.length > 0, () => processors.forcedEos(length + most, settled.forcedEnds));
  add(settled.removeInvalidValues, processors.removeInvalidValues);
  add(decay !== undefined, () => processors.exponentialDecay(length + decay![0], decay![1], ends));
  add(settled.suppressTokens.length > 0, () => processors.suppress(settled.suppressTokens));
  add(settled.beginSuppressTokens.length > 0, () => processors.suppressAtBegin(settled.beginSuppressTokens, begin));
  const { doSample } = settled;
  add(doSample && settled.temperature !== 1, () => processors.temperature(settled.temperature));
  add(doSample && settled.topH !== undefined, () => processors.topH(settled.topH!));
  add(doSample && settled.topK > 0, () => processors.topK(settled.topK));
  add(doSample && settled.topP < 1, () => processors.topP(settled.topP));
  add(doSample && settled.minP > 0, () => processors.minP(settled.minP));
  add(doSample && settled.typicalP < 1, () => processors.typicalP(settled.typicalP));
  add(doSample && settled.epsilonCutoff > 0, () => processors.epsilonCutoff(settled.epsilonCutoff));
  add(doSample && settled.etaCutoff > 0, () => processors.etaCutoff(settled.etaCutoff));
  add(settled.renormalizeLogits, processors.renormalize);
  return list;
}
