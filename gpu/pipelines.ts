import type { Access, Dispatch } from './dispatch.ts';

interface Layout {
  readonly id: number;
  readonly group: GPUBindGroupLayout;
  readonly pipeline: GPUPipelineLayout;
}

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: Layout;
}

/** Compute pipelines keyed by their final source; layouts shared by all kernels that bind alike, so that bind groups can be. */
export class PipelineCache {
  private readonly device: GPUDevice;
  private readonly pipelines = new Map<string, Pipeline>();
  private readonly layouts = new Map<string, Layout>();

  constructor(device: GPUDevice) {
    this.device = device;
  }

  /** How many distinct shaders were compiled: each costs the driver tens of milliseconds once. */
  get size(): number {
    return this.pipelines.size;
  }

  get({ name, wgsl, access, params }: Dispatch): Pipeline {
    const known = this.pipelines.get(wgsl);
    if (known) return known;
    const layout = this.layout(access, params.byteLength > 0);
    const module = this.device.createShaderModule({ label: name, code: wgsl });
    const pipeline = this.device.createComputePipeline({
      label: name,
      layout: layout.pipeline,
      compute: { module, entryPoint: 'main' },
    });
    const made = { pipeline, layout };
    this.pipelines.set(wgsl, made);
    return made;
  }

  private layout(access: readonly Access[], hasParams: boolean): Layout {
    const key = `${access.join()}|${hasParams}`;
    const known = this.layouts.get(key);
    if (known) return known;
    const entries: GPUBindGroupLayoutEntry[] = access.map((mode, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: mode === 'read' ? 'read-only-storage' : 'storage' },
    }));
    if (hasParams) {
      entries.push({
        binding: access.length,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: 'uniform', hasDynamicOffset: true },
      });
    }
    const group = this.device.createBindGroupLayout({ label: key, entries });
    const pipeline = this.device.createPipelineLayout({ label: key, bindGroupLayouts: [group] });
    const made = { id: this.layouts.size, group, pipeline };
    this.layouts.set(key, made);
    return made;
  }
}
