import { Random } from '../../common/random.ts';
import type { TrainingTask } from './task.ts';
import { infillTask } from './infill-task.ts';
import type { CorruptedRow, InfillOptions } from './infill-task.ts';
import { purposeSeed } from './random-order.ts';

export interface SpanCorruptionOptions extends InfillOptions {
  /** Ids that stand for the spans, in the order of their use: see `lastIds`. */
  readonly sentinelIds: readonly number[];
  /** Share of the tokens in spans; default 0.15. */
  readonly noiseDensity?: number;
  /** Mean tokens of a span; default 3. */
  readonly meanSpanLength?: number;
}

/**
 * T5's span corruption (Raffel et al. 2020, 3.1.4; `random_spans_noise_mask` of its code), for an
 * encoder-decoder (part `infill`). Of n tokens round(0.15 n) lie in round(that / 3) spans; lengths of spans
 * and of the texts between are random parts of their sums, each at least one token, and a row begins with
 * text. Read: the row, each span replaced by a sentinel of its own, and the end token. Predicted: each
 * sentinel and the tokens that it stands for, and the end token. Arrays: inputIds [B, S], labels [B, U] with
 * -100 behind the end, attentionMask [B, S] unless the rows are full.
 *
 * Rows are plain text, without [CLS] and the like. Errors: too few sentinels for a row's spans; a text that
 * has a sentinel in it (when its batch is made).
 *
 * @example
 * const model = T5ForConditionalGeneration.fromConfig({ vocabSize: 50, dModel: 16, numLayers: 1 });
 * const rows = randomWindows(corpusOf([[5, 6, 7, 8, 9, 10]], 50), { length: 4, seed: 0 });
 * const ids = { padTokenId: 0, eosTokenId: 1, sentinelIds: lastIds(50, 10) };
 * const task = spanCorruption({ model, rows, batchSize: 2, seed: 0, ...ids });
 */
export function spanCorruption(options: SpanCorruptionOptions): TrainingTask {
  const { rows, eosTokenId, sentinelIds, noiseDensity = 0.15, meanSpanLength = 3 } = options;
  if (!(noiseDensity > 0 && noiseDensity < 1))
    throw new Error(`spanCorruption: noiseDensity must lie between 0 and 1, got ${noiseDensity}`);
  if (!(meanSpanLength >= 1))
    throw new Error(`spanCorruption: meanSpanLength must be 1 or more, got ${meanSpanLength}`);
  const sizes = Array.from({ length: rows.length + 1 }, (_, n) => spanCounts(n, noiseDensity, meanSpanLength));
  const most = Math.max(...sizes.map(({ spans }) => spans));
  const sentinels = new Set(sentinelIds);
  if (sentinels.size < most || sentinels.size !== sentinelIds.length)
    throw new Error(
      `spanCorruption: rows of ${rows.length} tokens have up to ${most} spans, each with a sentinel of its ` +
        `own, but ${sentinels.size} different ones are given; give more`,
    );
  const seed = purposeSeed(options.seed, 'spans');

  const corrupt = (row: Int32Array, index: number): CorruptedRow => {
    const sentinel = row.find((id) => sentinels.has(id));
    if (sentinel !== undefined)
      throw new Error(
        `spanCorruption: row ${index} has the sentinel ${sentinel} in its text; choose ids that no text has`,
      );
    const random = new Random(seed, index);
    const { noise, spans } = sizes[row.length]!;
    if (spans === 0) return { input: [...row, eosTokenId], target: [] };
    const [hidden, kept] = [randomParts(noise, spans, random), randomParts(row.length - noise, spans, random)];
    const [input, target]: [number[], number[]] = [[], []];
    for (let i = 0, at = 0; i < spans; at += kept[i]! + hidden[i]!, i++) {
      const span = at + kept[i]!;
      input.push(...row.subarray(at, span), sentinelIds[i]!);
      target.push(sentinelIds[i]!, ...row.subarray(span, span + hidden[i]!));
    }
    return { input: [...input, eosTokenId], target: [...target, eosTokenId] };
  };
  return infillTask('span-corruption', options, corrupt, {
    input: Math.max(...sizes.map(({ noise, spans }, n) => n - noise + spans + 1)),
    target: Math.max(...sizes.map(({ noise, spans }) => noise + spans + 1)),
  });
}

/** How many of n tokens are hidden, and in how many spans: at least one of either kind, if n allows. */
function spanCounts(n: number, density: number, meanLength: number): { noise: number; spans: number } {
  if (n < 2) return { noise: 0, spans: 0 };
  const noise = Math.min(Math.max(Math.round(n * density), 1), n - 1);
  return { noise, spans: Math.min(Math.max(Math.round(noise / meanLength), 1), noise, n - noise) };
}

/** `total` as a sum of `parts` numbers from 1 up, every such sum as likely. */
export function randomParts(total: number, parts: number, random: Random): number[] {
  const borders = new Set<number>();
  while (borders.size < parts - 1) borders.add(1 + random.int(total - 1));
  const sorted = [0, ...[...borders].sort((a, b) => a - b), total];
  return Array.from({ length: parts }, (_, i) => sorted[i + 1]! - sorted[i]!);
}

/**
 * The last `count` ids of a vocabulary, the last first, as T5 numbers its sentinels. They must be added to it
 * for this: no text may have them.
 *
 * @example
 * lastIds(32100, 3); // [32099, 32098, 32097]
 */
export function lastIds(vocabSize: number, count: number): number[] {
  if (count > vocabSize)
    throw new Error(`lastIds: ${count} sentinels do not fit a vocabulary of ${vocabSize}; extend it first`);
  return Array.from({ length: count }, (_, i) => vocabSize - 1 - i);
}
