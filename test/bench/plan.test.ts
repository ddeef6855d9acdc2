import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { devices } from '../../bench/plan/devices.ts';
import { instructionsOf } from '../../bench/plan/instructions.ts';
import { lowerFor } from '../../bench/plan/program.ts';
import { planOf } from '../../bench/plan/table.ts';
import { memory } from '../../autograd/index.ts';

const test = suite('plan for a described GPU');

test('counts the work of a loop, of loops inside of known length, and of the functions that they call', () => {
  const { once, loops, workgroup, shared } = instructionsOf(`
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<vec4<f32>, 64>;
fn load(at: u32) -> vec4<f32> { return b[at]; }
fn draw(x: u32) -> u32 { var c = x; for (var round = 0u; round < 10u; round++) { c = c ^ x; } return c; }
@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) lane: u32) {
  let first = a[lane];
  for (var k = 0u; k < p.k; k++) {
    workgroupBarrier();
    for (var e = lane; e < 64u; e += 32u) { tile[e] = load(k); }
    for (var e = 0u; e < 8u; e += 2u) { sum = fma(tile[e], vec4<f32>(x), sum); }
    s += exp(f32(draw(k)));
  }
  y[lane] = s;
}`);
  assert.is(workgroup, 32);
  assert.is(shared, 1024);
  assert.is(once.scalarLoads, 1);
  assert.is(once.stores, 1);
  assert.is(loops.length, 1);
  const { fma, vectorLoads, barriers, special, shared: moved } = loops[0]!;
  assert.equal([fma, vectorLoads, barriers, special, moved], [16, 2, 1, 1, 16 * (2 + 4)]);
});

test('counts the values of a vector that is made of them one by one', () => {
  const { once } = instructionsOf(`
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(32)
fn main() { y[0] = vec4<f32>(a[0], a[1] + 1.0, a[2] * 2.0, 0.0) * vec4<f32>(2.0); }`);
  // Two in the list, four of the product, and a bounds check for each of the four indices.
  assert.equal([once.alu, once.scalarLoads, once.vectorLoads, once.stores], [2 + 4 + 4, 3, 0, 1]);
});

test('lowers GPT-2 124M for an H100 without memory for it, in so many dispatches, groups and scalar loads', () => {
  const before = memory().live;
  const { target } = devices.h100;
  const work = { model: 'gpt2-124m', batch: 16, length: 1024, dtype: 'f16', dropout: 0.1 } as const;
  const plan = planOf(lowerFor(target, work), devices.h100);
  assert.ok(memory().live - before < 2 ** 20);
  // A change of these is a change of what GPUs run: note it, with the plan's row, in bench/results/plan.md.
  assert.equal([plan.dispatches, plan.pipelines, plan.groups, plan.scalarProducts], [236, 35, 1680488, 0]);
  const sums = plan.kernels.find(({ name }) => name === 'normParameters')!;
  assert.is(sums.groups / sums.dispatches, 1056);
  assert.ok(1056 >= 2 * target.units);
  const attention = plan.kernels.map(({ name }) => name).filter((name) => /^flashAttention(Backward)?\./.test(name));
  assert.equal(attention.length, 2);
  assert.ok(attention.every((name) => name.includes('.subgroup.')));
  assert.ok(plan.planned < 1.15 * plan.lowerBound);
});

test('a step of BERT-base, 32 x 128 tokens, is of at most 250 dispatches', () => {
  const work = { model: 'bert-base', batch: 32, length: 128, dtype: 'f16' } as const;
  const { steps } = lowerFor(devices.h100.target, work);
  assert.ok(steps.length <= 250, `${steps.length}`);
});

test('a step of Llama 1B, 4 x 1024 tokens, takes hardly more memory than any plan must', () => {
  const { plan } = lowerFor(devices.h100.target, { model: 'llama-1b', batch: 4, length: 1024, dtype: 'f16' });
  assert.ok(plan.total <= 1.15 * plan.lowerBound, `${plan.total} bytes, at least ${plan.lowerBound}`);
});

test('gradients of weights [out, in] are written once, in the order and type of the weight', () => {
  const work = { model: 'bert-base', layers: 1, vocabulary: 512, batch: 2, length: 128, dtype: 'f16' } as const;
  const names = lowerFor(devices.h100.target, work).steps.map(({ dispatch }) => dispatch.name);
  assert.is(names.filter((name) => name === 'clone' || name === 'to').length, 0);
});

test('the next token of GPT-2 124M and Llama 1B is of so many dispatches, with its weights read once', () => {
  const plans = [
    ['gpt2-124m', 1, undefined],
    ['gpt2-124m', 1, 'q4_0'],
    ['llama-1b', 1, undefined],
    ['llama-1b', 4, 'q4_0'],
  ] as const;
  const counts = plans.map(([model, batch, packed]) => {
    const work = { step: 'decode', length: 1024, dtype: 'f16', model, batch, packed } as const;
    const { dispatches, bytes, bound, scalarProducts } = planOf(lowerFor(devices.h100.target, work), devices.h100);
    const least = bound! * devices.h100.bandwidth;
    assert.ok(bytes > 0.99 * least && bytes < 1.2 * least, `${model}: ${bytes} bytes, at least ${least}`);
    return [dispatches, scalarProducts];
  });
  // As above: note changes in bench/results/plan.md.
  assert.equal(counts, [
    [117, 0],
    [117, 0],
    [173, 0],
    [173, 0],
  ]);
});

test('the devices differ in what they are given', () => {
  const work = { model: 'gpt2-124m', layers: 1, vocabulary: 512, batch: 1, length: 128, dtype: 'f16' } as const;
  for (const [name, device] of Object.entries(devices)) {
    const plan = planOf(lowerFor(device.target, work), device);
    assert.ok(plan.seconds > 0 && plan.seconds < 60, name);
    const matrices = plan.kernels.some(({ longest }) => longest.instructions.loops.some((x) => x.matrixFlops > 0));
    const sumsInF32 = device.target.subgroupMatrix.some(({ result }) => result === 'f32');
    assert.is(matrices, sumsInF32 && !device.target.software, name);
  }
});

test.run();
