// Pictures to pixels as a vision model reads them: preprocessor_config.json of Transformers.
import * as z from 'zod';
import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { saveFiles } from '../../common/file-access.ts';
import { isJsonObject, pathKind, readJsonFile } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { join } from '../../common/platform.ts';
import { PREPROCESSOR_FILE, PROCESSOR_FILE } from '../io/resolve.ts';
import { camelCase, showValue, snakeCase } from '../names.ts';
import { readImages } from './raw-image.ts';
import type { ImageInput, RawImage, ReadImageOptions } from './raw-image.ts';
import { filters } from './resample.ts';

const count = z.int().min(1);
const box = z.strictObject({ height: count, width: count });
const edge = z
  .strictObject({ shortest_edge: count })
  .transform(({ shortest_edge }) => ({ shortestEdge: shortest_edge }));
const perChannel = z.array(z.number()).length(3, 'three numbers are needed, for red, green and blue');

/** The settings of Transformers' image processors, in camelCase. */
const settings = z.object({
  imageProcessorType: z.enum(['ViTImageProcessor', 'CLIPImageProcessor']),
  doResize: z.boolean(),
  size: z.union([box, edge, z.strictObject({ shortestEdge: count })]),
  /** The filter's number in Pillow. */
  resample: z.literal([0, 1, 2, 3, 4, 5]),
  doCenterCrop: z.boolean(),
  cropSize: box,
  doRescale: z.boolean(),
  rescaleFactor: z.number().positive(),
  doNormalize: z.boolean(),
  imageMean: perChannel,
  imageStd: perChannel.refine((values) => values.every((value) => value > 0), 'all must be above 0'),
});
export type ImageProcessorSettings = Readonly<z.output<typeof settings>>;

const square = (side: number) => ({ height: side, width: side });

/** What files leave out, by the kind of processor. */
const usual: Readonly<Record<ImageProcessorSettings['imageProcessorType'], ImageProcessorSettings>> = {
  ViTImageProcessor: {
    imageProcessorType: 'ViTImageProcessor',
    doResize: true,
    size: square(224),
    resample: 2,
    doCenterCrop: false,
    cropSize: square(224),
    doRescale: true,
    rescaleFactor: 1 / 255,
    doNormalize: true,
    imageMean: [0.5, 0.5, 0.5],
    imageStd: [0.5, 0.5, 0.5],
  },
  CLIPImageProcessor: {
    imageProcessorType: 'CLIPImageProcessor',
    doResize: true,
    size: { shortestEdge: 224 },
    resample: 3,
    doCenterCrop: true,
    cropSize: square(224),
    doRescale: true,
    rescaleFactor: 1 / 255,
    doNormalize: true,
    imageMean: [0.48145466, 0.4578275, 0.40821073],
    imageStd: [0.26862954, 0.26130258, 0.27577711],
  },
};

/**
 * Makes pixels for a model of pictures: resizes as Pillow does, crops the middle, rescales, normalises. As
 * `ViTImageProcessor` and `CLIPImageProcessor` of Transformers, with their files.
 *
 * @example
 * const processor = ImageProcessor.create({ size: { height: 8, width: 8 } });
 * const image = new RawImage({ width: 2, height: 2, channels: 3, data: new Uint8Array(12).fill(255) });
 * const { pixelValues } = await processor.process([image]);
 * pixelValues.shape; // [1, 3, 8, 8]
 */
export class ImageProcessor {
  readonly settings: ImageProcessorSettings;
  /** Keys of the file that change nothing here: they are written back. */
  readonly #extra: JsonObject;

  private constructor(given: ImageProcessorSettings, extra: JsonObject) {
    this.settings = given;
    this.#extra = extra;
  }

  /** A processor with these settings; the rest is that of its kind, by default ViT's. */
  static create(given: Partial<ImageProcessorSettings> = {}): ImageProcessor {
    return new ImageProcessor(check({ ...given }, 'image processor', given.imageProcessorType), {});
  }

  /**
   * The contents of a preprocessor_config.json. Error, one line with the key: a setting that makes no sense.
   */
  static fromJson(json: JsonObject, file = PREPROCESSOR_FILE): ImageProcessor {
    const { image_processor_type: type, feature_extractor_type: older, ...rest } = json;
    const named = String(type ?? older ?? 'ViTImageProcessor').replace(/Fast$|Pil$/, '');
    const kind = named.replace(/FeatureExtractor$/, 'ImageProcessor');
    if (!(kind in usual))
      throw new Error(
        `${file}: image_processor_type ${showValue(named)} is not here; ${Object.keys(usual).join(' and ')} are`,
      );
    const known: JsonObject = {};
    const extra: JsonObject = {};
    for (const [key, value] of Object.entries(rest)) {
      const name = camelCase(key);
      if (name in settings.shape && value !== null) known[name] = value;
      else extra[key] = value;
    }
    if (extra['do_pad'] === true) throw new Error(`${file}: do_pad is true, and pictures are not padded here`);
    // Old files have one number: ViT's is the side of a square, CLIP's the shorter side.
    if (typeof known['size'] === 'number')
      known['size'] = kind === 'ViTImageProcessor' ? square(known['size']) : { shortest_edge: known['size'] };
    if (typeof known['cropSize'] === 'number') known['cropSize'] = square(known['cropSize']);
    return new ImageProcessor(check(known, file, kind as keyof typeof usual), extra);
  }

  /** That of a model's folder. Error: it has none. */
  static async fromPretrained(folder: string): Promise<ImageProcessor> {
    const path = join(folder, PREPROCESSOR_FILE);
    if ((await pathKind(path)) === 'file') return ImageProcessor.fromJson(await readJsonFile(path), path);
    const together = join(folder, PROCESSOR_FILE);
    const own = (await pathKind(together)) === 'file' ? (await readJsonFile(together))['image_processor'] : undefined;
    if (isJsonObject(own)) return ImageProcessor.fromJson(own, together);
    throw new Error(`${folder} has no ${PREPROCESSOR_FILE}, which says how its model reads pictures: copy it there`);
  }

  /** The contents of preprocessor_config.json, keys sorted. */
  toJson(): JsonObject {
    const entries = Object.entries(this.settings).map(([key, value]): [string, unknown] => [snakeCase(key), value]);
    const { size } = this.settings;
    const own = 'shortestEdge' in size ? { size: { shortest_edge: size.shortestEdge } } : {};
    const json = { ...this.#extra, ...Object.fromEntries(entries), ...own };
    return Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** The processor's files for `folder`, to write with a model's: `files` of `savePretrained`. */
  filesToSave(folder: string): FileToWrite[] {
    return [{ path: join(folder, PREPROCESSOR_FILE), data: `${JSON.stringify(this.toJson(), null, 2)}\n` }];
  }

  async savePretrained(folder: string): Promise<void> {
    await saveFiles(this.filesToSave(folder));
  }

  /** Height and width of what is made of a picture. */
  sizeOf({ width, height }: { readonly width: number; readonly height: number }): readonly [number, number] {
    const { doCenterCrop, cropSize } = this.settings;
    return doCenterCrop ? [cropSize.height, cropSize.width] : this.#resized(width, height);
  }

  #resized(width: number, height: number): readonly [number, number] {
    const { doResize, size } = this.settings;
    if (!doResize) return [height, width];
    if (!('shortestEdge' in size)) return [size.height, size.width];
    const { shortestEdge } = size;
    const long = Math.trunc((shortestEdge * Math.max(width, height)) / Math.min(width, height));
    return width <= height ? [long, shortestEdge] : [shortestEdge, long];
  }

  /** A picture's numbers, (3, H, W). Transparency is dropped, as Pillow's conversion to RGB drops it. */
  pixelsOf(image: RawImage): Float32Array {
    const { doResize, resample, doRescale, rescaleFactor, doNormalize, imageMean, imageStd } = this.settings;
    const rgb = image.rgb();
    const [tall, wide] = this.#resized(image.width, image.height);
    const { width, height, data } = doResize ? rgb.resize(wide, tall, filters[resample]) : rgb;
    const [rows, columns] = this.sizeOf(image);
    // Where the crop begins; a picture that is too small gets zeros around it.
    const [top, left] = [Math.floor((height - rows) / 2), Math.floor((width - columns) / 2)];
    const values = new Float32Array(3 * rows * columns);
    for (let c = 0; c < 3; c++) {
      const [mean, std] = doNormalize ? [imageMean[c]!, imageStd[c]!] : [0, 1];
      for (let y = 0; y < rows; y++)
        for (let x = 0; x < columns; x++) {
          const [row, column] = [y + top, x + left];
          const isInside = row >= 0 && row < height && column >= 0 && column < width;
          const value = isInside ? data[(row * width + column) * 3 + c]! : 0;
          values[(c * rows + y) * columns + x] = ((doRescale ? value * rescaleFactor : value) - mean) / std;
        }
    }
    return values;
  }

  /**
   * Pictures, or where they are, as a batch for a model: f32 [B, 3, H, W]. Errors: those of `RawImage.read`;
   * pictures that come to different sizes.
   */
  async process(
    images: ImageInput | readonly ImageInput[],
    options: ReadImageOptions = {},
  ): Promise<{ readonly pixelValues: Tensor }> {
    const list = (Array.isArray(images) ? images : [images]) as readonly ImageInput[];
    if (list.length === 0) throw new Error('ImageProcessor: there are no pictures; give one or more');
    return { pixelValues: this.batch(await readImages(list, options)) };
  }

  /** The same of pictures in memory, at once. */
  batch(images: readonly RawImage[]): Tensor {
    const sizes = images.map((image) => this.sizeOf(image));
    const odd = sizes.findIndex((size) => size.join() !== sizes[0]!.join());
    if (odd >= 0)
      throw new Error(
        `ImageProcessor: picture ${odd} comes to ${sizes[odd]!.join(' x ')}, the first to ${sizes[0]!.join(' x ')}; ` +
          'a batch needs one size: set size to a height and a width, or doCenterCrop',
      );
    const [rows, columns] = sizes[0]!;
    const values = new Float32Array(images.length * 3 * rows * columns);
    images.forEach((image, i) => values.set(this.pixelsOf(image), i * 3 * rows * columns));
    return tensor(values, { shape: [images.length, 3, rows, columns] });
  }
}

/** Settings over those of a kind. */
function check(
  given: JsonObject,
  where: string,
  kind: keyof typeof usual = 'ViTImageProcessor',
): ImageProcessorSettings {
  const odd = Object.keys(given).find((key) => !(key in settings.shape));
  if (odd !== undefined)
    throw new Error(`${where}: there is no setting ${odd}; the settings are ${Object.keys(settings.shape).join(', ')}`);
  const parsed = settings.safeParse({ ...usual[kind], ...given, imageProcessorType: kind });
  const issue = parsed.error?.issues[0];
  if (issue) {
    const key = String(issue.path[0]);
    throw new Error(`${where}: ${snakeCase(key)} is ${showValue(given[key])}: ${issue.message}`);
  }
  return Object.freeze(parsed.data!);
}
