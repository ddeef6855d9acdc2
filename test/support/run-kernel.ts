import { acquire } from '../../gpu/index.ts';
import type { Dispatch } from '../../gpu/index.ts';

/** Runs one dispatch over f32 inputs (in binding order) and returns its output, the last binding, of `size` elements. */
export async function runKernel(
  dispatch: Dispatch,
  inputs: readonly Float32Array[],
  size: number,
): Promise<Float32Array> {
  const gpu = await acquire();
  const allocations = inputs.map((x) => gpu.upload(new Uint8Array(x.buffer, x.byteOffset, x.byteLength), 'test'));
  const output = gpu.upload(new Uint8Array(new Float32Array(size).fill(NaN).buffer), 'test'); // unwritten elements show
  gpu.dispatch(dispatch, [...allocations, output]);
  const bytes = await gpu.read(output, 0, size * 4);
  for (const allocation of [...allocations, output]) gpu.release(allocation);
  return new Float32Array(bytes.buffer, 0, size);
}
