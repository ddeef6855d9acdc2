import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { apply } from '../../autograd/tape.ts';
import { kernel, read, u32, write } from '../../kernels/kernel.ts';
import type { Operand } from '../../kernels/layout.ts';
import { acquire } from '../../gpu/index.ts';
import { runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** A failure belongs to its op and to what is computed from it: nothing else in the process may see it. */
const test = suite('failures stay with their op');

/** Copies x, or does not compile: each `flaw` is a shader of its own. */
const copyKernel = ({ x }: { readonly x: Operand; readonly y: Operand }, { flaw }: { readonly flaw: string }) =>
  kernel({
    name: 'flawed',
    bindings: [read('x', 'f32'), write('y', 'f32')],
    params: { n: u32(x.shape[0]!) },
    workgroup: 64,
    groups: 1,
    cost: { flops: 0, bytes: 0 },
    body: `if (id >= p.n) { return; }\ny[id] = x[id];\n${flaw}`,
  });

const flawedOp = tf.defineOp<{ x: Tensor }, { y: Tensor }, { readonly flaw: string }>({
  name: 'flawed',
  infer: ({ x: { shape, dtype } }) => ({ y: { shape, dtype } }),
  lower: ({ emit }, { x }, { y }, attrs) => emit(copyKernel, { x, y }, attrs),
  vjp: 'none',
});

let folder = '';
temporaryFolder(test, (path) => (folder = path));

let flaws = 0;
const flawed = (x: Tensor, flaw = `let z${flaws++}: u32 = 1.5;`): Tensor => apply(flawedOp, { x }, { flaw }).y;

const says = /^flawed of f32 \[3\]: kernel flawed: Error while parsing WGSL: [^\n]*$/;

async function rejects(x: Tensor, message: RegExp): Promise<void> {
  let found: unknown;
  try {
    await x.data();
  } catch (error) {
    found = error;
  }
  assert.instance(found, Error);
  assert.match((found as Error).message, message, (found as Error).message);
  assert.not.match((found as Error).message, /\n/);
}

test('a shader that does not compile fails its op and its dependents alone', async () => {
  const x = tf.tensor([1, 2, 3]);
  const before = x.mul(2);
  const bad = flawed(x);
  const dependent = bad.add(1).sum();
  const unrelated = x.add(1);
  const after = tf.ones([3]).add(before);
  assert.equal([...(await unrelated.data())], [2, 3, 4]);
  assert.equal([...(await after.data())], [3, 5, 7]);
  await rejects(bad, says);
  await rejects(dependent, says);
  await rejects(bad.mul(2), says); // known to have failed by now
  assert.equal([...(await x.mul(3).data())], [3, 6, 9]);
});

test('an op whose shader is known not to compile throws at the call, with its own shapes', async () => {
  const flaw = 'let again: u32 = 2.5;';
  await rejects(flawed(tf.tensor([1, 2, 3]), flaw), says);
  assert.throws(() => flawed(tf.ones([5]), flaw), /^flawed of f32 \[5\]: kernel flawed: Error while parsing WGSL/);
  assert.equal([...(await tf.ones([2]).add(1).data())], [2, 2]);
});

test('memory of a failed result is clean when others get it', async () => {
  for (let i = 0; i < 3; i++) {
    using _ = tf.scope();
    flawed(tf.tensor([1, 2, 3]));
  }
  const many = Array.from({ length: 8 }, (_, i) => tf.full([3], i).add(1));
  for (const [i, x] of many.entries()) assert.equal([...(await x.data())], [i + 1, i + 1, i + 1]);
});

test('synchronize tells an error that nobody has read, once', async () => {
  await tf.synchronize().catch(() => undefined); // of the tests before
  flawed(tf.tensor([1, 2, 3]));
  let found: unknown;
  await tf.synchronize().catch((error: unknown) => (found = error));
  assert.match((found as Error).message, says);
  await tf.synchronize();
});

test('a compiled function whose kernel does not compile fails alone', async () => {
  const flaw = 'let compiled: u32 = 3.5;';
  const bad = tf.compile((x: Tensor) => flawed(x, flaw).add(1));
  const good = tf.compile((x: Tensor) => x.add(1));
  const x = tf.tensor([1, 2, 3]);
  const [y, z] = [bad(x), good(x)];
  assert.equal([...(await z.data())], [2, 3, 4]);
  await rejects(y, /flawed.*\[3\].*Error while parsing WGSL/);
  assert.throws(() => bad(x), /Error while parsing WGSL/);
  assert.equal([...(await good(tf.ones([3])).data())], [2, 2, 2]);
});

test('a failed tensor given to a compiled function fails that call, and no later one', async () => {
  const step = tf.compile((x: Tensor) => x.mul(2).sum(0));
  assert.is(await step(tf.tensor([1, 2, 3])).item(), 12);
  const bad = step(flawed(tf.tensor([1, 2, 3])));
  const good = step(tf.tensor([2, 2, 2]));
  await rejects(bad, says);
  assert.is(await good.item(), 12);
});

test('a tensor too large for the device fails alone', async () => {
  const { maxBufferSize } = (await acquire()).device.limits;
  const length = Math.floor(maxBufferSize / 4) + 1024;
  assert.throws(() => tf.zeros([length]), /one buffer of this device holds/);
  assert.equal([...(await tf.ones([2]).add(1).data())], [2, 2]);
});

/** Has the device refuse buffers from 16 MiB up, as one without memory does; returns how to end it. */
async function refuseBuffers(): Promise<() => void> {
  const { device } = await acquire();
  const create = device.createBuffer.bind(device);
  // No buffer may be mapped and bound: the device gives one that is invalid, and the error to the open scope.
  device.createBuffer = (descriptor) =>
    create(
      descriptor.size < 2 ** 24 ? descriptor : { ...descriptor, usage: descriptor.usage | GPUBufferUsage.MAP_READ },
    );
  return () => Reflect.deleteProperty(device, 'createBuffer');
}

test('a buffer that there is no memory for fails its tensor and its dependents alone', async () => {
  const length = 5 * 2 ** 20; // 20 MiB
  const small = tf.tensor([1, 2, 3]);
  const add = tf.compile((x: Tensor) => x.add(1).slice([0, 3]));
  const allow = await refuseBuffers();
  const [large, uploaded] = [tf.ones([length]), tf.tensor(new Float32Array(length))];
  const [dependent, both] = [large.sum(), large.add(1).sum()];
  const unrelated = small.add(1);
  const [cut, compiled] = [uploaded.slice([0, 3]).mul(2), add(uploaded)];
  assert.equal([...(await unrelated.data())], [2, 3, 4]);
  await rejects(dependent, /^full: /);
  await rejects(both, /^add: /); // as large itself
  await rejects(large, /^full: /);
  await rejects(cut, /^tensor: /);
  await rejects(compiled, /^(tensor|add|slice|compiled|full)/);
  assert.throws(() => large.mul(2), /^full: /); // known by now
  assert.equal([...(await small.mul(3).data())], [3, 6, 9]);
  allow();
  assert.is(await tf.ones([length]).sum().item(), length);
  // The first program's own buffers were refused: it goes on failing, and is compiled anew.
  const again = tf.compile((x: Tensor) => x.add(1).slice([0, 3]));
  assert.equal([...(await again(tf.ones([length])).data())], [2, 2, 2]);
  await tf.synchronize().catch(() => undefined);
  await tf.synchronize();
});

test('failures before the device is there stay with their op', async () => {
  const script = `
import * as tf from ${JSON.stringify(new URL('../../autograd/index.ts', import.meta.url).href)};
const large = tf.zeros([5 * 2 ** 28]); // 5 GiB: one buffer holds 4
const dependent = large.add(1);
const good = tf.tensor([1, 2]).add(1);
const told = await dependent.slice([0, 4]).data().catch((error) => error.message);
console.log(JSON.stringify([[...(await good.data())], told]));
`;
  const path = join(folder, 'script.mts');
  await writeFile(path, script);
  const { stdout } = await runScript([path]);
  const [good, told] = JSON.parse(stdout) as [number[], string];
  assert.equal(good, [2, 3]);
  assert.match(told, /one buffer of this device holds/);
});

test.run();
