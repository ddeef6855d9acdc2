import * as z from 'zod';
import type { Option, Parsed } from '../cli/cli.ts';
import { resumeFlags } from './run-state.ts';
import { scheduleNames } from '../optim/schedules.ts';

const steps = z.int().min(0);
const precisions = ['f32', 'high', 'mixed'] as const;

/** How a run trains. Everything has a default but the number of steps and the learning rate. */
const optionsSchema = z.strictObject({
  /** Optimizer steps of the whole run. */
  steps: z.int().min(1),
  learningRate: z.number().positive(),
  schedule: z.enum(scheduleNames).default('linear'),
  warmupSteps: steps.default(0),
  /** Share of the learning rate that the schedule ends at; nanoGPT's recipes end at 0.1. */
  minRate: z.number().min(0).max(1).default(0),
  weightDecay: z.number().min(0).default(0.01),
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
  /** Largest norm of the gradients together; 0 leaves them as they are. */
  maxGradNorm: z.number().min(0).default(1),
  /** Batches whose gradients are added up for one step, each weighed by its number of labels. */
  accumulate: z.int().min(1).default(1),
  /**
   * mixed: products in f16, f32 weights, dynamic loss scale; high: all in f32, whose products tensor cores
   * compute as three of f16 (`setFloat32MatmulPrecision`).
   */
  precision: z.enum(precisions).default('f32'),
  /**
   * Layers are computed once more in the backward pass, in the place of keeping what it needs of them: less
   * memory, about a third more time, the same numbers.
   */
  gradientCheckpointing: z.boolean().default(false),
  /** Decay of the moving average of the weights that is evaluated and saved; 0 for none. */
  ema: z.number().min(0).lt(1).default(0),
  /** Of initialisation, dropout and data. */
  seed: z.int().min(0).default(42),
  /** Steps between evaluations; 0 evaluates at the end only. */
  evaluateEvery: steps.default(0),
  /** Steps between checkpoints; 0 saves at Ctrl-C only. */
  saveEvery: steps.default(0),
  /**
   * Steps between histograms of weights and gradients in TensorBoard's files; 0 for none. The gradients are
   * computed once more for them, op by op, and read back.
   */
  histogramEvery: steps.default(0),
  /** Evaluations in a row without a better one that end the run; 0 never does. */
  patience: steps.default(0),
});

export type TrainerOptions = Readonly<z.infer<typeof optionsSchema>>;
export type TrainerSettings = z.input<typeof optionsSchema>;

/** The options with their defaults. Throws one line naming the first that is wrong. */
export function trainerOptions(settings: TrainerSettings): TrainerOptions {
  const parsed = optionsSchema.safeParse(settings);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new Error(`train: ${path.join('.') || 'options'}: ${message}`);
  }
  const { warmupSteps, steps: total, patience, evaluateEvery } = parsed.data;
  if (warmupSteps > total)
    throw new Error(`train: warmupSteps ${warmupSteps} exceeds steps ${total}; shorten the warm-up`);
  if (patience > 0 && evaluateEvery === 0)
    throw new Error('train: patience counts evaluations, and evaluateEvery is 0; set it to a number of steps');
  return parsed.data;
}

/** Steps between histograms, of every script that trains. */
export const histogramFlag = {
  type: 'int',
  default: 0,
  min: 0,
  help: 'steps between histograms of weights and gradients for TensorBoard; 0 for none',
} as const satisfies Option;

/** Whether layers are computed twice, of every script that trains. */
export const checkpointingFlag = {
  type: 'boolean',
  help: 'compute layers again in the backward pass: less memory, more time',
} as const satisfies Option;

/** Flags of every script that trains; the script adds `steps` and `learningRate` with defaults of its own. */
export const trainerFlags = {
  schedule: { type: 'choice', choices: scheduleNames, default: 'cosine', help: 'learning-rate schedule' },
  warmupSteps: { type: 'int', default: 100, min: 0, help: 'steps over which the learning rate rises' },
  minRate: { type: 'number', default: 0.1, min: 0, max: 1, help: 'share of the learning rate at the end' },
  weightDecay: { type: 'number', default: 0.1, min: 0, help: 'AdamW; none on biases and norms' },
  beta2: { type: 'number', default: 0.99, min: 0, max: 1, help: 'AdamW, decay of the second moment' },
  maxGradNorm: { type: 'number', default: 1, min: 0, help: 'clip gradients to this norm; 0 for none' },
  accumulate: { type: 'int', default: 1, min: 1, help: 'batches added up for one step' },
  precision: {
    type: 'choice',
    choices: precisions,
    default: 'f32',
    help: 'mixed: products in f16; high: each in f32 as three in f16',
  },
  gradientCheckpointing: checkpointingFlag,
  ema: { type: 'number', default: 0, min: 0, max: 1, help: 'decay of averaged weights; 0 for none' },
  seed: { type: 'int', default: 42, min: 0, help: 'of initialisation, dropout and data' },
  evaluateEvery: { type: 'int', default: 250, min: 0, help: 'steps between evaluations; 0 at the end only' },
  saveEvery: { type: 'int', default: 250, min: 0, help: 'steps between checkpoints; 0 for Ctrl-C only' },
  histogramEvery: histogramFlag,
  patience: { type: 'int', default: 0, min: 0, help: 'end after this many evaluations without a better one; 0 never' },
  ...resumeFlags,
} as const satisfies Record<string, Option>;

type Values = Parsed<typeof trainerFlags>['values'] & { readonly steps: number; readonly learningRate: number };

/** The Trainer's settings among a script's flags, which are named alike. */
export function trainerSettings(values: Values): TrainerSettings {
  const { steps, learningRate, warmupSteps, beta2, ...rest } = values;
  const own = Object.entries(rest).filter(([name]) => Object.hasOwn(optionsSchema.shape, name));
  const given: Partial<TrainerSettings> = Object.fromEntries(own);
  return { ...given, steps, learningRate, warmupSteps: Math.min(warmupSteps, steps), betas: [0.9, beta2] };
}
