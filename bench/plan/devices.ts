import type { SubgroupMatrix, Target } from '../../gpu/index.ts';

/** A GPU as its makers describe it: what kernels choose by, and what bounds their time. */
export interface Device {
  readonly name: string;
  readonly target: Target;
  /** Cycles a second under load. */
  readonly clock: number;
  /** f32 multiply-adds that a unit starts in a cycle. */
  readonly lanes: number;
  /** Exponentials and the like that a unit starts in a cycle. */
  readonly special: number;
  /**
   * Operations a second of products of matrices in subgroups, f16 with sums in f32; 0 where there are none.
   */
  readonly matrixFlops: number;
  /** Bytes a second from memory. */
  readonly bandwidth: number;
  /** Of a unit: bytes a cycle from workgroup memory, its size, 32-bit registers, invocations, workgroups. */
  readonly sharedPerCycle: number;
  readonly shared: number;
  readonly registers: number;
  readonly invocations: number;
  readonly groups: number;
  /** Seconds from a load to its value, under load: an assumption, twice and more what idle memory takes. */
  readonly latency: number;
  /** Seconds from the end of one dispatch to the start of the next that waits for it. */
  readonly launch: number;
  /** Where the figures come from. */
  readonly source: string;
}

const [KiB, MiB, GiB] = [2 ** 10, 2 ** 20, 2 ** 30];

/** Matrices of f16 with sums of the types `results`. */
const matrices = (sizes: readonly (readonly [M: number, N: number, K: number])[], results = ['f32', 'f16']) =>
  sizes.flatMap(([M, N, K]) => results.map((result): SubgroupMatrix => ({ M, N, K, component: 'f16', result })));

const discrete: Target = {
  software: false,
  gathers: false,
  kind: 'discrete',
  units: 132,
  f16: true,
  maxStorageBuffers: 16,
  bindingLimit: 4 * GiB - 4,
  bindingAlignment: 16,
  workgroupMemory: 48 * KiB,
  maxInvocations: 1024,
  subgroupSizes: [32, 32],
  subgroupSizeControl: true,
  subgroupMatrix: matrices([
    [16, 16, 16],
    [16, 8, 16],
    [16, 8, 8],
  ]),
  choices: new Map(),
};

/** Of NVIDIA's since Volta: 4 schedulers a unit, each a warp of 32 an instruction (their tuning guides). */
const nvidia = { special: 16, sharedPerCycle: 128, registers: 65536, latency: 6e-7, launch: 2.5e-6 } as const;

/**
 * The devices that `bench/plan.ts` knows. Limits are those that Dawn reports for the vendor's Vulkan driver
 * or Metal; `launch` is an assumption everywhere (a dispatch behind a barrier, without host time).
 */
export const devices = {
  h100: {
    ...nvidia,
    name: 'H100 SXM5',
    target: discrete,
    clock: 1.755e9,
    lanes: 128,
    matrixFlops: 612e12,
    bandwidth: 3.35e12,
    shared: 228 * KiB,
    invocations: 2048,
    groups: 32,
    source:
      'NVIDIA H100 datasheet (3.35 TB/s; 989 TFLOP/s with instructions that Vulkan lacks: 612 is the most that ' +
      'cooperative matrices are reported to reach) and Hopper tuning guide',
  },
  a100: {
    ...nvidia,
    name: 'A100 SXM 40 GB',
    target: { ...discrete, units: 108 },
    clock: 1.41e9,
    lanes: 64,
    matrixFlops: 312e12,
    bandwidth: 1.555e12,
    shared: 164 * KiB,
    invocations: 2048,
    groups: 32,
    source: 'NVIDIA A100 datasheet and Ampere tuning guide',
  },
  rtx4090: {
    ...nvidia,
    name: 'RTX 4090',
    target: { ...discrete, units: 128 },
    clock: 2.52e9,
    lanes: 128,
    matrixFlops: 165e12,
    bandwidth: 1.008e12,
    shared: 100 * KiB,
    invocations: 1536,
    groups: 24,
    source: 'NVIDIA Ada architecture whitepaper (f16 with sums in f32) and Ada tuning guide',
  },
  'm3-max': {
    name: 'M3 Max, 40 cores',
    target: {
      ...discrete,
      kind: 'integrated',
      units: 40,
      maxStorageBuffers: 10,
      workgroupMemory: 32 * KiB,
      subgroupSizes: [4, 64],
      subgroupSizeControl: false,
      subgroupMatrix: matrices([[8, 8, 8]], ['f16']),
    },
    clock: 1.38e9,
    lanes: 128,
    special: 32,
    matrixFlops: 14e12,
    bandwidth: 400e9,
    sharedPerCycle: 128,
    shared: 32 * KiB,
    registers: 53248,
    invocations: 1024,
    groups: 8,
    latency: 6e-7,
    launch: 4e-6,
    source: 'Apple M3 Max specifications (bandwidth); P. Turner, metal-benchmarks (a core); Dawn, Metal backend',
  },
  rx7900: {
    name: 'RX 7900 XTX',
    target: {
      ...discrete,
      units: 96,
      workgroupMemory: 64 * KiB,
      subgroupSizes: [32, 64],
      subgroupMatrix: matrices([[16, 16, 16]]),
    },
    clock: 2.5e9,
    lanes: 64,
    special: 16,
    matrixFlops: 122e12,
    bandwidth: 960e9,
    sharedPerCycle: 128,
    shared: 64 * KiB,
    registers: 98304,
    invocations: 2048,
    groups: 16,
    latency: 6e-7,
    launch: 4e-6,
    source: 'AMD RX 7900 XTX specifications, RDNA 3 instruction set guide (WMMA)',
  },
  arc: {
    name: 'Arc A770',
    target: {
      ...discrete,
      units: 32,
      workgroupMemory: 64 * KiB,
      subgroupSizes: [8, 32],
      subgroupMatrix: matrices([[8, 8, 16]]),
    },
    clock: 2.4e9,
    lanes: 128,
    special: 32,
    matrixFlops: 157e12,
    bandwidth: 560e9,
    sharedPerCycle: 128,
    shared: 128 * KiB,
    registers: 131072,
    invocations: 1024,
    groups: 16,
    latency: 6e-7,
    launch: 5e-6,
    source: 'Intel Arc A770 specifications and Xe-HPG whitepaper (XMX)',
  },
  llvmpipe: {
    name: 'llvmpipe on 2 cores',
    target: {
      ...discrete,
      software: true,
      gathers: true,
      kind: 'software',
      units: 2,
      bindingLimit: 128 * MiB,
      workgroupMemory: 32 * KiB,
      subgroupSizes: [8, 8],
      subgroupMatrix: matrices([[8, 8, 8]]),
    },
    clock: 2.5e9,
    lanes: 8,
    special: 1,
    matrixFlops: 4e9,
    bandwidth: 8e9,
    sharedPerCycle: 16,
    shared: 32 * KiB,
    registers: 65536,
    invocations: 8,
    groups: 1,
    latency: 0,
    launch: 11e-6,
    source: 'estimates; bench/plan.ts --measure tells what they are on a machine',
  },
} as const satisfies Readonly<Record<string, Device>>;

export type DeviceName = keyof typeof devices;
