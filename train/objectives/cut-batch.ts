import { ignoredLabel } from './rows.ts';
import type { ExampleLayout, HostArray, HostBatch } from './task.ts';

/**
 * A part of a batch, and the share that it has in each part of the loss; parts in which it has none are left
 * out.
 */
export interface BatchPart {
  readonly batch: HostBatch;
  readonly shares: Readonly<Record<string, number>>;
}

/** Rows [start, end) of each of the sets of `rows` rows that stand below one another. */
function rowsOf({ data, shape }: HostArray, rows: number, start: number, end: number): HostArray {
  const sets = shape[0]! / rows;
  const width = data.length / shape[0]!;
  if (!Number.isInteger(sets)) throw new Error(`a batch of ${rows} rows has an array of ${shape[0]}; it cannot be cut`);
  const cut =
    data instanceof Int32Array
      ? new Int32Array(sets * (end - start) * width)
      : new Float32Array(sets * (end - start) * width);
  for (let set = 0; set < sets; set++)
    cut.set(data.subarray((set * rows + start) * width, (set * rows + end) * width), set * (end - start) * width);
  return { data: cut, shape: [sets * (end - start), ...shape.slice(1)] };
}

function countIn({ data }: HostArray): number {
  let count = 0;
  for (const x of data) if (x !== ignoredLabel) count++;
  return count;
}

/**
 * Cuts a batch into `parts` of about as many examples: the mean loss of the batch is the sum of those of its
 * parts, each times its share, however its labels are spread. A part may have no examples; it is undefined
 * then.
 *
 * @example
 * const labels = { data: Int32Array.of(1, -100, 2, 3), shape: [2, 2] };
 * const batch = { arrays: { labels }, counts: { lm: 3 }, tokens: 4 };
 * cutBatch(batch, { labels: { lm: 'labels' } }, 2).map((part) => part?.shares.lm); // [1 / 3, 2 / 3]
 */
export function cutBatch(batch: HostBatch, layout: ExampleLayout, parts: number): (BatchPart | undefined)[] {
  const arrays = Object.entries(batch.arrays);
  const { together = 1, sets = 1, labels } = layout;
  const rows = arrays[0]![1].shape[0]! / sets;
  const examples = rows / together;
  const names = Object.keys(batch.counts);
  const unnamed = names.find((name) => labels[name] === undefined);
  if (unnamed !== undefined)
    throw new Error(`a batch counts labels of "${unnamed}", and its layout does not name them`);
  const totals = new Map(names.map((name) => [name, countIn(batch.arrays[labels[name]!]!)]));
  return Array.from({ length: parts }, (_, i) => {
    const [start, end] = [i, i + 1].map((k) => together * Math.floor((examples * k) / parts));
    if (start === end) return undefined;
    const cut = Object.fromEntries(arrays.map(([name, array]) => [name, rowsOf(array, rows, start!, end!)]));
    const shares = names.flatMap((name) => {
      const count = countIn(cut[labels[name]!]!);
      return count > 0 ? [[name, count / totals.get(name)!] as const] : [];
    });
    return {
      batch: {
        ...batch,
        arrays: cut,
        counts: Object.fromEntries(shares.map(([name, share]) => [name, share * batch.counts[name]!])),
      },
      shares: Object.fromEntries(shares),
    };
  });
}
