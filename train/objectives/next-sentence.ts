import type { Tensor } from '../../autograd/index.ts';
import type { HostBatch, TrainingTask } from './task.ts';
import { attentionOf, i32, ignoredLabel, labelCount, padRows, passOf, rowNumbers } from './rows.ts';
import type { SentencePair, SentencePairs } from './sentence-pairs.ts';

/** BertForNextSentencePrediction. */
export interface NextSentenceModel {
  forward(inputs: PairInputs & { readonly labels: Tensor }): { readonly loss?: Tensor };
}

export interface PairInputs {
  readonly inputIds: Tensor;
  readonly attentionMask: Tensor;
  readonly tokenTypeIds: Tensor;
}

export interface NextSentenceOptions {
  readonly model: NextSentenceModel;
  readonly pairs: SentencePairs;
  readonly batchSize: number;
  readonly padTokenId: number;
}

/**
 * Next-sentence prediction (Devlin et al. 2019): whether text B follows text A (part `nsp`). Arrays:
 * inputIds, attentionMask and tokenTypeIds [B, T], nextSentenceLabel [B].
 *
 * @example
 * const config = { vocabSize: 10, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForNextSentencePrediction.fromConfig(config);
 * const places = { clsTokenId: 1, sepTokenId: 2, sentenceEnds: new Set([5]), length: 16, seed: 0 };
 * const pairs = sentencePairs(corpusOf([[6, 5, 7, 5], [8, 5, 9, 5]], 10), places);
 * const task = nextSentence({ model, pairs, batchSize: 2, padTokenId: 0 });
 */
export function nextSentence({ model, pairs, batchSize, padTokenId }: NextSentenceOptions): TrainingTask {
  return {
    name: 'next-sentence',
    batchesPerEpoch: passOf(pairs, batchSize),
    examples: { labels: { nsp: 'nextSentenceLabel' } },
    batch(index) {
      const batch = pairBatch(pairs, batchSize, index).map(({ pair }) => pair);
      const arrays = pairArrays(batch, pairs.length, padTokenId);
      return { arrays, counts: { nsp: labelCount(arrays.nextSentenceLabel) }, tokens: pairTokens(batch) };
    },
    losses: ({ inputIds, attentionMask, tokenTypeIds, nextSentenceLabel }) => ({
      nsp: model.forward({
        inputIds: inputIds!,
        attentionMask: attentionMask!,
        tokenTypeIds: tokenTypeIds!,
        labels: nextSentenceLabel!,
      }).loss!,
    }),
  };
}

const noPair: SentencePair = { ids: new Int32Array(0), types: new Int32Array(0), label: ignoredLabel };

/** The pairs of batch `index` with their numbers, empty ones where a pass in order has ended. */
export function pairBatch(
  pairs: SentencePairs,
  batchSize: number,
  index: number,
): { pair: SentencePair; index: number }[] {
  return rowNumbers(pairs, batchSize, index).map((row) =>
    row === null ? { pair: noPair, index: 0 } : { pair: pairs.pair(row), index: row },
  );
}

/** The arrays that both tasks on pairs send to the model. */
export function pairArrays(
  batch: readonly SentencePair[],
  length: number,
  padTokenId: number,
): HostBatch['arrays'] & Record<'nextSentenceLabel', HostBatch['arrays'][string]> {
  const ids = batch.map((pair) => pair.ids);
  return {
    inputIds: padRows(ids, length, padTokenId),
    attentionMask: attentionOf(ids, length),
    tokenTypeIds: padRows(
      batch.map(({ types }) => types),
      length,
      0,
    ),
    nextSentenceLabel: i32(
      Int32Array.from(batch, ({ label }) => label),
      batch.length,
    ),
  };
}

export function pairTokens(batch: readonly SentencePair[]): number {
  return batch.reduce((sum, { ids }) => sum + ids.length, 0);
}
