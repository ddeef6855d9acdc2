import type { Tensor } from '../../autograd/index.ts';
import { bucketBatches, lengthBuckets } from '../data/batches.ts';
import type { BucketBatch } from '../data/batches.ts';
import { attentionOf, ignoredLabel, labelCount, padRows } from '../objectives/rows.ts';
import type { TrainingTask } from '../objectives/task.ts';

/**
 * An encoder-decoder that makes its decoder's inputs of the labels, moved one place to the right:
 * MarianMTModel.
 */
export interface Seq2SeqModel {
  forward(inputs: {
    readonly inputIds: Tensor;
    readonly attentionMask?: Tensor;
    readonly labels: Tensor;
    readonly labelSmoothing?: number;
    readonly outputLogits: false;
  }): { readonly loss: Tensor };
}

/** A pair as the model reads it: both sides with the token that ends them. */
export interface TokenisedPair {
  readonly source: Int32Array;
  readonly target: Int32Array;
}

export interface Seq2SeqTaskOptions {
  readonly model: Seq2SeqModel;
  readonly pairs: readonly TokenisedPair[];
  /** Tokens of a batch on either side, padding included. */
  readonly maxTokens: number;
  readonly padTokenId: number;
  readonly seed: number;
  /** Share of each label spread over the vocabulary; see `TokenLossOptions`. Default 0. */
  readonly labelSmoothing?: number;
}

/**
 * Targets from sources, by an encoder-decoder: the cross-entropy of each target token (part `loss`). Pairs of
 * like length come together, see `bucketBatches`. Arrays: inputIds and attentionMask [B, S], labels [B, T]
 * with -100 behind the end.
 */
export function seq2seqTask(options: Seq2SeqTaskOptions): TrainingTask {
  const { model, pairs, maxTokens, padTokenId, seed, labelSmoothing = 0 } = options;
  const lengths = pairs.map(({ source, target }) => Math.max(source.length, target.length));
  const buckets = lengthBuckets(lengths, maxTokens);
  const batchesPerEpoch = bucketBatches(buckets, seed, 0).length;
  let current: { epoch: number; batches: readonly BucketBatch[] } | undefined;
  return {
    name: 'sequence-to-sequence',
    batchesPerEpoch,
    examples: { labels: { loss: 'labels' } },
    batch(index) {
      const epoch = Math.floor(index / batchesPerEpoch);
      if (current?.epoch !== epoch) current = { epoch, batches: bucketBatches(buckets, seed, epoch) };
      const { length, indices } = current.batches[index % batchesPerEpoch]!;
      const sources = indices.map((i) => pairs[i]!.source);
      const targets = indices.map((i) => pairs[i]!.target);
      const width = sideLength(sources, length);
      const labels = padRows(targets, sideLength(targets, length), ignoredLabel);
      return {
        arrays: {
          inputIds: padRows(sources, width, padTokenId),
          attentionMask: attentionOf(sources, width),
          labels,
        },
        counts: { loss: labelCount(labels) },
        tokens: indices.reduce((sum, i) => sum + pairs[i]!.source.length + pairs[i]!.target.length, 0),
      };
    },
    losses: ({ inputIds, attentionMask, labels }) => ({
      loss: model.forward({
        inputIds: inputIds!,
        attentionMask,
        labels: labels!,
        labelSmoothing,
        outputLogits: false,
      }).loss,
    }),
  };
}

/**
 * What one side of a batch is padded to: a quarter or half of the bucket's length where all fit, so that
 * summaries are not padded to their texts, and yet few shapes occur.
 */
function sideLength(rows: readonly Int32Array[], length: number): number {
  const longest = Math.max(...rows.map((row) => row.length));
  const lengths = [4, 2].map((parts) => 8 * Math.ceil(length / parts / 8));
  return lengths.find((each) => longest <= each && each < length) ?? length;
}
