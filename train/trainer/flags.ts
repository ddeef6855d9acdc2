import type { Option, Parsed } from '../cli.ts';
import { scheduleNames } from '../schedules.ts';
import type { TrainerSettings } from './options.ts';

/** Flags of every script that trains; the script adds `steps` and `learningRate` with defaults of its own. */
export const trainerFlags = {
  schedule: { type: 'choice', choices: scheduleNames, default: 'cosine', help: 'learning-rate schedule' },
  warmupSteps: { type: 'int', default: 100, min: 0, help: 'steps over which the learning rate rises' },
  minRate: { type: 'number', default: 0.1, min: 0, max: 1, help: 'share of the learning rate at the end' },
  weightDecay: { type: 'number', default: 0.1, min: 0, help: 'AdamW; none on biases and norms' },
  beta2: { type: 'number', default: 0.99, min: 0, max: 1, help: 'AdamW, decay of the second moment' },
  maxGradNorm: { type: 'number', default: 1, min: 0, help: 'clip gradients to this norm; 0 for none' },
  accumulate: { type: 'int', default: 1, min: 1, help: 'batches added up for one step' },
  precision: { type: 'choice', choices: ['f32', 'mixed'], default: 'f32', help: 'mixed: products in f16' },
  ema: { type: 'number', default: 0, min: 0, max: 1, help: 'decay of averaged weights; 0 for none' },
  seed: { type: 'int', default: 42, min: 0, help: 'of initialisation, dropout and data' },
  evaluateEvery: { type: 'int', default: 250, min: 0, help: 'steps between evaluations; 0 at the end only' },
  saveEvery: { type: 'int', default: 250, min: 0, help: 'steps between checkpoints; 0 for Ctrl-C only' },
  patience: { type: 'int', default: 0, min: 0, help: 'end after this many evaluations without a better one; 0 never' },
  resume: { type: 'boolean', help: 'go on from the checkpoint in the output folder' },
} as const satisfies Record<string, Option>;

type Values = Parsed<typeof trainerFlags>['values'] & { readonly steps: number; readonly learningRate: number };

/** The Trainer's settings among a script's flags. */
export function trainerSettings(values: Values): TrainerSettings {
  const { steps, learningRate, schedule, warmupSteps, minRate, weightDecay, beta2, maxGradNorm } = values;
  const { accumulate, precision, ema, seed, evaluateEvery, saveEvery, patience } = values;
  return {
    steps,
    learningRate,
    schedule,
    warmupSteps: Math.min(warmupSteps, steps),
    minRate,
    weightDecay,
    betas: [0.9, beta2],
    maxGradNorm,
    accumulate,
    precision,
    ema,
    seed,
    evaluateEvery,
    saveEvery,
    patience,
  };
}
