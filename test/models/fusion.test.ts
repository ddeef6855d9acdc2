import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad, randn, tensor, zeros } from '../../autograd/index.ts';
import { FusionConfig, FusionForClassification, loadModel, memoryFolder } from '../../models/index.ts';
import type { FusionInputs } from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';

const test = suite('fusion');
const shape = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, initializerRange: 0.3 };
const settings = {
  ...shape,
  vocabSize: 20,
  imageSize: 8,
  patchSize: 4,
  maxPositionEmbeddings: 6,
  labels: ['a', 'b', 'c'],
};
const ids = i32([
  [2, 7, 3, 0],
  [2, 9, 8, 3],
]);
const attentionMask = i32([
  [1, 1, 1, 0],
  [1, 1, 1, 1],
]);
const flags = (...values: number[]) => tensor(values, { dtype: 'i32' });

for (const fusion of ['early', 'late'] as const) {
  manualSeed(3);
  const model = FusionForClassification.fromConfig({ ...settings, fusion }).eval();
  const pixelValues = randn(2, 3, 8, 8);
  const both = { inputIds: ids, attentionMask, pixelValues };
  const logits = async (inputs: FusionInputs): Promise<number[]> =>
    Array.from((await noGrad(() => model.forward(inputs)).logits.data()) as Float32Array);

  test(`${fusion}: both sides count, padding does not, and a saved model is the same`, async () => {
    const usual = await logits(both);
    const off = async (other: FusionInputs): Promise<number> => largestDifference(await logits(other), usual);
    assert.ok((await off({ ...both, pixelValues: randn(2, 3, 8, 8) })) > 1e-3);
    assert.ok((await off({ ...both, inputIds: i32([[2, 8, 3, 0], [2, 9, 9, 3]]) })) > 1e-3); // prettier-ignore
    assert.ok((await off({ ...both, inputIds: i32([[2, 7, 3, 5], [2, 9, 8, 3]]) })) < 1e-6); // prettier-ignore
    const folder = memoryFolder();
    await model.savePretrained(folder);
    const again = (await loadModel(folder)) as FusionForClassification;
    const found = noGrad(() => again.forward(both)).logits;
    assert.ok(largestDifference(await found.data(), usual) < 1e-6);
    assert.equal([again.config.fusion, again.config.labels], [fusion, ['a', 'b', 'c']]);
  });

  test(`${fusion}: a missing side changes nothing, whether it is left out or marked row by row`, async () => {
    const textAlone = await logits({ inputIds: ids, attentionMask });
    const imageAlone = await logits({ pixelValues });
    assert.ok(largestDifference(await logits({ ...both, hasImage: flags(0, 0) }), textAlone) < 1e-5);
    assert.ok(largestDifference(await logits({ ...both, hasText: flags(0, 0) }), imageAlone) < 1e-5);
    const other = { ...both, pixelValues: randn(2, 3, 8, 8) };
    const mixed = { hasText: flags(1, 0), hasImage: flags(0, 1) };
    const rows = await logits({ ...both, ...mixed });
    assert.ok(largestDifference(rows, [...textAlone.slice(0, 3), ...imageAlone.slice(3)]) < 1e-5);
    assert.ok(largestDifference((await logits({ ...other, ...mixed })).slice(0, 3), textAlone.slice(0, 3)) < 1e-5);
  });

  test(`${fusion}: every parameter learns, from rows that lack a side too`, () => {
    const trained = FusionForClassification.fromConfig({ ...settings, fusion });
    const labels = flags(0, 2);
    trained.forward({ ...both, hasText: flags(0, 1), hasImage: flags(1, 0), labels }).loss!.backward();
    const without = trained.namedParameters().flatMap(([name, { grad }]) => (grad ? [] : [name]));
    assert.equal(without, []);
  });
}

test('what makes no sense is one line', async () => {
  const model = FusionForClassification.fromConfig(settings);
  assert.throws(() => model.forward({}), /give inputIds, pixelValues or both/);
  assert.throws(() => model.forward({ inputIds: ids, pixelValues: zeros(1, 3, 8, 8) }), /2 texts and 1 pictures/);
  assert.throws(() => model.forward({ inputIds: i32([[20]]) }), /token.*20/);
  assert.throws(() => model.forward({ inputIds: ids, hasText: flags(1) }), /hasText is \[1\]/);
  assert.throws(() => model.forward({ pixelValues: zeros(1, 3, 9, 9) }), /pictures of 9 x 9, the model reads 8 x 8/);
  assert.throws(() => FusionConfig.create({ fusion: 'middle' as 'late' }), /fusion/);
  await rejects(FusionForClassification.fromPretrained('models/pretrained/bert-small'), /this class loads "fusion"/);
});

test.run();
