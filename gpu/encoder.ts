import type { Binding } from './buffers.ts';
import type { Dispatch } from './dispatch.ts';
import type { Pipeline, PipelineCache } from './pipelines.ts';
import type { Recording } from './recording.ts';

/** Bytes of parameters one submission can carry. Only what was used is sent. */
const arenaBytes = 256 * 1024;
/** A uniform binding has one size for all kernels that share a layout; 64 words hold the largest parameter struct. */
const maxParamBytes = 512;
/** Dispatches encoded before they are submitted: enough to amortise a submission, few enough that the GPU starts early. */
const batch = 64;
const maxBindGroups = 16384;

/** Called for each dispatch instead of encoding it into the open pass; used by the profiler. */
export type PassTimer = (dispatch: Dispatch) => GPUComputePassTimestampWrites | undefined;

/**
 * Records dispatches into one open compute pass and submits them in batches. Parameters travel in one uniform buffer addressed
 * by dynamic offsets; bind groups are kept by the buffers and windows they name, since making one costs more than the dispatch.
 */
export class Encoder {
  timer: PassTimer | undefined;
  private readonly device: GPUDevice;
  private readonly pipelines: PipelineCache;
  private readonly arena: GPUBuffer;
  private readonly staging = new Uint8Array(arenaBytes);
  private arenaUsed = 0;
  private encoder: GPUCommandEncoder | undefined;
  private pass: GPUComputePassEncoder | undefined;
  private bound: GPUComputePipeline | undefined;
  private dispatches = 0;
  private readonly touched = new Set<GPUBuffer>();
  private readonly bindGroups = new Map<string, GPUBindGroup>();
  private readonly bufferIds = new WeakMap<GPUBuffer, number>();
  private nextBufferId = 0;

  constructor(device: GPUDevice, pipelines: PipelineCache) {
    this.device = device;
    this.pipelines = pipelines;
    this.arena = device.createBuffer({
      label: 'params',
      size: arenaBytes + maxParamBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
  }

  /** Buffers named by work that is recorded but not submitted: a queue write into one would overtake that work. */
  get pending(): ReadonlySet<GPUBuffer> {
    return this.touched;
  }

  dispatch(dispatch: Dispatch, bindings: readonly Binding[]): void {
    const [x, y, z] = dispatch.grid;
    if (x === 0 || y === 0 || z === 0) return;
    const pipeline = this.pipelines.get(dispatch);
    const offset = this.writeParams(dispatch.params);
    const group = this.bindGroup(pipeline, dispatch, bindings);
    const writes = this.timer?.(dispatch);
    if (writes) this.endPass();
    const pass = this.openPass(writes);
    if (this.bound !== pipeline.pipeline) {
      pass.setPipeline(pipeline.pipeline);
      this.bound = pipeline.pipeline;
    }
    if (offset === undefined) pass.setBindGroup(0, group);
    else pass.setBindGroup(0, group, [offset]);
    pass.dispatchWorkgroups(x, y, z);
    if (writes) this.endPass();
    for (const { buffer } of bindings) this.touched.add(buffer);
    if (++this.dispatches >= batch) this.flush();
  }

  /** Encodes all steps of a recording and submits them with what was recorded before. */
  replay({ steps }: Recording): void {
    for (const { dispatch, pipeline, group, offsets } of steps) {
      const [x, y, z] = dispatch.grid;
      const writes = this.timer?.(dispatch);
      if (writes) this.endPass();
      const pass = this.openPass(writes);
      if (this.bound !== pipeline) {
        pass.setPipeline(pipeline);
        this.bound = pipeline;
      }
      pass.setBindGroup(0, group, offsets);
      pass.dispatchWorkgroups(x, y, z);
      if (writes) this.endPass();
    }
    this.flush();
  }

  copy(source: GPUBuffer, sourceOffset: number, target: GPUBuffer, targetOffset: number, bytes: number): void {
    this.endPass();
    this.open().copyBufferToBuffer(source, sourceOffset, target, targetOffset, bytes);
    this.touched.add(source).add(target);
  }

  /** Resolves timestamps into a buffer, in order with the dispatches. */
  resolve(queries: GPUQuerySet, count: number, target: GPUBuffer): void {
    this.endPass();
    this.open().resolveQuerySet(queries, 0, count, target, 0);
  }

  /** Submits everything recorded so far. */
  flush(): void {
    if (!this.encoder) return;
    this.endPass();
    if (this.arenaUsed > 0) this.device.queue.writeBuffer(this.arena, 0, this.staging, 0, this.arenaUsed);
    this.device.queue.submit([this.encoder.finish()]);
    this.encoder = undefined;
    this.arenaUsed = 0;
    this.dispatches = 0;
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

  private writeParams(params: Uint8Array): number | undefined {
    if (params.byteLength === 0) return undefined;
    if (params.byteLength > maxParamBytes)
      throw new RangeError(`parameters of ${params.byteLength} bytes exceed ${maxParamBytes}`);
    if (this.arenaUsed + params.byteLength > arenaBytes) this.flush();
    const offset = this.arenaUsed;
    this.staging.set(params, offset);
    const align = this.device.limits.minUniformBufferOffsetAlignment;
    this.arenaUsed = Math.ceil((offset + params.byteLength) / align) * align;
    return offset;
  }

  private bindGroup({ layout }: Pipeline, { name, params }: Dispatch, bindings: readonly Binding[]): GPUBindGroup {
    let key = `${layout.id}`;
    for (const { buffer, window } of bindings) {
      key += `,${this.bufferId(buffer)}`;
      if (window) key += `+${window.offset}:${window.size}`;
    }
    const known = this.bindGroups.get(key);
    if (known) return known;
    const entries: GPUBindGroupEntry[] = bindings.map(({ buffer, window }, binding) => ({
      binding,
      resource: { buffer, ...window },
    }));
    if (params.byteLength > 0) {
      entries.push({ binding: bindings.length, resource: { buffer: this.arena, size: maxParamBytes } });
    }
    const group = this.device.createBindGroup({ label: name, layout: layout.group, entries });
    if (this.bindGroups.size >= maxBindGroups) this.bindGroups.clear();
    this.bindGroups.set(key, group);
    return group;
  }

  private bufferId(buffer: GPUBuffer): number {
    let id = this.bufferIds.get(buffer);
    if (id === undefined) {
      id = this.nextBufferId++;
      this.bufferIds.set(buffer, id);
    }
    return id;
  }
}
