import { BoundedCache } from '../common/collections.ts';
import { debugLevel, debugShader } from './debug.ts';
import { maxParamBytes } from './dispatch.ts';
import type { Access, Dispatch } from './dispatch.ts';
import { errorOf, GpuError, guarded, kernelError } from './errors.ts';
import { indent } from './wgsl.ts';

interface Layout {
  readonly id: number;
  /** Whether the parameters lie in a uniform buffer, at a dynamic offset: not immediates, and not none. */
  readonly hasUniform: boolean;
  readonly group: GPUBindGroupLayout;
  readonly pipeline: GPUPipelineLayout;
}

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: Layout;
  /** The device's answer, until it has given it: the error of a kernel that does not compile. */
  readonly answer?: Promise<GpuError | undefined>;
}

/**
 * Many times those of a large model's step and its evaluation. Drivers hold machine code for each: Mesa's
 * software driver three mappings of memory, of which Linux allows a process 65,530.
 */
const capacity = 4096;

/** Parameters in WGSL, as kernels declare them: words of their own, no arrays. */
const uniformParams = /(struct Params \{ [\w:, ]+ \}\n)@group\(0\) @binding\(\d+\) var<uniform> p: Params;/;

/**
 * Compute pipelines keyed by their final source; layouts shared by all kernels that bind alike, so that bind
 * groups can be. Where parameters are few enough they go with the commands (immediates, Vulkan's push
 * constants). 1,000 dispatches of one workgroup on llvmpipe, best and median ms: 12 and 19 so, 36 and 46 with
 * dynamic offsets, for each of which Mesa makes a descriptor set and maps memory.
 */
export class PipelineCache {
  private readonly device: GPUDevice;
  /** Or the error of a kernel that the device refused. */
  private readonly pipelines: BoundedCache<Pipeline | GpuError>;
  private readonly layouts = new Map<string, Layout>();

  private readonly immediates: number;

  /** Keeps at most `limit` pipelines; `immediates`: bytes of them that the device takes. */
  constructor(device: GPUDevice, { limit = capacity, immediates = 0 } = {}) {
    this.device = device;
    this.immediates = immediates;
    this.pipelines = new BoundedCache(limit);
  }

  /** How many shaders are kept compiled: each costs the driver tens of milliseconds once. */
  get size(): number {
    return this.pipelines.size;
  }

  /** Throws for a kernel that is known not to compile; `op` describes the op that needs it. */
  get(dispatch: Dispatch, op?: () => string): Pipeline {
    const { name, wgsl } = dispatch;
    const known = this.pipelines.get(wgsl);
    if (known instanceof GpuError) throw errorOf(op?.(), known);
    if (known) return known;
    const { made, refusal } = guarded(this.device, () => {
      const { layout, descriptor } = this.describe(dispatch);
      return { pipeline: this.device.createComputePipeline(descriptor), layout };
    });
    const answer = refusal.then((refused) => {
      const error = refused && kernelError(name, wgsl, refused);
      this.pipelines.set(wgsl, error ?? made);
      return error;
    });
    const unproven = { ...made, answer };
    this.pipelines.set(wgsl, unproven);
    return unproven;
  }

  /**
   * Compiles the kernels of many dispatches side by side on the driver's threads, so that `get` finds them. A
   * kernel that does not compile throws there. Measured on llvmpipe, driver cache off,
   * 40 distinct matmul kernels, 2 cores: one after the other 1.1 to 1.2 s, together 0.72 to 0.81 s; with both
   * cores taken by other work 3.3 to 4.8 s and 5.0 to 5.7 s.
   */
  async prepare(dispatches: Iterable<Dispatch>): Promise<void> {
    const missing = new Map<string, Dispatch>();
    for (const dispatch of dispatches) if (!this.pipelines.get(dispatch.wgsl)) missing.set(dispatch.wgsl, dispatch);
    const compile = async (dispatch: Dispatch): Promise<void> => {
      const { name, wgsl } = dispatch;
      const { made, refusal } = guarded(this.device, () => {
        const { layout, descriptor } = this.describe(dispatch);
        return { layout, making: this.device.createComputePipelineAsync(descriptor) };
      });
      const pipeline = await made.making.catch((error: unknown) => error as Error);
      const refused = (await refusal) ?? (pipeline instanceof Error ? pipeline : undefined);
      if (refused) this.pipelines.set(wgsl, kernelError(name, wgsl, refused));
      else this.pipelines.set(wgsl, { pipeline: pipeline as GPUComputePipeline, layout: made.layout });
    };
    await Promise.all([...missing.values()].map(compile));
  }

  private describe(dispatch: Dispatch) {
    const { name, wgsl, access, params } = dispatch;
    if (params.byteLength > maxParamBytes)
      throw new RangeError(`${name}: parameters of ${params.byteLength} bytes exceed ${maxParamBytes}`);
    const isImmediate = params.byteLength <= this.immediates && uniformParams.test(wgsl);
    const text = isImmediate
      ? `requires immediate_address_space;\n${wgsl.replace(uniformParams, '$1var<immediate> p: Params;')}`
      : wgsl;
    const layout = this.layout(access, params.byteLength > 0 && !isImmediate);
    if (debugLevel >= 3) debugShader(dispatch);
    const module = this.device.createShaderModule({ label: name, code: indent(text) });
    const compute = { module, entryPoint: 'main' };
    return { layout, descriptor: { label: name, layout: layout.pipeline, compute } };
  }

  private layout(access: readonly Access[], hasUniform: boolean): Layout {
    const key = `${access.join()}|${hasUniform}`;
    const known = this.layouts.get(key);
    if (known) return known;
    const entries: GPUBindGroupLayoutEntry[] = access.map((mode, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: mode === 'read' ? 'read-only-storage' : 'storage' },
    }));
    if (hasUniform) {
      entries.push({
        binding: access.length,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: 'uniform', hasDynamicOffset: true },
      });
    }
    const group = this.device.createBindGroupLayout({ label: key, entries });
    const immediateSize = this.immediates;
    const pipeline = this.device.createPipelineLayout({ label: key, bindGroupLayouts: [group], immediateSize });
    const made = { id: this.layouts.size, hasUniform, group, pipeline };
    this.layouts.set(key, made);
    return made;
  }
}
