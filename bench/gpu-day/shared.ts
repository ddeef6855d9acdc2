/**
 * Settings and results of all stages, and every internal of the project that they need: where one moves, its
 * line here is the only one to change.
 */
import { appendFileSync } from 'node:fs';
import type { Tensor } from '../../autograd/index.ts';
import type { Allocation, Gpu } from '../../gpu/index.ts';
import { gpt2Config } from '../../models/index.ts';
import type { GPT2Config } from '../../models/index.ts';

export { fromHalf, toHalf } from '../../common/half.ts';
export { lossInPlace } from '../../kernels/cross-entropy.ts';
export { bytesOf } from '../../kernels/index.ts';
export { timePlans } from '../../kernels/matmul/tune.ts';
export { DecodingSession } from '../../models/generation/session.ts';

/** The device's memory of a tensor, made where it has none yet. */
export const allocationOf = (gpu: Gpu, { storage }: Tensor): Allocation => storage.memoryOn(gpu);

/** Gives the memory of tensors back at once. */
export function free(...tensors: readonly (Tensor | undefined)[]): void {
  for (const x of tensors) x?.storage.free();
}

const { env } = process;

/** True where small sizes are measured on a software driver (GPU_DAY_REHEARSE=1). */
export const rehearse = env.GPU_DAY_REHEARSE === '1';

/** One size for a GPU, another for a rehearsal. */
export const sized = <T>(real: T, small: T): T => (rehearse ? small : real);

const tiny = { nLayer: 2, nEmbd: 64, nHead: 4, vocabSize: 1001, nPositions: 64 };
/** GPT-2 124M, as torch_baseline.py makes it. */
export const gptConfig = (): GPT2Config => gpt2Config('gpt2', sized<Partial<typeof tiny>>({}, tiny));
/** Sequences and tokens of each in a training step of it. */
export const gptBatch = sized<readonly [batch: number, length: number]>([16, 1024], [2, 64]);

export type Half = 'f32' | 'f16';

/** The figures that a case writes. */
export interface Result {
  /** Names the measurement; torch_baseline.py writes the same key for the same work. */
  readonly key: string;
  /** Type of the operands. */
  readonly type?: string;
  readonly [field: string]: unknown;
}

/** Whose figures these are: the project as it is (`tapeform`), tuned, or with other Dawn toggles. */
const who = env.GPU_DAY_WHO ?? 'tapeform';

/** Appends one line to $OUT/results.jsonl at once, and prints it. */
export function emit(result: Result): void {
  const line = JSON.stringify({ who, stage: env.GPU_DAY_STAGE ?? '', ...result }, (_, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value,
  );
  appendFileSync(`${env.OUT ?? 'runs/gpu-day'}/results.jsonl`, `${line}\n`);
  console.log(line.length > 600 ? `${line.slice(0, 600)} ...` : line);
}

/** An error in one line of at most 400 characters. */
export const message = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').slice(0, 400);
