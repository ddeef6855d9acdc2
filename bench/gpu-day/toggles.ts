/**
 * Loaded before the project (node --import): opens WebGPU with other Dawn toggles, or hides features of the
 * adapter, as the environment says. The project takes `navigator.gpu` where there is one, so nothing of it
 * changes.
 *   GPU_DAY_ENABLE   toggles besides the project's own
 *   GPU_DAY_WITHOUT  toggles of the project's own that are left out
 *   GPU_DAY_HIDE     features that the adapter is not to offer
 */
import * as dawn from 'webgpu';
import { disabledToggles, enabledToggles } from '../../gpu/webgpu.ts';

const listed = (name: string): string[] => (process.env[name] ?? '').split(',').filter(Boolean);

/** Reachable for as long as the process lives: Dawn aborts when it is collected. */
let gpu: GPU | undefined;

function open(): GPU {
  const [without, hidden] = [new Set(listed('GPU_DAY_WITHOUT')), new Set(listed('GPU_DAY_HIDE'))];
  const enabled = [...enabledToggles.filter((name) => !without.has(name)), ...listed('GPU_DAY_ENABLE')];
  Object.assign(globalThis, dawn.globals);
  const made = dawn.create([
    `enable-dawn-features=${enabled.join(',')}`,
    `disable-dawn-features=${disabledToggles.join(',')}`,
  ]) as GPU;
  const request = made.requestAdapter.bind(made);
  made.requestAdapter = async (options) => {
    const adapter = await request(options);
    if (adapter && hidden.size > 0) {
      const features = new Set([...adapter.features].filter((name) => !hidden.has(name)));
      Object.defineProperty(adapter, 'features', { value: features, configurable: true });
    }
    return adapter;
  };
  return made;
}

const global = globalThis as { navigator?: object };
const navigator = global.navigator ?? {};
Object.defineProperty(navigator, 'gpu', { get: () => (gpu ??= open()), configurable: true });
if (!global.navigator) Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
