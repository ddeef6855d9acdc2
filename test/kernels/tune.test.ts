import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { grad, normal, scaledDotProductAttention } from '../../autograd/index.ts';
import { choicesPath, loadChoices, saveChoices } from '../../gpu/choices.ts';
import { acquire } from '../../gpu/index.ts';
import { attentionClass, attentionPlanName, attentionPlans, tunedAttention } from '../../kernels/attention/plan.ts';
import type { AttentionWork } from '../../kernels/attention/plan.ts';
import { watchAttention } from '../../kernels/attention/plan.ts';
import { timeAttention } from '../../kernels/attention/tune.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import { chooseMatmul, matmulClass, matmulPlans, planName, watchMatmul } from '../../kernels/matmul/matmul.ts';
import type { Product } from '../../kernels/matmul/product.ts';
import { timePlans } from '../../kernels/matmul/tune.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('tuning');
let folder = '';
temporaryFolder(test, (made) => (folder = made));
const gpu = await acquire();
const target = { ...gpu.target, choices: new Map<string, string>() };

function product(m: number, n: number, k: number): Product {
  const operand = (cols: number) => ({ dtype: 'f32', offset: 0, row: cols, col: 1, batch: [0, 0] }) as const;
  return { m, n, k, batch: [1, 1], a: operand(k), b: operand(n), sink: plainSink([m, n], 'f32') };
}

test('sizes up to the same power of two share a class; layouts do not', () => {
  const work = matmulClass(product(100, 70, 65));
  assert.is(work, matmulClass(product(128, 128, 128)));
  assert.is.not(work, matmulClass(product(129, 70, 65)));
  const transposed = { ...product(100, 70, 65), a: { ...product(100, 70, 65).a, row: 1, col: 100 } };
  assert.is.not(work, matmulClass(transposed));
});

test('a tuned choice is taken where it can compute the product, and only there', () => {
  const params = product(100, 70, 64);
  const tuned = (name: string) => ({ ...target, choices: new Map([[matmulClass(params), name]]) });
  assert.is(planName(chooseMatmul(tuned('tiled.64x64x16'), params)), 'tiled.64x64x16');
  assert.is(planName(chooseMatmul(tuned('lanes/4'), params)), 'lanes/4');
  const untuned = planName(chooseMatmul(target, params));
  assert.is(planName(chooseMatmul(tuned('lanes/4'), product(100, 70, 65))), untuned); // 65 is not split
  assert.is(planName(chooseMatmul(tuned('gone.in.this.version'), params)), untuned);
  assert.is(planName(chooseMatmul(tuned('tiled.64x64x16'), product(300, 70, 64))), untuned); // another class
});

test('names of plans are distinct', () => {
  const names = matmulPlans(target, product(512, 512, 512)).map(planName);
  assert.is(new Set(names).size, names.length);
});

test('choices survive a round trip; what cannot be read is ignored', async () => {
  const path = join(folder, 'nested', 'tune-x.json');
  assert.is((await loadChoices('x', path)).size, 0);
  const choices = new Map([['matmul 1x2', 'lanes']]);
  assert.is(await saveChoices('x', choices, path), path);
  assert.equal(await loadChoices('x', path), choices);
  assert.match(readFileSync(path, 'utf8'), /"adapter": "x"/);
  for (const damaged of ['', '{', 'null', '{"choices": {"a": 3}}', '{"choices": null}']) {
    writeFileSync(path, damaged);
    assert.is((await loadChoices('x', path)).size, 0, damaged);
  }
});

test('the file is in the cache folder, named after the adapter', () => {
  assert.match(choicesPath('NVIDIA H100 (driver 570.1)')!, /tapeform\/tune-nvidia-h100-driver-570-1\.json$/);
});

test('watchers see products until they are stopped', () => {
  const seen: Product[] = [];
  const stop = watchMatmul((params) => seen.push(params));
  const params = product(8, 8, 8);
  chooseMatmul(target, params);
  stop();
  chooseMatmul(target, params);
  assert.equal(seen, [params]);
});

test('plans are timed, the fastest first', async () => {
  if (!gpu.device.features.has('timestamp-query')) return;
  const times = await timePlans(gpu, product(24, 32, 24));
  assert.ok(times.length >= 3);
  times.forEach(({ milliseconds }, i) => assert.ok(milliseconds >= (times[i - 1]?.milliseconds ?? 0)));
  assert.ok(times.some(({ name }) => name === 'plain'));
});

function attention(
  pass: 'forward' | 'backward',
  tokens: number,
  more: Partial<AttentionWork['attrs']> = {},
): AttentionWork {
  const x = { dtype: 'f32', shape: [1, 2, tokens, 8], strides: [16 * tokens, 8, 16, 1], offset: 0 } as const;
  return { pass, operands: { q: x, k: x, v: x }, attrs: { causal: true, scale: 0.3, ...more } };
}

test('passes of attention up to the same power of two share a class; what they are asked for does not', () => {
  const work = attentionClass(attention('forward', 20));
  assert.is(work, 'attention forward 2x32x32x8 f32 causal');
  assert.is(work, attentionClass(attention('forward', 32)));
  const others = [attention('forward', 33), attention('backward', 20), attention('forward', 20, { slidingWindow: 3 })];
  for (const other of others) assert.is.not(work, attentionClass(other));
});

test('a tuned plan of attention is taken by its name, and an unknown one left', () => {
  for (const pass of ['forward', 'backward'] as const) {
    const work = attention(pass, 20);
    const plans = attentionPlans(target, work);
    const names = plans.map(attentionPlanName);
    assert.ok(names.length >= 2);
    assert.is(new Set(names).size, names.length);
    const tuned = (name: string) => ({ ...target, choices: new Map([[attentionClass(work), name]]) });
    assert.equal(tunedAttention(tuned(names.at(-1)!), work), plans.at(-1));
    assert.is(tunedAttention(tuned('gone.in.this.version'), work), undefined);
    assert.is(tunedAttention(target, work), undefined);
  }
});

test('a GPU with matrices has their tiles and walks for attention, each of another name', () => {
  const matrix = { M: 16, N: 16, K: 16, component: 'f16', result: 'f32' } as const;
  const withMatrices = { ...target, software: false, subgroupMatrix: [matrix], subgroupSizes: [32, 32] as const };
  const x = { dtype: 'f16', shape: [1, 2, 64, 64], strides: [8192, 64, 128, 1], offset: 0 } as const;
  const work = { ...attention('forward', 64), operands: { q: x, k: x, v: x } };
  const names = attentionPlans({ ...withMatrices, workgroupMemory: 49152, maxInvocations: 1024 }, work).map(
    attentionPlanName,
  );
  assert.is(new Set(names).size, names.length);
  for (const kind of ['subgroup', 'tiled']) assert.ok(names.filter((name) => name.startsWith(kind)).length > 1, kind);
  assert.match(names[0]!, /^subgroup/);
});

test('the attention of a program is timed, and each of its plans gives the same results', async () => {
  if (!gpu.device.features.has('timestamp-query')) return;
  const choices = gpu.target.choices as Map<string, string>;
  const seen: AttentionWork[] = [];
  const stop = watchAttention((work) => seen.push(work));
  const q = normal([1, 2, 20, 8]);
  q.requiresGrad = true;
  const run = async (): Promise<number[]> => {
    const y = scaledDotProductAttention(q, q, q, { causal: true });
    const [dq] = grad(y.sum(), [q]);
    return [...(await y.data()), ...(await dq!.data())];
  };
  const before = await run();
  stop();
  assert.equal(
    seen.map(({ pass }) => pass),
    ['forward', 'backward'],
  );
  for (const work of seen) {
    const times = await timeAttention(gpu, work);
    assert.is(times.length, attentionPlans(gpu.target, work).length);
    times.forEach(({ milliseconds }, i) => assert.ok(milliseconds >= (times[i - 1]?.milliseconds ?? 0)));
    for (const { name } of times) {
      choices.set(attentionClass(work), name);
      (await run()).forEach((value, i) => assert.ok(Math.abs(value - before[i]!) < 1e-5, `${name}: ${i}`));
    }
    choices.delete(attentionClass(work));
  }
});

test.run();
