import type { Allocation, Gpu } from '../../gpu/index.ts';

/** NaN as f32 and as two f16, and far out of any array as a whole number. */
const poison = 0x7fd17fd1;
/** Bytes behind each tensor. */
const room = 1024;

interface Pool {
  acquire(bytes: number, label: string, options?: object): Allocation;
  release(allocation: Allocation): void;
}

/**
 * Gives each tensor a buffer of its own from now on, as long as its elements in whole units of 16 bytes,
 * which kernels may read and write, and behind them a kilobyte of poison in the same binding. New memory is
 * poison, too. So what is read beyond a tensor, or was never written, shows as NaN, and who writes there is
 * named by `check`. Indices far beyond the binding are moved to its last element by WGSL compilers that clamp
 * them, which is poison as well. `restore` ends it.
 */
export function guardMemory(gpu: Gpu): { check(): Promise<string[]>; restore(): void } {
  const pool = (gpu as unknown as { readonly pool: Pool }).pool;
  const { device } = gpu;
  let given: { readonly allocation: Allocation; readonly end: number }[] = [];
  const acquire = (bytes: number, label: string): Allocation => {
    const end = Math.max(16, Math.ceil(bytes / 16) * 16);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size: end + room, usage, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange()).fill(poison);
    buffer.unmap();
    const allocation: Allocation = { buffer, bytes, label, exact: false };
    given.push({ allocation, end });
    return allocation;
  };
  const { release } = pool;
  Object.assign(pool, {
    acquire,
    // Kept to the check, so that none is used again.
    release(allocation: Allocation) {
      if (!given.some((one) => one.allocation === allocation)) release.call(pool, allocation);
    },
  });
  return {
    async check() {
      gpu.encoder.flush();
      const reader = device.createBuffer({
        size: Math.max(16, given.length * room),
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      const encoder = device.createCommandEncoder();
      given.forEach(({ allocation: { buffer }, end }, i) =>
        encoder.copyBufferToBuffer(buffer, end, reader, i * room, room),
      );
      device.queue.submit([encoder.finish()]);
      await reader.mapAsync(GPUMapMode.READ);
      const words = new Uint32Array(reader.getMappedRange());
      const found = given.flatMap(({ allocation: { label, bytes } }, i) => {
        const at = words.subarray((i * room) / 4, ((i + 1) * room) / 4).findIndex((word) => word !== poison);
        return at < 0 ? [] : [`${label}: written ${4 * at} bytes behind the end of ${bytes}`];
      });
      reader.destroy();
      for (const { allocation } of given) allocation.buffer.destroy();
      given = [];
      return found;
    },
    restore() {
      delete (pool as Partial<Pool>).acquire;
      delete (pool as Partial<Pool>).release;
    },
  };
}
