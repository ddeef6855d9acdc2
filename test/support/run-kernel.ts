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

/**
 * The same for kernels with several outputs, which are the last bindings: each given by its length (it begins
 * as NaN, so that unwritten elements show) or by what it holds before (for kernels that work in place).
 */
export async function runKernelOutputs(
  dispatch: Dispatch,
  inputs: readonly ArrayBufferView[],
  outputs: readonly (number | Float32Array)[],
): Promise<Float32Array[]> {
  const gpu = await acquire();
  const upload = (x: ArrayBufferView) => gpu.upload(new Uint8Array(x.buffer, x.byteOffset, x.byteLength), 'test');
  const before = outputs.map((output) => (typeof output === 'number' ? new Float32Array(output).fill(NaN) : output));
  const [read, written] = [inputs.map(upload), before.map(upload)];
  gpu.dispatch(dispatch, [...read, ...written]);
  const bytes = await Promise.all(written.map((allocation, k) => gpu.read(allocation, 0, before[k]!.length * 4)));
  for (const allocation of [...read, ...written]) gpu.release(allocation);
  return bytes.map(({ buffer }, k) => new Float32Array(buffer, 0, before[k]!.length));
}
