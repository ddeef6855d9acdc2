// What a process holds from its driver stays bounded, however many kernels and programs it has had. Mesa's
// software driver maps memory for each pipeline and bind group, and Linux allows a process 65,530 mappings.
import { readFileSync } from 'node:fs';
import { platform } from 'node:os';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, memory, rand } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { acquire } from '../../gpu/index.ts';
import { PipelineCache } from '../../gpu/pipelines.ts';
import { kernel, u32, write } from '../../kernels/kernel.ts';
import { collectGarbage } from '../support/garbage.ts';
import { runModule } from '../support/script.ts';

const gpu = await acquire();
const test = suite('mappings');
const onLinux = platform() === 'linux';

const mappings = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').length;

const distinct = (value: number) =>
  kernel({
    name: 'distinct',
    bindings: [write('y', 'u32')],
    params: { n: u32(1) },
    workgroup: 1,
    groups: 1,
    cost: { flops: 0, bytes: 4 },
    body: `y[0] = ${value}u + p.n;`,
  });

/** Makes kernels that differ from all others, and collects what is let go. */
async function compileMany(cache: PipelineCache, first: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) cache.get(distinct(first + i));
  await gpu.synchronize();
  await collectGarbage();
  await gpu.synchronize();
  await collectGarbage();
}

test('kernels that were not used for long are let go', async () => {
  const cache = new PipelineCache(gpu.device, { limit: 16 });
  await compileMany(cache, 0, 100);
  assert.ok(cache.size <= 16, `${cache.size} kept`);
  if (!onLinux) return;
  const before = mappings();
  await compileMany(cache, 1000, 200);
  assert.ok(mappings() <= before + 100, `${before} mappings before 200 kernels, ${mappings()} after`);
});

test('a kernel in use stays, however many others come', () => {
  const cache = new PipelineCache(gpu.device, { limit: 8 });
  const used = cache.get(distinct(1)).pipeline;
  for (let i = 2; i < 40; i++) {
    cache.get(distinct(i));
    assert.is(cache.get(distinct(1)).pipeline, used);
  }
});

test('compiled functions that nobody refers to give their memory back to the driver', async () => {
  const use = async (length: number): Promise<void> => {
    const double = compile((x: Tensor) => x.matmul(rand(8, length)).softmax(-1).sum());
    await double(rand(8, 8)).item();
  };
  const some = async (first: number): Promise<void> => {
    for (let i = 0; i < 20; i++) await use(first + 64 * i);
    await collectGarbage();
    await gpu.synchronize();
    await collectGarbage();
  };
  await some(1000);
  const { reserved } = memory();
  const before = onLinux ? mappings() : 0;
  await some(4001);
  await some(7001);
  const held = memory().reserved - reserved;
  assert.ok(held <= 4 * 8 * 9000 * 4, `${held} bytes more are held after 40 programs of other lengths`);
  if (onLinux) assert.ok(mappings() <= before + 60, `${before} mappings before 40 programs, ${mappings()} after`);
});

test('a loop that never awaits gets an error before the driver ends the process', () => {
  if (!gpu.target.software) return;
  const { stdout, stderr } = runModule(`
    import { add, rand, scope } from './autograd/index.ts';
    const xs = Array.from({ length: 300 }, () => rand(4));
    await xs[0].data();
    try {
      for (let i = 0; i < 90000; i++) {
        const open = scope();
        add(xs[i % 300], xs[Math.floor(i / 300)]);
        open[Symbol.dispose]();
      }
    } catch (error) {
      console.log(error.message);
    }
    await new Promise((done) => setTimeout(done, 100)); // the event loop turns
    console.log(await add(xs[0], xs[1]).sub(xs[0]).sub(xs[1]).abs().sum().item() < 1e-5);
  `);
  assert.match(stdout, /bind groups.*await.*\ntrue\n$/, stderr);
});

test.run();
