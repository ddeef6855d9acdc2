import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { synchronize } from '../autograd/index.ts';
import { acquire } from '../gpu/index.ts';
import type { Target } from '../gpu/index.ts';
import { f32, kernel, read, write } from '../kernels/kernel.ts';
import { filesBelow } from './support/files.ts';
import { guardMemory } from './support/guarded-memory.ts';
import { compareBits } from './support/op-compare.ts';
import { resultsOf, titleOf } from './support/op-driver.ts';
import type { OpCases } from './support/op-case.ts';

/**
 * No kernel reads or writes outside of its tensors: the cases of all ops, forward and gradient, give the same
 * bits with poison around each tensor, which stays as it was. For this device, and for one of its kind with
 * the kernels for GPUs.
 */
const test = suite('kernels stay inside their tensors');

const gpu = await acquire();
const asGpu: Target = { ...gpu.target, software: false, kind: 'discrete', units: 2, subgroupMatrix: [] };
const hook = gpu as unknown as { current: Target };

test('what reads and what writes beyond a tensor is seen', async () => {
  const run = async (from: number, to: number) => {
    const memory = guardMemory(gpu);
    try {
      const [x, y] = [gpu.upload(new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer), 'x'), gpu.allocate(16, 'y')];
      const dispatch = kernel({
        name: 'beyond',
        bindings: [read('x', 'f32'), write('y', 'f32')],
        params: { one: f32(1) },
        workgroup: 1,
        groups: 1,
        cost: { flops: 0, bytes: 0 },
        body: `y[${to}] = x[${from}] + p.one;`,
      });
      gpu.dispatch(dispatch, [x, y]);
      const value = new Float32Array((await gpu.read(y, 0, 16)).buffer)[to];
      return { value, found: await memory.check() };
    } finally {
      memory.restore();
    }
  };
  assert.equal(await run(2, 3), { value: 4, found: [] });
  assert.equal(await run(4, 3), { value: NaN, found: [] });
  assert.equal((await run(0, 6)).found, ['y: written 8 bytes behind the end of 16']);
});

/** Families of which a GPU has kernels of its own; if asked those, too, that compile for minutes. */
const different = process.env.TAPEFORM_THOROUGH
  ? /(attention|conv|cross-entropy|matmul|quantized|reduce|rows|update)\.ts$/
  : /\/(cross-entropy|reduce|rows|update)\.ts$/;

for (const [name, target, kinds] of [
  ['this device', gpu.target, /./],
  ['GPUs', asGpu, different],
] as const) {
  for (const file of filesBelow('test/ops', '.ts').filter((file) => kinds.test(file))) {
    test(`${file}, kernels for ${name}`, async () => {
      const { cases } = (await import(`../${file}`)) as OpCases;
      const before = hook.current;
      hook.current = target;
      const faults: string[] = [];
      try {
        for (const c of cases) {
          if (!target.f16 && c.inputs.some(({ dtype }) => dtype === 'f16')) continue;
          const usual = await resultsOf(c);
          const memory = guardMemory(gpu);
          try {
            const found = await resultsOf(c);
            usual.forEach((y, i) => compareBits(`result ${i}`, y, found[i]!));
          } catch (error) {
            faults.push(`${titleOf(c)}: ${(error as Error).message}`);
          } finally {
            await synchronize();
            faults.push(...(await memory.check()).map((fault) => `${titleOf(c)}: ${fault}`));
            memory.restore();
          }
        }
      } finally {
        hook.current = before;
      }
      assert.equal(faults, []);
    });
  }
}

test.run();
