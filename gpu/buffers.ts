import { Heap } from '../common/collections.ts';
import { machineRoom, showBytes, tooLarge } from '../common/memory.ts';
import type { Room } from '../common/memory.ts';
import { debugLevel, debugMemory } from './debug.ts';
import { bufferError, GpuError, guarded } from './errors.ts';

/** A piece of device memory in use. Give it back with `release`; its contents are then undefined. */
export interface Allocation {
  readonly buffer: GPUBuffer;
  /** Bytes asked for. The buffer itself is at least as large. */
  readonly bytes: number;
  /** Name of the op that made it, for `memory()`. */
  readonly label: string;
  /** The buffer has no room for other sizes. */
  readonly exact: boolean;
}

/**
 * A buffer that a dispatch binds (an `Allocation` is one), or a window of it where the kernel needs a part
 * only, or the whole exceeds one binding.
 */
export interface Binding {
  readonly buffer: GPUBuffer;
  /** Bytes; absent for the whole buffer. */
  readonly window?: Window;
}

/** A range of bytes of a buffer. The offset is a multiple of `Target.bindingAlignment`, the size of 16. */
export interface Window {
  readonly offset: number;
  readonly size: number;
}

export interface MemoryReport {
  /** Bytes in use now, and the most that ever were since the last `resetPeak`. */
  readonly live: number;
  readonly peak: number;
  /** Bytes held from the driver: in use, and free for reuse. */
  readonly reserved: number;
  /** Buffers in use. */
  readonly buffers: number;
  /** Bytes in use by the op that made them, largest first. */
  readonly byOp: Readonly<Record<string, number>>;
}

/** Bytes from which the device is asked whether it has memory for a buffer: 30 us and a submission. */
const guardedSize = 16 * 2 ** 20;

const usage = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST

/**
 * Size class of a request: four steps to each power of two, so that at most a quarter is wasted and freed
 * buffers fit later requests. Whole multiples of 16 bytes, so that kernels may read the tail of any tensor as
 * vec4.
 */
export function sizeClass(bytes: number, limit = Infinity): number {
  if (bytes <= 256) return 256;
  const step = 2 ** Math.max(4, Math.floor(Math.log2(bytes - 1)) - 2);
  const rounded = Math.ceil(bytes / step) * step;
  return bytes <= limit && rounded > limit ? limit : rounded;
}

/** Knows the device's answers for large buffers; see faults.ts. */
export interface Grants {
  await(buffer: GPUBuffer, answer: Promise<GpuError | undefined>): void;
  refuses(buffer: GPUBuffer): boolean;
  drop(buffer: GPUBuffer): void;
}

/** A buffer, how many were made before it, and its size, which asking the device for costs more than this. */
interface Aged {
  readonly buffer: GPUBuffer;
  readonly age: number;
  readonly size: number;
}

export interface AcquireOptions {
  readonly avoid?: ReadonlySet<GPUBuffer>;
  readonly exact?: boolean;
}

/**
 * Device memory by size class. Whole buffers are reused, never parts of a big one: WebGPU's barriers are per
 * buffer, and one arena would serialise every dispatch.
 */
export class BufferPool {
  private readonly device: GPUDevice;
  private readonly faults: Grants;
  private readonly room: Room | undefined;
  private readonly destroy: (buffer: GPUBuffer) => void;
  /**
   * By size; the oldest is taken first, so that loops find the buffers, and so the bind groups, of the round
   * before, in whatever order their tensors were freed. Host time an op of 1,000 chained adds whose tensors
   * are left to be collected, best and median of 60 rounds: 24 and 38 us with the newest first, a third of it
   * for new bind groups; 15 and 31 us so.
   */
  private readonly free = new Map<number, Heap<Aged>>();
  private readonly ages = new WeakMap<GPUBuffer, Aged>();
  private made = 0;
  private readonly used = new Set<Allocation>();
  private live = 0;
  private peak = 0;
  private reserved = 0;

  /**
   * `sharesMemory`: what it holds comes out of the machine's memory. `destroy` ends a buffer after the work
   * that was recorded on it.
   */
  constructor(device: GPUDevice, faults: Grants, sharesMemory: boolean, destroy: (buffer: GPUBuffer) => void) {
    this.device = device;
    this.destroy = destroy;
    this.faults = faults;
    this.room = sharesMemory ? machineRoom : undefined;
  }

  /**
   * Memory of at least `bytes`, contents undefined. `avoid`: buffers that must not be reused right now.
   * `exact`: no room for other sizes, for what is planned and kept; given back to the driver when released,
   * since hardly another request would have its size. A buffer may exceed one binding.
   */
  acquire(bytes: number, label: string, { avoid, exact = false }: AcquireOptions = {}): Allocation {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
    const most = maxBufferSize - (maxBufferSize % 16);
    if (bytes > most) {
      const one = { name: 'one buffer of this device holds', bytes: most };
      throw new GpuError(tooLarge(`${label}: a tensor`, bytes, one, 'split it along its first axis'));
    }
    const size = exact
      ? Math.max(16, Math.ceil(bytes / 16) * 16)
      : sizeClass(bytes, bytes <= maxStorageBufferBindingSize ? maxStorageBufferBindingSize : most);
    const buffer = this.take(size, avoid) ?? this.create(size, label);
    const allocation: Allocation = { buffer, bytes, label, exact };
    this.used.add(allocation);
    this.live += bytes;
    this.peak = Math.max(this.peak, this.live);
    if (debugLevel >= 4) debugMemory('take', bytes, label, this.live, this.peak);
    return allocation;
  }

  release(allocation: Allocation): void {
    if (!this.used.delete(allocation)) return;
    this.live -= allocation.bytes;
    const { buffer, bytes, label } = allocation;
    if (debugLevel >= 4) debugMemory('give', bytes, label, this.live, this.peak);
    if (allocation.exact || this.faults.refuses(buffer)) return this.end(buffer);
    const aged = this.ages.get(buffer)!;
    let heap = this.free.get(aged.size);
    if (!heap) this.free.set(aged.size, (heap = new Heap((a, b) => a.age < b.age)));
    heap.push(aged);
  }

  private end(buffer: GPUBuffer): void {
    this.reserved -= buffer.size;
    if (this.faults.refuses(buffer)) this.faults.drop(buffer);
    else this.destroy(buffer);
  }

  /** The oldest free buffer of a size that may be used now. */
  private take(size: number, avoid: ReadonlySet<GPUBuffer> | undefined): GPUBuffer | undefined {
    const heap = this.free.get(size);
    if (!heap) return undefined;
    const passed: Aged[] = [];
    let found = heap.pop();
    while (found && (avoid?.has(found.buffer) || this.faults.refuses(found.buffer))) {
      passed.push(found);
      found = heap.pop();
    }
    for (const one of passed) heap.push(one);
    return found?.buffer;
  }

  /** Gives free buffers back to the driver. */
  emptyCache(): void {
    for (const heap of this.free.values()) for (let one = heap.pop(); one; one = heap.pop()) this.end(one.buffer);
    this.free.clear();
  }

  report(): MemoryReport {
    const byOp: Record<string, number> = {};
    for (const { label, bytes } of this.used) byOp[label] = (byOp[label] ?? 0) + bytes;
    const sorted = Object.fromEntries(Object.entries(byOp).sort((a, b) => b[1] - a[1]));
    return { live: this.live, peak: this.peak, reserved: this.reserved, buffers: this.used.size, byOp: sorted };
  }

  resetPeak(): void {
    this.peak = this.live;
  }

  private create(size: number, label: string): GPUBuffer {
    if (this.room && this.reserved + size > this.room.bytes) this.emptyCache();
    const all = this.reserved + size;
    if (this.room && all > this.room.bytes) {
      const what = `${label}: a tensor of ${showBytes(size)}, with those that are held,`;
      throw new GpuError(tooLarge(what, all, this.room, 'free some, or use a smaller batch or model'));
    }
    this.reserved += size;
    if (size < guardedSize) return this.numbered(this.device.createBuffer({ size, usage }));
    const { made, refusal } = guarded(this.device, () => this.device.createBuffer({ size, usage }));
    const answer = refusal.then((error) => {
      if (error) this.emptyCache(); // so that there is more for the next one
      return error && bufferError(label, error);
    });
    this.faults.await(made, answer);
    return this.numbered(made);
  }

  private numbered(buffer: GPUBuffer): GPUBuffer {
    this.ages.set(buffer, { buffer, age: this.made++, size: buffer.size });
    return buffer;
  }
}
