import { availableParallelism } from 'node:os';
import { isSoftware } from '../gpu/driver/choose.ts';
import { rest } from '../gpu/pace.ts';
import { webgpu } from '../gpu/webgpu.ts';

/**
 * Offers what libraries made for browsers expect: `navigator.gpu` and WebGPU's classes. It also watches
 * them: whatever device they make, errors that nobody caught make its figures void, and waiting for the
 * device is the same for all.
 */
export class Host {
  /** Dispatches recorded and pipelines made so far. */
  dispatches = 0;
  pipelines = 0;
  private readonly devices: GPUDevice[] = [];
  private software = false;
  private failure: string | undefined;

  /** Must be awaited before a library is imported. */
  static async open(): Promise<Host> {
    const host = new Host();
    const gpu = await webgpu();
    Object.defineProperty(globalThis, 'navigator', {
      value: { gpu, userAgent: 'node', platform: process.platform, hardwareConcurrency: availableParallelism() },
      configurable: true,
    });
    Host.watch(host);
    return host;
  }

  /**
   * Waits until every device has done all that was submitted to it. Throws what went wrong since the last
   * call.
   */
  async finish(): Promise<void> {
    await this.patiently(Promise.all(this.devices.map(({ queue }) => queue.onSubmittedWorkDone())));
    this.check();
  }

  /** Another row begins. */
  restart(): void {
    this.failure = undefined;
  }

  private patiently<T>(work: Promise<T>): Promise<T> {
    return this.software ? rest(work) : work;
  }

  check(): void {
    if (this.failure !== undefined) throw new Error(this.failure);
  }

  private static watch(host: Host): void {
    wrap(
      GPUAdapter.prototype,
      'requestDevice',
      (own) =>
        async function (this: GPUAdapter, ...args) {
          const device = await own.apply(this, args);
          host.software = isSoftware(this.info.description);
          host.restart();
          host.devices.push(device);
          device.addEventListener('uncapturederror', (event) => {
            host.failure ??= (event as GPUUncapturedErrorEvent).error.message.trim().replace(/\s+/g, ' ');
          });
          return device;
        },
    );
    wrap(
      GPUComputePassEncoder.prototype,
      'dispatchWorkgroups',
      (own) =>
        function (this: GPUComputePassEncoder, ...args) {
          host.dispatches++;
          return own.apply(this, args);
        },
    );
    // Dawn's bindings poll in a busy loop while somebody waits, which on a software driver slows the very
    // work: see gpu/pace.ts. Peers must not suffer from that either.
    wrap(
      GPUBuffer.prototype,
      'mapAsync',
      (own) =>
        async function (this: GPUBuffer, ...args) {
          await host.patiently(own.apply(this, args));
          return undefined;
        },
    );
    for (const name of ['createComputePipeline', 'createComputePipelineAsync'] as const)
      wrap(
        GPUDevice.prototype,
        name,
        (own) =>
          function (this: GPUDevice, ...args: never[]) {
            host.pipelines++;
            return (own as (...args: never[]) => never).apply(this, args);
          } as never,
      );
    wrap(
      GPUQueue.prototype,
      'writeBuffer',
      (own) =>
        function (this: GPUQueue, buffer, offset, data, start = 0, size) {
          const bytes = unshared(data, start, size);
          return bytes
            ? own.call(this, buffer, offset, bytes)
            : own.call(this, buffer, offset, data as ArrayBuffer, start, size);
        },
    );
  }
}

/** Replaces a method by one made from it. */
function wrap<T extends object, K extends keyof T>(target: T, name: K, make: (own: T[K]) => T[K]): void {
  target[name] = make(target[name]);
}

/**
 * Dawn's bindings refuse memory shared between threads: a copy of the part that is to be written; undefined
 * for other memory.
 */
function unshared(
  data: ArrayBufferLike | ArrayBufferView,
  start: number,
  size?: number,
): Uint8Array<ArrayBuffer> | undefined {
  const [buffer, from, length] = ArrayBuffer.isView(data)
    ? [data.buffer, data.byteOffset, data.byteLength]
    : [data, 0, data.byteLength];
  if (!(buffer instanceof SharedArrayBuffer)) return undefined;
  const unit = (data as Partial<Uint8Array>).BYTES_PER_ELEMENT ?? 1;
  const bytes = size === undefined ? length - start * unit : size * unit;
  return new Uint8Array(buffer, from + start * unit, bytes).slice() as Uint8Array<ArrayBuffer>;
}
