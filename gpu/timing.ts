import type { Dispatch } from './dispatch.ts';
import type { Gpu } from './device.ts';
import { GpuError } from './errors.ts';

/** One dispatch as the device timed it. */
export interface Timing {
  readonly name: string;
  /** Milliseconds from the beginning of the first dispatch. */
  readonly start: number;
  readonly milliseconds: number;
  readonly flops: number;
  readonly bytes: number;
}

/** What the dispatches of one kernel took together. */
export interface KernelTotal {
  readonly name: string;
  readonly calls: number;
  readonly milliseconds: number;
  readonly flops: number;
  readonly bytes: number;
}

/**
 * Sums dispatches by the kernel's name, the most expensive first.
 *
 * @example
 * const gpu = await ready();
 * const x = rand(64, 64);
 * const timings = await timeDispatches(gpu, () => [x.mul(2), x.mul(3)]);
 * totalsByKernel(timings).map(({ name, calls }) => [name, calls]); // [['mul', 2]]
 */
export function totalsByKernel(timings: readonly Timing[]): KernelTotal[] {
  const totals = new Map<string, KernelTotal>();
  for (const { name, milliseconds, flops, bytes } of timings) {
    const sum = totals.get(name) ?? { name, calls: 0, milliseconds: 0, flops: 0, bytes: 0 };
    totals.set(name, {
      name,
      calls: sum.calls + 1,
      milliseconds: sum.milliseconds + milliseconds,
      flops: sum.flops + flops,
      bytes: sum.bytes + bytes,
    });
  }
  return [...totals.values()].sort((a, b) => b.milliseconds - a.milliseconds);
}

/** A query set holds 4096 timestamps: two for each dispatch. */
const capacity = 2048;

/**
 * Runs fn with a timestamp before and after every dispatch it records, each in a pass of its own, and returns
 * them in order. At most 2048 dispatches are timed. Throws where the device has no timestamps.
 *
 * @example
 * const gpu = await ready();
 * const [a, b] = [rand(64, 64), rand(64, 64)];
 * const timings = await timeDispatches(gpu, () => matmul(a, b));
 * timings.length; // 1
 */
export async function timeDispatches(gpu: Gpu, fn: () => unknown): Promise<Timing[]> {
  if (!gpu.device.features.has('timestamp-query')) {
    throw new GpuError(
      'timing: this device has no timestamp-query; time whole runs with performance.now() and synchronize()',
    );
  }
  const querySet = gpu.device.createQuerySet({ type: 'timestamp', count: 2 * capacity });
  const resolved = gpu.device.createBuffer({
    size: 16 * capacity,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const dispatches: Dispatch[] = [];
  gpu.encoder.timer = (dispatch) => {
    if (dispatches.length >= capacity) return undefined;
    const at = 2 * dispatches.push(dispatch) - 2;
    return { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  };
  try {
    await fn();
    await gpu.synchronize();
  } finally {
    gpu.encoder.timer = undefined;
  }
  if (dispatches.length === 0) return [];
  gpu.encoder.resolve(querySet, 2 * dispatches.length, resolved);
  const bytes = await gpu.readBuffer(resolved, 0, 16 * dispatches.length);
  querySet.destroy();
  resolved.destroy();
  const ticks = new BigUint64Array(bytes.buffer, bytes.byteOffset, 2 * dispatches.length);
  return dispatches.map(({ name, cost }, i) => ({
    name,
    start: Number(ticks[2 * i]! - ticks[0]!) / 1e6,
    milliseconds: Number(ticks[2 * i + 1]! - ticks[2 * i]!) / 1e6,
    flops: cost.flops,
    bytes: cost.bytes,
  }));
}
