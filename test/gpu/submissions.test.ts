import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Encoder } from '../../gpu/encoder.ts';
import { Faults } from '../../gpu/faults.ts';
import { acquire } from '../../gpu/index.ts';
import { kernel, write } from '../../kernels/kernel.ts';

/** When recorded work goes to the device. */
const test = suite('submissions');
const gpu = await acquire();
const { queue } = gpu.device;

/** Numbers of dispatches after which an encoder for a described device submits, of `count` of some work. */
async function submitted(software: boolean, count: number, flops: number, replayed: boolean): Promise<number[]> {
  const encoder = new Encoder(gpu.device, gpu.pipelines, new Faults(), { software, units: 4 });
  const y = gpu.allocate(4 * count, 'y');
  const dispatch = kernel({
    name: 'count',
    bindings: [write('y', 'u32')],
    params: {},
    workgroup: 1,
    groups: 1,
    cost: { flops, bytes: 0 },
    body: 'y[0] += 1u;',
  });
  await gpu.prepare([dispatch]);
  const ends: number[] = [];
  let encoded = 0;
  encoder.timer = () => void encoded++;
  const submit = queue.submit.bind(queue);
  queue.submit = (buffers) => {
    ends.push(encoded);
    return submit(buffers);
  };
  const all = Array.from({ length: count }, () => ({ dispatch, bindings: [y] }));
  try {
    if (replayed) encoder.replay(gpu.record(all));
    else for (const step of all) encoder.dispatch(step.dispatch, step.bindings);
    encoder.flush();
  } finally {
    queue.submit = submit;
  }
  await gpu.synchronize();
  gpu.release(y);
  return ends;
}

test('32 dispatches begin an idle GPU, then 64 are a submission; on a processor 64 from the start', async () => {
  assert.equal(await submitted(false, 200, 1, false), [32, 96, 160, 200]);
  assert.equal(await submitted(true, 200, 1, false), [64, 128, 192, 200]);
});

test('a replay is one submission after the first, but for work that would keep a GPU for long', async () => {
  assert.equal(await submitted(false, 200, 1, true), [32, 200]);
  // A quarter of what four units have a submission for.
  assert.equal(await submitted(false, 20, 1.8e10, true), [4, 8, 12, 16, 20]);
  assert.equal(await submitted(true, 200, 1.8e10, true), [200]);
});

test.run();
