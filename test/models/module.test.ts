import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  addAssign,
  compile,
  manualSeed,
  memory,
  noGrad,
  normal,
  ones,
  scope,
  synchronize,
  tensor,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  GPT2Model,
  Linear,
  Module,
  ModuleBuffer,
  ModuleList,
  normalInit,
  Parameter,
  parameter,
  zeroRowInit,
} from '../../models/index.ts';
import { postponeInit } from '../../models/parameter.ts';
import { camelCase, snakeCase } from '../../models/names.ts';

const test = suite('module');

/** A module with one of everything. */
class Sample extends Module {
  static override readonly keys = { ln1: 'ln_1' };
  readonly inProj = new Linear(3, 4);
  readonly ln1 = new Linear(4, 4, { bias: false });
  readonly LayerNorm = new Linear(2, 2);
  readonly layer = [new Linear(4, 4), new Linear(4, 4)];
  readonly list = new ModuleList([new Linear(1, 1)]);
  scale = new Parameter(ones([4]));
  readonly runningMean = new ModuleBuffer(zeros([4]));
  readonly positionIds = new ModuleBuffer(tensor([0, 1, 2], { dtype: 'i32' }), { persistent: false });
  readonly cache = zeros([2]);
  readonly decoder: Linear;

  constructor() {
    super();
    this.decoder = new Linear(3, 4, { weight: this.inProj.weight, bias: this.scale });
  }

  override forward(x: Tensor): Tensor {
    let y = this.inProj.forward(x);
    for (const layer of this.layer) y = layer.forward(y);
    return y.mul(this.scale);
  }
}

const keys = [
  'scale',
  'running_mean',
  'in_proj.weight',
  'in_proj.bias',
  'ln_1.weight',
  'LayerNorm.weight',
  'LayerNorm.bias',
  'layer.0.weight',
  'layer.0.bias',
  'layer.1.weight',
  'layer.1.bias',
  'list.0.weight',
  'list.0.bias',
];

const list = async (x: Tensor | undefined): Promise<number[]> => Array.from(await x!.data());

test('names turn from camel case to snake case and back', () => {
  const pairs = [
    ['tokenTypeEmbeddings', 'token_type_embeddings'],
    ['qaOutputs', 'qa_outputs'],
    ['query', 'query'],
    ['linear1', 'linear1'],
    ['numHiddenLayers', 'num_hidden_layers'],
  ] as const;
  for (const [camel, snake] of pairs) {
    assert.is(snakeCase(camel), snake);
    assert.is(camelCase(snake), camel);
  }
  assert.is(snakeCase('LayerNorm'), 'LayerNorm');
  assert.is(snakeCase('useHTTP'), 'use_http');
});

test('parameters, buffers and modules are found by their fields, tied ones once', () => {
  const sample = new Sample();
  assert.equal([...sample.stateDict().keys()], keys);
  assert.equal(
    sample.namedParameters().map(([name]) => name),
    keys.filter((key) => key !== 'running_mean'),
  );
  assert.equal(
    sample.namedBuffers().map(([name]) => name),
    ['running_mean', 'position_ids'],
  );
  assert.equal(
    sample.namedModules().map(([name]) => name),
    ['', 'in_proj', 'ln_1', 'LayerNorm', 'layer.0', 'layer.1', 'list', 'list.0', 'decoder'],
  );
  assert.is(sample.parameters().length, 12);
  assert.is(sample.numParameters(), 4 + 12 + 4 + 16 + 6 + 2 * 20 + 2);
  assert.is(sample.stateTensors().get('decoder.weight'), sample.inProj.weight);
  assert.is(sample.stateTensors().get('decoder.bias'), sample.scale);
});

test('a state goes through another module unchanged', async () => {
  manualSeed(1);
  const [from, to] = [new Sample(), new Sample()];
  const before = to.inProj.weight;
  assert.not.equal(await list(from.inProj.weight), await list(to.inProj.weight));
  assert.equal(to.loadStateDict(from.stateDict()), { missing: [], unexpected: [], mismatched: [] });
  assert.is(to.inProj.weight, before, 'copied in place');
  for (const [key, value] of from.stateDict())
    assert.equal(await list(to.stateDict().get(key)), await list(value), key);
  const x = normal([2, 3]);
  assert.equal(await list(to.forward(x)), await list(from.forward(x)));
});

test('a tied tensor may be given under any of its keys', async () => {
  const sample = new Sample();
  const state = sample.stateDict();
  state.delete('in_proj.weight');
  state.set('decoder.weight', ones([4, 3]));
  assert.equal(sample.loadStateDict(state), { missing: [], unexpected: [], mismatched: [] });
  assert.equal(await list(sample.inProj.weight), new Array(12).fill(1));
});

test('strict loading names every misfit and changes nothing; without it what fits is loaded', async () => {
  const sample = new Sample();
  const state = new Map(new Sample().stateDict());
  state.set('scale', ones([4]).mul(7));
  state.delete('layer.1.bias');
  state.delete('LayerNorm.bias');
  state.set('extra.weight', ones([1]));
  state.set('ln_1.weight', ones([3, 4]));
  const lines = [
    'loadStateDict into Sample: missing keys: LayerNorm.bias, layer.1.bias',
    'loadStateDict into Sample: unexpected keys: extra.weight',
    'loadStateDict into Sample: mismatched shapes: ln_1.weight (here [4, 4], given [3, 4])',
  ];
  assert.throws(
    () => sample.loadStateDict(state),
    (error: Error) => error.message === lines.join('\n'),
  );
  assert.equal(await list(sample.scale), [1, 1, 1, 1]);
  const report = sample.loadStateDict(state, { strict: false });
  assert.equal(report, {
    missing: ['LayerNorm.bias', 'layer.1.bias'],
    unexpected: ['extra.weight'],
    mismatched: [{ key: 'ln_1.weight', expected: [4, 4], found: [3, 4] }],
  });
  assert.equal(await list(sample.scale), [7, 7, 7, 7]);
});

test('loading converts types', async () => {
  const linear = new Linear(1, 2, { bias: false });
  linear.loadStateDict(new Map([['weight', tensor([[0.5], [-2]], { dtype: 'f16' })]]));
  assert.equal(await list(linear.weight), [0.5, -2]);
  assert.is(linear.weight.dtype, 'f32');
});

test('train and eval reach every module', () => {
  const sample = new Sample();
  assert.ok(sample.modules().every(({ training }) => training));
  assert.is(sample.eval(), sample);
  assert.ok(sample.modules().every(({ training }) => !training));
  sample.layer[0]!.train();
  assert.equal([sample.training, sample.layer[0]!.training, sample.layer[1]!.training], [false, true, false]);
});

test('a frozen part stays a parameter, gets no gradient and is not counted as trainable', () => {
  const sample = new Sample();
  sample.layer[0]!.requiresGrad(false);
  assert.is(sample.parameters().length, 12);
  assert.is(sample.numParameters() - sample.numParameters({ trainable: true }), 20);
  sample
    .forward(ones([1, 3]))
    .sum()
    .backward();
  assert.is(sample.layer[0]!.weight.grad, undefined);
  assert.ok(sample.layer[1]!.weight.grad);
  sample.requiresGrad(true);
  assert.is(sample.numParameters({ trainable: true }), sample.numParameters());
});

test('hooks see arguments and output, may replace them, and can be taken off', async () => {
  const linear = new Linear(2, 2, { bias: false });
  linear.loadStateDict(
    new Map([
      [
        'weight',
        tensor([
          [1, 0],
          [0, 2],
        ]),
      ],
    ]),
  );
  const x = ones([1, 2]);
  const seen: unknown[] = [];
  const handles = [
    linear.registerForwardPreHook((module, args) => void seen.push('first', module, args[0])),
    linear.registerForwardPreHook((_, [input]) => [(input as Tensor).mul(3)], { name: 'triple' }),
    linear.registerForwardHook((module, args, output) => {
      seen.push('after', module, args[0], (output as Tensor).shape);
      return undefined;
    }),
    linear.registerForwardHook((_, __, output) => (output as Tensor).neg()),
  ];
  assert.equal(await list(linear.forward(x)), [-3, -6]);
  assert.equal(seen.slice(0, 2), ['first', linear]);
  assert.is(seen[2], x);
  assert.equal(seen.slice(3, 5), ['after', linear]);
  assert.equal(await list(seen[5] as Tensor), [3, 3]);
  assert.equal(seen[6], [1, 2]);
  assert.equal(
    handles.map(({ name }) => name),
    ['hook 1', 'triple', 'hook 1', 'hook 2'],
  );
  assert.ok(linear.isHooked);
  for (const handle of [...handles, handles[0]!]) handle.remove();
  assert.not(linear.isHooked);
  assert.equal(await list(linear.forward(x)), [1, 2]);
  assert.is(seen.length, 7);
});

test('a hook on a table of positions runs, though its rows need no gather', async () => {
  const model = GPT2Model.fromConfig({ vocabSize: 9, nPositions: 4, nEmbd: 4, nLayer: 1, nHead: 1 }).eval();
  const inputIds = tensor([[1, 2, 3]], { dtype: 'i32' });
  const before = await list(model.forward({ inputIds }).lastHiddenState);
  const handle = model.wpe.registerForwardHook((_, __, output) => (output as Tensor).mul(1));
  const after = await list(model.forward({ inputIds }).lastHiddenState);
  after.forEach((value, i) => assert.ok(Math.abs(value - before[i]!) < 1e-5));
  handle.remove();
  model.wpe.registerForwardHook((_, __, output) => (output as Tensor).mul(20));
  assert.not.equal(await list(model.forward({ inputIds }).lastHiddenState), before);
});

test('one function may be registered twice, one name may not; a hook may take itself off', async () => {
  const linear = new Linear(2, 2);
  let calls = 0;
  const count = (): void => void calls++;
  const [, second] = [linear.registerForwardHook(count), linear.registerForwardHook(count)];
  linear.forward(ones([1, 2]));
  second.remove();
  linear.forward(ones([1, 2]));
  assert.is(calls, 3);
  const once = linear.registerForwardHook(() => once.remove(), { name: 'once' });
  assert.throws(() => linear.registerForwardHook(count, { name: 'once' }), /a hook named "once" is registered already/);
  linear.forward(ones([1, 2]));
  linear.registerForwardHook(count, { name: 'once' });
});

test('an error in a hook names the hook and the place', () => {
  const sample = new Sample();
  sample.layer[1]!.registerForwardHook(() => ones([2]).add(ones([3])), { name: 'spy' });
  assert.throws(() => sample.forward(ones([1, 3])), /^add: .* \(in Sample: layer\.1, spy\)$/);
  const linear = new Linear(2, 2);
  linear.registerForwardPreHook(() => ones([1, 2]));
  assert.throws(() => linear.forward(ones([1, 2])), /a pre-hook returns a list of arguments .*\(in Linear, hook 1\)$/);
});

test('a forward that calls super.forward runs the hooks once', () => {
  class Twice extends Linear {
    override forward(x: Tensor): Tensor {
      return super.forward(super.forward(x));
    }
  }
  const twice = new Twice(2, 2);
  let calls = 0;
  twice.registerForwardHook(() => void calls++);
  twice.forward(ones([1, 2]));
  assert.is(calls, 1);
});

test('compiled: hooks are captured; adding or removing one captures anew; one that reads back is refused', async () => {
  const linear = new Linear(2, 2, { bias: false });
  linear.loadStateDict(
    new Map([
      [
        'weight',
        tensor([
          [1, 0],
          [0, 2],
        ]),
      ],
    ]),
  );
  const lines: string[] = [];
  const run = compile((x: Tensor) => linear.forward(x), { log: (line) => lines.push(line) });
  const call = async (value: number): Promise<number[]> => list(noGrad(() => run(tensor([[value, value]]))));
  assert.equal(await call(1), [1, 2]);
  const sums = zeros([]).keep();
  let calls = 0;
  const handle = linear.registerForwardHook((_, __, output) => {
    calls++;
    noGrad(() => addAssign(sums, (output as Tensor).sum()));
    return (output as Tensor).neg();
  });
  assert.equal(await call(2), [-2, -4]);
  assert.equal(await call(3), [-3, -6]);
  assert.is(calls, 1, 'it runs while captured only');
  assert.is(await sums.item(), 15);
  handle.remove();
  assert.equal(await call(4), [4, 8]);
  assert.is(await sums.item(), 15);
  assert.is(lines.length, 2);
  assert.match(lines[0]!, /captured again .*: the list of hooks of a Linear was \[\], and is not any more/);
  linear.registerForwardHook((_, __, output) => void (output as Tensor).data(), { name: 'reader' });
  assert.throws(
    () => noGrad(() => run(tensor([[5, 5]]))),
    /a compiled function cannot read data back; .*\(in Linear, reader\)$/,
  );
});

test('compiled: a hook put on again is the one captured; before and after forward are not the same', async () => {
  const linear = new Linear(2, 2);
  let captures = 0;
  const run = compile(
    (x: Tensor) => {
      captures++;
      return linear.forward(x);
    },
    { log: () => undefined },
  );
  const call = async (): Promise<number[]> => list(noGrad(() => run(ones([1, 2]))));
  const negated = (await list(noGrad(() => linear.forward(ones([1, 2]))))).map((x) => -x);
  const negate = (_: Module, __: unknown, output: unknown): Tensor => (output as Tensor).neg();
  for (let times = 0; times < 3; times++) {
    const handle = linear.registerForwardHook(negate, { name: 'negate' });
    assert.equal(await call(), negated);
    handle.remove();
  }
  assert.is(captures, 1);

  let calls = 0;
  const count = (): void => void calls++;
  const before = linear.registerForwardPreHook(count, { name: 'count' });
  await call();
  before.remove();
  linear.registerForwardHook(count, { name: 'count' });
  await call();
  assert.equal([captures, calls], [3, 2], 'each place of the hook is captured');
});

test('an error in a forward says where in the model, once, and keeps its class', () => {
  class Outer extends Module {
    readonly encoder = new Sample();
    override forward(x: Tensor): Tensor {
      return this.encoder.forward(x);
    }
  }
  const message = /^linear: \[2, 5\] needs a weight \[out, 5\], got \[4, 3\] \(in Outer: encoder\.in_proj\)$/;
  const outer = new Outer();
  for (let times = 0; times < 2; times++) {
    assert.throws(
      () => outer.forward(ones([2, 5])),
      (error: Error) =>
        message.test(error.message) &&
        error.name === 'ShapeError' &&
        error.stack!.includes('(in Outer: encoder.in_proj)'),
    );
  }
  assert.throws(() => outer.encoder.layer[1]!.forward(ones([5])), /\(in Linear\)$/);
});

test('mistakes in a module are named', () => {
  class Forgotten extends Module {
    readonly weight = ones([2], { requiresGrad: true });
  }
  assert.throws(() => new Forgotten().parameters(), /Forgotten\.weight requires a gradient but is no Parameter/);
  class Twice extends Module {
    readonly fooBar = new Linear(1, 1);
    readonly foo_bar = new Linear(1, 1);
  }
  assert.throws(() => new Twice().stateDict(), /Twice: two fields give the key foo_bar\.weight/);
  assert.throws(() => new Module().forward(), /Module has no forward/);
  assert.throws(() => new Parameter(tensor([1], { dtype: 'i32' })), /a parameter must be f32 or f16, got i32/);
  assert.throws(() => new Linear(3, 2, { weight: new Parameter(ones([3, 2])) }), /weight \[3, 2\].*must be \[2, 3\]/);
});

test('modules that would not be found are refused: in an object, a Map, a list of lists', () => {
  const hidden = [{ a: new Linear(2, 2) }, new Map([['a', new Linear(2, 2)]]), [[new Linear(2, 2)]]];
  for (const parts of hidden) {
    class Hiding extends Module {
      readonly parts = parts;
    }
    assert.throws(
      () => new Hiding().parameters(),
      /^Hiding\.parts holds modules .*; give each a field, or put them in one/,
    );
  }
  class Found extends Module {
    readonly parts = [new Linear(2, 2)];
    readonly options = { sizes: [2, 2], names: new Map([['a', 1]]), none: null };
  }
  assert.is(new Found().parameters().length, 2);
});

test('a field that refers back up does not trap the walk', () => {
  class Child extends Module {
    parent: Module | undefined;
    readonly weight = new Parameter(ones([1]));
  }
  class Parent extends Module {
    readonly child = new Child();
  }
  const parent = new Parent();
  parent.child.parent = parent;
  assert.equal([...parent.stateDict().keys()], ['child.weight']);
  assert.is(parent.modules().length, 2);
});

test('to(f16) converts parameters, keeps ties and freezing', () => {
  const sample = new Sample();
  sample.ln1.requiresGrad(false);
  sample.to('f16');
  assert.ok(sample.parameters().every(({ dtype }) => dtype === 'f16'));
  assert.is(sample.decoder.weight, sample.inProj.weight);
  assert.is(sample.ln1.weight.requiresGrad, false);
  assert.is(sample.inProj.weight.requiresGrad, true);
  assert.is(sample.parameters().length, 12);
});

test('a parameter owns its memory', async () => {
  const table = ones([2, 3]);
  const row = new Parameter(table.slice(0));
  noGrad(() => row.assign(zeros([3])));
  assert.equal(await list(table), [1, 1, 1, 1, 1, 1]);
  assert.is(new Parameter(table).storage, table.storage);
  const computed = new Parameter(row.mul(2));
  assert.is(computed.node, undefined);
});

test('parameters outlive the scope they are made in', async () => {
  let linear: Linear;
  {
    using _ = scope();
    linear = new Linear(2, 2);
  }
  assert.is((await list(linear.weight)).length, 4);
});

test('initial values follow the seed', async () => {
  const draw = async (): Promise<number[]> => {
    manualSeed(7);
    return list(new Linear(8, 8).weight);
  };
  const first = await draw();
  assert.equal(await draw(), first);
  assert.ok(first.every((value) => Math.abs(value) <= 1 / Math.sqrt(8)));
  const table = await list(parameter([5, 3], zeroRowInit(normalInit(1), 2)));
  assert.equal(table.slice(6, 9), [0, 0, 0]);
  assert.is(table.filter((value) => value === 0).length, 3);
});

test('postponed values take no memory until asked for', async () => {
  await synchronize();
  const before = memory().live;
  const { module, initialise } = postponeInit(() => new Linear(512, 512));
  assert.is(memory().live, before);
  initialise(module.weight);
  await synchronize();
  assert.ok(memory().live >= before + 512 * 512 * 4);
  assert.ok((await list(module.weight)).some((value) => value !== 0));
  assert.throws(() => initialise(new Linear(1, 1).weight), /was not made by the build/);
});

test('the summary is a tree with aligned columns, runs of equal layers shown once', () => {
  const lines = noGrad(() => String(new Sample())).split('\n');
  assert.match(lines[0]!, /^Sample +scale \[4\], running_mean \[4\], position_ids \[3\] +84$/);
  assert.match(lines[1]!, /^ {2}in_proj: Linear\(3, 4\) +weight \[4, 3\], bias \[4\] +16$/);
  assert.ok(
    lines.some((line) => /^ {2}layer\.0-1: 2 x Linear\(4, 4\), each +weight \[4, 4\], bias \[4\] +20$/.test(line)),
  );
  assert.match(lines.at(-1)!, /decoder: Linear\(3, 4\) +weight \[4, 3\] \(tied\), bias \[4\] \(tied\) +16$/);
  assert.is(new Set(lines.map((line) => line.length)).size, 1);
});

test('compiled: a part that was replaced later is captured anew, in a field and in a list', async () => {
  class Pair extends Module {
    first: Module = new Linear(2, 2);
    readonly rest = [new Linear(2, 2)];
    override forward(x: Tensor): Tensor {
      const y = (this.first as Linear).forward(x);
      return this.rest.reduce((z, layer) => layer.forward(z), y);
    }
  }
  const pair = new Pair();
  const lines: string[] = [];
  const run = compile((x: Tensor) => pair.forward(x), { log: (line) => lines.push(line) });
  const x = normal([3, 2]);
  const check = async (): Promise<void> =>
    assert.equal(await run(x).data(), await noGrad(() => pair.forward(x)).data());
  noGrad(() => run(x));
  lines.length = 0;
  await check();
  await check();
  const before = lines.length;
  pair.first = new Linear(2, 2);
  await check();
  pair.rest[0] = new Linear(2, 2);
  await check();
  await check();
  assert.is(lines.length, before + 2);
  assert.match(lines.at(-1)!, /captured again .*: every part of a Pair being the one captured was true/);
});

test.run();
