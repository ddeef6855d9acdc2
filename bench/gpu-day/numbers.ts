/** Numbers that host and device both know, read back to the bit and compared with float64. */
import { clone, noGrad, normal, ready, synchronize } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { bytesOf, sizeOf, watchMatmul } from '../../kernels/index.ts';
import type { Product } from '../../kernels/index.ts';
import { random } from '../rows/data.ts';
import { allocationOf, emit, free, fromHalf, toHalf } from './shared.ts';
import type { Half } from './shared.ts';

/** Random integers in [0, below). */
export function randomIds(shape: readonly number[], below: number, seed = 7): Int32Array {
  const next = random(seed);
  return Int32Array.from({ length: sizeOf(shape) }, () => next() % below);
}

let halves: Float32Array | undefined;
/** The value of each f16. */
const halfTable = (): Float32Array => (halves ??= Float32Array.from({ length: 65536 }, (_, bits) => fromHalf(bits)));

/** 65,536 values of a normal distribution, in f32 and rounded to f16. */
interface Spread {
  readonly f32: Float32Array;
  readonly f16: Float32Array;
  readonly bits: Uint16Array;
}
let spread: Spread | undefined;

function spreadTable(): Spread {
  if (spread) return spread;
  const next = random(1);
  const unit = (): number => (next() + 0.5) / 2 ** 32;
  // Box and Muller, 1958.
  const sample = (): number => Math.sqrt(-2 * Math.log(unit())) * Math.cos(2 * Math.PI * unit());
  const f32 = Float32Array.from({ length: 65536 }, sample);
  const bits = Uint16Array.from(f32, toHalf);
  spread = { f32, bits, f16: Float32Array.from(bits, (half) => halfTable()[half]!) };
  return spread;
}

/** A tensor of normal numbers that the host knows: `host` holds exactly what the device holds. */
export interface Known {
  readonly host: Float32Array;
  readonly tensor: Tensor;
}

export async function known(seed: number, shape: readonly number[], type: Half): Promise<Known> {
  const table = spreadTable();
  const size = sizeOf(shape);
  const next = random(seed);
  const host = new Float32Array(size);
  const bits = type === 'f16' ? new Uint16Array(size) : undefined;
  for (let i = 0; i < size; i++) {
    const at = next() >>> 16;
    host[i] = table[type][at]!;
    if (bits) bits[i] = table.bits[at]!;
  }
  const gpu = await ready();
  const tensor = normal(shape, { dtype: type }).keep();
  await ready();
  gpu.write(allocationOf(gpu, tensor), new Uint8Array((bits ?? host).buffer));
  return { host, tensor };
}

/** The bytes of a tensor in row-major order. */
export async function bytesIn(x: Tensor): Promise<Uint8Array> {
  const gpu = await ready();
  const whole = x.isContiguous && x.offset === 0;
  const source = whole ? x : noGrad(() => clone(x)).keep();
  const bytes = x.size * bytesOf(x.dtype);
  const got = await gpu.read(allocationOf(gpu, source), 0, Math.ceil(bytes / 4) * 4);
  if (!whole) free(source);
  return got.subarray(0, bytes);
}

/** Reads elements of such bytes, one by one. */
export function reader(bytes: Uint8Array, type: string): (i: number) => number {
  const { buffer, byteOffset, byteLength } = bytes;
  if (type === 'f16') {
    const [stored, values] = [new Uint16Array(buffer, byteOffset, byteLength / 2), halfTable()];
    return (i) => values[stored[i]!]!;
  }
  const floats = new Float32Array(buffer, byteOffset, byteLength / 4);
  return (i) => floats[i]!;
}

/** Runs fn and returns the matrix products that it computed. */
export async function productsOf(fn: () => unknown): Promise<Product[]> {
  const seen: Product[] = [];
  const stop = watchMatmul((params) => seen.push(params));
  try {
    await fn();
    await synchronize();
  } finally {
    stop();
  }
  return seen;
}

/** Error of a result as it is stored: half a unit in the last place of f16, none to speak of in f32. */
export const rounding = (type: string, value: number): number =>
  type === 'f16' ? 1.02 * 2 ** -11 * Math.abs(value) + 2 ** -24 : 0;

/** How many bytes of two runs differ. */
export function differing(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return 0;
  return a.reduce((count, byte, i) => count + Number(byte !== b[i]), 0);
}

/** Errors of many values, each in units of what is allowed for it. */
export interface Errors {
  /** Adds a value; NaN counts as infinitely wrong. */
  add(at: () => string, got: number, want: number, allowed: number): void;
  /**
   * Writes the outcome: right where all is within what is allowed, and a repeated run was equal to the bit.
   */
  emit(key: string, type: string, more?: { readonly equal?: boolean; readonly [field: string]: unknown }): void;
}

export function errorsOf(): Errors {
  let [worst, compared, wrong, where] = [0, 0, 0, ''];
  return {
    add(at, got, want, allowed) {
      const error = Math.abs(got - want) / allowed;
      const ratio = Number.isNaN(error) ? Infinity : error;
      compared++;
      if (ratio > 1) wrong++;
      if (ratio > worst) [worst, where] = [ratio, `${at()}: ${got}, want ${want}`];
    },
    emit(key, type, more = {}) {
      emit({
        key,
        type,
        ok: compared > 0 && worst <= 1 && more.equal !== false,
        worst: worst === Infinity ? 'infinite' : worst,
        compared,
        ...(wrong > 0 ? { wrong, where } : {}),
        ...more,
      });
    },
  };
}

/** Computes tensors twice: the bytes of the first run, and how many of each tensor's differ in the second. */
export async function twice(
  run: () => Tensor[] | Promise<Tensor[]>,
): Promise<{ readonly first: Uint8Array[]; readonly equal: boolean; readonly differing: number[] }> {
  const once = async (): Promise<Uint8Array[]> => {
    const tensors = await run();
    const all: Uint8Array[] = [];
    for (const t of tensors) all.push(await bytesIn(t));
    free(...tensors);
    return all;
  };
  const [first, second] = [await once(), await once()];
  const counts = first.map((bytes, i) => differing(bytes, second[i]!));
  return { first, equal: counts.every((count) => count === 0), differing: counts };
}

/** About `count` numbers below `length`: the edges of tiles, both ends, and some between. */
export function sample(length: number, count: number, seed: number): number[] {
  if (length <= count) return Array.from({ length }, (_, i) => i);
  const next = random(seed);
  const edges = [
    0,
    1,
    31,
    32,
    63,
    64,
    127,
    128,
    255,
    256,
    length - 1,
    length - 2,
    length - 8,
    length - 64,
    length - 65,
  ];
  const all = new Set(edges.filter((i) => i >= 0 && i < length).slice(0, count));
  while (all.size < count) all.add(next() % length);
  return [...all];
}
