import { BindGroups } from './bind-groups.ts';
import { BufferPool } from './buffers.ts';
import type { Allocation, Binding, MemoryReport } from './buffers.ts';
import type { Choices } from './choices.ts';
import type { Dispatch } from './dispatch.ts';
import { Encoder } from './encoder.ts';
import { ErrorTrap, GpuError, guarded } from './errors.ts';
import { Faults } from './faults.ts';
import { languageFeatures, loadChoices, openAdapter, saveChoices } from './host.ts';
import type { InitOptions } from './host.ts';
import { rest } from './pace.ts';
import { PipelineCache } from './pipelines.ts';
import { Recording } from './recording.ts';
import type { RecordingInput } from './recording.ts';

/** The facts of a device that kernels choose their variant by. */
export interface Target {
  /**
   * The adapter runs on the CPU (llvmpipe, SwiftShader): no workgroup-memory tiles, long vectors, few
   * barriers.
   */
  readonly software: boolean;
  /**
   * A software driver that loads for all lanes by one instruction: Mesa 26. Older ones write out each lane's
   * load, and compile kernels with hundreds of them for minutes.
   */
  readonly gathers: boolean;
  /**
   * Software, or a GPU that shares its memory with the processor, or one with its own. Guessed from the
   * vendor: WebGPU does not tell.
   */
  readonly kind: 'software' | 'integrated' | 'discrete';
  /** Streaming multiprocessors, compute units, cores: what runs workgroups. Guessed, but for known GPUs. */
  readonly units: number;
  readonly f16: boolean;
  readonly maxStorageBuffers: number;
  /** Bytes that one binding can hold; a larger buffer is bound in windows. */
  readonly bindingLimit: number;
  /** Windows begin at multiples of this many bytes, a multiple of 16. */
  readonly bindingAlignment: number;
  /** Bytes of workgroup memory, and invocations of a workgroup. */
  readonly workgroupMemory: number;
  readonly maxInvocations: number;
  /** Smallest and largest subgroup; 0 where there are none, or threads cannot tell which one is theirs. */
  readonly subgroupSizes: readonly [number, number];
  /** Whether a kernel may fix its subgroup's size. */
  readonly subgroupSizeControl: boolean;
  /** Shapes of the matrices that a subgroup multiplies in hardware (tensor cores); empty where it cannot. */
  readonly subgroupMatrix: readonly SubgroupMatrix[];
  /** Tuned variants by class of work, see `npm run tune`; empty without. */
  readonly choices: ReadonlyMap<string, string>;
}

/** A product of an M x K and a K x N matrix of `component`, added to an M x N matrix of `result`. */
export interface SubgroupMatrix {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly component: string;
  readonly result: string;
}

/**
 * One WebGPU device: memory, pipelines, recording, reading back. Knows nothing about tensors.
 *
 * @example
 * const gpu = await acquire();
 * const buffer = gpu.upload(new Uint8Array([1, 2, 3, 4]), 'example');
 * await gpu.read(buffer, 0, 4); // [1, 2, 3, 4]
 */
export class Gpu {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  private readonly choices: Choices;
  private current: Target;
  readonly encoder: Encoder;
  readonly pipelines: PipelineCache;
  private readonly pool: BufferPool;
  private readonly errors: ErrorTrap;
  private readonly faults = new Faults();
  private readonly readers: GPUBuffer[] = [];

  constructor(adapter: GPUAdapter, device: GPUDevice, language: ReadonlySet<string>, choices: Choices) {
    this.adapter = adapter;
    this.device = device;
    this.choices = choices;
    this.current = { ...targetOf(adapter, device, language), choices };
    this.errors = new ErrorTrap(device);
    const immediates = language.has('immediate_address_space') ? device.limits.maxImmediateSize : 0;
    this.pipelines = new PipelineCache(device, { immediates });
    this.encoder = new Encoder(device, this.pipelines, this.faults, this.target);
    this.pool = new BufferPool(device, this.faults, this.target.kind !== 'discrete', (buffer) => {
      if (this.encoder.pending.has(buffer)) this.encoder.flush();
      buffer.destroy();
    });
  }

  get target(): Target {
    return this.current;
  }

  /**
   * Adds tuned choices, from now on and, in the user's cache, for later processes. Returns the file's path.
   */
  async choose(choices: ReadonlyMap<string, string>): Promise<string | undefined> {
    for (const [work, name] of choices) this.choices.set(work, name);
    return saveChoices(adapterName(this.adapter.info), this.choices);
  }

  /**
   * Makes as if a binding held fewer bytes than the device allows, and windows had to begin at multiples of
   * `alignment`, so that tests see small tensors cut. Returns a function that takes it back.
   */
  limitBindings(bytes: number, alignment = 0): () => void {
    const before = this.current;
    this.current = {
      ...before,
      bindingLimit: Math.min(bytes, before.bindingLimit),
      bindingAlignment: Math.max(alignment, before.bindingAlignment),
    };
    return () => void (this.current = before);
  }

  /**
   * Device memory with undefined contents; `label` names the op that owns it in `memory()`. `exact`: without
   * room for other sizes.
   */
  allocate(bytes: number, label: string, exact = false): Allocation {
    return this.pool.acquire(bytes, label, { exact });
  }

  /** Device memory holding `data`, padded to whole words. */
  upload(data: Uint8Array, label: string): Allocation {
    const allocation = this.pool.acquire(data.byteLength, label, { avoid: this.encoder.pending });
    this.write(allocation, data);
    return allocation;
  }

  /** Overwrites the beginning of an allocation, after everything recorded so far. */
  write({ buffer }: Allocation, data: Uint8Array): void {
    if (this.encoder.pending.has(buffer)) this.encoder.flush();
    if (!this.faults.ungranted([{ buffer }])) return this.writeNow(buffer, data);
    guarded(this.device, () => this.writeNow(buffer, data)); // the buffer's own error is told
  }

  private writeNow(buffer: GPUBuffer, data: Uint8Array): void {
    const whole = data.byteLength & ~3;
    if (whole > 0) this.device.queue.writeBuffer(buffer, 0, data, 0, whole);
    if (whole < data.byteLength) {
      const tail = new Uint8Array(4);
      tail.set(data.subarray(whole));
      this.device.queue.writeBuffer(buffer, whole, tail);
    }
  }

  /** Makes memory available to later allocations; work recorded before still sees the old contents. */
  release(allocation: Allocation): void {
    this.faults.forget(allocation.buffer);
    this.pool.release(allocation);
  }

  /** Makes as if memory had never been written to: its next contents do not depend on the last ones. */
  forget(memory: () => Iterable<Allocation>): void {
    if (this.faults.any) for (const { buffer } of memory()) this.faults.forget(buffer);
  }

  /**
   * Records one dispatch over buffers in binding order; `op` describes, for errors, the op it belongs to.
   * Throws for a kernel that is known not to compile. Where the device finds out later, reading what the
   * dispatch wrote throws, and reading what was computed from it.
   */
  dispatch(dispatch: Dispatch, bindings: readonly Binding[], op?: () => string): void {
    this.errors.check();
    this.encoder.dispatch(dispatch, bindings, op);
  }

  /** Makes dispatches that run again and again on the same buffers; `replay` runs them. */
  record(inputs: readonly RecordingInput[]): Recording {
    const groups = new BindGroups(this.device, this.encoder.arena, this.target.software);
    const make = (): Recording => new Recording(this.pipelines, groups, inputs);
    const isWaiting = this.faults.waits && this.faults.ungranted(inputs.flatMap(({ bindings }) => bindings));
    return isWaiting ? guarded(this.device, make).made : make();
  }

  /** Runs a recording after everything recorded so far, and submits it. */
  replay(recording: Recording): void {
    this.errors.check();
    this.encoder.replay(recording);
  }

  /** Copies memory on the device, in order with the dispatches. */
  copy(source: Allocation, target: Allocation, bytes: number): void {
    this.encoder.copy(source.buffer, 0, target.buffer, 0, Math.ceil(bytes / 4) * 4);
  }

  /**
   * Copies bytes back to the host after everything recorded before. `offset` and the range's end are
   * multiples of 4.
   */
  read({ buffer }: Allocation, offset: number, bytes: number): Promise<Uint8Array> {
    return this.readBuffer(buffer, offset, bytes);
  }

  /** As `read`, for a buffer that the pool does not own. */
  async readBuffer(buffer: GPUBuffer, offset: number, bytes: number): Promise<Uint8Array> {
    this.errors.check();
    const reader = this.reader(bytes);
    const checkFaults = this.faults.watch(buffer);
    this.encoder.copy(buffer, offset, reader, 0, bytes);
    this.faults.forget(reader);
    this.encoder.flush();
    await this.settle(reader.mapAsync(GPUMapMode.READ, 0, bytes));
    const copy = new Uint8Array(reader.getMappedRange(0, bytes).slice(0));
    reader.unmap();
    this.readers.push(reader);
    this.errors.check();
    await checkFaults();
    return copy;
  }

  /** Resolves when everything recorded so far has run; rejects with the first failure not yet told. */
  async synchronize(): Promise<void> {
    this.encoder.flush();
    await this.settle(this.device.queue.onSubmittedWorkDone());
    this.errors.check();
    await this.faults.checkAll();
  }

  memory(): MemoryReport {
    return this.pool.report();
  }

  /** Gives memory that is free for reuse back to the driver. */
  emptyCache(): void {
    this.pool.emptyCache();
  }

  resetPeakMemory(): void {
    this.pool.resetPeak();
  }

  private reader(bytes: number): GPUBuffer {
    const at = this.readers.findIndex(({ size }) => size >= bytes && size <= 4 * bytes + 4096);
    if (at >= 0) return this.readers.splice(at, 1)[0]!;
    if (this.readers.length > 8) this.readers.shift()!.destroy();
    const size = Math.ceil(Math.max(bytes, 256) / 256) * 256;
    return this.device.createBuffer({ label: 'read', size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  }

  /** Compiles the kernels of many dispatches side by side, so that none is waited for later. */
  prepare(dispatches: Iterable<Dispatch>): Promise<void> {
    return this.patiently(this.pipelines.prepare(dispatches));
  }

  private patiently<T>(work: Promise<T>): Promise<T> {
    return this.target.software ? rest(work) : work;
  }

  private async settle(work: Promise<unknown>): Promise<void> {
    try {
      await this.patiently(work); // rejects when the device is lost
      this.encoder.rest();
    } catch (error) {
      this.errors.check();
      throw new GpuError(`reading back failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function targetOf(
  { info }: GPUAdapter,
  { features, limits }: GPUDevice,
  language: ReadonlySet<string>,
): Omit<Target, 'choices'> {
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = info;
  const hasSubgroups = features.has('subgroups' as GPUFeatureName) && language.has('subgroup_id');
  return {
    software: isSoftware(info),
    gathers: isSoftware(info) && mesaOf(info) >= 26,
    kind: isSoftware(info) ? 'software' : isDiscrete(info) ? 'discrete' : 'integrated',
    units: unitsOf(info),
    f16: features.has('shader-f16'),
    maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
    bindingLimit: limits.maxStorageBufferBindingSize,
    bindingAlignment: Math.max(16, limits.minStorageBufferOffsetAlignment),
    workgroupMemory: limits.maxComputeWorkgroupStorageSize,
    maxInvocations: limits.maxComputeInvocationsPerWorkgroup,
    subgroupSizes: hasSubgroups ? [subgroupMinSize, subgroupMaxSize] : [0, 0],
    subgroupSizeControl: features.has('subgroup-size-control' as GPUFeatureName),
    subgroupMatrix: features.has('chromium-experimental-subgroup-matrix' as GPUFeatureName)
      ? subgroupMatrices(info)
      : [],
  };
}

const knownUnits: readonly (readonly [device: RegExp, units: number])[] = [
  [/\bH[12]00\b/, 132],
  [/\bA100\b/, 108],
  [/\bL40S?\b/, 142],
  [/\bL4\b/, 60],
  [/\bT4\b/, 40],
  [/RTX 5090/, 170],
  [/RTX 4090/, 128],
  [/RTX 4080/, 76],
  [/RTX 3090/, 82],
  [/7900 XTX/, 96],
  [/A770/, 32],
  [/M[1-4] Max/, 40],
  [/M[1-4] Pro/, 18],
];

/** WebGPU tells a device's name at most. */
function unitsOf(info: GPUAdapterInfo): number {
  const name = `${info.device} ${info.description}`;
  const known = knownUnits.find(([device]) => device.test(name))?.[1];
  return known ?? (isSoftware(info) ? 1 : isDiscrete(info) ? 64 : 8);
}

const isDiscrete = ({ vendor }: GPUAdapterInfo): boolean => /nvidia|amd|radeon/i.test(vendor);

/** Not in the standard yet, hence not in its types. */
function subgroupMatrices(info: GPUAdapterInfo): SubgroupMatrix[] {
  interface Config {
    readonly M: number;
    readonly N: number;
    readonly K: number;
    readonly componentType: string;
    readonly resultComponentType: string;
  }
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Iterable<Config> };
  return [...subgroupMatrixConfigs].map(({ M, N, K, componentType, resultComponentType }) => ({
    M,
    N,
    K,
    component: componentType,
    result: resultComponentType,
  }));
}

/** Names an adapter and its driver, to tell them from others. */
function adapterName({ vendor, architecture, device, description }: GPUAdapterInfo): string {
  return [vendor, architecture, device, description].filter(Boolean).join(' ');
}

function isSoftware(info: GPUAdapterInfo): boolean {
  return /llvmpipe|lavapipe|swiftshader|software/i.test(
    `${info.vendor} ${info.architecture} ${info.device} ${info.description}`,
  );
}

/** The release of Mesa, 26 of `llvmpipe: Mesa 26.1.6-1 (LLVM 21.1.8)`; 0 for other drivers. */
function mesaOf({ description }: GPUAdapterInfo): number {
  return Number(/\bMesa (\d+)\./.exec(description)?.[1] ?? 0);
}

let acquired: Promise<Gpu> | undefined;

/**
 * Opens the process's device with these options, once: later calls wait for it. Not needed for a device by
 * the defaults, which the first use opens. Rejects where the machine offers none, with the mend, and where
 * options come after the first use.
 */
export async function init(options: InitOptions = {}): Promise<void> {
  if (acquired && Object.keys(options).length > 0)
    throw new GpuError('init: the device is open already; call init before the first tensor is made');
  acquired ??= open(options);
  await acquired;
}

/**
 * The process's device: the most powerful adapter, with all its features and limits. Made once, on first use.
 *
 * @example
 * const gpu = await acquire();
 * console.log(gpu.target.kind);
 */
export function acquire(): Promise<Gpu> {
  acquired ??= open({});
  return acquired;
}

async function open(options: InitOptions): Promise<Gpu> {
  const adapter = await openAdapter(options);
  const device = await adapter.requestDevice({
    requiredFeatures: [...adapter.features] as GPUFeatureName[],
    requiredLimits: allLimits(adapter),
  });
  return new Gpu(adapter, device, await languageFeatures(), await loadChoices(adapterName(adapter.info)));
}

/** Limits are getters on the prototype, so a spread would miss them. */
function allLimits({ limits }: GPUAdapter): Record<string, number> {
  const all: Record<string, number> = {};
  for (const key in limits) {
    const value: unknown = limits[key as keyof GPUSupportedLimits];
    if (typeof value === 'number') all[key] = value;
  }
  return all;
}
