// Reading pictures and making pixels of them against Pillow and Transformers: the golden files are made by
// test/golden/golden_pictures.py.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { JsonObject } from '../../common/json-file.ts';
import { ImageProcessor, memoryFolder, pipeline, RawImage } from '../../models/index.ts';
import { resample } from '../../models/image/resample.ts';
import type { Filter } from '../../models/image/resample.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile, largestDifference, readGolden } from '../support/golden.ts';
import { png } from '../support/png.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('pictures');
let folder = '';
temporaryFolder(test, (path) => (folder = path));
const golden = await readGolden('pictures.safetensors');
const configs = JSON.parse(await readFile(goldenFile('pictures.json'), 'utf8')) as Record<string, JsonObject>;
const file = (name: string): string => goldenFile(`pictures/${name}`);
const read = (name: string): Promise<RawImage> => RawImage.read(file(name));

test('PNG files of all kinds are read to the bit as by Pillow', async () => {
  const names = (await readdir(goldenFile('pictures'))).filter((name) => name.endsWith('.png'));
  assert.ok(names.length >= 14);
  let transparent = 0;
  for (const name of names) {
    const image = await read(name);
    assert.equal(Array.from(image.rgb().data), Array.from(golden.get(`rgb.${name}`)!), name);
    const whole = golden.get(`rgba.${name}`);
    assert.is(image.channels, whole ? 4 : 3, name);
    if (whole) assert.equal(Array.from(image.data), Array.from(whole), name);
    transparent += whole ? 1 : 0;
  }
  assert.is(transparent, 4);
});

test('JPEG files are read as by Pillow but for the last bits, and turned as EXIF data say', async () => {
  const names = (await readdir(goldenFile('pictures'))).filter((name) => name.endsWith('.jpg'));
  assert.is(names.length, 11);
  for (const name of names) {
    const { data, width, height } = await read(name);
    const expected = golden.get(`rgb.${name}`)!;
    assert.equal([width, height], /turned[5-8]/.test(name) ? [17, 23] : [23, 17], name);
    // Where colours are subsampled libjpeg smooths them.
    assert.ok(largestDifference(data, expected) <= (name === 'half.jpg' ? 12 : 2), name);
  }
});

test('resizing is to the bit that of Pillow, in all filters', async () => {
  const image = await read('rgb.png');
  const cases = [...golden.keys()].filter((key) => /^(nearest|box|bilinear|hamming|bicubic|lanczos)\./.test(key));
  assert.is(cases.length, 30);
  for (const key of cases) {
    const [, filter, width, height] = /^(\w+)\.(\d+)x(\d+)$/.exec(key)!;
    const made = resample(image, Number(width), Number(height), filter as Filter);
    assert.equal(Array.from(made.data), Array.from(golden.get(key)!), key);
  }
  assert.throws(() => image.resize(0, 4), /0 x 4 is no size/);
});

test('pixel values are those of Transformers', async () => {
  for (const [name, config] of Object.entries(configs)) {
    const processor = ImageProcessor.fromJson(config);
    for (const picture of ['rgb.png', 'tall.png']) {
      const { pixelValues } = await processor.process(file(picture));
      assert.equal(pixelValues.shape.slice(2), [...processor.sizeOf(await read(picture))]);
      const difference = largestDifference(await pixelValues.data(), golden.get(`${name}.${picture}`)!);
      assert.ok(difference <= 1e-6, `${name} of ${picture} differs by ${difference}`);
    }
    const written = processor.toJson();
    const keys = Object.keys(config);
    assert.equal(Object.fromEntries(keys.map((key) => [key, written[key]])), config, name);
    await processor.savePretrained(folder);
    assert.equal((await ImageProcessor.fromPretrained(folder)).toJson(), written);
  }
});

test('files of older versions, and of several processors together', async () => {
  const old = ImageProcessor.fromJson({ feature_extractor_type: 'CLIPFeatureExtractor', size: 8, crop_size: 6 });
  assert.equal([old.settings.size, old.settings.cropSize], [{ shortestEdge: 8 }, { height: 6, width: 6 }]);
  assert.equal(ImageProcessor.fromJson({ size: 8 }).settings.size, { height: 8, width: 8 });
  const together = memoryFolder({
    'processor_config.json': JSON.stringify({ image_processor: { image_processor_type: 'CLIPImageProcessorFast' } }),
  });
  assert.is((await ImageProcessor.fromPretrained(together)).settings.resample, 3);
  await rejects(ImageProcessor.fromPretrained(memoryFolder()), /has no preprocessor_config\.json, which says how/);
});

test('settings that make no sense are one line with file and key', () => {
  const refused = (json: JsonObject, says: RegExp): void =>
    void assert.throws(() => ImageProcessor.fromJson(json, 'p.json'), says);
  refused(
    { image_processor_type: 'OwlViTImageProcessor' },
    /^.*p\.json: image_processor_type "OwlViTImageProcessor" is not/,
  );
  refused({ size: { height: 0, width: 4 } }, /p\.json: size is \{"height":0,"width":4\}/);
  refused({ image_mean: [0.5] }, /p\.json: image_mean is \[0\.5\]: three numbers/);
  refused({ image_std: [1, 0, 1] }, /image_std.*above 0/);
  refused({ resample: 9 }, /p\.json: resample is 9/);
  refused({ do_pad: true }, /do_pad is true/);
  assert.throws(() => ImageProcessor.create({ sizes: 3 } as object), /there is no setting sizes; the settings are/);
});

test('pictures that come to different sizes make no batch', async () => {
  const processor = ImageProcessor.fromJson({ do_resize: false });
  await rejects(
    processor.process([file('rgb.png'), file('tall.png')]),
    /picture 1 comes to 23 x 17, the first to 17 x 23/,
  );
  await rejects(processor.process([]), /there are no pictures/);
});

test('of several bad pictures the first is told, whichever is read first', async () => {
  class Slow extends Blob {
    override async arrayBuffer(): Promise<ArrayBuffer> {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return super.arrayBuffer();
    }
  }
  const bad = [file('rgb.png'), new Slow(['GIF89a, and so on']), new Uint8Array(0)];
  await rejects(ImageProcessor.create().process(bad), /is a GIF/);
  const classify = await pipeline('image-classification', goldenFile('tiny-vit'));
  await rejects(classify(bad), /is a GIF/);
});

test('damaged PNG files are one line with the name', async () => {
  const whole = await readFile(file('rgb.png'));
  const damaged = Buffer.from(whole);
  damaged[60]! ^= 1;
  const cases: [Uint8Array, RegExp][] = [
    [whole.subarray(0, 200), /cannot be read as a picture: it ends early/],
    [damaged, /the checksum of its part IDAT is wrong/],
    [png(4, 4, new Uint8Array(19)), /holds 19 bytes of pixels where 20 are needed/],
    [png(4, 4, new Uint8Array(20).fill(7)), /filter 7, which no PNG has/],
    [png(4, 4, new Uint8Array(20), 5), /colour type 5 with 8 bits/],
    [png(4, 4, new Uint8Array(20), 3), /its palette is missing/],
    [png(0, 4, new Uint8Array(4)), /0 x 4 pixels/],
    [new Uint8Array(0), /is empty: PNG and JPEG are read/],
    [Buffer.from('GIF89a, and so on'), /is a GIF: PNG and JPEG are read; convert it/],
    [Buffer.from('<svg xmlns="">'), /is an SVG/],
  ];
  for (const [bytes, says] of cases) {
    const path = join(folder, 'damaged.png');
    await writeFile(path, bytes);
    await rejects(RawImage.read(path), says);
    await rejects(RawImage.read(path), /damaged\.png/);
    await rejects(RawImage.read(new Blob([bytes as Uint8Array<ArrayBuffer>])), says);
  }
  await rejects(RawImage.read(join(folder, 'absent.png')), /absent\.png/);
});

test('a picture that announces too many pixels, or unpacks to more than it announces, is not unpacked', async () => {
  await rejects(
    RawImage.read(png(100_000, 100_000, new Uint8Array(9))),
    /100000 x 100000 pixels, and at most 89478485/,
  );
  // A hundred million zeros in 100 KB.
  const bomb = png(4, 4, new Uint8Array(100_000_000));
  assert.ok(bomb.length < 200_000);
  const before = process.memoryUsage().arrayBuffers;
  await rejects(RawImage.read(bomb), /holds more pixels than its header says/);
  assert.ok(process.memoryUsage().arrayBuffers - before < 20e6);
  const image = await readFile(file('full.jpg'));
  await rejects(RawImage.read(image, { maxPixels: 300 }), /23 x 17 pixels, and at most 300/);
});

test('damaged JPEG files are one line', async () => {
  const whole = await readFile(file('full.jpg'));
  await rejects(RawImage.read(whole.subarray(0, 100)), /the picture cannot be read as a picture: it ends early/);
  const start = whole.indexOf(Buffer.from([0xff, 0xda]));
  const cut = Buffer.concat([whole.subarray(0, start + 30), Buffer.from([0xff, 0xd9])]);
  await rejects(RawImage.read(cut), /cannot be decoded .*: the file is damaged/);
  const lossless = Buffer.from(whole);
  lossless[whole.indexOf(Buffer.from([0xff, 0xc0])) + 1] = 0xc3;
  await rejects(RawImage.read(lossless), /lossless or arithmetically coded/);
});

test('pictures in memory, without transparency and on a background', () => {
  const image = new RawImage({
    width: 1,
    height: 2,
    channels: 4,
    data: new Uint8Array([10, 20, 30, 0, 100, 0, 0, 255]),
  });
  assert.equal(Array.from(image.rgb().data), [10, 20, 30, 100, 0, 0]);
  assert.equal(Array.from(image.onBackground([255, 255, 255]).data), [255, 255, 255, 100, 0, 0]);
  assert.throws(
    () => new RawImage({ width: 2, height: 2, channels: 3, data: new Uint8Array(5) }),
    /5 numbers for 2 x 2/,
  );
});

test.run();
