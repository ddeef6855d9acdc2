import type { Binding } from './buffers.ts';
import type { Dispatch } from './dispatch.ts';
import type { Pipeline } from './pipelines.ts';

/**
 * A uniform binding has one size for all kernels that share a layout; 128 words hold the largest parameter
 * struct.
 */
export const maxParamBytes = 512;

/**
 * Many times those of a large model's step, for loops that leave their tensors to be collected. Mesa's
 * software driver has a mapping of memory for each, of which Linux allows a process 65,530: one more, and the
 * driver aborts.
 */
const capacity = 16384;

/**
 * Bind groups by layout and by what they bind, since making one costs more than the dispatch. Parameters lie
 * in one buffer, at dynamic offsets.
 */
export class BindGroups {
  private readonly device: GPUDevice;
  private readonly uniforms: GPUBuffer | undefined;
  private readonly ids = new WeakMap<GPUBuffer, number>();
  private readonly groups = new Map<string, GPUBindGroup>();
  private nextId = 0;

  /** `uniforms`: undefined where no dispatch has parameters. */
  constructor(device: GPUDevice, uniforms: GPUBuffer | undefined) {
    this.device = device;
    this.uniforms = uniforms;
  }

  get({ layout }: Pipeline, { name, params }: Dispatch, bindings: readonly Binding[]): GPUBindGroup {
    let key = `${layout.id}`;
    for (const { buffer, window } of bindings) {
      key += `,${this.idOf(buffer)}`;
      if (window) key += `+${window.offset}:${window.size}`;
    }
    const known = this.groups.get(key);
    if (known) return known;
    const entries: GPUBindGroupEntry[] = bindings.map(({ buffer, window }, binding) => ({
      binding,
      resource: { buffer, ...window },
    }));
    if (params.byteLength > 0)
      entries.push({ binding: bindings.length, resource: { buffer: this.uniforms!, size: maxParamBytes } });
    const group = this.device.createBindGroup({ label: name, layout: layout.group, entries });
    if (this.groups.size >= capacity) this.groups.clear();
    this.groups.set(key, group);
    return group;
  }

  private idOf(buffer: GPUBuffer): number {
    let id = this.ids.get(buffer);
    if (id === undefined) this.ids.set(buffer, (id = this.nextId++));
    return id;
  }
}

/** Throws for parameters that do not fit the binding. */
export function checkParams({ name, params }: Dispatch): void {
  if (params.byteLength > maxParamBytes)
    throw new RangeError(`${name}: parameters of ${params.byteLength} bytes exceed ${maxParamBytes}`);
}
