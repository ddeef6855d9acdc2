// Folders with packed weights: those of the library compressed-tensors, and ours.
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad } from '../../autograd/index.ts';
import {
  addLora,
  BertConfig,
  BertForSequenceClassification,
  GPT2LMHeadModel,
  LlamaForCausalLM,
  loadModel,
} from '../../models/index.ts';
import { SavedWeights } from '../../models/io/safetensors.ts';
import { failure, rejects } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32, values } from '../support/small-bert.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('compressed-tensors');
let folder = '';
temporaryFolder(test, (made) => (folder = made));
const silent = { log: () => undefined };
const packedFolder = goldenFile('tiny-compressed-tensors');

interface Golden {
  readonly ids: number[][];
  readonly mask: number[][];
  readonly logits: number[][];
}

const load = async (path: string, quantize?: 'keep' | 'q4_0' | 'q8_0' | 'q4_1') =>
  (await loadModel(path, { ...silent, quantize })) as BertForSequenceClassification;
const logitsOf = (model: BertForSequenceClassification, { ids, mask }: Pick<Golden, 'ids' | 'mask'>) =>
  values(noGrad(() => model.forward({ inputIds: i32(ids), attentionMask: i32(mask) }).logits));
const configOf = (path: string) =>
  JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;

test("a folder of the library: Transformers' logits, weights dequantised or kept", async () => {
  const golden = JSON.parse(readFileSync(goldenFile('compressed-tensors.json'), 'utf8')) as Golden;
  for (const quantize of [undefined, 'keep'] as const) {
    const model = await load(packedFolder, quantize);
    assert.ok(largestDifference(await logitsOf(model, golden), golden.logits.flat()) < 1e-5);
    const { query, key } = model.bert.encoder.layer[0]!.attention.self;
    // Groups of 32 are blocks that kernels know; others are dequantised.
    assert.is(query.weight.quantized, undefined);
    assert.is(key.weight.quantized?.bits, quantize && 4);
  }
});

test('what was quantised here: saved packed, loaded to the bit, whole again where it is not kept', async () => {
  manualSeed(3);
  const config = BertConfig.create({
    ...{ vocabSize: 64, hiddenSize: 64, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 96 },
    ...{ maxPositionEmbeddings: 16, initializerRange: 0.3 },
  });
  const whole = join(folder, 'whole');
  await new BertForSequenceClassification(config).savePretrained(whole);
  const inputs = { ids: [[3, 9, 40, 2, 63]], mask: [[1, 1, 1, 1, 1]] };
  for (const kind of ['q4_0', 'q8_0'] as const)
    for (const dtype of [undefined, 'f16'] as const) {
      const path = join(folder, `${kind}-${dtype}`);
      const model = await load(whole, kind);
      await model.savePretrained(path, { dtype });
      const { quantization_config: said } = configOf(path) as { quantization_config: Record<string, unknown> };
      assert.equal(
        [said['quant_method'], said['format'], said['ignore']],
        ['compressed-tensors', 'pack-quantized', []],
      );
      const file = await SavedWeights.open(path);
      const query = 'bert.encoder.layer.0.attention.self.query.weight';
      assert.equal(file.entry(`${query}_packed`).shape, [64, kind === 'q4_0' ? 8 : 16]);
      assert.is(file.entry(`${query}_scale`).dtype, dtype ? 'F16' : 'F32');
      assert.ok(file.has('bert.embeddings.word_embeddings.weight'), 'Transformers wants embeddings whole');
      await file.close();
      const bytes = (name: string): number => statSync(join(name, 'model.safetensors')).size;
      assert.ok(bytes(path) < 0.5 * bytes(whole));

      const expected = await logitsOf(model, inputs);
      const kept = await load(path, 'keep');
      const dequantised = await load(path);
      assert.is(kept.bert.pooler!.dense.weight.quantized?.bits, kind === 'q4_0' ? 4 : 8);
      // Embeddings of 8 bits are rounded to f16 where that is asked.
      const tolerance = dtype ? 5e-3 : 2e-5;
      for (const again of [kept, dequantised])
        assert.ok(largestDifference(await logitsOf(again, inputs), expected) < tolerance);
      const plain = join(folder, 'plain');
      await dequantised.savePretrained(plain);
      assert.not.ok('quantization_config' in configOf(plain));
      assert.equal(await logitsOf(await load(plain), inputs), await logitsOf(dequantised, inputs));
    }
  const odd = await load(whole, 'q4_1');
  await rejects(
    odd.savePretrained(join(folder, 'odd')),
    /^savePretrained: the packed weight of .*query is not symmetric, .*; quantize with q4_0 or q8_0, or .*$/,
  );
  const gpt2 = (await loadModel(await gpt2Folder(), { ...silent, quantize: 'q8_0' })) as GPT2LMHeadModel;
  await rejects(
    gpt2.savePretrained(join(folder, 'odd')),
    /^savePretrained: the packed weight of .*c_attn is \[in, out\], which .*; write a GGUF file$/,
  );
});

async function gpt2Folder(): Promise<string> {
  const path = join(folder, 'gpt2');
  await GPT2LMHeadModel.fromConfig({ vocabSize: 64, nEmbd: 32, nLayer: 1, nHead: 2, nPositions: 8 }).savePretrained(
    path,
  );
  return path;
}

test('an adapter on packed weights: its folder has the adapter alone, and loads on the packed base', async () => {
  const [whole, packed, adapter] = ['llama', 'llama-packed', 'llama-adapter'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  manualSeed(4);
  await LlamaForCausalLM.fromConfig({
    ...{ vocabSize: 64, hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 1, numAttentionHeads: 2 },
    ...{ numKeyValueHeads: 2, maxPositionEmbeddings: 16, initializerRange: 0.3 },
  }).savePretrained(whole);
  const llama = async (path: string, quantize?: 'keep' | 'q4_0') =>
    (await loadModel(path, { ...silent, quantize })) as LlamaForCausalLM;
  await (await llama(whole, 'q4_0')).savePretrained(packed);
  const logits = (model: LlamaForCausalLM) =>
    values(noGrad(() => model.forward({ inputIds: i32([[3, 9, 40]]) }).logits));
  const base = await llama(packed, 'keep');
  const before = await logits(base);
  const peft = addLora(base, { r: 2, targetModules: ['q_proj'], initLoraWeights: false });
  const adapted = await logits(base);
  assert.ok(largestDifference(adapted, before) > 1e-3);
  await peft.savePretrained(adapter);
  assert.not.ok('quantization_config' in configOf(adapter));
  for (const quantize of ['keep', undefined] as const)
    assert.ok(largestDifference(await logits(await llama(adapter, quantize)), adapted) < 2e-5);
});

test('what cannot be read is refused in a line', async () => {
  const path = join(folder, 'bad');
  const config = configOf(packedFolder);
  const given = config['quantization_config'] as Record<string, unknown>;
  mkdirSync(path, { recursive: true });
  const write = (changed: unknown): void =>
    writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, quantization_config: changed }));
  copyFileSync(join(packedFolder, 'model.safetensors'), join(path, 'model.safetensors'));
  for (const [changed, said] of [
    [{ ...given, quant_method: 'gptq' }, /config\.json: quantization_config has weights quantised by "gptq", which is/],
    [{ ...given, format: 'marlin-24' }, /config\.json: quantization_config has the format "marlin-24", which is/],
    [
      {
        ...given,
        config_groups: { group_0: { targets: ['Linear'], weights: {}, input_activations: { num_bits: 8 } } },
      },
      /config\.json: quantization_config quantises what layers read, too, which is/,
    ],
    ['int8', /config\.json: quantization_config is no object, which is/],
  ] as const) {
    write(changed);
    assert.match(await failure(load(path)), said);
  }
  write(given);
  // A file that says of its rows what is not so.
  const bytes = readFileSync(join(packedFolder, 'model.safetensors'));
  const text = bytes.toString('latin1');
  const damaged = (name: string, by: string): void =>
    writeFileSync(join(path, 'model.safetensors'), Buffer.from(text.replaceAll(name, by), 'latin1'));
  damaged('pooler.dense.weight_scale', 'pooler.dense.weight_xcale');
  assert.match(
    await failure(load(path)),
    /pooler\.dense\.weight is packed, and scale of it is missing; save the folder/,
  );
});

test.run();
