import type { Decoder, Generative } from './decoder.ts';
import { settle } from './options.ts';
import type { GenerationOptions, Settled } from './options.ts';
import { capacityFor } from './pool.ts';
import {
  badWords,
  forcedEos,
  minNewTokens,
  minP,
  noRepeatNgram,
  repetitionPenalty,
  temperature,
  topK,
  topP,
} from './processors.ts';
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
}

/**
 * Why a text ended: a token that ends texts; a stop string; maxNewTokens; the model has no position for
 * another token.
 */
export type Finish = 'eos' | 'stop' | 'length' | 'positions';

/** A whole text. */
export interface Generated {
  readonly prompt: number;
  readonly sample: number;
  /** The new tokens; a token that ended the text is the last of them. */
  readonly tokens: readonly number[];
  readonly finish: Finish;
  /**
   * In a beam search, what it was ranked by: the sum of log-probabilities over the length to lengthPenalty.
   */
  readonly score?: number;
}

/** The prompts and options of one call, checked. */
export interface Request {
  readonly settled: Settled;
  /** In the order of prompts; in a beam search numBeams of each, else numReturnSequences. */
  readonly rows: readonly Row[];
  readonly positions: number;
  readonly vocabSize: number;
  /** Tokens that the cache should have room for at first. */
  readonly capacity: number;
}

export function requestOf(
  model: Generative,
  prompts: readonly ArrayLike<number>[],
  options: GenerationOptions,
): Request {
  const settled = settle(options, model.config);
  const { positions, vocabSize, source } = model.decoder();
  if (prompts.length === 0) throw new Error('generate: there are no prompts; give a list of lists of token ids');
  const { seed, numBeams, numReturnSequences, cacheCapacity } = settled;
  if (typeof seed !== 'number' && seed.length !== prompts.length)
    throw new Error(
      `generate: there are ${seed.length} seeds for ${prompts.length} prompts; give one for each, or one number`,
    );
  const copies = numBeams > 1 ? numBeams : numReturnSequences;
  const rows = prompts.flatMap((ids, prompt) => {
    const name = prompts.length > 1 ? `prompt ${prompt}` : 'the prompt';
    const given = Array.from(ids);
    checkPrompt(name, given, source ?? { vocabSize, positions });
    const tokens = source ? [source.start] : given;
    const most = settled.maxNewTokens ?? (settled.maxLength === undefined ? 20 : settled.maxLength - tokens.length);
    if (most < 1)
      throw new Error(
        `generate: ${name} has ${tokens.length} tokens, maxLength ${settled.maxLength} leaves room for none; ` +
          'raise it or give maxNewTokens',
      );
    return Array.from({ length: copies }, (_, sample): Row => ({
      prompt,
      sample,
      seed: typeof seed === 'number' ? seed : seed[prompt]!,
      tokens: [...tokens],
      ...(source ? { source: given } : {}),
      most,
    }));
  });
  const longest = Math.max(...rows.map(({ tokens, most }) => tokens.length + most - 1));
  return { settled, rows, positions, vocabSize, capacity: cacheCapacity ?? capacityFor(longest) };
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
 * Changes to the scores of a row's next token, in Transformers' order. Those for draws are left out of a
 * beam search and of the most probable text.
 */
export function processorsOf(settled: Settled, promptLength: number, most: number): LogitsProcessor[] {
  const list: LogitsProcessor[] = [];
  if (settled.repetitionPenalty !== 1) list.push(repetitionPenalty(settled.repetitionPenalty));
  if (settled.noRepeatNgramSize > 0) list.push(noRepeatNgram(settled.noRepeatNgramSize));
  if (settled.badWordsIds.length > 0) list.push(badWords(settled.badWordsIds));
  if (settled.minNewTokens > 0) list.push(minNewTokens(promptLength, settled.minNewTokens, settled.ends));
  if (settled.forcedEnds.length > 0) list.push(forcedEos(promptLength + most, settled.forcedEnds));
  if (!settled.doSample) return list;
  if (settled.temperature !== 1) list.push(temperature(settled.temperature));
  if (settled.topK > 0) list.push(topK(settled.topK));
  if (settled.topP < 1) list.push(topP(settled.topP));
  if (settled.minP > 0) list.push(minP(settled.minP));
  return list;
}
