import { fileURLToPath } from 'node:url';
import { scheduleNames } from '../optim/schedules.ts';
import type { FineTuneOptions } from '../trainer/epochs.ts';
import { resumeFlags } from '../trainer/run-state.ts';
import type { Option, Parsed } from './cli.ts';

/** The BERT that comes with the project, see its model card. */
export const shippedBert = fileURLToPath(new URL('../../models/pretrained/bert-small', import.meta.url));

/**
 * Prints what loading says, but for what goes without saying: that the head is new, and that the one of
 * pretraining is not used.
 */
export function headLog(line: string): void {
  const isNew = /^newly initialised: (bert\.pooler|classifier|qa_outputs)\./.test(line);
  if (!isNew && !/^not used by .*: (cls|bert\.pooler|pooler)\./.test(line)) console.error(line);
}

/** How a model is fine-tuned, as flags of every script that does. */
export const fineTuneFlags = {
  dropout: { type: 'number', default: 0.1, min: 0, max: 1, help: 'probability of dropping' },
  output: { type: 'path', help: 'folder for model, curves and checkpoints; default runs/ and the name of the data' },
  epochs: { type: 'int', default: 3, min: 1, help: 'passes over the training examples' },
  batchSize: { type: 'int', default: 16, min: 1, help: 'examples a step' },
  learningRate: { type: 'number', min: 0, help: 'default 2e-5 with --model (questions: 3e-5), else 1e-3' },
  weightDecay: { type: 'number', default: 0.01, min: 0, help: 'AdamW; none on biases and LayerNorm' },
  schedule: { type: 'choice', choices: scheduleNames, default: 'linear', help: 'learning-rate schedule' },
  warmupRatio: { type: 'number', default: 0.1, min: 0, max: 1, help: 'share of the steps that warm up' },
  maxGradNorm: { type: 'number', default: 1, min: 0, help: 'clip gradients to this norm; 0 for none' },
  seed: { type: 'int', default: 42, min: 0, help: 'of initialisation, order, dropout and split' },
  saveEvery: { type: 'int', default: 0, min: 0, help: 'steps between checkpoints; 0 for Ctrl-C only' },
  ...resumeFlags,
} as const satisfies Record<string, Option>;

type Given = Parsed<typeof fineTuneFlags>['values'];

/** The options for `trainEpochs`, without what else the flags say. */
export function fineTuneOptions(values: Given & { readonly learningRate: number }): FineTuneOptions {
  const { epochs, batchSize, learningRate, weightDecay, schedule, warmupRatio, maxGradNorm, seed, saveEvery } = values;
  return { epochs, batchSize, learningRate, weightDecay, schedule, warmupRatio, maxGradNorm, seed, saveEvery };
}
