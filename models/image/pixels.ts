/** Pixels of 8 bits a channel, row by row: RGB, or RGBA. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8Array;
}
