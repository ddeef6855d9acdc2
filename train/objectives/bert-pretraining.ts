import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import type { TrainingTask } from './task.ts';
import { countPlaces, placesToPredict } from './masked-lm.ts';
import { maskedPlaces, maskingOf } from './masking.ts';
import type { MaskingOptions } from './masking.ts';
import { pairArrays, pairBatch, pairTokens } from './next-sentence.ts';
import type { PairInputs } from './next-sentence.ts';
import { labelCount, passOf } from './rows.ts';
import { purposeSeed } from './random-order.ts';
import type { SentencePairs } from './sentence-pairs.ts';

/** BertForPreTraining. */
export interface PreTrainingModel {
  forward(
    inputs: PairInputs & {
      readonly maskedPositions: Tensor;
      readonly labels: Tensor;
      readonly nextSentenceLabel: Tensor;
      readonly outputLogits: false;
    },
  ): { readonly maskedLMLoss: Tensor; readonly nextSentenceLoss: Tensor };
}

export interface BertPretrainingOptions extends Omit<MaskingOptions, 'vocabSize'> {
  readonly model: PreTrainingModel;
  readonly pairs: SentencePairs;
  readonly batchSize: number;
  readonly padTokenId: number;
  readonly seed: number;
}

/**
 * BERT's two objectives together (Devlin et al. 2019): masked tokens (part `mlm`) of pairs of texts, and
 * whether the second follows the first (part `nsp`); the loss is their sum. Arrays: those of `maskedLM` and
 * `nextSentence`.
 *
 * @example
 * const config = { vocabSize: 10, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForPreTraining.fromConfig(config);
 * const places = { clsTokenId: 1, sepTokenId: 2, sentenceEnds: new Set([5]), length: 16, seed: 0 };
 * const pairs = sentencePairs(corpusOf([[6, 5, 7, 5], [8, 5, 9, 5]], 10), places);
 * const ids = { maskTokenId: 3, padTokenId: 0, specialIds: [0, 1, 2, 3] };
 * const task = bertPretraining({ model, pairs, batchSize: 2, seed: 0, ...ids });
 */
export function bertPretraining(options: BertPretrainingOptions): TrainingTask {
  const { model, pairs, batchSize, padTokenId, maskProbability } = options;
  const mask = maskingOf({ ...options, vocabSize: pairs.vocabSize });
  const seed = purposeSeed(options.seed, 'masks');
  const places = maskedPlaces(pairs.length, maskProbability);
  return {
    name: options.wordStarts ? 'masked-lm, whole words, and next-sentence' : 'masked-lm and next-sentence',
    batchesPerEpoch: passOf(pairs, batchSize),
    examples: { labels: { mlm: 'labels', nsp: 'nextSentenceLabel' } },
    batch(index) {
      const batch = pairBatch(pairs, batchSize, index);
      const originals = batch.map(({ pair }) => pair);
      const masked = batch.map(({ pair, index: row }) => mask(pair.ids, new Random(seed, row)));
      const corrupted = originals.map((pair, i) => ({ ...pair, ids: masked[i]!.ids }));
      const arrays = {
        ...pairArrays(corrupted, pairs.length, padTokenId),
        ...placesToPredict(
          originals.map(({ ids }) => ids),
          masked,
          places,
        ),
      };
      return {
        arrays,
        counts: { mlm: countPlaces(masked), nsp: labelCount(arrays.nextSentenceLabel) },
        tokens: pairTokens(originals),
      };
    },
    losses({ inputIds, attentionMask, tokenTypeIds, maskedPositions, labels, nextSentenceLabel }) {
      const { maskedLMLoss, nextSentenceLoss } = model.forward({
        inputIds: inputIds!,
        attentionMask: attentionMask!,
        tokenTypeIds: tokenTypeIds!,
        maskedPositions: maskedPositions!,
        labels: labels!,
        nextSentenceLabel: nextSentenceLabel!,
        outputLogits: false,
      });
      return { mlm: maskedLMLoss, nsp: nextSentenceLoss };
    },
  };
}
