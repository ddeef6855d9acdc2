// JPEG files: what their header says, how they were held when taken, and their pixels by jpeg-js.
import type { Pixels } from './pixels.ts';

export const isJpeg = (bytes: Uint8Array): boolean => bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;

/**
 * The pixels of a JPEG, RGB, turned upright as its EXIF data say. `check` is asked before anything is
 * decoded. Colours are as jpeg-js makes them: libjpeg smooths those of subsampled pictures between pixels, so
 * single values differ from Pillow's. Errors, each without the file's name: what is damaged.
 */
export async function decodeJpeg(bytes: Uint8Array, check: (width: number, height: number) => void): Promise<Pixels> {
  const { width, height, orientation } = readMarkers(bytes);
  check(width, height);
  // Loaded when it is needed: a page without pictures goes without it.
  const { default: jpeg } = await import('jpeg-js');
  try {
    const options = { useTArray: true, formatAsRGBA: false, tolerantDecoding: false } as const;
    const megapixels = Math.ceil((width * height) / 1e6) + 1;
    // What it allocates for a pixel: coefficients of up to four components, and their samples.
    const limits = { maxResolutionInMP: megapixels, maxMemoryUsageInMB: 64 + 40 * megapixels };
    const decoded = jpeg.decode(bytes, { ...options, ...limits });
    return upright({ width, height, channels: 3, data: decoded.data }, orientation);
  } catch (error) {
    throw new Error(`it cannot be decoded (${(error as Error).message}): the file is damaged or of a rare kind`, {
      cause: error,
    });
  }
}

/** Size and EXIF orientation, from the parts before the picture's data. */
function readMarkers(bytes: Uint8Array): { width: number; height: number; orientation: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const early = (): Error => new Error('it ends early: part of the file is missing');
  let orientation = 1;
  for (let at = 2; ;) {
    while (bytes[at] === 0xff && bytes[at + 1] === 0xff) at++; // fill bytes
    if (at + 4 > bytes.length) throw early();
    if (bytes[at] !== 0xff) throw new Error('a marker is missing where one must be: the file is damaged');
    const marker = bytes[at + 1]!;
    if (marker === 0xda || marker === 0xd9) throw new Error('it has no header: the file is damaged');
    const end = at + 2 + view.getUint16(at + 2);
    if (end > bytes.length) throw early();
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      if (end < at + 9) throw early();
      if (marker > 0xc2)
        throw new Error('it is lossless or arithmetically coded, and only Huffman-coded ones are read');
      if (bytes[at + 4] !== 8) throw new Error(`it has ${bytes[at + 4]} bits a sample, and only 8 are read`);
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7), orientation };
    }
    if (marker === 0xe1) orientation = exifOrientation(bytes.subarray(at + 4, end)) ?? orientation;
    at = end;
  }
}

/** Tag 274 of the first directory of EXIF data (CIPA DC-008): 1 to 8, 1 being upright. */
function exifOrientation(part: Uint8Array): number | undefined {
  if (!'Exif\0\0'.split('').every((letter, i) => part[i] === letter.charCodeAt(0))) return undefined;
  const view = new DataView(part.buffer, part.byteOffset + 6, part.byteLength - 6);
  try {
    const little = view.getUint16(0) === 0x4949;
    const first = view.getUint32(4, little);
    const count = view.getUint16(first, little);
    for (let i = 0; i < count; i++) {
      const entry = first + 2 + 12 * i;
      if (view.getUint16(entry, little) === 274) return view.getUint16(entry + 8, little);
    }
  } catch {
    // Damaged EXIF data say nothing.
  }
  return undefined;
}

/** Turns and mirrors a picture of this EXIF orientation as it was seen. */
function upright({ width, height, channels, data }: Pixels, orientation: number): Pixels {
  if (!(orientation >= 2 && orientation <= 8)) return { width, height, channels, data };
  const isTurned = orientation >= 5;
  const [across, down] = isTurned ? [height, width] : [width, height];
  const turned = new Uint8Array(data.length);
  for (let y = 0; y < down; y++)
    for (let x = 0; x < across; x++) {
      const [u, v] = isTurned ? [y, x] : [x, y];
      const column = [2, 3, 7, 8].includes(orientation) ? width - 1 - u : u;
      const row = [3, 4, 6, 7].includes(orientation) ? height - 1 - v : v;
      const from = (row * width + column) * channels;
      for (let c = 0; c < channels; c++) turned[(y * across + x) * channels + c] = data[from + c]!;
    }
  return { width: across, height: down, channels, data: turned };
}
