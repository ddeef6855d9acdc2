import { manualSeed } from '../../autograd/index.ts';
import { GPT2Config, GPT2LMHeadModel } from '../../models/index.ts';
import { Random } from '../../common/random.ts';
import type { TrainingTask } from '../../train/objectives/task.ts';
import { evaluator } from '../../train/trainer/evaluate.ts';
import type { TrainingRun } from '../../train/trainer/trainer.ts';

const [rows, length, vocabSize] = [4, 12, 17];

/** A small GPT-2. */
export function chainModel(dropout = 0.1): GPT2LMHeadModel {
  manualSeed(7);
  const config = GPT2Config.create({
    vocabSize,
    nPositions: length,
    nEmbd: 16,
    nLayer: 2,
    nHead: 2,
    embdPdrop: dropout,
    residPdrop: dropout,
    attnPdrop: dropout,
  });
  return new GPT2LMHeadModel(config);
}

/**
 * Rows of unequal lengths in which each token follows from the one before it. What comes after a row's end
 * has no label.
 */
export function chainTask(model: GPT2LMHeadModel, seed: number): TrainingTask {
  return {
    name: 'chains',
    batchesPerEpoch: 8,
    examples: { labels: { loss: 'labels' } },
    batch(index) {
      const random = new Random(seed, index % 8);
      const inputIds = new Int32Array(rows * length);
      const labels = new Int32Array(rows * length).fill(-100);
      let tokens = 0;
      for (let row = 0; row < rows; row++) {
        const end = row * length + 2 + random.int(length - 1);
        for (let at = row * length, token = random.int(vocabSize); at < end; at++) {
          inputIds[at] = token;
          if (at > row * length) labels[at] = token;
          token = (5 * token + 3) % vocabSize;
          tokens++;
        }
      }
      const shape = [rows, length];
      return {
        arrays: { inputIds: { data: inputIds, shape }, labels: { data: labels, shape } },
        counts: { loss: tokens - rows },
        tokens,
      };
    },
    losses: ({ inputIds, labels }) => ({
      loss: model.forward({ inputIds: inputIds!, labels: labels!, outputLogits: false }).loss,
    }),
  };
}

/** A whole run of that. */
export function chainRun(output: string, options: TrainingRun['options']): TrainingRun {
  const model = chainModel();
  const evaluate = evaluator(model, chainTask(model, 99), 2);
  return { model, task: chainTask(model, 3), evaluate, options, output, quiet: true };
}
