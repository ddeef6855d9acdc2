// Marian with its configs, inputs and files, apart from the numbers that marian.test.ts compares
// with Transformers.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, manualSeed, noGrad, scope, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { MarianConfig, MarianModel, MarianMTModel, shiftRight } from '../../models/index.ts';
import type { MarianSettings, Seq2SeqLMInputs } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { largestDifference, shapesIn } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { throwsOneLine } from '../support/failure.ts';
import { checkInitialWeights } from '../support/model-checks.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('marian forward');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});
test.before.each(() => manualSeed(1));

const settings: MarianSettings = {
  vocabSize: 20,
  dModel: 16,
  encoderLayers: 1,
  encoderAttentionHeads: 2,
  encoderFfnDim: 24,
  decoderLayers: 2,
  decoderAttentionHeads: 4,
  decoderFfnDim: 24,
  maxPositionEmbeddings: 10,
  initStd: 0.3,
  padTokenId: 19,
  decoderStartTokenId: 19,
};
const run = (model: MarianMTModel, inputs: Seq2SeqLMInputs): Promise<number[]> =>
  noGrad(() => model.forward({ ...inputs, outputLogits: true }))
    .logits.data()
    .then((data) => Array.from(data));

test('config: defaults, config.json, mistakes', () => {
  const config = MarianConfig.create();
  assert.equal(
    [config.dModel, config.decoderVocabSize, config.padTokenId, config.modelType],
    [1024, null, 58100, 'marian'],
  );
  const json = { model_type: 'marian', d_model: 32, num_beams: 4, static_position_embeddings: true };
  const read = MarianConfig.fromJson(json, 'config.json');
  assert.equal([read.dModel, read.extra], [32, { num_beams: 4, static_position_embeddings: true }]);
  assert.match(MarianConfig.toText(MarianConfig.toJson(MarianConfig.create({ dropout: 0 }))), /"dropout": 0\.0,\n/);
  const bad: [() => unknown, RegExp][] = [
    [
      () => MarianConfig.create({ dModel: 36 }),
      /^marian config: d_model 36 must be a multiple of encoder_attention_heads 16$/,
    ],
    [
      () => MarianConfig.create({ ...settings, decoderAttentionHeads: 3 }),
      /d_model 16 must be a multiple of decoder_attention_heads 3/,
    ],
    [() => MarianConfig.create({ ...settings, padTokenId: 20 }), /pad_token_id 20 is outside the vocabulary of 20/],
    [() => MarianConfig.create({ ...settings, decoderStartTokenId: 30 }), /decoder_start_token_id 30 is outside/],
    [() => MarianConfig.create({ ...settings, decoderVocabSize: 21 }), /decoder_vocab_size 21 must be vocab_size 20/],
    [() => MarianConfig.fromJson({ encoder_layerdrop: 0.1 }, 'f'), /^f: encoder_layerdrop 0\.1 .* must be 0/],
    [() => MarianConfig.fromJson({ model_type: 'bart' }, 'f'), /^f: model_type is "bart"/],
  ];
  for (const [make, message] of bad) throwsOneLine(make, message);
});

test('inputs that the model cannot take are refused in one line', () => {
  const model = MarianMTModel.fromConfig(settings);
  const inputIds = i32([[1, 2, 3]]);
  const labels = i32([[4, 5]]);
  const bad: [Seq2SeqLMInputs, RegExp][] = [
    [{ labels }, /the decoder has nothing to attend to; give inputIds, or encoderOutputs/],
    [{ inputIds }, /the decoder has no input; give decoderInputIds, or labels/],
    [{ inputIds, outputLogits: false }, /without logits there is only a loss, and it needs labels/],
    [
      { inputIds: i32([[1, 20]]), labels },
      /token id 20 is outside the vocabulary .*\(in MarianMTModel: model\.encoder\)/,
    ],
    [{ inputIds, decoderInputIds: i32([[1, 20]]) }, /token id 20 is outside .*\(in MarianMTModel: model\.decoder\)/],
    [{ inputIds, labels: i32([[1, 20]]) }, /label 20 is out of range for 20 classes/],
    [{ inputIds, labels: tensor([1, 2]) }, /labels are \[2\]; they must be \[batch, tokens\]/],
    [
      { inputIds, labels, decoderInputIds: i32([[1, 2, 3]]) },
      /labels are \[1, 2\]; one for each token is needed, \[1, 3\]/,
    ],
    [
      { inputIds: i32([[1], [2]]), labels },
      /encoderHiddenStates is \[2, 1, 16\], to match inputIds it must be \[1, 1, 16\]/,
    ],
    [
      { encoderOutputs: { lastHiddenState: zeros([1, 3, 8]) }, labels },
      /encoderHiddenStates is \[1, 3, 8\], to match inputIds it must be \[1, 3, 16\]/,
    ],
    [{ encoderOutputs: { lastHiddenState: zeros([3]) }, labels }, /encoderHiddenStates is \[3\]/],
    [
      { encoderOutputs: { lastHiddenState: zeros([1, 3, 16]) }, attentionMask: i32([[1, 1]]), labels },
      /encoderAttentionMask is \[1, 2\], to match inputIds it must be \[1, 3\]/,
    ],
    [
      { inputIds, attentionMask: i32([[1, 1]]), labels },
      /attentionMask is \[1, 2\], to match inputIds it must be \[1, 3\]/,
    ],
    [{ inputIds, labels, decoderPositionIds: i32([[0, 10]]) }, /position 10 is outside/],
    [{ inputIds, labels: i32([new Array<number>(11).fill(1)]) }, /11 tokens are more than the model's 10 positions/],
    [{ inputIds, labels, labelSmoothing: 2 }, /labelSmoothing must lie in \[0, 1\], got 2/],
  ];
  for (const [input, message] of bad) {
    assert.throws(
      () => model.forward(input as never),
      (error: Error) => message.test(error.message) && !error.message.includes('\n'),
      String(message),
    );
  }
});

test("labels become the decoder's input", async () => {
  const shifted = shiftRight(i32([[5, 6, -100], [7, -100, 8]]), { start: 1, padding: 2 }); // prettier-ignore
  assert.equal(await shifted.tolist(), [[1, 5, 6], [1, 7, 2]]); // prettier-ignore
  const model = MarianMTModel.fromConfig(settings).eval();
  const inputIds = i32([[1, 2, 3]]);
  const made = await run(model, { inputIds, labels: i32([[4, 5, -100]]) });
  assert.equal(await run(model, { inputIds, decoderInputIds: i32([[19, 4, 5]]) }), made);
});

test('a token of the target knows those before it and the whole source', async () => {
  const model = MarianMTModel.fromConfig(settings).eval();
  const inputIds = i32([[1, 2, 3]]);
  const plain = await run(model, { inputIds, decoderInputIds: i32([[19, 4, 5, 6]]) });
  const later = await run(model, { inputIds, decoderInputIds: i32([[19, 4, 7, 8]]) });
  assert.is(largestDifference(plain.slice(0, 40), later.slice(0, 40)), 0);
  assert.ok(largestDifference(plain.slice(40), later.slice(40)) > 1e-4);
  const source = await run(model, { inputIds: i32([[1, 2, 4]]), decoderInputIds: i32([[19, 4, 5, 6]]) });
  assert.ok(largestDifference(plain.slice(0, 20), source.slice(0, 20)) > 1e-4);
});

test('padding of the source changes nothing, and positions may be given', async () => {
  const model = MarianMTModel.fromConfig(settings).eval();
  const decoderInputIds = i32([[19, 4, 5]]);
  const bare = await run(model, { inputIds: i32([[1, 2]]), decoderInputIds });
  const padded = { inputIds: i32([[1, 2, 19, 19]]), attentionMask: i32([[1, 1, 0, 0]]), decoderInputIds };
  assert.ok(largestDifference(await run(model, padded), bare) <= 1e-5);
  const placed = { inputIds: i32([[1, 2]]), decoderInputIds, decoderPositionIds: tensor([0, 1, 2]) };
  assert.ok(largestDifference(await run(model, placed), bare) <= 1e-6);
});

test('it learns to write a sequence backwards, compiled, dropout and all', async () => {
  const model = MarianMTModel.fromConfig({ ...settings, dropout: 0.05, initStd: 0.1, scaleEmbedding: true });
  const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
  const rows = Array.from({ length: 16 }, (_, row) => Array.from({ length: 4 }, (_, i) => (row * 7 + i * i * 5) % 18));
  const [inputIds, labels] = [i32(rows), i32(rows.map((row) => [...row].reverse()))];
  const step = compile((source: Tensor, target: Tensor) => {
    const { loss } = model.forward({ inputIds: source, labels: target, labelSmoothing: 0.01, outputLogits: false });
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss.detach();
  });
  const losses: number[] = [];
  for (let i = 0; i < 80; i++) {
    using _ = scope();
    losses.push(await step(inputIds, labels).item());
  }
  assert.ok(losses[0]! > 2.5, `the first loss is ${losses[0]}`);
  assert.ok(losses.at(-1)! < 0.5, `the last loss is ${losses.at(-1)}`);
});

test('initial weights: normal, biases 0, norms 1 and 0, the padding row 0', async () => {
  const model = MarianMTModel.fromConfig({ ...settings, dModel: 64, vocabSize: 300, initStd: 0.1 });
  await checkInitialWeights(model, (name, p) => (/norm\.weight$/.test(name) ? 1 : p.ndim === 1 ? 0 : 0.1));
  const row = await model.model.shared!.weight.slice(19).data();
  assert.ok(row.every((value) => value === 0));
});

test('files: the keys of Transformers, tied tensors once, and back', async () => {
  const model = MarianMTModel.fromConfig(settings).eval();
  await model.savePretrained(folder);
  const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal([json['architectures'], json['model_type']], [['MarianMTModel'], 'marian']);
  const names = Object.keys(await shapesIn(folder));
  assert.is(names.length, 1 + 1 + 16 + 2 * 26);
  assert.ok(names.includes('model.decoder.layers.1.encoder_attn.out_proj.bias'));
  assert.equal(
    names.filter((name) => /embed|shared|lm_head|bias$/.test(name) && !/layers/.test(name)),
    ['final_logits_bias', 'model.shared.weight'],
  );
  const inputs = { inputIds: i32([[1, 2, 3]]), decoderInputIds: i32([[19, 4]]) };
  const again = await MarianMTModel.fromPretrained(folder);
  assert.is(again.lmHead.weight, again.model.shared!.weight);
  assert.equal(await run(again, inputs), await run(model, inputs));
});

test('a file of the model without its head loads: the bias of the logits is then 0', async () => {
  const model = MarianModel.fromConfig(settings);
  await model.savePretrained(folder);
  const lines: string[] = [];
  const headed = await MarianMTModel.fromPretrained(folder, {}, { log: (line) => void lines.push(line) });
  assert.equal(lines, ['newly initialised: final_logits_bias (train them before use)']);
  assert.ok((await headed.finalLogitsBias.data()).every((value) => value === 0));
});

test.run();
