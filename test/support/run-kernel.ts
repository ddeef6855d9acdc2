import { acquire } from '../../gpu/index.ts';
import type { Dispatch } from '../../gpu/index.ts';

/**
 * Runs one dispatch over inputs (in binding order) and returns its output, the last binding, of `size`
 * elements.
 */
export async function runKernel(
  dispatch: Dispatch,
  inputs: readonly ArrayBufferView[],
  size: number,
): Promise<Float32Array> {
  return (await runKernelOutputs(dispatch, inputs, [size]))[0]!;
}

/** The same for kernels with several outputs, which are the last bindings. */
export async function runKernelOutputs(
  dispatch: Dispatch,
  inputs: readonly ArrayBufferView[],
  sizes: readonly number[],
): Promise<Float32Array[]> {
  const gpu = await acquire();
  const upload = (x: ArrayBufferView) => gpu.upload(new Uint8Array(x.buffer, x.byteOffset, x.byteLength), 'test');
  const allocations = inputs.map(upload);
  const outputs = sizes.map((size) => upload(new Float32Array(size).fill(NaN))); // unwritten elements show
  gpu.dispatch(dispatch, [...allocations, ...outputs]);
  const bytes = await Promise.all(outputs.map((output, k) => gpu.read(output, 0, sizes[k]! * 4)));
  for (const allocation of [...allocations, ...outputs]) gpu.release(allocation);
  return bytes.map(({ buffer }, k) => new Float32Array(buffer, 0, sizes[k]!));
}
