import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tensor } from '../../autograd/index.ts';
import {
  CosineAnnealingLR,
  ExponentialLR,
  getConstantScheduleWithWarmup,
  getCosineScheduleWithWarmup,
  getLinearScheduleWithWarmup,
  LambdaLR,
  LinearLR,
  SGD,
  StepLR,
} from '../../train/optim/index.ts';
import type { LRScheduler, LRSchedulerState } from '../../train/optim/index.ts';
import {
  constant,
  constantWithWarmup,
  cosine,
  inverseSquareRoot,
  linear,
  schedule,
} from '../../train/optim/schedules.ts';
import type { Schedule, ScheduleName } from '../../train/optim/schedules.ts';

interface Goldens {
  readonly lrSchedulers: readonly {
    readonly name: string;
    readonly options: Readonly<Record<string, number>>;
    readonly learningRates: number[][];
  }[];
}

const goldens = JSON.parse(readFileSync(new URL('../golden/optim.json', import.meta.url), 'utf8')) as Goldens;
const makers: Record<string, (optimizer: SGD, o: Readonly<Record<string, number>>) => LRScheduler> = {
  CosineAnnealingLR: (optimizer, o) => new CosineAnnealingLR(optimizer, o.tMax!, o.etaMin),
  LinearLR: (optimizer, o) => new LinearLR(optimizer, o),
  StepLR: (optimizer, o) => new StepLR(optimizer, o.stepSize!, o.gamma),
  ExponentialLR: (optimizer, o) => new ExponentialLR(optimizer, o.gamma!),
  LambdaLR: (optimizer) => new LambdaLR(optimizer, (step) => 0.95 ** step),
  constantWithWarmup: (optimizer, o) => getConstantScheduleWithWarmup(optimizer, o.numWarmupSteps!),
  linearWithWarmup: (optimizer, o) => getLinearScheduleWithWarmup(optimizer, o.numWarmupSteps!, o.numTrainingSteps!),
  cosineWithWarmup: (optimizer, o) =>
    getCosineScheduleWithWarmup(optimizer, o.numWarmupSteps!, o.numTrainingSteps!, o.numCycles),
};

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

test('inverse square root', () => {
  const falls = [1, 0.8944271909999159, 0.6324555320336759, 0.48507125007266594, 0.4588314677411235];
  follows(inverseSquareRoot(4), [...warm.slice(0, 3), ...falls, 0.4472135954999579, 0.4]);
  follows(
    inverseSquareRoot(0),
    [
      1, 0.9999500037496877, 0.9998500337415648, 0.9998000599800071, 0.9997500937109545, 0.9995003746877732,
      0.9991510822169677, 0.9990513516101199, 0.9990014975043671, 0.9987523388778446,
    ],
  );
  assert.is(inverseSquareRoot(4, 0.5)(25), 0.5);
});

test('schedule picks by name', () => {
  follows(schedule('constant'), new Array<number>(steps.length).fill(1));
  follows(schedule('constantWithWarmup', { warmupSteps: 4 }), [...warm, 1, 1, 1, 1, 1, 1]);
  follows(schedule('linear', { warmupSteps: 4, totalSteps: 20 }), linearAt4);
  follows(schedule('cosine', { warmupSteps: 4, totalSteps: 20 }), cosineAt4);
  assert.is(schedule('inverseSquareRoot', { warmupSteps: 4 })(25), 0.4);
});

test('bad input is refused by name', () => {
  assert.throws(
    () => schedule('cosin' as ScheduleName),
    'schedule: unknown schedule "cosin"; use one of constant, constantWithWarmup, linear, cosine, inverseSquareRoot',
  );
  assert.throws(() => schedule('linear'), 'schedule: linear needs totalSteps, the number of optimizer steps');
  assert.throws(
    () => schedule('cosine', { warmupSteps: 30, totalSteps: 20 }),
    'schedule: warmupSteps 30 exceeds totalSteps 20; shorten the warm-up',
  );
  assert.throws(() => schedule('linear', { totalSteps: 1.5 }), 'totalSteps must be a whole number from 0 on, got 1.5');
  assert.throws(() => schedule('constantWithWarmup', { warmupSteps: NaN }), 'warmupSteps must be a whole number');
  assert.throws(
    () => schedule('cosine', { totalSteps: 20, numCycles: 0 }),
    'numCycles must be a finite number above 0, got 0',
  );
  assert.throws(() => schedule('linear', { totalSteps: 9, minRate: NaN }), 'schedule: minRate must be a finite number');
  const misspelt: object = { warmup: 3 };
  assert.throws(() => schedule('constant', misspelt), 'schedule: no option "warmup"; it has warmupSteps');
});

/** An optimizer of two groups with rates 0.1 and 0.01. */
const twoGroups = (): SGD => new SGD([0.1, 0.01].map((lr) => ({ params: [tensor([1], { requiresGrad: true })], lr })));

function rates(scheduler: LRScheduler, steps: number): number[][] {
  return Array.from({ length: steps }, (_, i) => {
    if (i > 0) scheduler.step();
    return scheduler.getLastLr();
  });
}

// Expected values: test/golden/golden_optim.py.
for (const { name, options, learningRates } of goldens.lrSchedulers) {
  test(`${name}(${JSON.stringify(options).slice(1, -1)}) equals PyTorch's, for each group`, () => {
    const made = makers[name]!(twoGroups(), options);
    rates(made, learningRates.length).forEach((row, step) =>
      row.forEach((rate, group) => {
        const want = learningRates[step]![group]!;
        assert.not(!(Math.abs(rate - want) <= 1e-9 * Math.abs(want) + 1e-17), `step ${step}: ${rate}, want ${want}`);
      }),
    );
  });
}

test('a scheduler goes on from its state, and keeps a proportion that was changed', () => {
  const make = (): LRScheduler => new CosineAnnealingLR(twoGroups(), 10);
  const whole = rates(make(), 8);
  const first = make();
  rates(first, 5);
  const second = make();
  second.loadStateDict(JSON.parse(JSON.stringify(first.stateDict())) as LRSchedulerState);
  assert.equal(rates(second, 4), whole.slice(4));
  const optimizer = twoGroups();
  const scheduler = new LambdaLR(optimizer, (step) => 1 / (step + 1));
  optimizer.paramGroups[1]!.lr = 0.04;
  scheduler.step();
  assert.equal(scheduler.getLastLr(), [0.05, 0.02]);
  assert.throws(() => new LambdaLR(optimizer, [constant()]), /1 functions for 2 groups/);
  assert.throws(() => new CosineAnnealingLR(optimizer, 0), /tMax must be a whole number from 1 on, got 0/);
});

test.run();
