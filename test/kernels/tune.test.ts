import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { choicesPath, loadChoices, saveChoices } from '../../gpu/choices.ts';
import { acquire } from '../../gpu/index.ts';
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

test.run();
