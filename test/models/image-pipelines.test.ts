// Pipelines on pictures against those of Transformers: the golden files are made by
// test/golden/golden_vision.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { filesInMemory, loadTokenizer, memoryFolder, pipeline, RawImage, ViTModel } from '../../models/index.ts';
import type { ImageClassifier } from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';

type Labels = { label: string; score: number }[];
const golden = JSON.parse(await readFile(goldenFile('image-pipelines.json'), 'utf8')) as {
  'image-classification': Labels[];
  'zero-shot-image-classification': Labels[];
  as: Labels[];
  'image-feature-extraction': number[][][][];
  tokens: number[][];
  embeds: number[][];
};
const files = ['rgb.png', 'tall.png'].map((name) => goldenFile(`pictures/${name}`));
const labels = ['cat', 'a big dog', '17 fish!'];
const [vit, clip] = [goldenFile('tiny-vit'), goldenFile('tiny-clip')];
const test = suite('image pipelines');

function checkLabels(found: Labels[], expected: Labels[]): void {
  assert.equal(
    found.map((row) => row.map(({ label }) => label)),
    expected.map((row) => row.map(({ label }) => label)),
  );
  const scores = (rows: Labels[]): number[] => rows.flat().map(({ score }) => score);
  assert.ok(largestDifference(scores(found), scores(expected)) < 1e-5);
}

test('image-classification', async () => {
  const classify = await pipeline('image-classification', vit);
  const expected = golden['image-classification'];
  checkLabels(await classify(files), expected);
  checkLabels(await classify(files, { batchSize: 1 }), expected);
  // A picture may be given in every form.
  const bytes = await readFile(files[0]!);
  const url = `data:image/png;base64,${bytes.toString('base64')}`;
  const forms = [
    files[0]!,
    bytes,
    new Blob([bytes]),
    url,
    await RawImage.read(files[0]!),
    new URL(`file://${files[0]}`),
  ];
  for (const form of forms) checkLabels([await classify(form)], [expected[0]!]);
  checkLabels([await classify(files[0]!, { topK: 2 })], [expected[0]!.slice(0, 2)]);
  assert.equal(await classify([]), []);
  await rejects(classify(files, { topK: 0 }), /image-classification: topK must be/);
  await rejects(classify(files, { batchSize: 0 }), /batchSize must be a positive integer/);
  await rejects(classify(files, { maxPixels: 10 }), /rgb\.png cannot be read as a picture: it has 23 x 17 pixels/);
  await rejects(classify('no-such.png'), /no-such\.png/);
  const { model }: ImageClassifier = classify;
  assert.equal(model.config.labels, ['cat', 'dog', 'fish']);
});

test('zero-shot-image-classification', async () => {
  const tokenizer = await loadTokenizer(clip);
  assert.equal(
    labels.map((label) => Array.from(tokenizer.idsOf(label, { addSpecialTokens: true }))),
    golden.tokens,
  );
  const classify = await pipeline('zero-shot-image-classification', clip);
  checkLabels(await classify(files, labels), golden['zero-shot-image-classification']);
  checkLabels(await classify(files, labels.join(', '), { hypothesisTemplate: '{} is it' }), golden.as);
  checkLabels([await classify(files[1]!, labels)], [golden['zero-shot-image-classification'][1]!]);
  await rejects(classify(files, []), /zero-shot-image-classification: there are no candidate labels/);
  await rejects(classify(files, labels, { hypothesisTemplate: 'x' }), /has no \{\} for the label/);
  await rejects(classify(files, ['cat '.repeat(60)]), /tokens, and the model reads at most 40/);
});

test('image-feature-extraction', async () => {
  const extract = await pipeline('image-feature-extraction', vit);
  const expected = golden['image-feature-extraction'];
  const found = await extract(files);
  assert.ok(largestDifference(found.flat(3), expected.flat(3)) < 1e-5);
  assert.equal((await extract(files[0]!))[0]!.length, expected[0]![0]!.length);
  await rejects(extract(files, { pool: true }), /no weights of a pooler/);
  const pictures = await pipeline('image-feature-extraction', clip);
  const vectors = await pictures(files, { pool: true });
  assert.ok(largestDifference(vectors.flatMap((x) => [...x]), golden.embeds.flat()) < 1e-5); // prettier-ignore
  await rejects(
    pipeline('image-feature-extraction', goldenFile('tiny-bert')),
    /has no preprocessor_config\.json|no encoder/,
  );
});

test('a model of another kind, and one that lacks the file for pictures, are told', async () => {
  await rejects(
    pipeline('image-classification', goldenFile('tiny-bert')),
    /no model of the kind ImageClassification is/,
  );
  await rejects(pipeline('zero-shot-image-classification', vit), /model_type is "vit"/);
  const folder = memoryFolder();
  await (await ViTModel.fromPretrained(vit, undefined, { log: () => undefined })).savePretrained(folder);
  assert.not(filesInMemory(folder).has('preprocessor_config.json'));
  await rejects(
    pipeline('image-feature-extraction', folder),
    /preprocessor_config\.json, which says how its model reads/,
  );
  await rejects(pipeline('image-classification'), /no model for image-classification comes with the project/);
});

test.run();
