// Layers against PyTorch's modules of the same names: outputs, gradients, running statistics.
// test/golden/golden_layers.py writes the file.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { arange, compile, cos, grad, noGrad, normal, ones, tensor, zeros } from '../../autograd/index.ts';
import { observe } from '../../autograd/context.ts';
import type { Tensor } from '../../autograd/index.ts';
import * as models from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';
import { compare, compareBits } from '../support/op-compare.ts';

interface Values {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
type State = Readonly<Record<string, Values>>;

interface LayerCase {
  readonly layer:
    'Conv1d' | 'Conv2d' | 'MaxPool2d' | 'BatchNorm2d' | 'GroupNorm' | 'MultiheadAttention' | 'LSTM' | 'GRU';
  readonly note: string;
  readonly args: readonly number[];
  readonly options: object;
  readonly state: State;
  readonly calls: readonly { readonly inputs: readonly Values[]; readonly outputs: readonly Values[] }[];
  readonly grads: { readonly inputs: readonly (readonly Values[])[]; readonly parameters: State };
  readonly after: State;
  readonly evaluated: readonly Values[];
}

const cases = JSON.parse(readFileSync(goldenFile('layers.json'), 'utf8')) as readonly LayerCase[];
const test = suite('layers');

const place = ({ shape, data }: Values): Tensor => tensor(Float64Array.from(data), { shape });

/** The layer of a case, in the case's state. */
function build({ layer, args, options, state }: LayerCase): Module {
  const make = models[layer] as unknown as new (...all: unknown[]) => Module;
  const module = new make(...args, options);
  load(module, state);
  return module;
}

function load(module: Module, state: State): void {
  module.loadStateDict(new Map(Object.entries(state).map(([key, values]) => [key, place(values)])));
}

/** Outputs of one call in PyTorch's order, flattened. */
function call({ layer, note }: LayerCase, module: Module, [x, ...more]: readonly Tensor[]): Tensor[] {
  const forward = module.forward.bind(module) as (...args: unknown[]) => unknown;
  const args = layer === 'LSTM' ? [more] : layer === 'GRU' ? more : [];
  if (layer === 'MultiheadAttention') args.push({ key: more[0] ?? x, needWeights: note === 'weights' } as never);
  return [forward(x, ...args)].flat(2) as Tensor[];
}

interface Found {
  readonly outputs: Tensor[];
  readonly grads: Tensor[];
}

/** All calls in training mode, and the gradients of all inputs and parameters. */
function run(own: LayerCase, module: Module, inputs: readonly (readonly Tensor[])[]): Found {
  for (const x of inputs.flat()) x.requiresGrad = true;
  const outputs = inputs.flatMap((given) => call(own, module, given));
  const wanted = [...inputs.flat(), ...module.parameters()];
  const gradOutputs = outputs.map(({ shape, size }) => cos(arange(size)).reshape(shape));
  return { outputs, grads: grad(outputs, wanted, { gradOutputs }) };
}

/** Compares values, in f32; recurrences and norms add up a few dozen rounded numbers. */
async function check(what: string, x: Tensor, { shape, data }: Values): Promise<void> {
  assert.equal(x.shape, shape, what);
  compare(what, await x.data(), { shape, data: Float64Array.from(data) }, x.dtype, 4);
}

for (const own of cases) {
  const { layer, note, args, options, calls, grads, state, after, evaluated } = own;
  test(`${layer}(${[...args, JSON.stringify(options)].join(', ')}) ${note}`.trim(), async () => {
    const module = build(own);
    assert.equal([...module.stateDict().keys()], Object.keys(state), 'keys of the state, in their order');
    const inputs = calls.map((one) => one.inputs.map(place));
    const found = run(own, module, inputs);
    const wanted = {
      outputs: calls.flatMap(({ outputs }) => outputs),
      grads: [...grads.inputs.flat(), ...module.namedParameters().map(([key]) => grads.parameters[key]!)],
    };
    for (const kind of ['outputs', 'grads'] as const) {
      assert.is(found[kind].length, wanted[kind].length, kind);
      for (const [i, values] of wanted[kind].entries()) await check(`${kind} ${i}`, found[kind][i]!, values);
    }
    for (const [key, buffer] of module.namedBuffers()) await check(key, buffer, after[key]!);
    const calm = noGrad(() => call(own, module.eval(), inputs[0]!));
    for (const [i, values] of evaluated.entries()) await check(`evaluated ${i}`, calm[i]!, values);

    // Compiled, captured and replayed: the same to the bit each time, and what it was without.
    const compiledModule = build(own);
    const step = compile((given: readonly (readonly Tensor[])[]) => run(own, compiledModule, given));
    const rounds: (readonly ArrayLike<number>[])[] = [];
    for (let round = 0; round < 3; round++) {
      load(compiledModule, state);
      const result = step(inputs.map((given) => given.map((x) => x.detach())));
      for (const kind of ['outputs', 'grads'] as const)
        for (const [i, values] of wanted[kind].entries())
          await check(`compiled ${kind} ${i}`, result[kind][i]!, values);
      for (const [key, buffer] of compiledModule.namedBuffers()) await check(`compiled ${key}`, buffer, after[key]!);
      rounds.push(await Promise.all([...result.outputs, ...result.grads].map((x) => x.data())));
    }
    for (const round of rounds.slice(1)) round.forEach((data, i) => compareBits(`result ${i}`, data, rounds[0]![i]!));
    const again = run(own, build(own), inputs);
    for (const kind of ['outputs', 'grads'] as const)
      for (const [i, x] of found[kind].entries())
        compareBits(`${kind} ${i}`, await x.data(), await again[kind][i]!.data());
  });
}

test('BatchNorm counts batches, and its statistics are no parameters', async () => {
  const layer = new models.BatchNorm2d(3);
  assert.equal(
    layer.namedParameters().map(([name]) => name),
    ['weight', 'bias'],
  );
  layer.forward(normal([2, 3, 4, 4]));
  layer.eval().forward(normal([2, 3, 4, 4]));
  assert.is(await layer.numBatchesTracked!.item(), 1);
  assert.is(layer.numBatchesTracked!.dtype, 'i32');
  const { dtype } = layer.train().forward(ones([2, 3, 4, 4], { dtype: 'f16' }));
  assert.is(dtype, 'f16', 'the type of the input');
});

test('a sequence of four times the length costs four times as much, backward too', () => {
  const written = (steps: number): number => {
    const [output] = new models.LSTM(4, 8).forward(normal([steps, 2, 4]));
    let elements = 0;
    const stop = observe(({ outputs }) => (elements += outputs.reduce((sum, y) => sum + y.size, 0)));
    output.sum().backward();
    stop();
    return elements;
  };
  const [short, long] = [written(16), written(64)];
  assert.ok(long < 4.5 * short, `16 steps write ${short} elements, 64 steps ${long}`);
});

test('bad shapes and sizes are named', () => {
  const { BatchNorm1d, BatchNorm2d, Conv1d, Conv2d, GroupNorm, GRU, LSTM, MaxPool2d } = models;
  assert.throws(() => new Conv2d(3, 4, 3, { groups: 2 }), /^Conv2d: 3 and 4 channels do not divide into 2 groups/);
  assert.throws(() => new Conv1d(2, 4, 3).forward(zeros([1, 3, 9])), /conv1d: input \[1, 3, 9\].*\(in Conv1d\)$/);
  assert.throws(() => new MaxPool2d(2).forward(zeros([4, 4])), /maxPool2d: the input must be \[N, C, H, W\]/);
  assert.throws(
    () => new BatchNorm2d(3).forward(zeros([2, 3])),
    /BatchNorm2d\(3\): needs \[N, C, H, W\], got \[2, 3\]/,
  );
  assert.throws(
    () => new BatchNorm1d(3).forward(zeros([1, 3])),
    /more than one value a channel, got \[1, 3\]; use eval/,
  );
  assert.throws(() => new GroupNorm(3, 4), /GroupNorm: 4 channels do not divide into 3 groups/);
  assert.throws(() => new LSTM(3, 2).forward(zeros([4, 2])), /LSTM: needs \[steps, batch, 3\], got \[4, 2\]/);
  assert.throws(
    () => new GRU(3, 2).forward(zeros([4, 2, 3]), zeros([1, 2, 3])),
    /state must be \[1, 2, 2\], got \[1, 2, 3\]/,
  );
});

test('the summary says what a layer is', () => {
  const { BatchNorm1d, Conv2d, LSTM, MaxPool2d, Sequential } = models;
  assert.match(
    String(new Sequential(new Conv2d(1, 8, 3, { padding: 1 }), new MaxPool2d(2))),
    /Conv2d\(1, 8, kernel 3 x 3, padding: 1\)/,
  );
  assert.match(String(new LSTM(4, 8, { numLayers: 2, bias: false })), /^LSTM\(4, 8, numLayers: 2, bias: false\)/);
  assert.match(String(new BatchNorm1d(4)), /^BatchNorm1d\(4, eps: 0.00001, momentum: 0.1\)/);
});

test.run();
