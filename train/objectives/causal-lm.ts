import type { Tensor } from '../../autograd/index.ts';
import type { TrainingTask } from './task.ts';
import { batchOf, ignoredLabel, labelCount, padRows, passOf, tokensOf } from './rows.ts';
import type { Rows } from './rows.ts';

/** A decoder that predicts the next token and shifts the labels itself: GPT2LMHeadModel, LlamaForCausalLM. */
export interface CausalLMModel {
  forward(inputs: { readonly inputIds: Tensor; readonly labels: Tensor; readonly outputLogits: false }): {
    readonly loss: Tensor;
  };
}

export interface CausalLMOptions {
  readonly model: CausalLMModel;
  readonly rows: Rows;
  readonly batchSize: number;
}

/**
 * Predicts each token from those before it (part `lm`). A row of T tokens has T - 1 labels, its first token
 * none; rows with a window's length more than the context wanted, which overlap by 1, train on what nanoGPT
 * trains on. Arrays: inputIds and labels, [B, T] each.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const rows = blockWindows(corpusOf([[1, 2, 3, 4, 5, 6, 7, 8, 9]], 10), { length: 4, seed: 0 });
 * causalLM({ model, rows, batchSize: 2 }).batchesPerEpoch; // 1
 */
export function causalLM({ model, rows, batchSize }: CausalLMOptions): TrainingTask {
  return {
    name: 'causal-lm',
    batchesPerEpoch: passOf(rows, batchSize),
    examples: { labels: { lm: 'labels' } },
    batch(index) {
      const numbered = batchOf(rows, batchSize, index);
      const batch = numbered.map(({ ids }) => ids);
      const labels = padRows(batch, rows.length, ignoredLabel);
      for (let row = 0; row < batchSize; row++) labels.data[row * rows.length] = ignoredLabel; // nothing is before it
      return {
        // Padding lies to the right, where no token looks, and is predicted nowhere: any id will do.
        arrays: { inputIds: padRows(batch, rows.length, 0), labels },
        counts: { lm: labelCount(labels) },
        tokens: tokensOf(numbered),
      };
    },
    losses: ({ inputIds, labels }) => ({
      lm: model.forward({ inputIds: inputIds!, labels: labels!, outputLogits: false }).loss,
    }),
  };
}
