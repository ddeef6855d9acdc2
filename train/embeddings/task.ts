import { paddingOf, rowLimits } from '../../models/index.ts';
import type { SentenceTransformer } from '../../models/index.ts';
import { textRows } from '../../models/pipelines/encoder.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { endlessBatches } from '../data/batches.ts';
import type { BatchOptions } from '../data/batches.ts';
import { paddedArrays, tokensOf } from '../data/tokenised.ts';
import type { HostArray, TrainingTask } from '../objectives/task.ts';
import type { EmbeddingLoss } from './losses.ts';

/** Texts of each column, such as anchors, positives and negatives, and the scores of pairs. */
export interface EmbeddingColumnsOfTexts {
  readonly columns: readonly (readonly string[])[];
  readonly scores?: readonly number[];
}

/**
 * Texts to vectors as a training task: each row once an epoch, in batches of like length. Arrays:
 * inputIds0, attentionMask0 and tokenTypeIds0 of the first column [B, T], and so on; scores [B].
 */
export function embeddingTask(
  model: SentenceTransformer,
  { columns, scores }: EmbeddingColumnsOfTexts,
  loss: EmbeddingLoss,
  options: BatchOptions,
): TrainingTask {
  const { tokenizer, maxSeqLength: maxLength } = model;
  const [padTokenId, limits] = [paddingOf({ model, tokenizer }), rowLimits(model)];
  const rows = columns.map((texts) => textRows({ model, tokenizer }, texts, { truncation: true, maxLength }));
  const lengths = rows[0]!.map((_, i) => Math.max(...rows.map((column) => column[i]!.inputIds.length)));
  const { batchesPerEpoch, indices } = endlessBatches(lengths, options);
  return {
    name: 'embeddings',
    batchesPerEpoch,
    batch(index) {
      const members = indices(index);
      const arrays: Record<string, HostArray> = {};
      let tokens = 0;
      for (const [c, column] of rows.entries()) {
        const own: TokenRow[] = members.map((i) => column[i]!);
        tokens += tokensOf(own);
        for (const [name, array] of Object.entries(paddedArrays(own, padTokenId, limits)))
          arrays[`${name}${c}`] = array;
      }
      if (scores) arrays['scores'] = { data: Float32Array.from(members, (i) => scores[i]!), shape: [members.length] };
      return { arrays, counts: { loss: members.length }, tokens };
    },
    losses: (batch) => {
      const vectors = rows.map((_, c) =>
        model.forward({
          inputIds: batch[`inputIds${c}`]!,
          attentionMask: batch[`attentionMask${c}`],
          tokenTypeIds: batch[`tokenTypeIds${c}`],
        }),
      );
      return { loss: loss(vectors, batch['scores']) };
    },
  };
}
