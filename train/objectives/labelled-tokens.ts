import type { Tensor } from '../../autograd/index.ts';
import { paddedLength } from '../../models/pipelines/rows.ts';
import { endlessBatches } from '../data/batches.ts';
import type { BatchOptions } from '../data/batches.ts';
import { packBestFit } from './packing.ts';
import { i32, ignoredLabel } from './rows.ts';
import type { HostBatch, TrainingTask } from './task.ts';

/** A sequence to learn from. */
export interface LabelledTokens {
  readonly ids: ArrayLike<number>;
  /** For each token whether it is to be predicted; the first never is. */
  readonly learnt: ArrayLike<number>;
}

/** Inputs of a decoder that tells neighbours in a row apart. */
interface PackedInputs {
  readonly positionIds: Tensor;
  readonly documentIds: Tensor;
}

/** A decoder that predicts the next token, of rows that may hold several sequences. */
export interface PackableModel {
  forward(
    inputs: {
      readonly inputIds: Tensor;
      readonly labels: Tensor;
      readonly outputLogits: false;
    } & Partial<PackedInputs>,
  ): { readonly loss: Tensor };
}

export interface LabelledTokensOptions extends BatchOptions {
  readonly name: string;
  readonly model: PackableModel;
  readonly sequences: readonly LabelledTokens[];
  /** Tokens that a row may have: the model's positions. */
  readonly length: number;
  /**
   * Put several sequences into each row of `length` tokens; else each is a row, padded to the longest of its
   * batch. Default false.
   */
  readonly packed?: boolean;
}

/**
 * Predicts those tokens of each sequence that are to be learnt (part `loss`), from all before them in it.
 * Arrays: inputIds and labels [B, T], of packed rows positionIds and documentIds, too.
 *
 * In a packed row each sequence has the positions and sees the tokens that it has alone, so that its logits
 * are the same.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const sequences = [{ ids: [1, 2, 3, 4], learnt: [0, 0, 1, 1] }];
 * const options = { name: 'replies', batchSize: 1, padTokenId: 0, seed: 0 };
 * const task = labelledTokens({ ...options, model, sequences, length: 8 });
 */
export function labelledTokens({ name, model, sequences, length, packed = false, ...options }: LabelledTokensOptions) {
  const sizes = sequences.map(({ ids }) => ids.length);
  const rows = packed ? packBestFit(sizes, length) : sequences.map((_, i) => [i]);
  const lengths = rows.map((row) => row.reduce((sum, i) => sum + sizes[i]!, 0));
  const { batchesPerEpoch, indices } = endlessBatches(lengths, options);
  const task: TrainingTask = {
    name,
    batchesPerEpoch,
    examples: { labels: { loss: 'labels' } },
    batch(index) {
      const members = indices(index);
      const width = packed ? length : paddedLength(Math.max(...members.map((i) => lengths[i]!)), length);
      return batchOf(
        members.map((i) => rows[i]!.map((k) => sequences[k]!)),
        width,
        packed,
      );
    },
    losses: ({ inputIds, labels, positionIds, documentIds }) => ({
      loss: model.forward({
        inputIds: inputIds!,
        labels: labels!,
        outputLogits: false,
        ...(documentIds ? { positionIds: positionIds!, documentIds } : {}),
      }).loss,
    }),
  };
  return task;
}

/** Rows of sequences, one after another, filled up to `width` on the right, where no token looks. */
export function batchOf(rows: readonly (readonly LabelledTokens[])[], width: number, packed: boolean): HostBatch {
  const size = rows.length * width;
  const [inputIds, positionIds, documentIds] = [new Int32Array(size), new Int32Array(size), new Int32Array(size)];
  const labels = new Int32Array(size).fill(ignoredLabel);
  let [count, tokens] = [0, 0];
  rows.forEach((row, b) => {
    let at = b * width;
    row.forEach(({ ids, learnt }, k) => {
      for (let i = 0; i < ids.length; i++, at++) {
        inputIds[at] = ids[i]!;
        positionIds[at] = i;
        documentIds[at] = k + 1;
        // Before a sequence's first token stands another sequence.
        if (i === 0 || !learnt[i]) continue;
        labels[at] = ids[i]!;
        count++;
      }
      tokens += ids.length;
    });
  });
  const arrays = { inputIds: i32(inputIds, rows.length, width), labels: i32(labels, rows.length, width) };
  const places = {
    positionIds: i32(positionIds, rows.length, width),
    documentIds: i32(documentIds, rows.length, width),
  };
  return { arrays: packed ? { ...arrays, ...places } : arrays, counts: { loss: count }, tokens };
}
