/**
 * The entry point of WebGPU on this runtime: `navigator.gpu` in Deno and browsers, Dawn's bindings (npm
 * `webgpu`) in Node.
 */

/** Dawn's toggles that the project needs. */
export const enabledToggles = [
  'allow_unsafe_apis', // subgroup matrices, unquantised timestamps
  'vulkan_enable_f16_on_nvidia', // without it Dawn hides shader-f16 on NVIDIA
];
export const disabledToggles = ['timestamp_quantization']; // 65,536 ns steps are useless for timing a kernel

/** Dawn aborts the process when an object returned by `create()` is collected: this keeps them reachable. */
const instances: Promise<GPU>[] = [];

/**
 * The runtime's GPU object; `again`: a new one, which sees drivers that came since. Throws a one-line error
 * where the runtime has no WebGPU.
 */
export function webgpu(again = false): Promise<GPU> {
  if (again || instances.length === 0) instances.push(open());
  return instances.at(-1)!;
}

async function open(): Promise<GPU> {
  const native = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (native) return native;
  if (typeof process === 'undefined' || !process.versions.node) {
    throw new Error(
      'webgpu: this runtime has no navigator.gpu; enable WebGPU (deno run --unstable-webgpu) or use Node',
    );
  }
  const dawn = await import('webgpu');
  // Without checks of indices: no kernel of the project needs them (test/guards.test.ts), WGSL of yours may.
  const unchecked = process.env.TAPEFORM_UNCHECKED === '1' ? ['disable_robustness'] : [];
  Object.assign(globalThis, dawn.globals);
  return dawn.create([
    `enable-dawn-features=${[...enabledToggles, ...unchecked].join(',')}`,
    `disable-dawn-features=${disabledToggles.join(',')}`,
    ...(process.env.TAPEFORM_ADAPTER ? [`adapter=${process.env.TAPEFORM_ADAPTER}`] : []),
  ]) as GPU;
}
