// PNG files (ISO/IEC 15948): all colour types, depths, interlacing. Decompressed by the platform's own zlib,
// which is stopped where there is more than the header announces.
import { concatBytes } from '../../common/bytes.ts';
import { crc32 } from '../../common/checksum.ts';
import type { Pixels } from './pixels.ts';

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

export const isPng = (bytes: Uint8Array): boolean => signature.every((byte, i) => bytes[i] === byte);

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colour: number;
  readonly interlaced: boolean;
}

/** Samples of a pixel by colour type: grey, RGB, index of a palette, grey and alpha, RGBA. */
const samples: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const depths: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/** Where the pictures of Adam7 begin, and the distances of their pixels. */
const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/**
 * The pixels of a PNG, RGB or RGBA of 8 bits: of 16 bits the high ones, greys and palettes as colours. Of an
 * animation the picture that is shown where none can be. `check` is asked before anything is decompressed.
 * Errors, each without the file's name: what is damaged.
 */
export async function decodePng(bytes: Uint8Array, check: (width: number, height: number) => void): Promise<Pixels> {
  const { header, palette, alphas, data } = readChunks(bytes, check);
  const { width, height, depth, colour } = header;
  const bits = samples[colour]! * depth;
  const passes = header.interlaced ? adam7 : [[0, 0, 1, 1] as const];
  const parts = passes.map(([x, y, across, down]) => {
    const [columns, rows] = [Math.ceil((width - x) / across), Math.ceil((height - y) / down)];
    const isEmpty = columns <= 0 || rows <= 0;
    return { x, y, across, down, columns, rows: isEmpty ? 0 : rows, rowBytes: Math.ceil((columns * bits) / 8) };
  });
  const raw = await inflate(
    data,
    parts.reduce((sum, { rows, rowBytes }) => sum + rows * (1 + rowBytes), 0),
  );
  const hasAlpha = colour === 4 || colour === 6 || alphas !== undefined;
  const channels = hasAlpha ? 4 : 3;
  const pixels = new Uint8Array(width * height * channels);
  const paint = painter(header, palette, alphas);
  let at = 0;
  for (const { x, y, across, down, columns, rows, rowBytes } of parts) {
    let above: Uint8Array = new Uint8Array(rowBytes);
    for (let row = 0; row < rows; row++) {
      const line = raw.subarray(at + 1, at + 1 + rowBytes);
      unfilter(raw[at]!, line, above, Math.max(1, bits >> 3));
      for (let column = 0; column < columns; column++)
        paint(line, column, pixels, ((y + row * down) * width + x + column * across) * channels);
      above = line;
      at += 1 + rowBytes;
    }
  }
  return { width, height, channels, data: pixels };
}

function readChunks(bytes: Uint8Array, check: (width: number, height: number) => void) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data: Uint8Array[] = [];
  let header: Header | undefined;
  let palette: Uint8Array | undefined;
  let alphas: Uint8Array | undefined;
  for (let at = signature.length; ;) {
    if (at + 12 > bytes.length) throw new Error('it ends early: part of the file is missing');
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const end = at + 8 + length;
    if (end + 4 > bytes.length) throw new Error('it ends early: part of the file is missing');
    const isNeeded = /^(IHDR|PLTE|tRNS|IDAT|IEND)$/.test(type);
    if (isNeeded && crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end))
      throw new Error(`the checksum of its part ${type} is wrong: the file is damaged`);
    const part = bytes.subarray(at + 8, end);
    if (!header && type !== 'IHDR') throw new Error('it has no header: the file is damaged');
    if (type === 'IHDR') {
      header = readHeader(part);
      check(header.width, header.height);
    } else if (type === 'PLTE') palette = part;
    else if (type === 'tRNS') alphas = part;
    else if (type === 'IDAT') data.push(part);
    else if (type === 'IEND') break;
    else if (/^[A-Z]/.test(type)) throw new Error(`its part ${type} is not known, and says that it must be`);
    at = end + 4;
  }
  if (header!.colour === 3 && (!palette || palette.length % 3 !== 0))
    throw new Error('its palette is missing or damaged');
  return { header: header!, palette, alphas: header!.colour === 4 || header!.colour === 6 ? undefined : alphas, data };
}

function readHeader(part: Uint8Array): Header {
  if (part.length !== 13) throw new Error('its header has a wrong length: the file is damaged');
  const view = new DataView(part.buffer, part.byteOffset, 13);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colour, compression, filter, interlace] = part.subarray(8) as unknown as number[];
  if (!depths[colour!]?.includes(depth!))
    throw new Error(`it has colour type ${colour} with ${depth} bits, which no PNG has`);
  if (compression !== 0 || filter !== 0 || interlace! > 1)
    throw new Error('it is compressed or interlaced in a way that no PNG is');
  return { width, height, depth: depth!, colour: colour!, interlaced: interlace === 1 };
}

/** Exactly `size` bytes of zlib's data. Errors: less; more, which is never unpacked; damage. */
async function inflate(parts: readonly Uint8Array[], size: number): Promise<Uint8Array> {
  const stream = new Blob(parts as Uint8Array<ArrayBuffer>[]).stream().pipeThrough(new DecompressionStream('deflate'));
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let found = 0;
  try {
    while (found < size) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      found += value.length;
    }
  } catch (error) {
    throw new Error('its pixels cannot be decompressed: the file is damaged', { cause: error });
  }
  // What follows is not looked at; the stream may not even have been whole.
  await reader.cancel().catch(() => undefined);
  if (found < size)
    throw new Error(`it holds ${found} bytes of pixels where ${size} are needed: part of it is missing`);
  if (found > size) throw new Error('it holds more pixels than its header says: the file is damaged');
  return concatBytes(chunks);
}

/** Undoes a row's filter in place (ISO/IEC 15948, section 9); `step`: bytes of a pixel. */
function unfilter(kind: number, line: Uint8Array, above: Uint8Array, step: number): void {
  if (kind > 4) throw new Error(`a row has filter ${kind}, which no PNG has: the file is damaged`);
  if (kind === 0) return;
  for (let i = 0; i < line.length; i++) {
    const left = i >= step ? line[i - step]! : 0;
    const up = above[i]!;
    line[i]! +=
      kind === 1
        ? left
        : kind === 2
          ? up
          : kind === 3
            ? (left + up) >> 1
            : paeth(left, up, i >= step ? above[i - step]! : 0);
  }
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** Writes the pixel of a row as RGB or RGBA. */
function painter({ depth, colour }: Header, palette: Uint8Array | undefined, alphas: Uint8Array | undefined) {
  const count = samples[colour]!;
  const highest = 2 ** depth - 1;
  /** Sample i of a row as it stands there. */
  const whole = (line: Uint8Array, i: number): number => {
    if (depth === 8) return line[i]!;
    if (depth === 16) return (line[2 * i]! << 8) | line[2 * i + 1]!;
    return (line[(i * depth) >> 3]! >> (8 - depth - ((i * depth) & 7))) & highest;
  };
  const byte = (sample: number): number =>
    depth === 16 ? sample >> 8 : depth === 8 ? sample : (sample * 255) / highest;
  /** The colour that is transparent, of pictures without alpha. */
  const clear =
    colour === 3
      ? undefined
      : alphas && Array.from({ length: count }, (_, i) => (alphas[2 * i]! << 8) | alphas[2 * i + 1]!);
  return (line: Uint8Array, column: number, target: Uint8Array, at: number): void => {
    const first = whole(line, column * count);
    if (colour === 3) {
      if (3 * first >= palette!.length)
        throw new Error(`a pixel has colour ${first} of a palette of ${palette!.length / 3}`);
      for (let c = 0; c < 3; c++) target[at + c] = palette![3 * first + c]!;
      if (alphas) target[at + 3] = alphas[first] ?? 255;
      return;
    }
    const isGrey = count < 3;
    for (let c = 0; c < 3; c++) target[at + c] = byte(isGrey ? first : whole(line, column * count + c));
    if (count === 2 || count === 4) target[at + 3] = byte(whole(line, column * count + count - 1));
    else if (clear) target[at + 3] = clear.every((value, c) => whole(line, column * count + c) === value) ? 0 : 255;
  };
}
