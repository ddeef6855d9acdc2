import { deflateSync } from 'node:zlib';
import { crc32 } from '../../common/checksum.ts';

const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** A part of a PNG with the right checksum. */
function part(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  return Buffer.concat([number(data.length), body, number(crc32(body))]);
}

/** A PNG of 8 bits: rows with a filter byte before each; colour type 0 grey, 2 RGB. */
export function png(width: number, height: number, rows: Uint8Array, colour = 0): Buffer {
  const header = Buffer.concat([number(width), number(height), Buffer.from([8, colour, 0, 0, 0])]);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const parts = [part('IHDR', header), part('IDAT', deflateSync(rows)), part('IEND', Buffer.alloc(0))];
  return Buffer.concat([signature, ...parts]);
}

/** An RGB picture of this side, each pixel as `colourAt` says. */
export function picture(side: number, colourAt: (x: number, y: number) => readonly [number, number, number]): Buffer {
  const rows = Array.from({ length: side }, (_, y) => [
    0,
    ...Array.from({ length: side }, (__, x) => colourAt(x, y)).flat(),
  ]);
  return png(side, side, Uint8Array.from(rows.flat()), 2);
}
