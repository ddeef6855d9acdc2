import { Random } from '../../common/random.ts';
import type { TrainingTask } from './task.ts';
import { infillTask } from './infill-task.ts';
import type { CorruptedRow, InfillOptions } from './infill-task.ts';
import { purposeSeed } from './random-order.ts';

export interface TextInfillingOptions extends InfillOptions {
  readonly maskTokenId: number;
  /** Share of the tokens in spans; default 0.3. */
  readonly maskRatio?: number;
  /** Mean of the Poisson distribution that a span's length is drawn from; default 3. */
  readonly meanSpanLength?: number;
}

/**
 * BART's text infilling (Lewis et al. 2020, 2.2), for an encoder-decoder (part `infill`): spans with lengths
 * from Poisson(3), round(0.3 n) of n tokens in all (the last span is cut to that), are each replaced by a
 * single mask token, so that the model must also find how many tokens are missing; a span of no tokens puts
 * in a mask where nothing is missing (not before tokens have been hidden: no row gets longer). Where the
 * spans lie among the tokens that stay is drawn evenly. Predicted is the whole text. An end token ends both.
 * Arrays: inputIds, attentionMask and labels [B, T + 1].
 *
 * @example
 * const model = BartForConditionalGeneration.fromConfig({ vocabSize: 50, dModel: 16 });
 * const rows = randomWindows(corpusOf([[5, 6, 7, 8, 9, 10]], 50), { length: 4, seed: 0 });
 * const ids = { padTokenId: 1, eosTokenId: 2, maskTokenId: 4 };
 * const task = textInfilling({ model, rows, batchSize: 2, seed: 0, ...ids });
 */
export function textInfilling(options: TextInfillingOptions): TrainingTask {
  const { rows, eosTokenId, maskTokenId, maskRatio = 0.3, meanSpanLength = 3 } = options;
  if (!(maskRatio > 0 && maskRatio <= 1))
    throw new Error(`textInfilling: maskRatio must be above 0 and at most 1, got ${maskRatio}`);
  if (!(meanSpanLength >= 1 && meanSpanLength <= 100))
    throw new Error(`textInfilling: meanSpanLength must be from 1 to 100, got ${meanSpanLength}`);
  const seed = purposeSeed(options.seed, 'infilling');

  const corrupt = (row: Int32Array, index: number): CorruptedRow => {
    const random = new Random(seed, index);
    const hidden = Math.max(1, Math.round(maskRatio * row.length));
    const lengths: number[] = [];
    for (let sum = 0; sum < hidden;) {
      const length = Math.min(poisson(meanSpanLength, random), hidden - sum);
      if (length === 0 && lengths.length >= sum) continue;
      lengths.push(length);
      sum += length;
    }
    // A span or a token that stays at each place, each order of them as likely.
    const isSpan = new Uint8Array(row.length - hidden + lengths.length);
    isSpan.fill(1, 0, lengths.length);
    random.shuffle(isSpan);
    const input: number[] = [];
    let [at, span] = [0, 0];
    for (const here of isSpan) {
      input.push(here === 1 ? maskTokenId : row[at]!);
      at += here === 1 ? lengths[span++]! : 1;
    }
    return { input: [...input, eosTokenId], target: [...row, eosTokenId] };
  };
  return infillTask('text-infilling', options, corrupt, { input: rows.length + 1, target: rows.length + 1 });
}

/** A number from the Poisson distribution (Knuth, The Art of Computer Programming 2, 3.4.1, algorithm Q). */
export function poisson(mean: number, random: Random): number {
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random.uniform(); product > limit; product *= random.uniform()) count++;
  return count;
}
