import { z } from 'zod';
import { scheduleNames } from '../schedules.ts';

const steps = z.int().min(0);

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
  /** mixed: products in f16, f32 weights, dynamic loss scale. */
  precision: z.enum(['f32', 'mixed']).default('f32'),
  /** Decay of the moving average of the weights that is evaluated and saved; 0 for none. */
  ema: z.number().min(0).lt(1).default(0),
  /** Of initialisation, dropout and data. */
  seed: z.int().min(0).default(42),
  /** Steps between evaluations; 0 evaluates at the end only. */
  evaluateEvery: steps.default(0),
  /** Steps between checkpoints; 0 saves at Ctrl-C only. */
  saveEvery: steps.default(0),
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
