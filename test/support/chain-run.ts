/**
 * One run of the small task, for tests that kill it: `chain-run.ts FOLDER [--resume] [--accumulate N] [--ema
 * X] [--precision NAME]`. Says when it has taken a step.
 */
import { parseArgs } from 'node:util';
import { train } from '../../train/trainer/trainer.ts';
import { chainRun } from './chain-task.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    resume: { type: 'boolean', default: false },
    accumulate: { type: 'string', default: '1' },
    ema: { type: 'string', default: '0' },
    precision: { type: 'string', default: 'f32' },
  },
});
await train({
  ...chainRun(positionals[0]!, {
    steps: 60,
    learningRate: 0.01,
    schedule: 'cosine',
    warmupSteps: 5,
    saveEvery: 3,
    evaluateEvery: 10,
    accumulate: Number(values.accumulate),
    ema: Number(values.ema),
    precision: values.precision === 'mixed' ? 'mixed' : 'f32',
  }),
  resume: values.resume,
  callbacks: [{ onStep: () => console.log('step') }],
});
process.exit(0);
