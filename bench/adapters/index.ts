import type { Row } from '../rows/row.ts';
import type { Adapter } from './adapter.ts';

/** Something that is measured: a library in one of its modes, in a process of its own. */
export interface Runner {
  readonly name: string;
  /**
   * Whose figures they are: our library's, another's on WebGPU, or another's on the processor without a
   * driver.
   */
  readonly kind: 'ours' | 'webgpu' | 'cpu';
  /** Uploads and reads back on every call. */
  readonly copies?: boolean;
  /** Names of the only rows it can do. */
  readonly rows?: readonly string[];
  /** Can train. */
  readonly trains?: boolean;
  /** Node's own flags for the process. */
  readonly flags?: readonly string[];
  readonly load: () => Promise<Adapter>;
}

export const runners: readonly Runner[] = [
  {
    name: 'immediate',
    kind: 'ours',
    trains: true,
    load: async () => (await import('./tapeform.ts')).adapter,
  },
  {
    name: 'compiled',
    kind: 'ours',
    trains: true,
    load: async () => (await import('./tapeform.ts')).compiled,
  },
  {
    name: 'plain kernel',
    kind: 'webgpu',
    rows: ['matmul', 'attention scores', 'attention values'],
    load: async () => (await import('./plain.ts')).adapter,
  },
  {
    name: 'onnxruntime-node',
    kind: 'webgpu',
    copies: true,
    load: async () => (await import('./onnxruntime-node.ts')).adapter,
  },
  {
    name: 'onnxruntime-web',
    kind: 'webgpu',
    flags: ['--liftoff-only'], // else V8 optimises its 27 MB in the midst of the first run
    load: async () => (await import('./onnxruntime-web.ts')).adapter,
  },
  { name: 'tfjs', kind: 'webgpu', trains: true, load: async () => (await import('./tfjs.ts')).adapter },
  { name: 'jax-js', kind: 'webgpu', trains: true, load: async () => (await import('./jax.ts')).adapter },
  { name: 'gpu.js', kind: 'webgpu', rows: ['matmul'], load: async () => (await import('./gpujs.ts')).adapter },
  { name: 'jax-js wasm', kind: 'cpu', trains: true, load: async () => (await import('./jax.ts')).wasm },
  {
    name: 'onnxruntime cpu',
    kind: 'cpu',
    copies: true,
    load: async () => (await import('./onnxruntime-node.ts')).cpu,
  },
];

/** Whether it has a way to do the row at all. */
export function canDo({ rows, trains }: Runner, { name, training }: Row): boolean {
  return (!rows || rows.includes(name)) && (!training || trains === true);
}

export function runnerNamed(name: string): Runner {
  return runners.find((runner) => runner.name === name)!;
}
