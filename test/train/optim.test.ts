import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, mul, ShapeError, sub, sum, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  Adafactor,
  Adam,
  AdamW,
  clipCoefficient,
  ExponentialLR,
  gradNorm,
  Lion,
  Muon,
  RMSprop,
  SGD,
  GradScaler,
} from '../../train/optim/index.ts';
import type { GroupedOptimizer, Parameters, StepOptions } from '../../train/optim/index.ts';

const optimizers = { Adam, AdamW, RMSprop, SGD };
const ofMatrices = { Adafactor, Muon };

/** An optimizer of any options. */
type AnyOptimizer = GroupedOptimizer<{ lr: number }> & { step(options?: StepOptions): void };
type Make = new (params: Parameters<object>, options: object) => AnyOptimizer;

/** torch.optim in float64, see test/golden/golden_optim.py. */
interface Goldens {
  readonly problem: { readonly start: number[][]; readonly target: number[][]; readonly scale: number[][] };
  readonly optimizers: readonly {
    readonly name: keyof typeof optimizers;
    readonly options: Record<string, number>;
    readonly secondGroup: Record<string, number> | null;
    readonly values: number[][][];
  }[];
  readonly matrices: readonly {
    readonly name: keyof typeof ofMatrices;
    readonly options: object;
    readonly shapes: number[][];
    readonly steps: number;
    readonly values: number[][];
  }[];
  readonly clipping: readonly {
    readonly gradients: number[][];
    readonly maxNorm: number;
    readonly norm: number;
    readonly clipped: number[][];
  }[];
}

const goldens = JSON.parse(readFileSync(new URL('../golden/optim.json', import.meta.url), 'utf8')) as Goldens;
const { start, target, scale } = goldens.problem;
const test = suite('optimizers');

function close(got: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  assert.is(got.length, expected.length);
  expected.forEach((value, i) => {
    const error = Math.abs(got[i]! - value);
    if (!(error <= tolerance * (1 + Math.abs(value)))) assert.unreachable(`element ${i}: ${got[i]} is not ${value}`);
  });
}

/** Elements of their numbers, for a shape. */
const filled = (shape: readonly number[], of: (i: number) => number): number[] =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => of(i));

const leaf = (values: number[]): Tensor => tensor(values, { requiresGrad: true });

for (const { name, options, secondGroup, values } of goldens.optimizers) {
  test(`${name} ${JSON.stringify(options)} ${JSON.stringify(secondGroup)} equals torch.optim`, async () => {
    const parameters = start.map(leaf);
    const groups = secondGroup
      ? [{ params: parameters.slice(0, 1) }, { params: parameters.slice(1), ...secondGroup }]
      : [{ params: parameters }];
    const optimizer = new optimizers[name](groups, options);
    for (const expected of values) {
      optimizer.zeroGrad();
      for (const [i, w] of parameters.entries()) {
        const error = sub(w, tensor(target[i]!));
        sum(mul(mul(error, error), mul(tensor(scale[i]!), 0.5))).backward();
      }
      optimizer.step();
      for (const [i, w] of parameters.entries()) close(await w.data(), expected[i]!, 1e-5);
    }
  });
}

test('Lion equals its paper, algorithm 2, in float64', async () => {
  const [lr, beta1, beta2, weightDecay] = [0.05, 0.8, 0.95, 0.1];
  const x = leaf(start[0]!);
  const optimizer = new Lion([x], { lr, betas: [beta1, beta2], weightDecay });
  const want = [...start[0]!];
  const momentum = want.map(() => 0);
  for (let step = 0; step < 12; step++) {
    const gradient = want.map((_, k) => Math.sin(3 * k + step) + 0.1);
    x.grad = tensor(gradient);
    optimizer.step();
    gradient.forEach((g, k) => {
      want[k]! -= lr * (Math.sign(beta1 * momentum[k]! + (1 - beta1) * g) + weightDecay * want[k]!);
      momentum[k] = beta2 * momentum[k]! + (1 - beta2) * g;
    });
    close(await x.data(), want, 1e-5);
  }
});

for (const { name, options, shapes, steps, values } of goldens.matrices) {
  const titled = `${name} ${JSON.stringify(options)}`;
  const parametersOf = (): Tensor[] =>
    shapes.map((shape) =>
      tensor(
        filled(shape, (i) => Math.sin(3 * i) + 0.1),
        { shape, requiresGrad: true },
      ),
    );
  const make = (parameters: readonly Tensor[]): AnyOptimizer => new (ofMatrices[name] as Make)(parameters, options);
  const stepOf = (optimizer: AnyOptimizer, parameters: readonly Tensor[]) => (): void => {
    for (const x of parameters)
      x.grad = mul(
        x.detach(),
        tensor(
          filled(x.shape, (i) => 1.5 + Math.cos(i)),
          { shape: x.shape },
        ),
      );
    optimizer.step();
  };

  test(`${titled} equals its reference, immediate and replayed, and goes on from a snapshot`, async () => {
    const [immediate, compiled, stopped] = [parametersOf(), parametersOf(), parametersOf()];
    const step = stepOf(make(immediate), immediate);
    const replay = compile(stepOf(make(compiled), compiled), { log: (line) => assert.unreachable(line) });
    for (let i = 0; i < steps; i++) {
      step();
      replay();
    }
    const first = make(stopped);
    const before = stepOf(first, stopped);
    for (let i = 0; i < 5; i++) before();
    const resumed = await Promise.all(
      stopped.map(async (x) => tensor(await x.data(), { shape: x.shape, requiresGrad: true })),
    );
    const second = make(resumed);
    second.restore(first.snapshot());
    const after = stepOf(second, resumed);
    for (let i = 5; i < steps; i++) after();
    for (const [i, x] of immediate.entries()) {
      close(await x.data(), values[i]!, 2e-5);
      assert.equal(await compiled[i]!.data(), await x.data(), 'compiled');
      assert.equal(await resumed[i]!.data(), await x.data(), 'resumed');
    }
  });
}

test('Muon takes matrices only, and names what it does not take', () => {
  const named = (shape: number[]): [string, Tensor] => [
    `layer.${shape.length}`,
    tensor(new Array<number>(6).fill(1), { shape, requiresGrad: true }),
  ];
  assert.throws(
    () => new Muon([named([2, 3]), named([6])]),
    /^Muon: layer\.1 is \[6\], only matrices are updated; give it to an AdamW of its own$/,
  );
  assert.throws(() => new Muon([named([2, 3])[1], named([1, 2, 3])[1]]), /Muon: parameter 1 is \[1, 2, 3\], only/);
  const make = (options: object) => () => new Muon([named([2, 3])], options);
  assert.throws(
    make({ adjustLrFn: 'rms' }),
    /Muon: adjustLrFn must be one of original, match_rms_adamw, spectral_unclamped, got "rms"/,
  );
  assert.throws(make({ nsSteps: 100 }), /Muon: nsSteps must be a whole number from 0 to below 100, got 100/);
  assert.throws(make({ nsSteps: 1.5 }), /nsSteps must be a whole number/);
  assert.throws(make({ nsCoefficients: [1, 2] }), /nsCoefficients must be a list of 3 numbers, got \[1,2\]/);
});

test('Muon sees an option that decides what it does, set between replays', async () => {
  const make = (): Tensor => tensor([1, -2, 3, 4, 0.5, -6], { shape: [2, 3], requiresGrad: true });
  const [x, y] = [make(), make()];
  const [compiled, immediate] = [new Muon([x], { lr: 0.1 }), new Muon([y], { lr: 0.1 })];
  const stepOf = (of: Tensor, optimizer: Muon) => (): void => {
    of.grad = mul(of.detach(), 2);
    optimizer.step();
  };
  const [replay, step] = [compile(stepOf(x, compiled), { log: () => undefined }), stepOf(y, immediate)];
  const changes = [
    ({ paramGroups }: Muon) => (paramGroups[0]!.lr = 0.2),
    ({ paramGroups }: Muon) => (paramGroups[0]!.adjustLrFn = 'match_rms_adamw'),
    ({ paramGroups }: Muon) => (paramGroups[0]!.nesterov = false),
    ({ paramGroups }: Muon) => (paramGroups[0]!.nsSteps = 2),
  ];
  for (const change of changes) {
    change(compiled);
    change(immediate);
    replay();
    step();
    assert.equal(await x.data(), await y.data());
  }
});

test('RMSprop that keeps no average of gradients does not become centered', () => {
  const [plain, centered] = [new RMSprop([leaf([1])]), new RMSprop([leaf([1])], { centered: true })];
  assert.throws(() => (plain.paramGroups[0]!.centered = true), /RMSprop: .*make the optimizer with centered: true/);
  centered.paramGroups[0]!.centered = false;
});

test('Adafactor follows a schedule where the rate is its own', async () => {
  const [x, y] = [leaf([1, 2]), leaf([1, 2])];
  const own = { relativeStep: false, lr: 0.5 };
  const [scheduled, set] = [new Adafactor([x], own), new Adafactor([y], own)];
  const scheduler = new ExponentialLR(scheduled, 0.5);
  for (const lr of [0.5, 0.25, 0.125]) {
    x.grad = tensor([3, 4]);
    y.grad = tensor([3, 4]);
    set.lr = lr;
    scheduled.step();
    set.step();
    scheduler.step();
  }
  assert.equal(await x.data(), await y.data());
});

test('Adafactor goes on from its snapshot as if it had not stopped', async () => {
  const make = (): Tensor => tensor([1, -2, 3, 4, 0.5, -6], { shape: [2, 3], requiresGrad: true });
  const options = { beta1: 0.9 };
  const [whole, first] = [make(), make()];
  const [straight, stopped] = [new Adafactor([whole], options), new Adafactor([first], options)];
  const step = (x: Tensor, optimizer: Adafactor): void => {
    x.grad = mul(x.detach(), 2);
    optimizer.step();
  };
  for (let i = 0; i < 6; i++) step(whole, straight);
  for (let i = 0; i < 3; i++) step(first, stopped);
  const second = tensor(await first.data(), { shape: [2, 3], requiresGrad: true });
  const resumed = new Adafactor([second], options);
  resumed.restore(stopped.snapshot());
  for (let i = 0; i < 3; i++) step(second, resumed);
  assert.equal(await second.data(), await whole.data());
});

test('Adafactor clips the norm of all gradients, and sees a rate that is set between replays', async () => {
  const own = { relativeStep: false, scaleParameter: false, clipThreshold: 1e9, lr: 0.5 };
  const [x, y] = [leaf([1, 2]), leaf([1, 2])];
  const [clipping, scaling] = [new Adafactor([x], own), new Adafactor([y], own)];
  const step = compile(() => {
    x.grad = tensor([3, 4]);
    clipping.step({ maxNorm: 1 });
  });
  for (const lr of [0.5, 0.25, 0.125]) {
    clipping.lr = lr;
    scaling.lr = lr;
    step();
    y.grad = tensor([0.6, 0.8]);
    scaling.step();
  }
  close(await x.data(), [...(await y.data())], 1e-5);
});

test('Adafactor says which options do not go together, and what its step does not take', () => {
  const x = leaf([1]);
  assert.throws(() => new Adafactor([x], { lr: 0.1 }), /relativeStep makes the rate itself/);
  assert.throws(() => new Adafactor([x], { relativeStep: false }), /relativeStep: false needs an lr above 0/);
  assert.throws(
    () => new ExponentialLR(new Adafactor([x]), 0.9),
    /relativeStep makes the rate itself, none can be set/,
  );
  assert.throws(() => new Adafactor([x], { warmupInit: true, relativeStep: false, lr: 1 }), /needs relativeStep/);
  assert.throws(() => new Adafactor([x], { clipThreshold: 0 }), /clipThreshold must be a finite number above 0, got 0/);
  assert.throws(() => new Adafactor([x], { decayRate: 0.5 }), /decayRate must be a finite number from -1 to below 0/);
  x.grad = tensor([1]);
  assert.throws(
    () => new Adafactor([x]).step({ skipNonFinite: true }),
    /takes gradScale and maxNorm, not skipNonFinite/,
  );
});

test('clipping equals torch.nn.utils.clip_grad_norm_', async () => {
  for (const { gradients, maxNorm, norm, clipped } of goldens.clipping) {
    const parameters = gradients.map((g) => leaf(g.map(() => 0)));
    parameters.forEach((x, i) => (x.grad = tensor(gradients[i]!)));
    const found = gradNorm(parameters);
    close([await found.item()], [norm], 1e-6);
    new SGD(parameters, { lr: 1 }).step({ gradScale: clipCoefficient(found, maxNorm) });
    for (const [i, x] of parameters.entries())
      close(
        await x.data(),
        clipped[i]!.map((v) => -v),
        1e-5,
      );
  }
});

test('many parameters take several dispatches and still count for one norm', async () => {
  const parameters = Array.from({ length: 40 }, (_, i) => leaf(new Array<number>(i + 1).fill(1)));
  parameters.forEach((x, i) => (x.grad = tensor(new Array<number>(i + 1).fill(2))));
  close([await gradNorm(parameters).item()], [2 * Math.sqrt((40 * 41) / 2)], 1e-6);
  new SGD(parameters, { lr: 0.25 }).step();
  for (const x of parameters) close(await x.data(), new Array<number>(x.size).fill(0.5), 1e-6);
});

test('a parameter without a gradient is left alone and keeps its own step count', async () => {
  const [a, b] = [leaf([1]), leaf([1])];
  const optimizer = new AdamW([a, b], { lr: 0.1, weightDecay: 0 });
  a.grad = tensor([1]);
  optimizer.step();
  b.grad = tensor([1]);
  optimizer.step();
  // A constant gradient moves Adam by lr a step, whatever its size.
  close(await a.data(), [0.8], 1e-5);
  close(await b.data(), [0.9], 1e-5);
});

test('more parameters and groups than one dispatch decides on', async () => {
  const groups = Array.from({ length: 40 }, (_, g) => ({
    params: Array.from({ length: 21 }, () => leaf([1])),
    lr: (g + 1) / 64,
  }));
  const optimizer = new SGD(groups, {});
  const parameters = [...optimizer.parameters];
  parameters.forEach((x, i) => i % 5 !== 3 && (x.grad = tensor([2])));
  optimizer.step({ maxNorm: 1e6 });
  const values = await Promise.all(parameters.map((x) => x.item()));
  values.forEach((value, i) => assert.is(value, i % 5 === 3 ? 1 : 1 - (Math.floor(i / 21) + 1) / 32));
  close([await optimizer.gradNorm.item()], [2 * Math.sqrt(840 * 0.8)], 1e-6);
});

test('snapshot and restore continue bit for bit', async () => {
  const run = async (stopAt: number | undefined): Promise<number> => {
    let w = leaf([3]);
    let optimizer = new AdamW([w], { lr: 0.05 });
    for (let i = 0; i < 8; i++) {
      optimizer.zeroGrad();
      sum(mul(w, w)).backward();
      optimizer.step();
      if (i !== stopAt) continue;
      const saved = optimizer.snapshot();
      w = leaf([await w.item()]);
      optimizer = new AdamW([w], { lr: 0.05 });
      optimizer.restore(saved);
    }
    return w.item();
  };
  assert.is(await run(4), await run(undefined));
});

test('bad input names the mend', () => {
  assert.throws(() => new AdamW([]), /AdamW: a group has no parameters/);
  assert.throws(() => new AdamW([tensor([1])]), /does not require a gradient/);
  assert.throws(() => new AdamW([leaf([1])], { lr: -1 }), /AdamW: lr must be a finite number from 0 on, got -1/);
  const shared = leaf([1]);
  assert.throws(() => new SGD([{ params: [shared] }, { params: [shared] }]), /in two groups/);
  assert.throws(() => new SGD([leaf([1])], { nesterov: true }), /nesterov needs a momentum/);
  const x = leaf([1, 2]);
  x.grad = tensor([1]);
  assert.throws(
    () => new SGD([x]).step(),
    (error: unknown) =>
      error instanceof ShapeError && /sgd: parameter f32 \[2\] and gradient f32 \[1\]/.test(error.message),
  );
});

test('averages: the unbiased exponential mean of all parameters so far, for the time of a call', async () => {
  const decay = 0.9;
  // One parameter of its own, two that share a buffer; one that is not always updated.
  const parameters = [leaf(new Array<number>(20_000).fill(1)), leaf([1, 2, 3]), leaf([4, 5])];
  const optimizer = new AdamW(parameters, { lr: 0.1, ema: decay });
  const seen = parameters.map((): number[][] => []);
  for (let step = 0; step < 5; step++) {
    parameters.forEach((x, i) => {
      if (i < 2 || step % 2 === 0) x.grad = tensor(Array.from({ length: x.size }, (_, k) => Math.sin(k + step)));
    });
    optimizer.step();
    for (const [i, x] of parameters.entries()) if (x.grad) seen[i]!.push(Array.from(await x.data()));
    optimizer.zeroGrad();
  }
  const before = await Promise.all(parameters.map((x) => x.data()));
  const inside = await optimizer.withAverages(() => Promise.all(parameters.map((x) => x.data())));
  inside.forEach((got, i) => {
    const weights = seen[i]!.map((_, k) => decay ** (seen[i]!.length - 1 - k));
    const mass = weights.reduce((a, b) => a + b, 0);
    const mean = seen[i]![0]!.map((_, e) => seen[i]!.reduce((sum, x, k) => sum + weights[k]! * x[e]!, 0) / mass);
    close(got, mean, 1e-5);
  });
  assert.equal(await Promise.all(parameters.map((x) => x.data())), before);
  await optimizer.withAverages(() => Promise.reject(new Error('stop'))).catch(() => undefined);
  assert.equal(await Promise.all(parameters.map((x) => x.data())), before);
  const fresh = new AdamW([leaf([7])], { lr: 0.1, ema: decay });
  assert.is(await fresh.withAverages(() => fresh.parameters[0]!.item()), 7, 'before a first step');
  assert.throws(() => new AdamW([leaf([1])], { ema: 1 }), /ema must be a finite number from 0 to below 1, got 1/);
});

test('averages change nothing of the updates themselves', async () => {
  const results = [];
  for (const ema of [0, 0.99]) {
    const x = leaf([1, -2, 3]);
    const optimizer = new AdamW([x], { lr: 0.1, ema });
    for (let step = 0; step < 3; step++) {
      x.grad = tensor([0.5, -1, step]);
      optimizer.step();
    }
    results.push(await x.data());
  }
  assert.equal(results[1], results[0]);
});

for (const bad of [NaN, Infinity, -Infinity]) {
  test(`a gradient of ${bad}: with skipNonFinite a step changes nothing, as if there had been none`, async () => {
    const run = async (withBad: boolean): Promise<number[]> => {
      const parameters = [leaf([1, 2]), leaf(new Array<number>(20_000).fill(0.5))];
      const optimizer = new AdamW(parameters, { lr: 0.1, ema: 0.5 });
      for (const wrong of withBad ? [false, true, false] : [false, false]) {
        for (const x of parameters) x.grad = tensor(new Float32Array(x.size).fill(wrong ? bad : 0.25));
        optimizer.step({ skipNonFinite: true });
        assert.is(await optimizer.skipped.item(), wrong ? 1 : 0);
      }
      const averaged = await optimizer.withAverages(() => Promise.all(parameters.map((x) => x.data())));
      return [...(await Promise.all(parameters.map((x) => x.data()))), ...averaged].flatMap((x) => Array.from(x));
    };
    assert.equal(await run(true), await run(false));
  });
}

test("skipNonFinite: 'onwards': steps after one of NaN change nothing either, but with a scaler", async () => {
  const weightsOf = async (gradients: readonly number[], scaler?: GradScaler): Promise<readonly number[]> => {
    const x = leaf([1, 2]);
    const optimizer = new AdamW([x], { lr: 0.1 });
    for (const value of gradients) {
      const scale = scaler ? await scaler.current.item() : 1;
      x.grad = tensor([scale * value, scale * value]);
      optimizer.step({ skipNonFinite: 'onwards', scaler });
    }
    return Array.from(await x.data());
  };
  assert.equal(await weightsOf([0.25, NaN, 0.5, 0.125]), await weightsOf([0.25]));
  const scaled = await weightsOf([0.25, NaN, 0.5, 0.125], new GradScaler());
  close(scaled, await weightsOf([0.25, 0.5, 0.125]), 1e-6);
});

test('optimizer.lr keeps the proportions of the groups', () => {
  const [a, b] = [leaf([1]), leaf([1])];
  const optimizer = new SGD([
    { params: [a], lr: 0.1 },
    { params: [b], lr: 0.01 },
  ]);
  const rates = (): number[] => optimizer.paramGroups.map(({ lr }) => lr);
  optimizer.lr = 0;
  assert.equal(rates(), [0, 0]);
  optimizer.lr = 0.05;
  close(rates(), [0.05, 0.005], 1e-15);
  optimizer.paramGroups[1]!.lr = 0.05;
  optimizer.lr = 0.2;
  close(rates(), [0.2, 0.2], 1e-15);
  const silent = new SGD([
    { params: [a], lr: 0 },
    { params: [b], lr: 0.01 },
  ]);
  assert.throws(() => (silent.lr = 0.1), /first group's initialLr is 0/);
});

test("a group's options can be changed later and hold in a compiled step", async () => {
  const make = () => {
    const params = [leaf([1, 2]), leaf(new Array<number>(20_000).fill(3)), leaf([4])];
    const groups = [{ params: params.slice(0, 2) }, { params: params.slice(2), lr: 0.01 }];
    const optimizer = new AdamW(groups, { lr: 0.1, weightDecay: 0.1 });
    const step = (): void => {
      sum(mul(params[0]!, params[2]!))
        .add(sum(mul(params[1]!, params[1]!)))
        .backward();
      optimizer.step();
      optimizer.zeroGrad();
    };
    return { params, optimizer, step };
  };
  const [compiled, immediate] = [make(), make()];
  const replay = compile(compiled.step, { log: (line) => assert.unreachable(line) });
  const changes: ((groups: ReturnType<typeof make>['optimizer']['paramGroups']) => void)[] = [
    () => undefined,
    (groups) => (groups[1]!.lr = 0.5),
    (groups) => (groups[0]!.weightDecay = 0.7),
    (groups) => (groups[1]!.betas = [0.5, 0.6]),
    (groups) => (groups[0]!.eps = 0.25),
  ];
  for (const change of changes) {
    for (const { optimizer } of [compiled, immediate]) change(optimizer.paramGroups);
    replay();
    immediate.step();
    const [got, want] = await Promise.all(
      [compiled, immediate].map(({ params }) => Promise.all(params.map((x) => x.data()))),
    );
    got!.forEach((x, i) => close(x, Array.from(want![i]!, Number), 1e-6));
  }
  const before = await compiled.params[2]!.item();
  assert.ok(Math.abs(before - 4) > 0.5, `the new rate was used: ${before}`);
});

test('options are checked, also later', () => {
  const optimizer = new AdamW([leaf([1])]);
  const group = optimizer.paramGroups[0]!;
  assert.throws(
    () => new AdamW([leaf([1])], { betas: [0.9, 1] }),
    /AdamW: betas\[1\] must be a finite number from 0 to below 1, got 1/,
  );
  assert.throws(() => new AdamW([leaf([1])], { eps: -1 }), /AdamW: eps must be a finite number from 0 on, got -1/);
  assert.throws(() => new AdamW([leaf([1])], { weightDecay: NaN }), /weightDecay must be a finite number/);
  assert.throws(() => new SGD([leaf([1])], { momentum: -0.1 }), /SGD: momentum must be a finite number from 0 on/);
  assert.throws(() => (group.lr = Infinity), /AdamW: lr must be a finite number from 0 on, got Infinity/);
  assert.throws(() => (group.betas = [0.9, 2]), /betas\[1\]/);
  assert.throws(() => (optimizer.lr = -1), /lr of group 0 must be a finite number from 0 on, got -1/);
  assert.equal([group.lr, ...group.betas], [1e-3, 0.9, 0.999], 'a refused value changes nothing');
  assert.throws(() => new SGD([{ parameters: [leaf([1])] }] as never), /named params/);
  const misspelt = [{ params: [leaf([1])], weight_decay: 1 }];
  assert.throws(() => new AdamW(misspelt), /no option "weight_decay"; it has lr, betas/);
  const inside = compile(() => {
    optimizer.lr = 1;
  });
  group.lr = 0.5;
  assert.throws(() => (group.lr = NaN), /AdamW: lr must be a finite number from 0 on, got NaN/);
  assert.throws(() => (group.initialLr = NaN), /AdamW: initialLr must be a finite number/);
  assert.is(group.initialLr, 0.5);
  assert.throws(() => inside(), /set options outside of the compiled function/);
});

test('every optimizer refuses every wrong option, for all groups, one group and later', () => {
  const wrongOf = (usual: unknown): unknown[] => {
    if (typeof usual === 'string') return ['other', 1, null];
    if (typeof usual === 'boolean') return [1, 'true', null];
    if (Array.isArray(usual)) return [[], [...(usual as unknown[]), 0.5], 0.5, usual.map(() => NaN), null];
    return [NaN, Infinity, -2, '0.1', null, [0.1], true];
  };
  for (const make of [Adafactor, Adam, AdamW, Lion, Muon, RMSprop, SGD] as unknown as Make[]) {
    const x = (): Tensor => tensor([1, 2], { shape: [1, 2], requiresGrad: true });
    const optimizer = new make([x()], {});
    const group = optimizer.paramGroups[0]! as unknown as Record<string, unknown>;
    for (const [key, usual] of Object.entries(group).filter(([key]) => key !== 'params')) {
      for (const wrong of wrongOf(usual)) {
        const refused = (error: unknown): boolean =>
          error instanceof RangeError &&
          error.message.includes(`${make.name}: ${key}`) &&
          !error.message.includes('\n');
        if (key !== 'initialLr') assert.throws(() => new make([x()], { [key]: wrong }), refused);
        assert.throws(() => new make([{ params: [x()], [key]: wrong }], {}), refused);
        assert.throws(() => (group[key] = wrong), refused);
        assert.equal(group[key], usual, 'as it was');
      }
      if (key !== 'initialLr') new make([x()], { [key]: undefined });
    }
    assert.throws(() => new make([x()], { LR: 1 }), new RegExp(`${make.name}: no option "LR"; it has lr, `));
    assert.throws(
      () => optimizer.step({ maxnorm: 1 } as never),
      /step: no option "maxnorm"; it has gradScale, maxNorm/,
    );
    assert.throws(() => optimizer.step({ maxNorm: NaN }), /maxNorm must be a finite number above 0, got NaN/);
    assert.throws(
      () => optimizer.step({ gradScale: 0.5 } as never),
      /gradScale must be a tensor on the device: tensor/,
    );
  }
});

test.run();
