/** A run whose first step never ends: `never-stops.ts FOLDER`. */
import { join } from 'node:path';
import { train } from '../../train/trainer/trainer.ts';
import { chainRun } from './chain-task.ts';

const onStart = (): Promise<void> => {
  console.log('started');
  return new Promise((done) => setTimeout(done, 600_000));
};
await train({
  ...chainRun(join(process.argv[2]!, 'chain'), { steps: 2, learningRate: 0.01 }),
  callbacks: [{ onStart }],
});
