import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { constant, constantWithWarmup, cosine, linear, schedule } from '../../train/schedules.ts';
import type { Schedule, ScheduleName } from '../../train/schedules.ts';

const test = suite('train/schedules');
const steps = [0, 1, 3, 4, 5, 10, 17, 19, 20, 25];

function follows(actual: Schedule, expected: readonly number[]): void {
  steps.forEach((step, i) => {
    const value = actual(step);
    assert.not(!(Math.abs(value - expected[i]!) <= 1e-14), `step ${step}: ${value}, want ${expected[i]}`);
  });
}

// Expected values: transformers 5.23.0, optimization.py, _get_*_lr_lambda(step, num_warmup_steps=4,
// num_training_steps=20).
const warm = [0, 0.25, 0.75, 1];
const linearAt4 = [...warm, 0.9375, 0.625, 0.1875, 0.0625, 0, 0];
const cosineAt4 = [
  ...warm,
  0.9903926402016152,
  0.6913417161825449,
  0.08426519384872733,
  0.009607359798384785,
  0,
  0.2222148834901989,
];

test('constant, with and without warm-up', () => {
  follows(constant(), new Array<number>(steps.length).fill(1));
  follows(constantWithWarmup(4), [...warm, 1, 1, 1, 1, 1, 1]);
});

test('linear', () => {
  follows(linear(4, 20), linearAt4);
  follows(linear(0, 20), [1, 0.95, 0.85, 0.8, 0.75, 0.5, 0.15, 0.05, 0, 0]);
  // Warm-up over the whole run: never past the peak.
  follows(linear(20, 20), [0, 0.05, 0.15, 0.2, 0.25, 0.5, 0.85, 0.95, 0, 0]);
});

test('cosine of half a wave and of two', () => {
  follows(cosine(4, 20), cosineAt4);
  follows(cosine(4, 20, 2), [
    ...warm,
    0.8535533905932737,
    0.4999999999999999,
    0.14644660940672644,
    0.8535533905932733,
    1,
    0.14644660940672632,
  ]);
});

test('schedule picks by name', () => {
  follows(schedule('constant'), new Array<number>(steps.length).fill(1));
  follows(schedule('constantWithWarmup', { warmupSteps: 4 }), [...warm, 1, 1, 1, 1, 1, 1]);
  follows(schedule('linear', { warmupSteps: 4, totalSteps: 20 }), linearAt4);
  follows(schedule('cosine', { warmupSteps: 4, totalSteps: 20 }), cosineAt4);
});

test('bad input is refused by name', () => {
  assert.throws(
    () => schedule('cosin' as ScheduleName),
    'schedule: unknown schedule "cosin"; use one of constant, constantWithWarmup, linear, cosine',
  );
  assert.throws(() => schedule('linear'), 'schedule: linear needs totalSteps, the number of optimizer steps');
  assert.throws(
    () => schedule('cosine', { warmupSteps: 30, totalSteps: 20 }),
    'schedule: warmupSteps 30 exceeds totalSteps 20; shorten the warm-up',
  );
  assert.throws(
    () => schedule('linear', { totalSteps: 1.5 }),
    'totalSteps must be a whole number of steps from 0 up, got 1.5',
  );
  assert.throws(() => schedule('constantWithWarmup', { warmupSteps: NaN }), 'warmupSteps must be a whole number');
  assert.throws(() => schedule('cosine', { totalSteps: 20, numCycles: 0 }), 'numCycles must be above 0, got 0');
});

test.run();
