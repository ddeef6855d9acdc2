import { timeDispatches } from '../../gpu/index.ts';
import type { Gpu } from '../../gpu/index.ts';
import { zeros } from '../create.ts';
import { noGrad } from '../context.ts';
import { matmul } from '../ops/matmul.ts';
import { uniform } from '../ops/random.ts';
import { clone } from '../ops/reshape.ts';
import { ready } from '../runtime.ts';
import { scope } from '../storage.ts';

/** Best rates that this device was measured at, with which kernels are compared. */
export interface Ceilings {
  /** f32 operations a second, of the fastest matrix product. */
  readonly flops: number;
  /** Bytes a second, read and written, of a copy. */
  readonly bandwidth: number;
}

let measured: Promise<Ceilings> | undefined;

/**
 * Measures once: the fastest of a few copies and square matrix products.
 *
 * @example
 * const { flops, bandwidth } = await ceilings();
 * console.log(`${flops / 1e9} GFLOP/s, ${bandwidth / 1e9} GB/s`);
 */
export function ceilings(): Promise<Ceilings> {
  measured ??= measure();
  return measured;
}

const rounds = 5;

async function measure(): Promise<Ceilings> {
  const gpu = await ready();
  const { software } = gpu.target;
  // Large enough to leave the caches and to fill the device, small enough for the processor that plays one.
  const [elements, size] = software ? [2 ** 22, 512] : [2 ** 25, 4096];
  return {
    bandwidth: await best(gpu, zeros([elements]).keep(), (x) => clone(x), 'bytes'),
    flops: await best(gpu, uniform([size, size]).keep(), (x) => matmul(x, x), 'flops'),
  };
}

async function best<T extends { storage: { free(): void } }>(
  gpu: Gpu,
  x: T,
  run: (x: T) => unknown,
  amount: 'flops' | 'bytes',
): Promise<number> {
  const timings = await timeDispatches(gpu, () => {
    using _ = scope();
    for (let i = 0; i < rounds; i++) noGrad(() => run(x));
  });
  x.storage.free();
  return Math.max(...timings.map((t) => t[amount] / (t.milliseconds / 1000)));
}
