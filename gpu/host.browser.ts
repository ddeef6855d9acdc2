// What a device needs of a page: the browser's adapter, and its local storage for tuned choices.
import type { Choices } from './choices.ts';
import { GpuError } from './errors.ts';
import type { InitOptions } from './host.ts';

export async function openAdapter({ powerPreference = 'high-performance' }: InitOptions): Promise<GPUAdapter> {
  const gpu = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (!gpu)
    throw new GpuError(
      globalThis.isSecureContext
        ? 'no WebGPU: this browser has none, or it is switched off; update the browser'
        : 'no WebGPU: pages have it over https and from localhost only; serve the page so',
    );
  const adapter = await gpu.requestAdapter({ powerPreference });
  if (adapter) return adapter;
  throw new GpuError(
    'no WebGPU adapter: this browser refuses the graphics of this machine; update its driver, or on Linux start ' +
      'the browser with --enable-unsafe-webgpu',
  );
}

export function languageFeatures(): Promise<ReadonlySet<string>> {
  const { wgslLanguageFeatures = new Set<string>() } = (navigator as { gpu?: Partial<GPU> }).gpu ?? {};
  return Promise.resolve(wgslLanguageFeatures);
}

const keyOf = (adapter: string): string => `tapeform tune ${adapter}`;

/** Undefined in workers, and where the user forbids it. */
function storage(): Storage | undefined {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}

export function loadChoices(adapter: string): Promise<Choices> {
  try {
    const kept = JSON.parse(storage()?.getItem(keyOf(adapter)) ?? '{}') as Record<string, string>;
    return Promise.resolve(new Map(Object.entries(kept)));
  } catch {
    return Promise.resolve(new Map());
  }
}

export function saveChoices(adapter: string, choices: ReadonlyMap<string, string>): Promise<string | undefined> {
  const place = storage();
  place?.setItem(keyOf(adapter), JSON.stringify(Object.fromEntries([...choices].sort())));
  return Promise.resolve(place ? keyOf(adapter) : undefined);
}
