import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import type { HostArray, TrainingTask } from './task.ts';
import { maskedPlaces, maskingOf } from './masking.ts';
import type { MaskedRow, MaskingOptions } from './masking.ts';
import { attentionOf, batchOf, ignoredLabel, padRows, passOf, tokensOf } from './rows.ts';
import type { Rows } from './rows.ts';
import { purposeSeed } from './random-order.ts';

/** An encoder that predicts tokens at given places: BertForMaskedLM. */
export interface MaskedLMModel {
  forward(inputs: {
    readonly inputIds: Tensor;
    readonly attentionMask?: Tensor;
    readonly maskedPositions: Tensor;
    readonly labels: Tensor;
    readonly outputLogits: false;
  }): { readonly loss: Tensor };
}

export interface MaskedLMOptions extends Omit<MaskingOptions, 'vocabSize'> {
  readonly model: MaskedLMModel;
  /** With their [CLS] and [SEP], see `wrapRows`. */
  readonly rows: Rows;
  readonly batchSize: number;
  readonly padTokenId: number;
  readonly seed: number;
}

/**
 * Masked language modelling (part `mlm`), masks drawn anew for every row that is ever read (Liu et al. 2019,
 * "dynamic masking"); rows in order, for evaluation, have the same ones in every pass. The model predicts at
 * the masked places only. Arrays: inputIds [B, T], maskedPositions and labels [B, K] with K =
 * ceil(maskProbability T), and attentionMask [B, T] unless the rows are full.
 *
 * @example
 * const config = { vocabSize: 10, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForMaskedLM.fromConfig(config);
 * const rows = documentWindows(corpusOf([[5, 6, 7, 8], [8, 9]], 10), { length: 4, seed: 0 });
 * const ids = { maskTokenId: 3, padTokenId: 0, specialIds: [0, 1, 2, 3] };
 * maskedLM({ model, rows, batchSize: 2, seed: 0, ...ids }).batchesPerEpoch; // 1
 */
export function maskedLM(options: MaskedLMOptions): TrainingTask {
  const { model, rows, batchSize, padTokenId, maskProbability } = options;
  const mask = maskingOf({ ...options, vocabSize: rows.vocabSize });
  const seed = purposeSeed(options.seed, 'masks');
  const places = maskedPlaces(rows.length, maskProbability);
  return {
    name: options.wordStarts ? 'masked-lm, whole words' : 'masked-lm',
    batchesPerEpoch: passOf(rows, batchSize),
    examples: { labels: { mlm: 'labels' } },
    batch(index) {
      const batch = batchOf(rows, batchSize, index);
      const originals = batch.map(({ ids }) => ids);
      const masked = batch.map((row) => mask(row.ids, new Random(seed, row.index)));
      const corrupted = masked.map(({ ids }) => ids);
      return {
        arrays: {
          inputIds: padRows(corrupted, rows.length, padTokenId),
          ...(rows.full ? {} : { attentionMask: attentionOf(originals, rows.length) }),
          ...placesToPredict(originals, masked, places),
        },
        counts: { mlm: countPlaces(masked) },
        tokens: tokensOf(batch),
      };
    },
    losses: ({ inputIds, attentionMask, maskedPositions, labels }) => ({
      mlm: model.forward({
        inputIds: inputIds!,
        attentionMask,
        maskedPositions: maskedPositions!,
        labels: labels!,
        outputLogits: false,
      }).loss,
    }),
  };
}

/** Places and the tokens that were there, [B, K] each; unused places are 0 and their labels ignored. */
export function placesToPredict(
  originals: readonly Int32Array[],
  masked: readonly Pick<MaskedRow, 'positions'>[],
  places: number,
): { readonly maskedPositions: HostArray; readonly labels: HostArray } {
  const positions = masked.map((row) => row.positions);
  const labels = positions.map((row, i) => row.map((place) => originals[i]![place]!));
  return { maskedPositions: padRows(positions, places, 0), labels: padRows(labels, places, ignoredLabel) };
}

/** Places to predict in all rows. */
export function countPlaces(masked: readonly Pick<MaskedRow, 'positions'>[]): number {
  return masked.reduce((sum, { positions }) => sum + positions.length, 0);
}
