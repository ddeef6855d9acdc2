/** Counts of lengths by powers of two, and their sum: of a corpus of any size. */
export interface LengthCounts {
  /** `bins[k]`: lengths from 2^(k-1) to below 2^k; `bins[0]`: of 0. */
  readonly bins: readonly number[];
  readonly total: number;
  readonly longest: number;
}

/** Counts lengths as they come. */
export class LengthCounter {
  private readonly bins: number[] = [];
  private total = 0;
  private longest = 0;

  add(length: number): void {
    const bin = length === 0 ? 0 : Math.floor(Math.log2(length)) + 1;
    while (this.bins.length <= bin) this.bins.push(0);
    this.bins[bin]!++;
    this.total += length;
    this.longest = Math.max(this.longest, length);
  }

  counts(): LengthCounts {
    return { bins: [...this.bins], total: this.total, longest: this.longest };
  }
}

/** The histogram as aligned lines of text, `   64-127      1,024  ######`; '' where nothing was counted. */
export function histogramLines({ bins }: LengthCounts, width = 40): string {
  const first = bins.findIndex((count) => count > 0);
  if (first < 0) return '';
  const most = Math.max(...bins);
  const rows = bins.slice(first).map((count, i) => {
    const k = first + i;
    const [low, high] = k === 0 ? [0, 0] : [2 ** (k - 1), 2 ** k - 1];
    return {
      range: low === high ? `${low}` : `${low}-${high}`,
      count: count.toLocaleString('en-US'),
      share: count / most,
    };
  });
  const [left, right] = [
    Math.max(...rows.map(({ range }) => range.length)),
    Math.max(...rows.map(({ count }) => count.length)),
  ];
  return rows
    .map(({ range, count, share }) =>
      `${range.padStart(left)}  ${count.padStart(right)}  ${'#'.repeat(Math.ceil(share * width))}`.trimEnd(),
    )
    .join('\n');
}
