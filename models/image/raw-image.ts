import { showText } from '../../common/printable.ts';
import { readWhole } from '../io/read-exactly.ts';
import { decodeJpeg, isJpeg } from './jpeg.ts';
import type { Pixels } from './pixels.ts';
import { decodePng, isPng } from './png.ts';
import { resample } from './resample.ts';
import type { Filter } from './resample.ts';

/** A picture, or where it is: a path, an address (http, https, data), the bytes of a file. */
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | Blob | RawImage;

export interface ReadImageOptions {
  /**
   * The most pixels: a picture that announces more is refused before it is decoded. Default 89,478,485, where
   * Pillow warns.
   */
  readonly maxPixels?: number;
}

const usualLimit = 89_478_485;

/**
 * A picture in memory: `data` are width * height pixels of `channels` (3: RGB, 4: RGBA) numbers of 8 bits.
 *
 * @example
 * const image = new RawImage({ width: 2, height: 1, channels: 3, data: new Uint8Array([255, 0, 0, 0, 0, 255])
 * }); image.resize(1, 1, 'box').data; // [128, 0, 128]
 */
export class RawImage implements Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8Array;

  constructor({ width, height, channels, data }: Pixels) {
    if (!(Number.isInteger(width) && width > 0 && Number.isInteger(height) && height > 0))
      throw new Error(`RawImage: a picture of ${width} x ${height} pixels; both must be whole numbers above 0`);
    if (![3, 4].includes(channels) || data.length !== width * height * channels)
      throw new Error(
        `RawImage: ${data.length} numbers for ${width} x ${height} pixels of ${channels} channels; give ` +
          'width * height * channels, channels being 3 (RGB) or 4 (RGBA)',
      );
    [this.width, this.height, this.channels, this.data] = [width, height, channels, data];
  }

  /**
   * Reads a PNG or JPEG. Greys and palettes become RGB, of 16 bits the high ones stay; a JPEG is turned
   * upright as its EXIF data say. Errors, each one line with the file: it cannot be read; another format;
   * damage; more than `maxPixels`.
   */
  static async read(input: ImageInput, { maxPixels = usualLimit }: ReadImageOptions = {}): Promise<RawImage> {
    if (input instanceof RawImage) return input;
    const name = typeof input === 'string' || input instanceof URL ? showInput(String(input)) : 'the picture';
    const bytes = await bytesOf(input, name);
    const check = (width: number, height: number): void => {
      if (width === 0 || height === 0) throw new Error(`it has ${width} x ${height} pixels: the file is damaged`);
      if (width * height > maxPixels)
        throw new Error(
          `it has ${width} x ${height} pixels, and at most ${maxPixels} are decoded; pass maxPixels for more, if you ` +
            'trust the file',
        );
    };
    const decode = isPng(bytes) ? decodePng : isJpeg(bytes) ? decodeJpeg : undefined;
    if (!decode) throw new Error(`${name} is ${kindOf(bytes)}: PNG and JPEG are read; convert it to one of them`);
    try {
      return new RawImage(await decode(bytes, check));
    } catch (error) {
      throw new Error(`${name} cannot be read as a picture: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Without the alpha channel, as `convert("RGB")` of Pillow: what was transparent has the colour below. */
  rgb(): RawImage {
    if (this.channels === 3) return this;
    const { width, height, data } = this;
    const colours = new Uint8Array(width * height * 3);
    for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) colours[3 * i + c] = data[4 * i + c]!;
    return new RawImage({ width, height, channels: 3, data: colours });
  }

  /** Laid on a background of one colour, so that what is transparent shows it. */
  onBackground(colour: readonly [red: number, green: number, blue: number]): RawImage {
    if (this.channels === 3) return this;
    const { width, height, data } = this;
    const mixed = new Uint8Array(width * height * 3);
    for (let i = 0; i < width * height; i++) {
      const alpha = data[4 * i + 3]! / 255;
      for (let c = 0; c < 3; c++) mixed[3 * i + c] = Math.round(data[4 * i + c]! * alpha + colour[c]! * (1 - alpha));
    }
    return new RawImage({ width, height, channels: 3, data: mixed });
  }

  /** Another size, to the bit as Pillow's `resize` makes it of RGB; see `resample`. */
  resize(width: number, height: number, filter: Filter = 'bicubic'): RawImage {
    return new RawImage(resample(this.channels === 3 ? this : this.rgb(), width, height, filter));
  }
}

/** Reads several at once. Of those that cannot be read, the error is that of the first in the list. */
export async function readImages(inputs: readonly ImageInput[], options?: ReadImageOptions): Promise<RawImage[]> {
  const settled = await Promise.allSettled(inputs.map((input) => RawImage.read(input, options)));
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

const showInput = (name: string): string => showText(name.length > 200 ? `${name.slice(0, 80)}...` : name);

const isAddress = (input: string): boolean => /^(https?|data|blob):/i.test(input);

async function bytesOf(input: Exclude<ImageInput, RawImage>, name: string): Promise<Uint8Array> {
  if (input instanceof Uint8Array) return input;
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  if (input instanceof Blob) return new Uint8Array(await input.arrayBuffer());
  if (input instanceof URL && input.protocol === 'file:') return readWhole(decodeURIComponent(input.pathname));
  if (typeof input === 'string' && !isAddress(input)) return readWhole(input);
  try {
    const response = await fetch(input);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new Error(`${name} cannot be fetched (${(error as Error).message}): check the address`, { cause: error });
  }
}

/** What a file that is no PNG or JPEG is, by its first bytes. */
function kindOf(bytes: Uint8Array): string {
  const head = String.fromCharCode(...bytes.subarray(0, 16));
  if (bytes.length === 0) return 'empty';
  if (head.startsWith('GIF8')) return 'a GIF';
  if (head.startsWith('RIFF') && head.slice(8, 12) === 'WEBP') return 'a WebP';
  if (head.startsWith('BM')) return 'a BMP';
  if (/^(II\*\0|MM\0\*)/.test(head)) return 'a TIFF';
  if (head.slice(4, 8) === 'ftyp') return 'an AVIF, HEIC or film';
  if (/^\s*<(\?xml|svg)/i.test(head)) return 'an SVG';
  return 'no picture of a known kind';
}
