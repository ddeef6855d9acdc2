type Row = Uint32Array | Uint8Array | Float64Array;

const BLOCK = 1 << 14; // rows

/** Rows of numbers one after another, in blocks, so that growing copies nothing. */
export class RowStore<T extends Row> {
  private readonly blocks: T[] = [];
  private readonly width: number;
  private readonly make: (length: number) => T;
  length = 0;

  constructor(width: number, make: (length: number) => T) {
    this.width = width;
    this.make = make;
  }

  /** A new row, to be filled. */
  push(): T {
    if (this.length % BLOCK === 0) this.blocks.push(this.make(BLOCK * this.width));
    const start = this.startOf(this.length);
    const block = this.blockOf(this.length++);
    return block.subarray(start, start + this.width) as T;
  }

  /** The block that row i is in. */
  blockOf(i: number): T {
    return this.blocks[Math.floor(i / BLOCK)]!;
  }

  /** Where row i begins in its block. */
  startOf(i: number): number {
    return (i % BLOCK) * this.width;
  }
}
