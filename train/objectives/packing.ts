/**
 * Sequences of so many tokens put together into rows of `length`: each, the longest first, into the row in
 * which it leaves least space (best fit decreasing; TRL's `packing_strategy='bfd'`, Ding et al. 2024).
 * Returns the numbers of each row's sequences. Error: one longer than a row.
 *
 * @example
 * packBestFit([5, 3, 2, 6], 8); // [[3, 2], [0, 1]]
 */
export function packBestFit(lengths: readonly number[], length: number): number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const rows: number[][] = [];
  /** Rows by the space that is left in them, each list in the order in which they came to have it. */
  const bySpace = Array.from({ length }, (): number[][] => []);
  for (const i of order) {
    const size = lengths[i]!;
    if (size > length)
      throw new Error(`packing: sequence ${i} has ${size} tokens, a row ${length}; cut it or leave it out`);
    if (size === 0) continue;
    const space = bySpace.findIndex((list, space) => space >= size && list.length > 0);
    const row = space === -1 ? [] : bySpace[space]!.shift()!;
    if (space === -1) rows.push(row);
    row.push(i);
    bySpace[(space === -1 ? length : space) - size]!.push(row);
  }
  return rows;
}
