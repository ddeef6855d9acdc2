// Folders without the zeros of their weights, as compressed-tensors' sparse-bitmask has them.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, manualSeed, mul, noGrad, tensor } from '../../autograd/index.ts';
import { BertConfig, BertForSequenceClassification, loadModel } from '../../models/index.ts';
import { SavedWeights, toFloat32 } from '../../models/io/safetensors.ts';
import { SparseWeights } from '../../models/io/sparse-bitmask.ts';
import { PrunedWeights } from '../../train/compress/weights.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { inputs, values } from '../support/small-bert.ts';
import { changedFolder } from '../support/safetensors.ts';
import type { Change } from '../support/safetensors.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('sparse bitmask');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const logitsOf = (model: BertForSequenceClassification): Promise<number[]> =>
  values(noGrad(() => model.forward(inputs).logits));
const load = async (path: string) => (await loadModel(path, { log: () => undefined })) as BertForSequenceClassification;
const bytes = (name: string): number => statSync(join(name, 'model.safetensors')).size;

async function pruned(sparsity: number): Promise<BertForSequenceClassification> {
  manualSeed(1);
  const config = BertConfig.create({
    ...{ vocabSize: 20, hiddenSize: 44, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 61 },
    ...{ maxPositionEmbeddings: 10, initializerRange: 0.3 },
  });
  const model = new BertForSequenceClassification(config).eval();
  await new PrunedWeights(model).prune({ sparsity, scope: 'model' });
  return model;
}

test('what was saved without its zeros is the model that it was, in less', async () => {
  const model = await pruned(0.75);
  // -0 is a zero, too, and a row of zeros a row.
  const { weight } = model.bert.encoder.layer[0]!.output.dense;
  const signs = Float32Array.from({ length: weight.size }, (_, i) => (i < 61 ? 0 : i % 2 === 0 ? -1 : 1));
  noGrad(() => assign(weight, mul(weight, tensor(signs, { shape: [...weight.shape] }))));
  const [dense, sparse, half] = ['dense', 'sparse', 'half'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await model.savePretrained(dense);
  await model.savePretrained(sparse, { sparse: true });
  await model.savePretrained(half, { sparse: true, dtype: 'f16' });
  const loaded = await load(sparse);
  assert.equal(await logitsOf(loaded), await logitsOf(model));
  for (const [name, parameter] of model.namedParameters()) {
    const same = (await values(loaded.stateDict().get(name)!)).every((x, i, all) => x === all[i]);
    assert.ok(same && parameter.shape.join() === loaded.stateDict().get(name)!.shape.join(), name);
  }
  const halves = await load(half);
  const found = await values(halves.bert.encoder.layer[0]!.output.dense.weight);
  const wanted = await values(weight);
  assert.ok(found.every((x, i) => Math.abs(x - wanted[i]!) <= 5e-4 * Math.abs(wanted[i]!) + 1e-7));

  // By the layout's definition.
  const file = await SavedWeights.open(sparse);
  const key = 'bert.encoder.layer.0.output.dense';
  const [compressed, mask, offsets, shape] = await Promise.all(
    ['compressed', 'bitmask', 'row_offsets', 'shape'].map((part) => file.read(`${key}.${part}`)),
  );
  assert.equal(
    [[...mask!.shape], [...(shape!.data as BigInt64Array)]],
    [
      [44, 8],
      [44n, 61n],
    ],
  );
  const nonZero = wanted.filter((x) => x !== 0);
  assert.equal([...toFloat32(compressed!)], nonZero);
  let count = 0;
  for (let row = 0; row < 44; row++) {
    assert.is(Number((offsets!.data as BigInt64Array)[row]), count);
    for (let i = 0; i < 64; i++) {
      const bit = ((mask!.data as Uint8Array)[row * 8 + (i >> 3)]! >> (i % 8)) & 1;
      assert.is(bit, i < 61 && wanted[row * 61 + i] !== 0 ? 1 : 0);
      count += bit;
    }
  }
  await file.close();
  const { quantization_config: said } = JSON.parse(readFileSync(join(sparse, 'config.json'), 'utf8')) as {
    quantization_config: { sparsity_config: Record<string, unknown> };
  };
  assert.is(said.sparsity_config['format'], 'sparse-bitmask');
  assert.ok(Math.abs((said.sparsity_config['global_sparsity'] as number) - 0.75) < 0.01);
  const layers = said.sparsity_config['targets'] as string[];
  assert.ok(layers.includes('bert.encoder.layer.0.output.dense') && !layers.includes('classifier'));
  const rows = 4 * 44 + 61 + 44;
  const expected = bytes(dense) - 4 * 0.75 * (4 * 44 * 44 + 2 * 44 * 61);
  assert.ok(bytes(sparse) < expected + 8 * rows + 9000 && bytes(sparse) < 0.6 * bytes(dense));
  assert.ok(bytes(half) < bytes(sparse));
  // Saved again, all are there.
  await loaded.savePretrained(sparse);
  assert.is(bytes(sparse), bytes(dense));
  assert.not.match(readFileSync(join(sparse, 'config.json'), 'utf8'), /quantization_config/);
});

test('a model without zeros stays as it is; what does not fit is refused in one line', async () => {
  const whole = join(folder, 'whole');
  await (await pruned(0)).savePretrained(whole, { sparse: true });
  assert.not.match(readFileSync(join(whole, 'config.json'), 'utf8'), /quantization_config/);
  const packed = (await loadModel(goldenFile('tiny-compressed-tensors'), { quantize: 'keep' })) as never;
  await rejects(
    (packed as BertForSequenceClassification).savePretrained(join(folder, 'no'), { sparse: true }),
    /^savePretrained: the weight of \S+ is packed, and has no zeros to leave out$/,
  );
  const sparse = join(folder, 'sparse');
  await (await pruned(0.9)).savePretrained(sparse, { sparse: true });
  const key = 'bert.encoder.layer.0.output.dense';
  const u8 = (shape: number[]) => ({ dtype: 'U8' as const, shape, data: new Uint8Array(shape[0]! * shape[1]!) });
  for (const [name, change, line] of [
    ['a', (m) => m.delete(`${key}.compressed`), /^.* has a bitmask, and compressed of it is missing; .*$/],
    [
      'b',
      (m) => m.set(`${key}.bitmask`, u8([44, 7])),
      /^.* of shape \[44, 61\] has a bitmask U8 \[44, 7\] and .* fit$/,
    ],
    ['c', (m) => m.set(`${key}.bitmask`, u8([44, 8])), /^.* has \d+ values and a bitmask of 0; save the folder again$/],
  ] as const satisfies readonly (readonly [string, Change, RegExp])[]) {
    const place = await changedFolder(sparse, join(folder, name), change);
    await rejects(load(place), line);
    if (name !== 'c') await rejects(SparseWeights.open(place), line);
  }
});

const golden24 = goldenFile('tiny-sparse-24');

test('2 of 4 by compressed-tensors: logits of the dense model, and written again the same bytes', async () => {
  const { ids, logits } = JSON.parse(readFileSync(goldenFile('sparse-24.json'), 'utf8')) as {
    ids: number[][];
    logits: number[][];
  };
  const model = await load(golden24);
  const found = noGrad(() => model.forward({ inputIds: tensor(ids, { dtype: 'i32' }) }).logits);
  assert.ok(largestDifference(await values(found), logits.flat()) < 1e-5);
  const place = join(folder, 'written-24');
  await model.savePretrained(place, { sparse: '2:4' });
  const [theirs, ours] = [await SavedWeights.open(golden24), await SavedWeights.open(place)];
  assert.equal(ours.names().sort(), theirs.names().sort());
  for (const name of theirs.names()) assert.equal(await ours.read(name), await theirs.read(name), name);
  await Promise.all([theirs.close(), ours.close()]);
  const saidBy = (path: string) =>
    (JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as { quantization_config: Record<string, unknown> })
      .quantization_config;
  const said = saidBy(place)['sparsity_config'] as Record<string, unknown>;
  const wanted = saidBy(golden24)['sparsity_config'] as Record<string, unknown>;
  for (const key of ['format', 'global_sparsity', 'sparsity_structure']) assert.is(said[key], wanted[key], key);
  assert.equal([...(said['targets'] as string[])].sort(), [...(wanted['targets'] as string[])].sort());
});

test('2 of 4: fours with more zeros, signs of zeros, f16; a layer that is so in part is refused', async () => {
  manualSeed(2);
  const config = { vocabSize: 20, hiddenSize: 44, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 64 };
  const model = new BertForSequenceClassification(BertConfig.create(config)).eval();
  const place = join(folder, 'pattern');
  await rejects(
    model.savePretrained(place, { sparse: '2:4' }),
    /^savePretrained: no layer has 2 zeros in every 4 neighbours; prune it by the pattern 2:4, or .*true$/,
  );
  await new PrunedWeights(model).prune({ sparsity: 0.5, pattern: '2:4', scope: 'row' });
  const { weight } = model.bert.encoder.layer[0]!.output.dense;
  const factors = Float32Array.from({ length: weight.size }, (_, i) => (i < 64 ? 0 : i % 3 === 0 ? 0 : -1));
  noGrad(() => assign(weight, mul(weight, tensor(factors, { shape: [...weight.shape] }))));
  const dense = join(folder, 'pattern-dense');
  await model.savePretrained(dense);
  await model.savePretrained(place, { sparse: '2:4' });
  assert.equal(await logitsOf(await load(place)), await logitsOf(model));
  const file = await SavedWeights.open(place);
  const key = 'bert.encoder.layer.0.output.dense';
  assert.equal(file.entry(`${key}.compressed`).shape, [44, 32]);
  assert.not.ok(file.has(`${key}.row_offsets`));
  const mask = (await file.read(`${key}.bitmask`)).data as Uint8Array;
  const ones = (byte: number): number => [...byte.toString(2)].filter((bit) => bit === '1').length;
  assert.ok(mask.every((byte) => ones(byte & 15) === 2 && ones(byte >> 4) === 2));
  await file.close();
  const layers = 4 * 44 * 44 + 2 * 44 * 64;
  assert.ok(bytes(place) < bytes(dense) - 2 * layers + layers / 8 + 2000);
  const half = join(folder, 'pattern-half');
  await model.savePretrained(half, { sparse: '2:4', dtype: 'f16' });
  assert.ok(bytes(half) < 0.6 * bytes(place));
  assert.ok(largestDifference(await logitsOf(await load(half)), await logitsOf(model)) < 1e-2);
  const broken = (await values(weight)).map((x, i) => (i >= 64 * 43 ? 1 : x));
  noGrad(() => assign(weight, tensor(broken, { shape: [...weight.shape] })));
  await rejects(
    model.savePretrained(place, { sparse: '2:4' }),
    /^savePretrained: row 43 of "?bert\.encoder\.layer\.0\.output\.dense\.weight"? has 4 neighbours .*sparse: true$/,
  );
  // What was there before is unchanged.
  assert.ok((await logitsOf(await load(place))).every(Number.isFinite));
});

test.run();
