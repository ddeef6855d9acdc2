import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed } from '../../autograd/index.ts';
import {
  BertConfig,
  BertForMaskedLM,
  BertModel,
  GPT2Config,
  GPT2LMHeadModel,
  LlamaConfig,
  LlamaForCausalLM,
  loadModel,
} from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('loadModel and f16 files');
let folder = '';
temporaryFolder(test, (path) => (folder = path));
const sizes = { vocabSize: 24, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16 };

test('a folder is loaded as the class it was saved as', async () => {
  manualSeed(3);
  const models = [
    new BertForMaskedLM(BertConfig.create(sizes)),
    new BertModel(BertConfig.create(sizes)),
    new GPT2LMHeadModel(GPT2Config.create({ vocabSize: 24, nEmbd: 8, nLayer: 1, nHead: 2, nPositions: 8 })),
    new LlamaForCausalLM(LlamaConfig.create(sizes)),
  ];
  for (const [i, model] of models.entries()) {
    const path = join(folder, String(i));
    await model.savePretrained(path);
    const loaded = await loadModel(path);
    assert.is(loaded.constructor, model.constructor);
    assert.equal([...loaded.stateDict().keys()], [...model.stateDict().keys()]);
  }
});

test('f16 files: half the size, weights to the nearest f16, f32 again when loaded', async () => {
  manualSeed(4);
  const model = new BertForMaskedLM(BertConfig.create({ ...sizes, vocabSize: 4000 }));
  const [full, half] = [join(folder, 'full'), join(folder, 'half')];
  await model.savePretrained(full);
  await model.savePretrained(half, { dtype: 'f16' });
  const size = (path: string): number => statSync(join(path, 'model.safetensors')).size;
  assert.ok(size(half) < 0.55 * size(full), `${size(half)} of ${size(full)} bytes`);
  assert.match(readFileSync(join(half, 'config.json'), 'utf8'), /"dtype": "float16"/);
  const loaded = await loadModel(half);
  for (const [name, x] of model.stateDict()) {
    const [want, y] = [await x.data(), loaded.stateDict().get(name)!];
    assert.is(y.dtype, 'f32', name);
    const got = await y.data();
    // f16 has 11 bits, and steps of 2^-24 near 0.
    for (const [i, value] of want.entries())
      if (!(Math.abs(got[i]! - value) <= 2 ** -11 * Math.abs(value) + 2 ** -25)) assert.unreachable(`${name}[${i}]`);
  }
});

test('a class that is not here is refused', async () => {
  const path = join(folder, 'foreign');
  await new BertModel(BertConfig.create(sizes)).savePretrained(path);
  const file = join(path, 'config.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"BertModel"', '"XLNetModel"'));
  await rejects(loadModel(path), /architectures is \["XLNetModel"\], where one of (Bert\w+, )*BertModel is needed/);
  writeFileSync(file, '{}');
  await rejects(loadModel(path), /architectures is missing, where a class .* is needed, whose model_type is .*bert, /);
});

test('a class that others have in common is neither loaded nor advised', async () => {
  const path = join(folder, 'abstract');
  await new BertModel(BertConfig.create(sizes)).savePretrained(path);
  const file = join(path, 'config.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"BertModel"', '"BertPreTrainedModel"'));
  await rejects(
    loadModel(path),
    /^.*architectures is \["BertPreTrainedModel"\], where one of (?!.*BertPreTrainedModel)/,
  );
});

test.run();
