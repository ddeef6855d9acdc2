import { BindGroups } from './bind-groups.ts';
import type { Binding } from './buffers.ts';
import { debugKernel, debugLevel, debugReplay } from './debug.ts';
import { maxParamBytes } from './dispatch.ts';
import type { Dispatch } from './dispatch.ts';
import { errorOf, guarded, kernelError } from './errors.ts';
import type { GpuError } from './errors.ts';
import type { Fault, Faults } from './faults.ts';
import type { PipelineCache } from './pipelines.ts';
import type { RecordedStep, Recording } from './recording.ts';

/** Bytes of parameters in uniform buffers that one submission can carry. Only what was used is sent. */
const arenaBytes = 256 * 1024;
/**
 * Dispatches encoded before they are submitted: enough to amortise a submission, few enough that the GPU
 * starts early.
 */
const batch = 64;
/** The first of them go when there are so many, if the device has nothing to do. */
const firstBatch = 32;
/**
 * Operations and bytes of a submission for each unit of a GPU, after which another one begins: a tenth of a
 * second at half of what units do. Drivers end a process that keeps a GPU for about two seconds.
 */
const perUnit = { flops: 1.8e10, bytes: 1.2e9 };

type Answer = Promise<GpuError | undefined> | undefined;

/** The first error of two answers; of one, or none, that itself. */
function bothOf(a: Answer, b: Answer): Answer {
  return a && b ? Promise.all([a, b]).then(([first, second]) => first ?? second) : (a ?? b);
}

/** Called for each dispatch instead of encoding it into the open pass; used by the profiler. */
export type PassTimer = (dispatch: Dispatch) => GPUComputePassTimestampWrites | undefined;

/** The facts of a device that say when work is submitted. */
interface EncoderTarget {
  readonly software: boolean;
  readonly units: number;
}

/**
 * Records dispatches into one open compute pass and submits them in batches. Parameters travel with the
 * commands, or where that cannot be in one uniform buffer addressed by dynamic offsets; bind groups are kept
 * by the buffers and windows they name, since making one costs more than the dispatch.
 */
export class Encoder {
  timer: PassTimer | undefined;
  private readonly device: GPUDevice;
  private readonly pipelines: PipelineCache;
  private readonly faults: Faults;
  /** Of parameters. */
  readonly arena: GPUBuffer;
  private readonly staging = new Uint8Array(arenaBytes);
  private arenaUsed = 0;
  private encoder: GPUCommandEncoder | undefined;
  private pass: GPUComputePassEncoder | undefined;
  private bound: GPUComputePipeline | undefined;
  /** The parameters that the pass has for this pipeline. */
  private sent: Uint8Array | undefined;
  private dispatches = 0;
  /** Of the work recorded, in units of `perUnit`. */
  private work = 0;
  private readonly target: EncoderTarget;
  /** Whether the device has done all that was submitted, as far as is known. */
  private idle = true;
  /** Of the work recorded now, if its one kernel is not accepted yet: `refuse` takes what submitting gave. */
  private unproven:
    | {
        readonly answer: Promise<GpuError | undefined>;
        readonly fault: Fault;
        readonly refuse: (refusal: Promise<GPUError | undefined>) => void;
      }
    | undefined;
  private readonly touched = new Set<GPUBuffer>();
  private readonly bindGroups: BindGroups;

  constructor(device: GPUDevice, pipelines: PipelineCache, faults: Faults, target: EncoderTarget) {
    this.device = device;
    this.target = target;
    this.pipelines = pipelines;
    this.faults = faults;
    this.arena = device.createBuffer({
      label: 'params',
      size: arenaBytes + maxParamBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.bindGroups = new BindGroups(device, this.arena, target.software);
  }

  /**
   * Buffers named by work that is recorded but not submitted: a queue write into one would overtake that
   * work.
   */
  get pending(): ReadonlySet<GPUBuffer> {
    return this.touched;
  }

  /** `op` describes the op that the dispatch belongs to, for errors. */
  dispatch(dispatch: Dispatch, bindings: readonly Binding[], op?: () => string): void {
    const [x, y, z] = dispatch.grid;
    if (x === 0 || y === 0 || z === 0) return;
    const made = this.pipelines.get(dispatch, op);
    const waits = this.faults.ungranted(bindings);
    const answer = bothOf(made.answer, waits?.answer);
    if (answer !== this.unproven?.answer) this.flush();
    const group = waits
      ? guarded(this.device, () => this.bindGroups.get(made, dispatch, bindings)).made
      : this.bindGroups.get(made, dispatch, bindings);
    this.encode({ dispatch, pipeline: made, group });
    for (const { buffer } of bindings) this.touched.add(buffer);
    if (this.faults.any) this.faults.spread(dispatch.access, bindings);
    if (answer) {
      this.unproven ??= this.beginUnproven(answer, dispatch, op);
      this.faults.taint(this.unproven.fault, dispatch.access, bindings);
    }
    if (this.isLong()) this.flush();
  }

  /** Called when all that was submitted is known to be done. */
  rest(): void {
    this.idle = true;
  }

  private isLong(most = batch): boolean {
    const { dispatches, work, idle, target } = this;
    const early = idle && dispatches >= firstBatch;
    return dispatches >= most || (!target.software && (early || work >= target.units));
  }

  /**
   * Begins the dispatches of a kernel that the device has not accepted yet. One refused command takes the
   * whole submission with it, so they go without the work of other kernels; errors name the first.
   */
  private beginUnproven(
    answer: Promise<GpuError | undefined>,
    { name, wgsl }: Dispatch,
    op?: () => string,
  ): NonNullable<Encoder['unproven']> {
    const described = op?.(); // now, since `op` holds on to tensors
    let refuse!: (refusal: Promise<GPUError | undefined>) => void;
    const refusal = new Promise<GPUError | undefined>((resolve) => (refuse = resolve));
    const error = Promise.all([answer, refusal]).then(([compiled, refused]) => {
      const error = compiled ?? (refused && kernelError(name, wgsl, refused));
      return error && errorOf(described, error);
    });
    return { answer, refuse, fault: this.faults.doubt(error) };
  }

  /** Encodes all steps of a recording and submits them with what was recorded before. */
  replay({ steps }: Recording): void {
    const waits = this.faults.waits ? this.faults.ungranted(steps.flatMap(({ bindings }) => bindings)) : undefined;
    if (this.unproven || waits) this.flush();
    if (this.faults.any) for (const { dispatch, bindings } of steps) this.faults.spread(dispatch.access, bindings);
    if (debugLevel >= 1) debugReplay(steps.length);
    for (const step of steps) {
      this.encode(step);
      if (!waits && this.isLong(Infinity)) this.flush();
    }
    this.flushAlone(waits);
  }

  private encode({ dispatch, pipeline: { pipeline, layout }, group }: Omit<RecordedStep, 'bindings'>): void {
    const { params, grid } = dispatch;
    const [x, y, z] = grid;
    const offset = layout.hasUniform ? this.writeParams(params) : undefined;
    if (debugLevel >= 2) debugKernel(dispatch);
    const writes = this.timer?.(dispatch);
    if (writes) this.endPass();
    const pass = this.openPass(writes);
    if (this.bound !== pipeline) {
      pass.setPipeline(pipeline);
      this.bound = pipeline;
      this.sent = undefined;
    }
    if (offset !== undefined) pass.setBindGroup(0, group, [offset]);
    else pass.setBindGroup(0, group);
    if (offset === undefined && params.byteLength > 0 && params !== this.sent) pass.setImmediates(0, params);
    this.sent = params;
    pass.dispatchWorkgroups(x, y, z);
    this.dispatches++;
    this.work += dispatch.cost.flops / perUnit.flops + dispatch.cost.bytes / perUnit.bytes;
    if (writes) this.endPass();
  }

  copy(source: GPUBuffer, sourceOffset: number, target: GPUBuffer, targetOffset: number, bytes: number): void {
    const waits = this.faults.ungranted([{ buffer: source }, { buffer: target }]);
    if (this.unproven || waits) this.flush();
    this.endPass();
    this.open().copyBufferToBuffer(source, sourceOffset, target, targetOffset, bytes);
    this.touched.add(source).add(target);
    if (this.faults.any) this.faults.copy(source, target);
    if (waits) this.flushAlone(waits);
  }

  /** Submits what was recorded; while it works on a buffer that is not granted, errors are that buffer's. */
  private flushAlone(waits: Fault | undefined): void {
    const { encoder } = this;
    if (waits && encoder) guarded(this.device, () => this.submit(encoder));
    else this.flush();
  }

  /** Resolves timestamps into a buffer, in order with the dispatches. */
  resolve(queries: GPUQuerySet, count: number, target: GPUBuffer): void {
    if (this.unproven) this.flush();
    this.endPass();
    this.open().resolveQuerySet(queries, 0, count, target, 0);
  }

  /** Submits everything recorded so far. */
  flush(): void {
    if (!this.encoder) return;
    const { unproven } = this;
    this.unproven = undefined;
    if (unproven) unproven.refuse(guarded(this.device, () => this.submit(this.encoder!)).refusal);
    else this.submit(this.encoder);
  }

  private submit(encoder: GPUCommandEncoder): void {
    this.endPass();
    if (this.arenaUsed > 0) this.device.queue.writeBuffer(this.arena, 0, this.staging, 0, this.arenaUsed);
    this.device.queue.submit([encoder.finish()]);
    this.encoder = undefined;
    this.arenaUsed = 0;
    this.dispatches = 0;
    this.work = 0;
    this.idle = false;
    this.touched.clear();
  }

  private open(): GPUCommandEncoder {
    this.encoder ??= this.device.createCommandEncoder();
    return this.encoder;
  }

  private openPass(timestampWrites: GPUComputePassTimestampWrites | undefined): GPUComputePassEncoder {
    this.pass ??= this.open().beginComputePass(timestampWrites ? { timestampWrites } : {});
    return this.pass;
  }

  private endPass(): void {
    this.pass?.end();
    this.pass = undefined;
    this.bound = undefined;
  }

  private writeParams(params: Uint8Array): number {
    if (this.arenaUsed + params.byteLength > arenaBytes) this.flush();
    const offset = this.arenaUsed;
    this.staging.set(params, offset);
    const align = this.device.limits.minUniformBufferOffsetAlignment;
    this.arenaUsed = Math.ceil((offset + params.byteLength) / align) * align;
    return offset;
  }
}
