// NF4: weights as the library bitsandbytes rounds, keeps and reads them.
import { cpSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dequantize, manualSeed, noGrad, quantizedLinear, tensor } from '../../autograd/index.ts';
import { addLora, BertConfig, BertForSequenceClassification, LlamaForCausalLM, loadModel } from '../../models/index.ts';
import { Nf4Weights, nf4Values, packNf4, quantizeNf4 } from '../../models/io/nf4.ts';
import { SavedWeights } from '../../models/io/safetensors.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32, values } from '../support/small-bert.ts';
import { refused, runScript } from '../support/script.ts';
import { changedFolder } from '../support/safetensors.ts';
import type { Change } from '../support/safetensors.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('nf4');
let folder = '';
temporaryFolder(test, (made) => (folder = made));
const silent = { log: () => undefined };

interface Golden {
  readonly weight: number[];
  readonly packed: number[];
  readonly absmax: number[];
  readonly offset: number;
  readonly nested_absmax: number[];
  readonly nested_quant_map: number[];
  readonly values: number[];
  readonly ids: number[][];
  readonly mask: number[][];
  readonly logits: number[][];
}
const golden = JSON.parse(readFileSync(goldenFile('nf4.json'), 'utf8')) as Golden;

const load = async (path: string, quantize?: 'keep' | 'nf4') =>
  (await loadModel(path, { ...silent, quantize })) as BertForSequenceClassification;
const logitsOf = (model: BertForSequenceClassification, { ids, mask }: Pick<Golden, 'ids' | 'mask'> = golden) =>
  values(noGrad(() => model.forward({ inputIds: i32(ids), attentionMask: i32(mask) }).logits));

test('codes, their scales and the numbers they stand for are those of bitsandbytes', async () => {
  const made = quantizeNf4(Float32Array.from(golden.weight), [12, 64]);
  assert.equal([...made.codes], golden.packed);
  assert.equal([...made.doubly!.codes], golden.absmax);
  assert.ok(Math.abs(made.doubly!.offset - golden.offset) <= 2e-7, 'a mean of f32');
  assert.ok(largestDifference([...made.doubly!.steps], golden.nested_absmax) < 5e-7);
  assert.ok(largestDifference([...nf4Values(made)], golden.values) < 5e-7);
  // On the device: alone, and through a product.
  const packed = packNf4(made);
  assert.equal(await values(await dequantize(packed)), [...nf4Values(made)]);
  const x = Array.from({ length: 64 }, (_, i) => Math.sin(i));
  const wanted = Array.from({ length: 12 }, (_, o) => x.reduce((sum, v, i) => sum + v * golden.values[64 * o + i]!, 0));
  const found = await values(quantizedLinear(tensor([x]), packed));
  assert.ok(largestDifference(found, wanted) < 1e-5);
  throwsOneLine(() => quantizeNf4(new Float32Array(96), [1, 96]), /^rows of 96 weights are no whole blocks of 64, .*$/);
  throwsOneLine(() => quantizeNf4(new Float32Array(64).fill(NaN), [1, 64]), /^weights that are not finite cannot .*$/);
});

test("a folder of the library: Transformers' logits, weights dequantised or kept; saved again to the bit", async () => {
  const path = goldenFile('tiny-nf4');
  const saved = join(folder, 'again');
  for (const quantize of [undefined, 'keep'] as const) {
    const model = await load(path, quantize);
    assert.ok(largestDifference(await logitsOf(model), golden.logits.flat()) < 1e-5);
    assert.is(model.bert.encoder.layer[0]!.output.dense.weight.quantized?.codebook, quantize && 'nf4');
    assert.is(model.classifier.weight.quantized, undefined);
    if (quantize) await model.savePretrained(saved);
  }
  const [before, after] = [await SavedWeights.open(path), await SavedWeights.open(saved)];
  assert.equal(after.names().sort(), before.names().sort());
  for (const name of before.names().filter((one) => !one.includes('quant_state'))) {
    const [one, other] = [await before.read(name), await after.read(name)];
    assert.equal([other.dtype, [...other.shape]], [one.dtype, [...one.shape]], name);
    assert.equal([...(other.data as Float32Array)], [...(one.data as Float32Array)], name);
  }
  const state = async (file: SavedWeights): Promise<Record<string, unknown>> => {
    const { data } = await file.read('bert.encoder.layer.0.output.dense.weight.quant_state.bitsandbytes__nf4');
    return JSON.parse(new TextDecoder().decode(data as Uint8Array)) as Record<string, unknown>;
  };
  assert.equal(await state(after), await state(before));
  await Promise.all([before.close(), after.close()]);
});

/** A folder of a small BERT, some of whose rows are no whole blocks. */
async function wholeModel(): Promise<string> {
  manualSeed(3);
  const config = BertConfig.create({
    ...{ vocabSize: 64, hiddenSize: 64, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 96 },
    ...{ maxPositionEmbeddings: 16, initializerRange: 0.3 },
  });
  const path = join(folder, 'whole');
  await new BertForSequenceClassification(config).savePretrained(path);
  return path;
}

test('what was rounded here: saved, loaded to the bit, smaller; an adapter learns on it', async () => {
  const whole = await wholeModel();
  const path = join(folder, 'nf4');
  const model = await load(whole, 'nf4');
  const { layer } = model.bert.encoder;
  assert.is(layer[0]!.attention.self.query.weight.quantized?.codebook, 'nf4');
  assert.is(layer[0]!.output.dense.weight.quantized, undefined, 'rows of 96 are no whole blocks');
  const inputs = { ids: [[3, 9, 40, 2, 63]], mask: [[1, 1, 1, 1, 1]] };
  const expected = await logitsOf(model, inputs);
  await model.savePretrained(path);
  const { quantization_config: said } = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as {
    quantization_config: Record<string, unknown>;
  };
  assert.equal([said['quant_method'], said['bnb_4bit_quant_type']], ['bitsandbytes', 'nf4']);
  assert.equal(said['llm_int8_skip_modules'], ['bert.encoder.layer.0.output.dense', 'classifier']);
  assert.equal(await logitsOf(await load(path, 'keep'), inputs), expected);
  assert.ok(largestDifference(await logitsOf(await load(path), inputs), expected) < 1e-5);
  const bytes = (name: string): number => statSync(join(name, 'model.safetensors')).size;
  assert.ok(bytes(path) < bytes(whole));
  const kept = await load(path, 'keep');
  const adapter = addLora(kept, { r: 2, targetModules: ['query'] });
  kept.forward({ inputIds: i32(inputs.ids), labels: tensor([1], { dtype: 'i32' }) }).loss!.backward();
  assert.ok(adapter.parameters().some((parameter) => parameter.grad !== undefined));
});

test('a decoder reads with NF4 weights; what does not fit is refused in one line', async () => {
  const path = join(folder, 'llama');
  manualSeed(1);
  const llama = await loadModel(goldenFile('tiny-llama'));
  const settings = { ...llama.config, hiddenSize: 64, intermediateSize: 128 } as never;
  await LlamaForCausalLM.fromConfig(settings).savePretrained(path);
  const kept = (await loadModel(path, { ...silent, quantize: 'nf4' })) as LlamaForCausalLM;
  assert.ok(kept.parameters().some(({ quantized }) => quantized?.codebook === 'nf4'));
  const packed = join(folder, 'llama-nf4');
  await kept.savePretrained(packed);
  const whole = (await loadModel(packed, silent)) as LlamaForCausalLM;
  const tokens = { inputIds: i32([[1, 5, 9, 2]]) };
  const [packedLogits, wholeLogits] = [kept, whole].map((model) => values(noGrad(() => model.forward(tokens).logits)));
  assert.ok(largestDifference((await packedLogits)!, (await wholeLogits)!) < 2e-2, 'tables have 8 bits in memory');

  const key = 'bert.encoder.layer.0.output.dense.weight';
  const stateKey = `${key}.quant_state.bitsandbytes__nf4`;
  const bytes = (text: string) => {
    const data = new TextEncoder().encode(text);
    return { dtype: 'U8' as const, shape: [data.length], data };
  };
  for (const [name, change, line] of [
    ['a', (m) => m.delete(`${key}.nested_absmax`), /is packed, and nested_absmax of it is missing; save the folder/],
    ['b', (m) => m.set(stateKey, bytes('{')), /has a quant_state that is no JSON/],
    ['c', (m) => m.set(stateKey, bytes('{"quant_type":"fp4","shape":[64,128],"blocksize":64}')), /is "fp4" of shape /],
    ['d', (m) => m.set(`${key}.absmax`, { dtype: 'U8', shape: [3], data: new Uint8Array(3) }), /4096|which do not fit/],
    [
      'e',
      (m) => m.set(`${key}.quant_map`, { dtype: 'F32', shape: [16], data: new Float32Array(16) }),
      /another quant_map/,
    ],
  ] as const satisfies readonly (readonly [string, Change, RegExp])[]) {
    const place = await changedFolder(goldenFile('tiny-nf4'), join(folder, name), change);
    await rejects(Nf4Weights.open(place), new RegExp(`^.*${line.source}.*$`));
  }
  const other = join(folder, 'fp4');
  cpSync(goldenFile('tiny-nf4'), other, { recursive: true });
  const config = readFileSync(join(other, 'config.json'), 'utf8');
  writeFileSync(
    join(other, 'config.json'),
    config.replace('"bnb_4bit_quant_type": "nf4"', '"bnb_4bit_quant_type": "fp4"'),
  );
  await rejects(
    load(other),
    /quantization_config has weights of bitsandbytes that are not NF4, which is not read here/,
  );
});

test('the script writes a folder; a GGUF file has no NF4', async () => {
  const output = join(folder, 'by-script');
  const args = ['train/quantize.ts', '--model', 'models/pretrained/spam-small', '--precision', 'nf4'];
  const done = await runScript([...args, '--output', output]);
  assert.is(done.code, 0, done.stderr);
  const [kept, rounded] = [await load(output, 'keep'), await load('models/pretrained/spam-small', 'nf4')];
  const inputs = { ids: [[2, 9, 40, 3]], mask: [[1, 1, 1, 1]] };
  assert.is(kept.bert.encoder.layer[0]!.output.dense.weight.quantized?.codebook, 'nf4');
  const [one, same] = [await logitsOf(kept, inputs), await logitsOf(rounded, inputs)];
  assert.ok(largestDifference(one, same) < 0.02, 'tables have 8 bits where they are rounded');
  refused(await runScript([...args, '--output', `${output}.gguf`]), 2, /^quantize: GGUF files have no NF4; .*$/);
});

test.run();
