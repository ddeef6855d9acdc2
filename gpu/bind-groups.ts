import { BoundedCache } from '../common/collections.ts';
import { collector } from '../common/collector.ts';
import type { Binding } from './buffers.ts';
import { maxParamBytes } from './dispatch.ts';
import type { Dispatch } from './dispatch.ts';
import { GpuError } from './errors.ts';
import type { Pipeline } from './pipelines.ts';

/** Many times those of a large model's step, for loops that leave their tensors to be collected. */
const capacity = 16384;

/**
 * Bind groups in JavaScript's hands, kept or not collected yet. Mesa's software driver has a mapping of
 * memory for each, of which Linux allows a process 65,530: one more ends it. Collectors do not see these, so
 * from `many` on one is called now and then; what it finds goes in the next turn of the event loop.
 */
let alive = 0;
const [many, most] = [24576, 45056];
const gone = new FinalizationRegistry<undefined>(() => void alive--);

function count(group: GPUBindGroup): void {
  const mend = 'await what is read back (`await loss.item()`) in the loop, or let compiled functions go';
  if (alive >= most) throw new GpuError(`${alive} bind groups, all that a software driver has memory for: ${mend}`);
  gone.register(group, undefined);
  if (++alive >= many && alive % (capacity / 2) === 0) collector()?.();
}

/**
 * Bind groups by layout and by what they bind, since making one costs more than the dispatch. Parameters lie
 * in one buffer, at dynamic offsets.
 */
export class BindGroups {
  private readonly device: GPUDevice;
  private readonly uniforms: GPUBuffer;
  private readonly isSoftware: boolean;
  private readonly ids = new WeakMap<GPUBuffer, number>();
  private readonly groups = new BoundedCache<GPUBindGroup>(capacity);
  private nextId = 0;

  constructor(device: GPUDevice, uniforms: GPUBuffer, isSoftware: boolean) {
    this.device = device;
    this.uniforms = uniforms;
    this.isSoftware = isSoftware;
  }

  get({ layout }: Pipeline, { name }: Dispatch, bindings: readonly Binding[]): GPUBindGroup {
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
    if (layout.hasUniform)
      entries.push({ binding: bindings.length, resource: { buffer: this.uniforms, size: maxParamBytes } });
    const group = this.device.createBindGroup({ label: name, layout: layout.group, entries });
    if (this.isSoftware) count(group);
    this.groups.set(key, group);
    return group;
  }

  private idOf(buffer: GPUBuffer): number {
    let id = this.ids.get(buffer);
    if (id === undefined) this.ids.set(buffer, (id = this.nextId++));
    return id;
  }
}
