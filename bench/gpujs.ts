import { GPU } from 'gpu.js';
import type { IKernelFunctionThis } from 'gpu.js';
import { webgpu } from '../gpu/webgpu.ts';
import type { BenchmarkCase } from './cases.ts';

/**
 * The same product by gpu.js, WebGPU mode, on the same adapter: a peer for the scale. It uploads and reads back on every call, as it does by design.
 */
export async function gpujsMatmul(n: number): Promise<BenchmarkCase> {
  // gpu.js is made for browsers and looks for navigator.gpu; mode 'gpu' would fall back to WebAssembly unseen.
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu: await webgpu(), userAgent: 'node' },
    configurable: true,
  });
  const gpu = new GPU({ mode: 'webgpu' as 'gpu' });
  const multiply = gpu
    .createKernel(function (this: IKernelFunctionThis, a: number[][], b: number[][], size: number): number {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += a[this.thread.y]![k]! * b[k]![this.thread.x]!;
      return sum;
    })
    .setOutput([n, n]);
  const matrix = (): number[][] =>
    Array.from({ length: n }, () => Array.from({ length: n }, () => Math.random() - 0.5));
  const [a, b] = [matrix(), matrix()];
  const product = async (): Promise<number[][]> => (await multiply(a, b, n)) as number[][];
  const got = (await product())[1]![2]!;
  const expected = a[1]!.reduce((sum, x, k) => sum + x * b[k]![2]!, 0);
  if (!(Math.abs(got - expected) < 1e-3))
    throw new Error(`gpu.js: ${got} is not ${expected}; its figures would mean nothing`);
  return {
    name: 'matmul, gpu.js',
    shape: `${n}x${n}x${n}`,
    flops: 2 * n ** 3,
    bytes: 12 * n ** 2,
    run: async () => void (await product()),
  };
}
