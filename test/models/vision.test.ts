// ViT and CLIP against Transformers: the golden files are made by test/golden/golden_vision.py.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, noGrad, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  CLIPConfig,
  CLIPModel,
  CLIPTextModelWithProjection,
  CLIPVisionModelWithProjection,
  loadModel,
  loadWithHead,
  memoryFolder,
  ViTConfig,
  ViTForImageClassification,
  ViTModel,
} from '../../models/index.ts';
import type { CLIPOutput } from '../../models/index.ts';
import { unit } from '../../models/clip/model.ts';
import { camelCase } from '../../models/names.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile, largestDifference, readGolden, shapesIn } from '../support/golden.ts';
import {
  checkForwardBackward,
  checkClose,
  checkOutputs,
  checkTraining,
  i32,
  readModelGolden,
  report,
} from '../support/model-golden.ts';
import type { Values } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('vision');
const log = (): void => undefined;
let folder = '';
temporaryFolder(test, (path) => (folder = path));

/** A tensor of a golden file with a shape that the file's reader leaves out. */
const given = (values: Values, name: string, ...shape: number[]): Tensor => tensor(values.get(name)!, { shape });

/** config.json, without what says who wrote it. */
async function configIn(path: string): Promise<object> {
  const {
    transformers_version: _,
    encoder_stride: __,
    problem_type: ___,
    ...json
  } = JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
  return json;
}

/** Saved here, a model has the files that Transformers wrote. */
async function checkSaved(model: ViTForImageClassification | ViTModel | CLIPModel, original: string): Promise<void> {
  await model.savePretrained(folder);
  assert.equal(await shapesIn(folder), await shapesIn(original));
  assert.equal(await configIn(folder), await configIn(original));
  assert.is((await loadModel(folder)).constructor, model.constructor);
}

for (const [name, height, width] of [
  ['vit', 12, 12],
  ['vit-wide', 8, 14],
] as const)
  test(`${name}: outputs, loss, gradients, training and files are those of Transformers`, async () => {
    const { golden, values } = await readModelGolden(name);
    const path = goldenFile(`tiny-${name}`);
    const load = async () => (await ViTForImageClassification.fromPretrained(path, undefined, { log })).train();
    const pixelValues = given(values, 'input.pixel_values', 3, 3, height, width);
    const labels = tensor(golden.labels as unknown as number[], { dtype: 'i32' });
    const model = await load();
    const output = model.forward({ pixelValues, labels, outputHiddenStates: true, outputAttentions: true });
    const found = await checkForwardBackward(model, output, { golden, values }, { vanishing: /key\.bias$/ });
    const trained = await load();
    const losses = await checkTraining(trained, () => trained.forward({ pixelValues, labels }), golden.training);
    console.log(report(name, { ...found, losses }));
    await checkSaved(model, path);
    const bare = await ViTModel.fromPretrained(path, undefined, { log });
    await checkClose(noGrad(() => bare.forward({ pixelValues })).lastHiddenState, values, 'bare.last_hidden_state');
    const compiled = compile((x: Tensor) => noGrad(() => bare.forward({ pixelValues: x }).lastHiddenState));
    await checkClose(compiled(pixelValues), values, 'bare.last_hidden_state');
  });

test('larger pictures, positions interpolated; without, the error names both sizes', async () => {
  const values = await readGolden('vit.safetensors');
  const model = await ViTModel.fromPretrained(goldenFile('tiny-vit'), undefined, { log });
  const pixelValues = given(values, 'larger.pixel_values', 2, 3, 16, 24);
  const output = model.forward({ pixelValues, interpolatePosEncoding: true });
  await checkClose(output.lastHiddenState, values, 'larger.last_hidden_state');
  output.lastHiddenState.sum().backward();
  assert.ok(model.embeddings.positionEmbeddings.grad, 'the table of positions learns');
  assert.throws(() => model.forward({ pixelValues }), /pictures of 16 x 24, the model reads 12 x 12; resize them/);
  assert.throws(() => model.forward({ pixelValues: zeros(1, 1, 12, 12) }), /\[1, 1, 12, 12\]; \[batch, 3 channels/);
  assert.throws(() => model.forward({ pixelValues: zeros(1, 3, 12, 3), interpolatePosEncoding: true }), /smaller than/);
});

test('the pooler is that of Transformers, and a new head is told', async () => {
  const values = await readGolden('vit-pooled.safetensors');
  const path = goldenFile('tiny-vit-pooled');
  const model = await ViTModel.fromPretrained(path);
  await checkOutputs(model.forward({ pixelValues: given(values, 'input.pixel_values', 2, 3, 12, 12) }), values);
  await checkSaved(model, path);
  await rejects(loadWithHead(path, 'ForImageClassification'), /holds a "ViTModel" without the head of ViTForImage/);
  const options = { settings: { labels: ['a', 'b', 'c', 'd'], dropout: 0.1 }, newHead: true, log };
  const classifier = await loadWithHead(path, 'ForImageClassification', options);
  assert.is(classifier.config.numLabels, 4);
});

/** The outputs under the names that the golden file has. */
function flat({ textModelOutput: text, visionModelOutput: vision, ...output }: CLIPOutput) {
  return {
    ...output,
    textLastHiddenState: text.lastHiddenState,
    visionLastHiddenState: vision.lastHiddenState,
    textHiddenStates: text.hiddenStates,
    visionHiddenStates: vision.hiddenStates,
    textAttentions: text.attentions,
    visionAttentions: vision.attentions,
  };
}

for (const name of ['clip', 'clip-old'])
  test(`${name}: outputs, loss, gradients, training and files are those of Transformers`, async () => {
    const { golden, values } = await readModelGolden(name);
    const path = goldenFile(`tiny-${name}`);
    const load = async () => (await CLIPModel.fromPretrained(path)).train();
    const inputs = {
      inputIds: i32(golden.inputs['input_ids']!),
      attentionMask: i32(golden.inputs['attention_mask']!),
      pixelValues: given(values, 'input.pixel_values', 4, 3, 12, 12),
      returnLoss: true as const,
    };
    const model = await load();
    const output = model.forward({ ...inputs, outputHiddenStates: true, outputAttentions: true });
    const found = await checkForwardBackward(model, flat(output), { golden, values }, { vanishing: /k_proj\.bias$/ });
    const trained = await load();
    const paired = () => {
      const { loss, logitsPerImage: logits } = trained.forward(inputs);
      return { loss, logits };
    };
    const losses = await checkTraining(trained, paired, golden.training);
    console.log(report(name, { ...found, losses }));
    await checkSaved(model, path);
    await checkClose(model.getTextFeatures(inputs), values, 'features.text');
    const larger = { pixelValues: given(values, 'larger.pixel_values', 2, 3, 16, 24), interpolatePosEncoding: true };
    await checkClose(model.getImageFeatures(larger), values, 'features.larger');
    const compiled = compile((ids: Tensor, pixels: Tensor) =>
      noGrad(() => model.forward({ inputIds: ids, attentionMask: inputs.attentionMask, pixelValues: pixels })),
    );
    const again = compiled(inputs.inputIds, inputs.pixelValues);
    for (const key of ['text_embeds', 'image_embeds'] as const)
      await checkClose(again[camelCase(key) as 'textEmbeds'], values, `output.${key}`);
    const isUnused = (line: string): void => assert.match(line, /^not used by/);
    const texts = await CLIPTextModelWithProjection.fromPretrained(path, undefined, { log: isUnused });
    await checkClose(texts.forward(inputs).textEmbeds, values, 'features.text');
    const pictures = await CLIPVisionModelWithProjection.fromPretrained(path, undefined, { log: isUnused });
    await checkClose(pictures.forward(larger).imageEmbeds, values, 'features.larger');
    await pictures.savePretrained(folder);
    assert.instance(await loadModel(folder), CLIPVisionModelWithProjection);
  });

test('vectors of f16 whose squares overflow get length 1', async () => {
  const vectors = unit(tensor([[300, 400]], { dtype: 'f16' }));
  assert.is(vectors.dtype, 'f16');
  assert.ok(largestDifference(await vectors.data(), [0.6, 0.8]) < 1e-3);
});

test('settings that make no sense are one line with the key', async () => {
  const text = { hiddenSize: 16, numAttentionHeads: 2, vocabSize: 40 };
  assert.throws(() => CLIPConfig.create({ textConfig: { ...text, eosTokenId: 40 } }), /eos_token_id 40 is outside/);
  assert.throws(
    () => CLIPConfig.create({ visionConfig: { imageSize: 8, patchSize: 16 } }),
    /image_size 8 x 8 holds no/,
  );
  assert.throws(
    () => ViTConfig.create({ hiddenSize: 10, numAttentionHeads: 3 }),
    /must be a multiple of num_attention/,
  );
  assert.throws(() => ViTConfig.create({ imageSize: [8, 0] }), /vit config: imageSize/);
  const old = JSON.parse(await readFile(goldenFile('tiny-clip/config.json'), 'utf8')) as Record<string, object>;
  const again = { ...old, text_config: {}, text_config_dict: old['text_config'] };
  assert.equal(CLIPConfig.fromJson(again, 'c').textConfig, CLIPConfig.fromJson(old, 'c').textConfig);
  assert.throws(() => CLIPConfig.fromJson({ ...old, vision_config: 7 }, 'c.json'), /c\.json: vision_config must hold/);
  const model = await CLIPModel.fromPretrained(goldenFile('tiny-clip'));
  const inputIds = i32([[3, 99]]);
  assert.throws(
    () => model.forward({ inputIds, pixelValues: zeros(2, 3, 12, 12), returnLoss: true }),
    /scores are \[1, 2\]; the loss needs as many texts as pictures/,
  );
  assert.throws(() => model.getTextFeatures({ inputIds: i32([[3, 100]]) }), /token.*100/);
  const place = memoryFolder();
  await model.savePretrained(place);
  await rejects(ViTModel.fromPretrained(place), /model_type is "clip", this class loads "vit"/);
});

test.run();
