// What a device needs of the machine: an adapter, and a place for tuned choices. In Node, Deno and Bun; in a
// page host.browser.ts stands in.
import { checkEnvironment } from '../common/environment.ts';
import { GpuError } from './errors.ts';
import { webgpu } from './webgpu.ts';

export { loadChoices, saveChoices } from './choices.ts';

/** How the device is opened. */
export interface InitOptions {
  /** The Vulkan driver on Linux, as the environment variable TAPEFORM_DRIVER has it, which it wins over. */
  readonly driver?: 'system' | 'software' | 'swiftshader';
  /** Which GPU, where there are two; default the faster one. */
  readonly powerPreference?: GPUPowerPreference;
  /**
   * Where no GPU is found on Linux: starts this program again on the newest software driver, which may be
   * twice as fast as the best that loads into a running process. For the first statement of a program, since
   * all before it runs twice. Without effect where it cannot be: in worker threads, sessions, pages, Deno,
   * Bun.
   */
  readonly restart?: boolean;
  /** Leaves out the line that says which driver was chosen, as TAPEFORM_QUIET=1 does. */
  readonly quiet?: boolean;
}

/** What this runtime's WGSL has beyond its first version; nothing where the runtime does not tell. */
export async function languageFeatures(): Promise<ReadonlySet<string>> {
  const { wgslLanguageFeatures = new Set<string>() } = (await webgpu()) as Partial<GPU>;
  return wgslLanguageFeatures;
}

/** Asks for an adapter, and where there is none again with a software driver. Throws, with the mend. */
export async function openAdapter({
  driver,
  quiet,
  restart,
  powerPreference = 'high-performance',
}: InitOptions): Promise<GPUAdapter> {
  const options = { powerPreference };
  if (typeof process === 'undefined' || !process.versions?.node) {
    const adapter = await (await webgpu()).requestAdapter(options);
    if (adapter) return adapter;
    throw new GpuError('no WebGPU adapter: this machine has no usable GPU');
  }
  if (driver !== undefined) process.env.TAPEFORM_DRIVER = driver;
  if (quiet) process.env.TAPEFORM_QUIET = '1';
  checkEnvironment(process.env);
  const { ensureVulkanDriver, useSoftware, checkAdapter, driverAdvice } = await import('./driver.ts');
  if (restart) await ensureVulkanDriver();
  for (const refused of [false, true]) {
    const done = await useSoftware(refused);
    if (refused && !done) break;
    const adapter = await (await webgpu(refused)).requestAdapter(options);
    await done?.();
    if (!adapter) continue;
    await checkAdapter(adapter.info);
    return adapter;
  }
  throw new GpuError(`no WebGPU adapter: ${driverAdvice()}`);
}
