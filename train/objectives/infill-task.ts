import type { Tensor } from '../../autograd/index.ts';
import type { TrainingTask } from './task.ts';
import { attentionOf, batchOf, ignoredLabel, labelCount, padRows, passOf, tokensOf } from './rows.ts';
import type { Rows } from './rows.ts';

/**
 * An encoder-decoder that makes its decoder's inputs of the labels, moved one place to the right:
 * MarianMTModel.
 */
export interface InfillModel {
  forward(inputs: {
    readonly inputIds: Tensor;
    readonly attentionMask?: Tensor;
    readonly labels: Tensor;
    readonly outputLogits: false;
  }): { readonly loss: Tensor };
}

export interface InfillOptions {
  readonly model: InfillModel;
  readonly rows: Rows;
  readonly batchSize: number;
  readonly padTokenId: number;
  /** Stands at the end of what is read and of what is predicted. */
  readonly eosTokenId: number;
  readonly seed: number;
}

/** One row: `input` is read by the encoder, `target` is predicted by the decoder. */
export interface CorruptedRow {
  readonly input: readonly number[];
  readonly target: readonly number[];
}

/**
 * The task that predicts `target` from `input` of each row; `sizes` are the longest of either, which all are
 * padded to.
 */
export function infillTask(
  name: string,
  { model, rows, batchSize, padTokenId }: InfillOptions,
  corrupt: (row: Int32Array, index: number) => CorruptedRow,
  sizes: { readonly input: number; readonly target: number },
): TrainingTask {
  return {
    name,
    batchesPerEpoch: passOf(rows, batchSize),
    examples: { labels: { infill: 'labels' } },
    batch(index) {
      const batch = batchOf(rows, batchSize, index);
      const corrupted = batch.map(({ ids, index: row }) =>
        ids.length === 0 ? { input: [], target: [] } : corrupt(ids, row),
      );
      const inputs = corrupted.map(({ input }) => input);
      const labels = padRows(
        corrupted.map(({ target }) => target),
        sizes.target,
        ignoredLabel,
      );
      const isFull = rows.full && inputs.every(({ length }) => length === sizes.input);
      return {
        arrays: {
          inputIds: padRows(inputs, sizes.input, padTokenId),
          ...(isFull ? {} : { attentionMask: attentionOf(inputs, sizes.input) }),
          labels,
        },
        counts: { infill: labelCount(labels) },
        tokens: tokensOf(batch),
      };
    },
    losses: ({ inputIds, attentionMask, labels }) => ({
      infill: model.forward({ inputIds: inputIds!, attentionMask, labels: labels!, outputLogits: false }).loss,
    }),
  };
}
