// W8A8: layers that multiply whole numbers of 8 bits, as compressed-tensors' int-quantized has them.
import { cpSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad, tensor } from '../../autograd/index.ts';
import { addLora, BertConfig, BertForSequenceClassification, Linear, loadModel } from '../../models/index.ts';
import { Int8Weights, roundInt8 } from '../../models/io/int8.ts';
import { PackedParameter } from '../../models/nn/packed-parameter.ts';
import { rejects } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';
import { i32, values } from '../support/small-bert.ts';
import { refused, runScript } from '../support/script.ts';
import { changedFolder } from '../support/safetensors.ts';
import type { Change } from '../support/safetensors.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('int8');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const load = async (path: string, quantize?: 'keep' | 'int8') =>
  (await loadModel(path, { quantize, log: () => undefined })) as BertForSequenceClassification;
const inputIds = i32([
  [3, 9, 40, 2, 63, 7],
  [5, 1, 0, 33, 21, 2],
]);
const logitsOf = (model: BertForSequenceClassification) => values(noGrad(() => model.forward({ inputIds }).logits));

async function whole(): Promise<string> {
  manualSeed(3);
  const config = BertConfig.create({
    ...{ vocabSize: 64, hiddenSize: 64, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 96 },
    ...{ maxPositionEmbeddings: 16, initializerRange: 0.1, numLabels: 3 },
  });
  const path = join(folder, 'whole');
  await new BertForSequenceClassification(config).savePretrained(path);
  return path;
}

test('a layer computes with both rounded, by the definition', async () => {
  manualSeed(2);
  const layer = new Linear(32, 5);
  const [w, bias] = [await values(layer.weight), await values(layer.bias!)];
  layer.weight = new PackedParameter(await roundInt8(Float32Array.from(w), [5, 32]));
  const x = [0, 1, 2].map((row) =>
    Array.from({ length: 32 }, (_, i) => (row === 2 ? 0 : Math.sin(7 * i + row) * 10 ** row)),
  );
  const found = (await noGrad(() => layer.forward(tensor(x))).tolist()) as number[][];
  const round = (all: readonly number[]) => {
    const step = Math.max(...all.map(Math.abs)) / 127 || 1;
    return { step, codes: all.map((value) => Math.round(value / step)) };
  };
  for (const [row, read] of x.entries())
    for (let o = 0; o < 5; o++) {
      const [a, b] = [round(read), round(w.slice(32 * o, 32 * o + 32))];
      const dot = a.codes.reduce((sum, code, i) => sum + code * b.codes[i]!, 0);
      const wanted = dot * a.step * b.step + bias[o]!;
      assert.ok(Math.abs(found[row]![o]! - wanted) < 1e-5 * (1 + Math.abs(wanted)), `${row} ${o}`);
    }
  await rejects(roundInt8(new Float32Array(32).fill(Infinity), [1, 32]), /^weights that are not finite cannot .*$/);
});

test('a model so is near the whole one; saved, loaded to the bit, dequantised; an adapter learns on it', async () => {
  const from = await whole();
  const model = await load(from, 'int8');
  const { dense } = model.bert.encoder.layer[1]!.output;
  assert.equal([dense.weight.quantized?.activations, dense.weight.quantized?.group], ['int8', 96]);
  const [exact, rounded] = [await logitsOf(await load(from)), await logitsOf(model)];
  const off = largestDifference(exact, rounded);
  assert.ok(off > 0 && off < 0.05 * Math.max(...exact.map(Math.abs)), `${off}`);
  const path = join(folder, 'int8');
  await model.savePretrained(path);
  const kept = await load(path, 'keep');
  // Tables have 8 bits in memory where the whole model is rounded, and are whole in the folder.
  assert.ok(largestDifference(await logitsOf(kept), rounded) < 0.02);
  assert.equal(
    await values(kept.bert.encoder.layer[1]!.output.dense.weight.quantized!.packed),
    await values(dense.weight.quantized!.packed),
  );
  const again = join(folder, 'again');
  await kept.savePretrained(again);
  assert.ok(readFileSync(join(again, 'model.safetensors')).equals(readFileSync(join(path, 'model.safetensors'))));
  const plain = await load(path);
  const back = await values(plain.bert.encoder.layer[1]!.output.dense.weight);
  const before = await values((await load(from)).bert.encoder.layer[1]!.output.dense.weight);
  for (let row = 0; row < 64; row++) {
    const own = before.slice(96 * row, 96 * row + 96);
    const step = Math.max(...own.map(Math.abs)) / 127;
    own.forEach((w, i) => assert.ok(Math.abs(back[96 * row + i]! - w) <= 0.501 * step));
  }
  const size = (place: string): number => statSync(join(place, 'model.safetensors')).size;
  assert.ok(size(path) < 0.45 * size(from));
  const adapter = addLora(kept, { r: 2, targetModules: ['query'] });
  kept.forward({ inputIds, labels: tensor([1, 0], { dtype: 'i32' }) }).loss!.backward();
  assert.ok(adapter.parameters().some((parameter) => parameter.grad !== undefined));
});

test('folders that do not fit are refused in one line; the script writes one', async () => {
  const from = await whole();
  const path = join(folder, 'int8');
  await (await load(from, 'int8')).savePretrained(path);
  const key = 'bert.encoder.layer.0.output.dense.weight';
  const f32 = (length: number) => ({ dtype: 'F32' as const, shape: [length], data: new Float32Array(length) });
  for (const [name, change, line] of [
    ['a', (m) => m.delete(`${key}_scale`), /^.* has 8 bits, and weight_scale of it is missing; save the folder again$/],
    ['b', (m) => m.set(`${key}_scale`, f32(3)), /^.* of shape \[64, 96\] has scales \[3\]; one for each row is read$/],
    ['c', (m) => m.set(`${key}_zero_point`, f32(64)), /^.* has a zero_point, which is not read here; .*$/],
  ] as const satisfies readonly (readonly [string, Change, RegExp])[])
    await rejects(Int8Weights.open(await changedFolder(path, join(folder, name), change)), line);
  const other = join(folder, 'static');
  cpSync(path, other, { recursive: true });
  const config = readFileSync(join(other, 'config.json'), 'utf8');
  writeFileSync(join(other, 'config.json'), config.replace('"dynamic": true', '"dynamic": false'));
  await rejects(load(other), /quantization_config has the format "int-quantized", which is not read here/);

  const output = join(folder, 'by-script');
  const args = ['train/quantize.ts', '--model', 'models/pretrained/spam-small', '--precision', 'int8'];
  const done = await runScript([...args, '--output', output]);
  assert.is(done.code, 0, done.stderr);
  const kept = await load(output, 'keep');
  assert.is(kept.bert.encoder.layer[0]!.output.dense.weight.quantized?.activations, 'int8');
  refused(await runScript([...args, '--output', `${output}.gguf`]), 2, /^quantize: GGUF files have no INT8; .*$/);
});

test.run();
