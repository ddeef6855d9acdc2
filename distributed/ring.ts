// Ring algorithms (Patarasu and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
// workstations"): each rank sends to the next and receives from the one before, 2 (N - 1) / N of the numbers
// for an all-reduce, however many ranks there are.
//
// Which rank's number is added to which, and in which order, depends on the place of the number alone:
// results are the same bits on all ranks and in all runs, whatever arrives first.

/** What becomes of the numbers of all ranks in one place. */
export type ReduceOp = 'sum' | 'mean' | 'max';

/** A ring as one rank sees it, for one exchange. */
export interface Ring {
  readonly rank: number;
  readonly worldSize: number;
  /** Sends numbers to the next rank; resolves when they may change. `part` numbers the messages. */
  send(part: number, numbers: Float32Array): Promise<void>;
  /** What the rank before sends as that part: so many numbers. */
  receive(part: number, count: number): Promise<Float32Array>;
}

/** Numbers of a message: 512 KiB, so that one is added while another travels. */
const chunk = 128 * 1024;
/** Blocks under way at once. */
const abreast = 4;

/** [start, end) of each rank's part of n numbers; they differ by one at most. */
export function partsOf(n: number, parts: number): (readonly [start: number, end: number])[] {
  return Array.from({ length: parts }, (_, i) => [Math.floor((n * i) / parts), Math.floor((n * (i + 1)) / parts)]);
}

function combine(into: Float32Array, other: Float32Array, op: ReduceOp): void {
  if (op !== 'max') for (let i = 0; i < into.length; i++) into[i]! += other[i]!;
  // NaN wins, as in PyTorch.
  else for (let i = 0; i < into.length; i++) if (!(into[i]! >= other[i]!)) into[i] = maximum(into[i]!, other[i]!);
}

const maximum = (a: number, b: number): number => (Number.isNaN(a) ? a : b);

/** Bits are copied, those of NaN too. */
function copy(into: Float32Array, from: Float32Array): void {
  const bytes = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  bytes(into).set(bytes(from));
}

/** Runs `work` on the numbers of blocks, a few at once. */
async function forBlocks(count: number, work: (block: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(abreast, count) }, worker));
}

const at = (i: number, n: number): number => ((i % n) + n) % n;

/**
 * Leaves in `segments[rank]` what becomes of that segment of all ranks. `segments` are those of one block,
 * one for each rank; the others hold partial results then.
 */
async function reduceBlock(ring: Ring, first: number, segments: readonly Float32Array[], op: ReduceOp): Promise<void> {
  const { rank, worldSize: n } = ring;
  const sent: Promise<void>[] = [];
  for (let step = 1; step < n; step++) {
    sent.push(ring.send(first + step, segments[at(rank - step, n)]!));
    const target = segments[at(rank - step - 1, n)]!;
    combine(target, await ring.receive(first + step, target.length), op);
  }
  await Promise.all(sent);
  const own = segments[rank]!;
  if (op === 'mean') for (let i = 0; i < own.length; i++) own[i]! /= n;
}

/** Fills the other segments with those of the ranks that they belong to. */
async function gatherBlock(ring: Ring, first: number, segments: readonly Float32Array[]): Promise<void> {
  const { rank, worldSize: n } = ring;
  const sent: Promise<void>[] = [];
  for (let step = 0; step < n - 1; step++) {
    sent.push(ring.send(first + step, segments[at(rank - step, n)]!));
    const target = segments[at(rank - step - 1, n)]!;
    copy(target, await ring.receive(first + step, target.length));
  }
  await Promise.all(sent);
}

/** In place: the same in all ranks, a block of a segment for each rank after another. */
export async function ringAllReduce(ring: Ring, x: Float32Array, op: ReduceOp): Promise<void> {
  const n = ring.worldSize;
  const block = n * chunk;
  await forBlocks(Math.ceil(x.length / block), async (b) => {
    const part = x.subarray(b * block, Math.min(x.length, (b + 1) * block));
    const segments = partsOf(part.length, n).map(([start, end]) => part.subarray(start, end));
    await reduceBlock(ring, 2 * n * b, segments, op);
    await gatherBlock(ring, 2 * n * b + n, segments);
  });
}

/** The segments, one for each rank, cut alike into blocks. */
function blocksOf(segments: readonly Float32Array[]): Float32Array[][] {
  const longest = Math.max(...segments.map(({ length }) => length));
  return Array.from({ length: Math.ceil(longest / chunk) }, (_, b) =>
    segments.map((segment) => segment.subarray(b * chunk, (b + 1) * chunk)),
  );
}

/** In place: `segments[rank]` becomes what it should be, the others are used up. */
export async function ringReduceScatter(ring: Ring, segments: readonly Float32Array[], op: ReduceOp): Promise<void> {
  const blocks = blocksOf(segments);
  await forBlocks(blocks.length, (b) => reduceBlock(ring, ring.worldSize * b, blocks[b]!, op));
}

/** In place: the other segments become those of the ranks that they belong to. */
export async function ringAllGather(ring: Ring, segments: readonly Float32Array[]): Promise<void> {
  const blocks = blocksOf(segments);
  await forBlocks(blocks.length, (b) => gatherBlock(ring, ring.worldSize * b, blocks[b]!));
}

/** In place: `x` of rank `from` goes round the ring. */
export async function ringBroadcast(ring: Ring, x: Float32Array, from: number): Promise<void> {
  const { rank, worldSize: n } = ring;
  await forBlocks(Math.ceil(x.length / chunk), async (b) => {
    const part = x.subarray(b * chunk, (b + 1) * chunk);
    if (rank !== from) copy(part, await ring.receive(b, part.length));
    if (at(rank + 1, n) !== from) await ring.send(b, part);
  });
}
