import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import type { Module } from '../../models/index.ts';
import { SafetensorsFile } from '../../models/index.ts';
import { toFloat32 } from '../../models/io/tensor-data.ts';

export const goldenFile = (name: string): string => fileURLToPath(new URL(`../golden/${name}`, import.meta.url));

/** Every tensor of a golden file by name. */
export async function readGolden(name: string): Promise<Map<string, Float32Array>> {
  const file = await SafetensorsFile.open(goldenFile(name));
  const all = new Map<string, Float32Array>();
  for (const key of file.entries.keys()) all.set(key, toFloat32(await file.read(key)));
  await file.close();
  return all;
}

/** The shapes of a folder's weights by the names that its file has, sorted. */
export async function shapesIn(folder: string): Promise<Record<string, readonly number[]>> {
  const file = await SafetensorsFile.open(join(folder, 'model.safetensors'));
  const shapes = [...file.entries].map(([key, { shape }]) => [key, shape] as const);
  await file.close();
  return Object.fromEntries(shapes.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The largest absolute difference; NaN if there is one. */
export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.is(actual.length, expected.length, 'number of elements');
  let largest = 0;
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= largest)) largest = difference;
    if (Number.isNaN(largest)) return NaN;
  }
  return largest;
}

export const norm = (x: ArrayLike<number>): number => Math.hypot(...Array.from(x));

/**
 * Gradients under the keys that files use: of a parameter that holds several of their tensors, each one's
 * part. undefined where there is none; buffers are left out.
 */
export async function gradientsByKey(model: Module): Promise<Map<string, Float32Array | undefined>> {
  const parameters = model.parameters();
  const gradients = await Promise.all(parameters.map(({ grad }) => grad?.data() as Promise<Float32Array> | undefined));
  const parts = [...model.stateDict()].flatMap(([key, x]): [string, Float32Array | undefined][] => {
    const at = parameters.findIndex(
      ({ storage, offset, size }) => storage === x.storage && offset <= x.offset && x.offset < offset + size,
    );
    if (at === -1) return [];
    const start = x.offset - parameters[at]!.offset;
    return [[key, gradients[at]?.subarray(start, start + x.size)]];
  });
  return new Map(parts);
}
