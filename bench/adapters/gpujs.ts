import { GPU } from 'gpu.js';
import type { IKernelFunctionThis } from 'gpu.js';
import type { HostArray } from '../rows/data.ts';
import type { Row } from '../rows/row.ts';
import type { Adapter, Prepared } from './adapter.ts';

/** A result that stays on the device, and a kernel that takes such. gpu.js' own types know neither. */
interface Resident {
  toArray(): Promise<Float32Array[] | Float32Array>;
  delete(): void;
}
type Kernel = (...args: unknown[]) => Promise<Resident>;

interface Maker {
  createKernel(fn: (this: IKernelFunctionThis, ...args: never[]) => number): {
    setOutput(sizes: readonly number[]): {
      setLoopMaxIterations(count: number): { setPipeline(on: boolean): Kernel };
    };
  };
}

/**
 * gpu.js, mode "webgpu" (mode "gpu" falls back to WebAssembly unseen): square matrix products as its README
 * writes them; it has no library of ops. Inputs are put on the device once and results stay there
 * (`setPipeline`): with its default, nested arrays up and down at every call, it is several times slower.
 */
export const adapter: Adapter = {
  open() {
    const gpu = new GPU({ mode: 'webgpu' as 'gpu' }) as unknown as Maker;
    const make = (output: readonly number[], fn: (this: IKernelFunctionThis, ...args: never[]) => number): Kernel =>
      // Longer loops would be cut off unseen at 1000.
      gpu
        .createKernel(fn)
        .setOutput(output)
        .setLoopMaxIterations(1 << 20)
        .setPipeline(true);

    /** Copies an array [rows, cols] to the device. */
    const upload = ({ shape, data }: HostArray): Promise<Resident> => {
      const [rows, cols] = shape as [number, number];
      const nested = Array.from({ length: rows }, (_, i) => Float32Array.from(data.subarray(i * cols, (i + 1) * cols)));
      return make([cols, rows], function (this: IKernelFunctionThis, x: number[][]): number {
        return x[this.thread.y]![this.thread.x]!;
      })(nested);
    };

    const prepare = async (row: Row): Promise<Prepared> => {
      const { a, b } = row.inputs();
      const n = a!.shape[0]!;
      const multiply = make(
        [n, n],
        function (this: IKernelFunctionThis, x: number[][], y: number[][], size: number): number {
          let sum = 0;
          for (let k = 0; k < size; k++) sum += x[this.thread.y]![k]! * y[k]![this.thread.x]!;
          return sum;
        },
      );
      const args = [await upload(a!), await upload(b!), n];
      let result: Resident | undefined;
      return {
        run: async () => {
          result?.delete();
          result = await multiply(...args);
        },
        read: async () => {
          const rows = await result!.toArray();
          return Float32Array.from((rows as Float32Array[]).flatMap((line) => [...line]));
        },
      };
    };
    return Promise.resolve({ prepare });
  },
};
