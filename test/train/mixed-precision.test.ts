import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { autocast, compile, dropout, manualSeed, mul, noGrad, scope, sum, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { observe } from '../../autograd/context.ts';
import { acquire } from '../../gpu/index.ts';
import { BertConfig, BertForSequenceClassification } from '../../models/index.ts';
import { collate } from '../../train/data/tokenised.ts';
import type { TokenisedExample } from '../../train/data/tokenised.ts';
import { AdamW, decayGroups, GradScaler, SGD } from '../../train/optim/index.ts';
import { Random } from '../../common/random.ts';
import { readTrainingState, restoreTraining, saveTraining } from '../../train/trainer/run-state.ts';

const test = suite('mixed precision');
const { target } = await acquire();

/** Examples whose second token tells the class. */
function examples(count: number): TokenisedExample[] {
  const random = new Random(3);
  return Array.from({ length: count }, () => {
    const label = random.int(2);
    const inputIds = Int32Array.from({ length: 8 }, (_, i) => (i === 1 ? 10 + label : 12 + random.int(20)));
    return { inputIds, tokenTypeIds: new Int32Array(8), label };
  });
}

const config = BertConfig.create({
  vocabSize: 32,
  hiddenSize: 32,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  intermediateSize: 64,
  maxPositionEmbeddings: 16,
  hiddenDropoutProb: 0,
  attentionProbsDropoutProb: 0,
});

async function losses(
  mixed: boolean,
  steps: number,
  compiled = false,
): Promise<{ losses: number[]; scaler: GradScaler; captures: string[] }> {
  manualSeed(5);
  const model = new BertForSequenceClassification(config);
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 2e-3, halfCopies: mixed });
  const scaler = new GradScaler();
  const data = examples(64);
  const captures: string[] = [];
  const seen: number[] = [];
  const run = (batch: ReturnType<typeof collate>): Tensor => {
    const loss = mixed ? autocast(() => model.forward(batch).loss!) : model.forward(batch).loss!;
    (mixed ? scaler.scale(loss) : loss).backward();
    optimizer.step(mixed ? { scaler, maxNorm: 1 } : { maxNorm: 1 });
    optimizer.zeroGrad();
    return loss;
  };
  const step = compiled ? compile(run, { log: (line) => captures.push(line) }) : run;
  for (let i = 0; i < steps; i++) {
    using _ = scope();
    optimizer.lr = 2e-3 * (1 - i / 100);
    seen.push(await step(collate(data.slice((i % 4) * 16, (i % 4) * 16 + 16), 0)).item());
  }
  return { losses: seen, scaler, captures };
}

if (target.f16) {
  test('a small BERT learns in f16 as it does in f32', async () => {
    const [half, single] = [await losses(true, 24), await losses(false, 24)];
    const [found, skipped] = await Promise.all([half.scaler.found.item(), half.scaler.skipped.item()]);
    assert.is(found, 0);
    assert.ok(skipped <= 3, `${skipped} steps skipped`); // the first scale may be too large
    assert.ok(single.losses.at(-1)! < 0.6 * single.losses[0]!, `f32: ${single.losses.join(' ')}`);
    // Skipped steps leave f16 that many steps behind.
    single.losses.slice(0, 24 - skipped).forEach((loss, i) => {
      const error = Math.abs(half.losses[i + skipped]! - loss);
      if (!(error <= 0.03)) assert.unreachable(`step ${i}: ${half.losses[i + skipped]} in f16, ${loss} in f32`);
    });
  });
}

for (const mixed of target.f16 ? [false, true] : [false]) {
  test(`a compiled step in ${mixed ? 'f16' : 'f32'} replays what changes from step to step`, async () => {
    const [replayed, immediate] = [await losses(mixed, 12, true), await losses(mixed, 12)];
    assert.equal(replayed.captures, []);
    assert.is(await replayed.scaler.skipped.item(), await immediate.scaler.skipped.item());
    immediate.losses.forEach((loss, i) => {
      const error = Math.abs(replayed.losses[i]! - loss);
      // Fusion keeps numbers in f32 that are rounded to f16 otherwise.
      if (!(error <= (mixed ? 0.02 : 1e-4))) assert.unreachable(`step ${i}: ${replayed.losses[i]}, immediate ${loss}`);
    });
  });
}

test('an infinite or NaN gradient skips the step, its counts and its moments', async () => {
  for (const bad of [Infinity, -Infinity, NaN]) {
    const [x, y] = [
      tensor([1, 2, 3], { requiresGrad: true }),
      tensor(new Float32Array(20_000), { requiresGrad: true }),
    ];
    const optimizer = new AdamW([x, y], { lr: 0.1 });
    const scaler = new GradScaler({ initScale: 4, growthInterval: 1 });
    const step = async (gx: number[], last: number): Promise<void> => {
      x.grad = tensor(gx);
      const gy = new Float32Array(20_000);
      gy[19_999] = last;
      y.grad = tensor(gy);
      optimizer.step({ scaler, maxNorm: 100 });
    };
    await step([4, 4, 4], bad);
    assert.equal(Array.from(await x.data()), [1, 2, 3]);
    assert.is(await scaler.found.item(), 1);
    assert.is(await scaler.current.item(), 2);
    for (const { steps, tensors } of optimizer.snapshot().groups) {
      assert.ok((await steps.data()).every((v) => v === 0));
      for (const moments of tensors) assert.ok((await moments.data()).every((v) => v === 0));
    }
    // Large gradients whose squares overflow are no such thing: the norm is infinite, so that clipping leaves
    // nothing of them.
    await step([4, 4, 4], 3e38);
    assert.is(await scaler.found.item(), 0);
    assert.is(await scaler.current.item(), 4);
    await step([4, 4, 4], 4);
    assert.is(await scaler.current.item(), 8);
    assert.ok((await x.data()).every((v, i) => v < [1, 2, 3][i]!));
    assert.is(await optimizer.gradNorm.item(), 2);
  }
});

for (const compiled of [false, true]) {
  test(`scaler.step and update${compiled ? ', compiled,' : ''} do what optimizer.step({ scaler }) does`, async () => {
    const make = (apart: boolean) => {
      const params = [tensor([1, 2], { requiresGrad: true }), tensor([3], { requiresGrad: true })];
      const optimizer = new AdamW(params, { lr: 0.1 });
      const scaler = new GradScaler({ initScale: 4, growthInterval: 2 });
      const run = (factor: Tensor): void => {
        scaler.scale(mul(sum(mul(params[0]!, params[1]!)), factor)).backward();
        if (apart) scaler.step(optimizer);
        else optimizer.step({ scaler });
        if (apart) scaler.update();
        optimizer.zeroGrad();
      };
      const step = compiled ? compile(run, { log: (line) => assert.unreachable(line) }) : run;
      const numbers = () => Promise.all([...params, scaler.state].map((x) => x.data()));
      return { step, numbers };
    };
    const [apart, together] = [make(true), make(false)];
    for (const factor of [1, 1, Infinity, 1, NaN, 1, 1, 1]) {
      for (const { step } of [apart, together]) step(tensor(factor));
      assert.equal(await apart.numbers(), await together.numbers());
    }
    assert.is((await apart.numbers()).at(-1)![3], 2, 'steps skipped');
  });
}

test('one scaler serves two optimizers: an overflow of either lowers the scale once', async () => {
  const params = [tensor([1, 2], { requiresGrad: true }), tensor([3], { requiresGrad: true })];
  const optimizers = params.map((x) => new SGD([x], { lr: 1 }));
  const scaler = new GradScaler({ initScale: 4 });
  params[0]!.grad = tensor([4, Infinity]);
  params[1]!.grad = tensor([4]);
  for (const optimizer of optimizers) scaler.step(optimizer);
  assert.is(await scaler.current.item(), 4, 'until update');
  scaler.update();
  scaler.update(); // nothing was noted since
  assert.equal(Array.from(await scaler.state.data()), [2, 0, 1, 1]);
  assert.equal(Array.from(await params[0]!.data()), [1, 2]);
  assert.equal(Array.from(await params[1]!.data()), [2]);
});

test('without a scaler a bad gradient is not hidden', async () => {
  const x = tensor([1, 2], { requiresGrad: true });
  x.grad = tensor([NaN, 1]);
  new SGD([x], { lr: 1 }).step({ maxNorm: 1 });
  assert.ok((await x.data()).every(Number.isNaN));
});

test('nothing on the tape changes from step to step but the numbers on the device', async () => {
  const parameters = [tensor([1, 2], { requiresGrad: true }), tensor([3], { requiresGrad: true })];
  const optimizer = new AdamW(parameters, { lr: 0.1 });
  const scaler = new GradScaler();
  const tapes: string[] = [];
  for (let i = 0; i < 3; i++) {
    optimizer.lr = 0.1 / (i + 1);
    scaler.scale(sum(mul(parameters[0]!, parameters[1]!))).backward();
    const entries: string[] = [];
    const stop = observe(({ name, attrs }) => entries.push(`${name} ${JSON.stringify(attrs)}`));
    optimizer.step({ scaler, maxNorm: 1 });
    stop();
    optimizer.zeroGrad();
    tapes.push(entries.join('\n'));
  }
  assert.is(tapes[1], tapes[0]);
  assert.is(tapes[2], tapes[0]);
  assert.equal(Array.from(await optimizer.snapshot().groups[0]!.steps.data()), [3, 3]);
});

test('a checkpoint carries scale and counts, and the resumed run is the same bit for bit', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tapeform-scaler-'));
  try {
    const start = () => {
      const x = tensor([3, -1, 0.5], { requiresGrad: true });
      const b = tensor([0.25], { requiresGrad: true });
      const optimizer = new AdamW([x, b], { lr: 0.05 });
      const scaler = new GradScaler({ initScale: 16, growthInterval: 3 });
      const step = (i: number): void => {
        const y: Tensor = dropout(mul(x, b), 0.25);
        scaler.scale(sum(mul(y, y))).backward();
        if (i === 2) x.grad!.assign(tensor(Infinity));
        optimizer.step({ scaler });
        optimizer.zeroGrad();
      };
      const numbers = async () => [x, b, scaler.state].map((t) => t.data().then((d) => Array.from(d)));
      return { x, b, optimizer, scaler, step, numbers: async () => Promise.all(await numbers()) };
    };
    manualSeed(1);
    const whole = start();
    for (let i = 0; i < 5; i++) whole.step(i);
    const state = { step: 5, seconds: 0, sinceBest: 0, identity: {} };
    const saved = await saveTraining(folder, state, whole.optimizer, () => Promise.resolve(), whole.scaler);
    const at = await whole.numbers();
    for (let i = 5; i < 10; i++) whole.step(i);

    manualSeed(99);
    const resumed = start();
    noGrad(() => [resumed.x, resumed.b].forEach((x, i) => x.assign(tensor(at[i]!))));
    await restoreTraining(saved, await readTrainingState(saved), resumed.optimizer, resumed.scaler);
    assert.equal(await resumed.numbers(), at);
    for (let i = 5; i < 10; i++) resumed.step(i);
    assert.equal(await resumed.numbers(), await whole.numbers());

    const other = new AdamW([tensor([1], { requiresGrad: true })]);
    try {
      await restoreTraining(saved, await readTrainingState(saved), other);
      assert.unreachable('it should have failed');
    } catch (error) {
      assert.match((error as Error).message, /belongs to other parameters/);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('small parameters share memory; an optimizer made later takes them over', async () => {
  const [a, b] = [tensor([1, 2], { requiresGrad: true }), tensor([3], { requiresGrad: true })];
  const first = new SGD([a, b], { lr: 1 });
  assert.is(a.storage, b.storage);
  const second = new SGD([a, b], { lr: 1 });
  for (const x of [a, b]) x.grad = tensor(new Float32Array(x.size).fill(1));
  assert.throws(() => first.step(), /taken over by an optimizer made later/);
  second.step();
  assert.equal(Array.from(await a.data()), [0, 1]);
  assert.equal(Array.from(await b.data()), [2]);
});

test('bad input names the mend', () => {
  assert.throws(() => new GradScaler({ initScale: 0 }), /initScale must be a finite number above 0, got 0/);
  assert.throws(() => new GradScaler({ growthFactor: 1 }), /growthFactor must be a finite number above 1/);
  assert.throws(
    () => new GradScaler({ initScale: Infinity }),
    /initScale must be a finite number above 0, got Infinity/,
  );
  const misspelt: object = { init_scale: 1 };
  assert.throws(() => new GradScaler(misspelt), /GradScaler: no option "init_scale"; it has initScale, growth/);
  assert.throws(() => new GradScaler({ backoffFactor: 1 }), /backoffFactor/);
  assert.throws(() => new GradScaler({ growthInterval: 0.5 }), /growthInterval/);
  const x = tensor([1], { requiresGrad: true });
  assert.throws(() => new SGD([x]).step({ maxNorm: 0 }), /maxNorm must be a finite number above 0, got 0/);
});

test.run();
