import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Encoder } from '../../gpu/encoder.ts';
import { Faults } from '../../gpu/faults.ts';
import { acquire } from '../../gpu/index.ts';
import { PipelineCache } from '../../gpu/pipelines.ts';
import { contiguousLayout } from '../../kernels/layout.ts';
import { add, input, scalar } from '../../kernels/map/expr.ts';
import { map } from '../../kernels/map/map.ts';

const gpu = await acquire();
const test = suite('bindings');

/** y = x + value over `count` elements from offset 0 of what is bound. */
const plus = (count: number, value: number) =>
  map(
    {
      elements: {
        shape: [count],
        operands: [{ dtype: 'f32', kind: 'v', layout: contiguousLayout([count]) }],
        outputs: [{ expr: add(input(0), scalar(0)), dtype: 'f32' }],
        scalars: [value],
        compute: 'f32',
      },
    },
    { name: 'plus' },
  );

const upload = (values: Float32Array) => gpu.upload(new Uint8Array(values.buffer), 'test');

test('a dispatch sees the windows it is given, and no others of the same buffers', async () => {
  const size = 64; // a window of 256 bytes, which every device aligns to
  const x = upload(Float32Array.from({ length: 4 * size }, (_, i) => i));
  const y = upload(new Float32Array(4 * size));
  const part = ({ buffer }: { buffer: GPUBuffer }, at: number) => ({ buffer, window: { offset: 256 * at, size: 256 } });
  gpu.dispatch(plus(size, 1000), [part(x, 2), part(y, 1)]);
  gpu.dispatch(plus(size, 2000), [part(x, 0), part(y, 3)]);
  const bytes = await gpu.read(y, 0, 16 * size);
  const expected = Float32Array.from({ length: 4 * size }, (_, i) =>
    i < size || (i >= 2 * size && i < 3 * size) ? 0 : i < 2 * size ? i + size + 1000 : i - 3 * size + 2000,
  );
  assert.equal(new Float32Array(bytes.buffer), expected);
  for (const allocation of [x, y]) gpu.release(allocation);
});

test('memory larger than a binding is given, larger than a buffer refused', () => {
  const { maxBufferSize, maxStorageBufferBindingSize } = gpu.device.limits;
  if (maxBufferSize > maxStorageBufferBindingSize + 16) {
    const large = gpu.allocate(maxStorageBufferBindingSize + 16, 'test');
    assert.ok(large.buffer.size >= maxStorageBufferBindingSize + 16);
    gpu.release(large);
  }
  assert.throws(
    () => gpu.allocate(maxBufferSize + 1, 'test'),
    /^test: .*needs .*, one buffer of this device holds .*; /,
  );
});

test('kernels made side by side are found', async () => {
  const counts = [3, 4].map((width) => plus(width, 1)); // one element a thread, and four
  const other = { ...plus(4, 1), wgsl: plus(4, 1).wgsl.replace('fn main', '/* another */ fn main') };
  await gpu.pipelines.prepare([...counts, other, other]);
  const made = gpu.pipelines.size;
  for (const dispatch of [...counts, other]) gpu.pipelines.get(dispatch);
  assert.is(gpu.pipelines.size, made);
});

test('parameters travel in a uniform buffer where the device takes no immediates, and change in between', async () => {
  for (const pipelines of [new PipelineCache(gpu.device), gpu.pipelines]) {
    const encoder = new Encoder(gpu.device, pipelines, new Faults(), gpu.target);
    const [x, y] = [upload(Float32Array.of(1, 2, 3, 4)), upload(new Float32Array(4))];
    const steps = [plus(4, 10), plus(4, 200), plus(4, 10), plus(1, 3000)]; // the last one has another kernel
    steps.forEach((dispatch, i) => encoder.dispatch(dispatch, i % 2 === 0 ? [x, y] : [y, x]));
    encoder.flush();
    const bytes = await gpu.read(x, 0, 16);
    assert.equal([...new Float32Array(bytes.buffer)], [3221, 212, 213, 214]);
    for (const allocation of [x, y]) gpu.release(allocation);
  }
});

test.run();
