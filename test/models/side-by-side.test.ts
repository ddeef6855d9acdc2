// BERT's queries, keys and values: three layers like any others, computed by one product where possible.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  arange,
  autocast,
  cast,
  checkpoint,
  compile,
  grad,
  manualSeed,
  memory,
  ready,
  synchronize,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertForSequenceClassification, Linear, Module, normalInit, Parameter } from '../../models/index.ts';
import { parameter, zerosInit } from '../../models/parameter.ts';
import { linearsSideBySide } from '../../models/nn/linear.ts';
import { AdamW, SGD } from '../../train/optim/index.ts';
import { throwsOneLine } from '../support/failure.ts';
import { i32, inputs, settings, values } from '../support/small-bert.ts';

const test = suite('layers side by side');

const labels = i32([[0, 1]]).reshape([2]);
type Model = BertForSequenceClassification;
const partsOf = (model: Model) => model.bert.encoder.layer[0]!.attention.self;
const names = ['query', 'key', 'value'] as const;

/** A model whose weights follow from the seed, without dropout. */
function build(change: (parts: ReturnType<typeof partsOf>) => void = () => undefined): Model {
  manualSeed(3);
  const model = BertForSequenceClassification.fromConfig({ ...settings, initializerRange: 0.5 }).eval();
  change(partsOf(model));
  return model;
}

const lossOf = (model: Model): Tensor => model.forward({ ...inputs, labels }).loss!;
const weightsOf = (model: Model): Parameter[] => {
  const { query, key, value } = partsOf(model);
  return [query, key, value].flatMap(({ weight, bias }) => [weight, bias!]);
};

/** Another layer with the weights of one. */
function copyOf({ weight, bias }: Linear): Linear {
  const [out, into] = weight.shape as [number, number];
  const options = { weight: new Parameter(weight.clone()), bias: new Parameter(bias!.clone()) };
  return new Linear(into, out, options);
}

/** A user's adapter around a layer. */
class Wrapped extends Module {
  readonly base: Linear;

  constructor(base: Linear) {
    super();
    this.base = base;
  }

  override forward(x: Tensor): Tensor {
    return this.base.forward(x);
  }
}

/** How many dispatches a function takes, op by op. */
async function dispatchesOf(fn: () => void): Promise<number> {
  const { encoder } = await ready();
  let count = 0;
  encoder.timer = () => void count++;
  try {
    fn();
  } finally {
    encoder.timer = undefined;
  }
  return count;
}

async function near(a: Tensor, b: Tensor, message: string, tolerance = 1e-5): Promise<void> {
  const [left, right] = [await values(a), await values(b)];
  assert.is(left.length, right.length, message);
  left.forEach((v, i) => assert.ok(Math.abs(v - right[i]!) <= tolerance, `${message}: ${v} and ${right[i]}`));
}

test('each is a Linear with parameters of its own; initial values are those of one layer', async () => {
  const model = build();
  const at = 'bert.encoder.layer.0.attention.self';
  const found = model.namedParameters().filter(([name]) => name.startsWith(at));
  const expected = names.flatMap((name) => [`${at}.${name}.weight`, `${at}.${name}.bias`]);
  assert.equal(
    found.map(([name]) => name),
    expected,
  );
  assert.equal(
    [...model.stateDict().keys()].filter((name) => name.startsWith(at)),
    expected,
  );
  assert.ok(names.every((name) => new Map(model.namedModules()).get(`${at}.${name}`) instanceof Linear));
  manualSeed(4);
  const one = parameter([24, 8], normalInit(1));
  manualSeed(4);
  const three = linearsSideBySide(8, [8, 8, 8], { weightInit: normalInit(1), biasInit: zerosInit });
  const rows = await Promise.all(three.map(({ weight }) => values(weight)));
  assert.equal(rows.flat(), await values(one));
});

test('each part of a state goes into its own layer', async () => {
  const model = build();
  const { query, key, value } = partsOf(model);
  const before = await values(key.weight);
  model.loadStateDict(model.stateDict()); // its own
  assert.equal(await values(key.weight), before);
  const name = 'bert.encoder.layer.0.attention.self.key.bias';
  model.loadStateDict(new Map([[name, arange(1, 9)]]), { strict: false });
  const biases = await Promise.all([query, key, value].map(({ bias }) => values(bias!)));
  assert.equal(biases, [new Array(8).fill(0), [1, 2, 3, 4, 5, 6, 7, 8], new Array(8).fill(0)]);
});

test('replaced, wrapped or hooked, one of them gives the same outputs and gradients', async () => {
  const model = build();
  lossOf(model).backward();
  const seen: unknown[] = [];
  const cases: [string, (parts: ReturnType<typeof partsOf>) => void][] = [
    ['replaced', (parts) => (parts.key = copyOf(parts.key))],
    ['all replaced', (parts) => names.forEach((name) => (parts[name] = copyOf(parts[name])))],
    ['wrapped', (parts) => Object.assign(parts, { value: new Wrapped(parts.value) })],
    ['hooked', ({ query }) => query.registerForwardHook((_, __, output) => void seen.push(output))],
    ['weight replaced', ({ query }) => (query.weight = new Parameter(query.weight.clone()))],
  ];
  const dispatches = await dispatchesOf(() => void lossOf(model));
  for (const [name, change] of cases) {
    const other = build(change);
    const loss = lossOf(other);
    loss.backward();
    await near(loss, lossOf(model), name);
    const [a, b] = [model.parameters(), other.parameters()];
    assert.is(a.length, b.length);
    for (const [i, x] of a.entries()) await near(x.grad!, b[i]!.grad!, `${name}, gradient ${i}`);
    const more = await dispatchesOf(() => void lossOf(other));
    assert.ok(more > dispatches, `${name}: computed apart`);
  }
  assert.ok(seen.length > 0, 'the hook ran');
  assert.equal((seen[0] as Tensor).shape, [2, 3, 8]);
});

test('compiled: a hook on one of them is captured anew, and so is its removal', async () => {
  const model = build();
  const lines: string[] = [];
  const run = compile(() => lossOf(model), { log: (line) => lines.push(line) });
  const before = await run().item();
  const handle = partsOf(model).key.registerForwardHook((_, __, output) => (output as Tensor).mul(-3));
  assert.ok(Math.abs((await run().item()) - before) > 1e-4);
  handle.remove();
  assert.is(await run().item(), before);
  assert.is(lines.length, 2);
});

test('smaller ones after pruning a head run too', () => {
  const model = build((parts) => {
    names.forEach((name) => (parts[name] = new Linear(8, 4)));
  });
  Object.assign(model.bert.encoder.layer[0]!.attention.output, { dense: new Linear(4, 8) });
  lossOf(model).backward();
  assert.equal(partsOf(model).key.weight.grad!.shape, [4, 8]);
});

test('one in another type runs beside the others', async () => {
  class Half extends Wrapped {
    override forward(x: Tensor): Tensor {
      return cast(this.base.forward(cast(x, 'f16')), 'f32');
    }
  }
  const model = build((parts) => Object.assign(parts, { key: new Half(parts.key).to('f16') }));
  await near(lossOf(model), lossOf(build()), 'loss', 1e-2);
});

test('gradients add up over several passes, and one may be cleared alone', async () => {
  const [model, apart] = [build(), build((parts) => (parts.key = copyOf(parts.key)))];
  for (const each of [model, apart]) {
    lossOf(each).backward();
    lossOf(each).add(lossOf(each)).backward();
    partsOf(each).query.weight.clearGrad();
    lossOf(each).backward();
  }
  for (const [i, x] of weightsOf(model).entries()) await near(x.grad!, weightsOf(apart)[i]!.grad!, `${i}`);
  const [direct] = grad(lossOf(model), [partsOf(model).key.weight]);
  for (const x of model.parameters()) x.clearGrad();
  lossOf(model).backward();
  await near(direct!, partsOf(model).key.weight.grad!, 'grad');
});

test('a frozen one gets no gradient', async () => {
  const freeze = ({ value }: ReturnType<typeof partsOf>): void => void value.requiresGrad(false);
  const model = build(freeze);
  lossOf(model).backward();
  const { query, value } = partsOf(model);
  assert.is(value.weight.grad, undefined);
  const whole = build();
  lossOf(whole).backward();
  await near(query.weight.grad!, partsOf(whole).query.weight.grad!, 'query');
});

test('a checkpoint computes them again', async () => {
  const [model, plain] = [build(), build()];
  lossOf(plain).backward();
  for (let times = 0; times < 2; times++) {
    for (const x of model.parameters()) x.clearGrad();
    checkpoint(() => lossOf(model)).backward();
    for (const [i, x] of weightsOf(model).entries()) await near(x.grad!, weightsOf(plain)[i]!.grad!, `${i}`);
  }
});

for (const compiled of [false, true]) {
  const how = compiled ? 'compiled' : 'op by op';
  test(`optimizers update them as one parameter, ${how}; apart the result is the same`, async () => {
    const steps = [
      undefined,
      (parts: ReturnType<typeof partsOf>) => (parts.key = copyOf(parts.key)),
      ({ query }: ReturnType<typeof partsOf>) => query.registerForwardHook(() => undefined),
    ];
    const trained = steps.map((change) => {
      const model = build(change);
      const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
      const step = (): void => {
        lossOf(model).backward();
        optimizer.step({ maxNorm: 1 });
        optimizer.zeroGrad();
      };
      const run = compiled ? compile(step) : step;
      for (let i = 0; i < 3; i++) run();
      return { model, count: optimizer.parameters.length };
    });
    const [whole, apart, hooked] = trained as [(typeof trained)[0], (typeof trained)[0], (typeof trained)[0]];
    assert.is(apart.count - whole.count, 4, 'a weight and a bias instead of three each');
    assert.is(hooked.count, whole.count);
    for (const { model } of [apart, hooked])
      for (const [i, x] of whole.model.parameters().entries())
        await near(x, model.parameters()[i]!, `parameter ${i}`, 1e-4);
  });
}

test('an optimizer of one of them trains it, with f16 copies too', async () => {
  for (const halfCopies of [false, true]) {
    const results: number[][] = [];
    for (const change of [undefined, (parts: ReturnType<typeof partsOf>) => (parts.key = copyOf(parts.key))]) {
      const model = build(change);
      const { key, value } = partsOf(model);
      const optimizer = new AdamW([key.weight, key.bias!, value.bias!], { lr: 0.01, halfCopies });
      for (let i = 0; i < 3; i++) {
        (halfCopies ? autocast(() => lossOf(model)) : lossOf(model)).backward();
        optimizer.step();
        for (const x of model.parameters()) x.clearGrad();
      }
      results.push([...(await values(key.weight)), ...(await values(partsOf(model).query.weight))]);
      results.push(await values(lossOf(model)));
    }
    const [a, b] = [results.slice(0, 2).flat(), results.slice(2).flat()];
    a.forEach((v, i) => assert.ok(Math.abs(v - b[i]!) <= (halfCopies ? 5e-3 : 1e-4), `${v} and ${b[i]}`));
  }
});

test('a compiled function captured before an optimizer moved one of them sees what it learns', async () => {
  const model = build();
  const run = compile(() => lossOf(model), { log: () => undefined });
  await run().item();
  const optimizer = new SGD([partsOf(model).key.weight], { lr: 1 });
  lossOf(model).backward();
  optimizer.step();
  await near(run(), lossOf(model), 'loss');
  assert.ok(Math.abs((await run().item()) - (await lossOf(build()).item())) > 1e-6, 'it has learned');
});

test('what an optimizer can no longer update as one is an error', () => {
  const model = build();
  const first = new SGD(model.parameters(), { lr: 0.1 });
  partsOf(model).key.requiresGrad(false);
  lossOf(model).backward();
  throwsOneLine(
    () => first.step(),
    /of 3 parameters that lie side by side, .* \[8, 8\], only 2 have a gradient; make the optimizer after/,
  );
  partsOf(model).key.requiresGrad(true);
  new SGD([partsOf(model).key.weight], { lr: 0.1 });
  lossOf(model).backward();
  throwsOneLine(() => first.step(), /was taken over by an optimizer made later/);
});

test('in f16 they lie side by side again', async () => {
  const model = build();
  const before = await dispatchesOf(() => void model.forward(inputs));
  model.to('f16');
  assert.is(await dispatchesOf(() => void model.forward(inputs)), before);
  assert.is(partsOf(model).query.weight.dtype, 'f16');
});

test('clearing each gradient gives their memory back', async () => {
  const model = build();
  const live = async (): Promise<number> => {
    await synchronize();
    return memory().live;
  };
  const step = (): void => {
    lossOf(model).backward();
    for (const x of model.parameters()) x.clearGrad();
  };
  const { storage } = partsOf(model).key.weight;
  lossOf(model).backward();
  const gradient = partsOf(model).key.weight.grad!;
  assert.is(gradient.storage, partsOf(model).query.weight.grad!.storage);
  assert.is(gradient.storage.bytes, storage.bytes);
  const before = await live();
  for (const x of weightsOf(model)) x.clearGrad();
  assert.is(before - (await live()), 4 * (3 * 64 + 24));
  step();
});

test.run();
