import type { Dispatch } from './dispatch.ts';
import { showBytes } from '../common/memory.ts';
import { indent } from './wgsl.ts';

/**
 * How much `TAPEFORM_DEBUG` prints to stderr: 0 nothing (the default), 1 ops as they are applied, 2 also the
 * kernels that run, 3 also the WGSL of each when it is compiled, 4 also memory as it is taken and given back.
 */
export const debugLevel: number = levelOf(typeof process === 'undefined' ? undefined : process.env.TAPEFORM_DEBUG);

function levelOf(value: string | undefined): number {
  if (!value) return 0;
  const level = Number(value);
  if (!Number.isInteger(level) || level < 0 || level > 4) return 0; // refused by checkEnvironment
  // Callers are looked for in the stack, below the frames of this library.
  if (level > 0) Error.stackTraceLimit = Math.max(Error.stackTraceLimit, 64);
  return level;
}

function print(what: string, text: string): void {
  console.error(`${what.padEnd(7)} ${text}`);
}

interface Shaped {
  readonly shape: readonly number[];
  readonly dtype: string;
}

const shown = (list: readonly Shaped[]): string =>
  list.map(({ shape, dtype }) => `${dtype}[${shape.join(', ')}]`).join(' ') || 'nothing';

/** Level 1: `op      matmul f32[2, 3] f32[3, 4] -> f32[2, 4]  main (/home/me/script.ts:3:7)`. */
export function debugOp(
  what: 'op' | 'view' | 'capture',
  name: string,
  inputs: readonly Shaped[],
  outputs: readonly Shaped[],
  caller: string,
): void {
  print(what, `${name} ${shown(inputs)} -> ${shown(outputs)}${caller ? `  ${caller}` : ''}`);
}

/** Level 1: the kernels of a compiled function are about to run again. */
export function debugReplay(kernels: number): void {
  print('replay', `${kernels} kernels`);
}

/** Level 2: name with variant, workgroups, and what the kernel has to do. */
export function debugKernel({ name, grid, cost }: Dispatch): void {
  const groups = grid.filter((length, axis) => axis === 0 || length > 1).join(' x ');
  print('kernel', `${name}  ${groups} workgroups, ${cost.flops} operations, ${showBytes(cost.bytes)}`);
}

/** Level 3. */
export function debugShader({ name, wgsl }: Dispatch): void {
  print('wgsl', `${name}\n${indent(wgsl)}`);
}

/** Level 4: bytes taken or given back, and what is in use then. */
export function debugMemory(what: 'take' | 'give', bytes: number, label: string, live: number, peak: number): void {
  print(what, `${showBytes(bytes)} ${label}; live ${showBytes(live)}, peak ${showBytes(peak)}`);
}
