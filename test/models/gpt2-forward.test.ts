// GPT-2 with its configs, inputs and files, apart from the numbers that gpt2.test.ts compares with
// Transformers.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad, tensor } from '../../autograd/index.ts';
import { GPT2Config, gpt2Config, GPT2LMHeadModel, GPT2Model } from '../../models/index.ts';
import type { GPT2Settings, GPT2Size } from '../../models/index.ts';
import { writeSafetensors } from '../../models/index.ts';
import { largestDifference, shapesIn } from '../support/golden.ts';
import { checkInitialWeights, checkRefusedInputs } from '../support/model-checks.ts';
import { i32 } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('gpt2 forward');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});
test.before.each(() => manualSeed(1));

const settings: GPT2Settings = { vocabSize: 20, nEmbd: 8, nLayer: 2, nHead: 2, nPositions: 10 };
const run = (model: GPT2LMHeadModel, inputs: Parameters<GPT2Model['forward']>[0]): Promise<number[]> =>
  noGrad(() => model.forward(inputs))
    .logits.data()
    .then((data) => Array.from(data));

test('config: defaults, config.json, sizes, mistakes', () => {
  const config = GPT2Config.create();
  assert.equal([config.nEmbd, config.nInner, config.layerNormEpsilon, config.eosTokenId], [768, null, 1e-5, 50256]);
  const json = { model_type: 'gpt2', n_embd: 24, n_ctx: 1024, summary_type: 'cls_index', eos_token_id: [1, 2] };
  const read = GPT2Config.fromJson(json, 'config.json');
  assert.equal([read.nEmbd, read.eosTokenId], [24, [1, 2]]);
  assert.equal(read.extra, { n_ctx: 1024, summary_type: 'cls_index' });
  const written = GPT2Config.toJson(read);
  assert.equal([written['n_embd'], written['resid_pdrop'], written['n_ctx']], [24, 0.1, 1024]);
  assert.match(GPT2Config.toText(GPT2Config.toJson(gpt2Config('gpt2', { attnPdrop: 0 }))), /"attn_pdrop": 0\.0,\n/);
  const bad: [() => unknown, RegExp][] = [
    [() => GPT2Config.create({ nHead: 5 }), /^gpt2 config: n_embd 768 must be a multiple of n_head 5$/],
    [() => GPT2Config.fromJson({ add_cross_attention: true }, 'f'), /^f: add_cross_attention is true/],
    [() => GPT2Config.fromJson({ model_type: 'bert' }, 'f'), /^f: model_type is "bert", this class loads "gpt2"/],
    [() => gpt2Config('gpt3' as GPT2Size), /there is no size "gpt3"; use distilgpt2, gpt2, gpt2-medium/],
  ];
  for (const [make, message] of bad) assert.throws(make, message);
});

test('sizes have the published numbers of parameters', () => {
  // Counted from the shapes: larger ones are not made here.
  const count = ({ vocabSize, nPositions, nEmbd: d, nLayer }: GPT2Config): number =>
    (vocabSize + nPositions) * d + nLayer * (12 * d * d + 13 * d) + 2 * d;
  assert.is(GPT2LMHeadModel.fromConfig(settings).numParameters(), count(GPT2Config.create(settings)));
  const millions = (['distilgpt2', 'gpt2', 'gpt2-medium', 'gpt2-large', 'gpt2-xl'] as const).map((name) =>
    Math.round(count(gpt2Config(name)) / 1e6),
  );
  assert.equal(millions, [82, 124, 355, 774, 1558]);
});

test('initial weights: projections onto the residual stream are smaller, biases 0', async () => {
  const model = GPT2LMHeadModel.fromConfig({ ...settings, nEmbd: 64, vocabSize: 300, initializerRange: 0.1 });
  await checkInitialWeights(model, (name, p) =>
    /ln_.*weight$/.test(name) ? 1 : p.ndim === 1 ? 0 : /c_proj/.test(name) ? 0.05 : 0.1,
  );
});

test('a token knows nothing of those after it', async () => {
  const model = GPT2LMHeadModel.fromConfig(settings).eval();
  const [a, b] = [
    await run(model, { inputIds: i32([[3, 4, 5, 6]]) }),
    await run(model, { inputIds: i32([[3, 4, 7, 8]]) }),
  ];
  assert.is(largestDifference(a.slice(0, 40), b.slice(0, 40)), 0);
  assert.ok(largestDifference(a.slice(40), b.slice(40)) > 1e-4);
});

test('padding on the left changes nothing where positions are given', async () => {
  const model = GPT2LMHeadModel.fromConfig({ ...settings, initializerRange: 0.3 }).eval();
  const bare = await run(model, { inputIds: i32([[3, 4, 5]]) });
  const padded = {
    inputIds: i32([[0, 0, 3, 4, 5]]),
    attentionMask: i32([[0, 0, 1, 1, 1]]),
    positionIds: i32([[0, 0, 0, 1, 2]]),
  };
  const rows = await run(model, padded);
  assert.ok(largestDifference(rows.slice(40), bare) <= 1e-5);
});

test('inputs that the model cannot take are refused in one line', () => {
  const model = GPT2LMHeadModel.fromConfig(settings);
  checkRefusedInputs((inputs: Parameters<typeof model.forward>[0]) => model.forward(inputs));
});

test('files: the keys of Transformers, the tied head once, and back', async () => {
  const model = GPT2LMHeadModel.fromConfig(settings).eval();
  await model.savePretrained(folder);
  const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal([json['architectures'], json['model_type']], [['GPT2LMHeadModel'], 'gpt2']);
  const shapes = await shapesIn(folder);
  assert.equal(shapes['transformer.h.0.attn.c_attn.weight'], [8, 24]);
  assert.equal(shapes['transformer.h.1.mlp.c_proj.weight'], [32, 8]);
  assert.equal(Object.keys(shapes).length, 2 + 2 * 12 + 2);
  assert.not.ok('lm_head.weight' in shapes);
  const again = await GPT2LMHeadModel.fromPretrained(folder);
  assert.is(again.lmHead.weight, again.transformer.wte.weight);
  const inputs = { inputIds: i32([[1, 2, 3]]) };
  assert.equal(await run(again, inputs), await run(model, inputs));
});

test('old files of the bare model, with their causal masks, load with the head', async () => {
  const model = GPT2Model.fromConfig(settings).eval();
  const lines: string[] = [];
  await model.savePretrained(folder);
  const tensors = [
    ...model.stateDict(),
    ['h.0.attn.bias', tensor([1])],
    ['h.0.attn.masked_bias', tensor([1])],
  ] as const;
  await writeSafetensors(
    join(folder, 'model.safetensors'),
    tensors.map(([name, t]) => ({ name, dtype: 'F32', shape: t.shape, data: () => t.data() })),
  );
  const log = (line: string): void => void lines.push(line);
  const headed = await GPT2LMHeadModel.fromPretrained(folder, {}, { log });
  assert.equal(lines, []);
  assert.equal(Array.from(await headed.lmHead.weight.data()), Array.from(await model.wte.weight.data()));
});

test('an untied head has a weight of its own', () => {
  const model = GPT2LMHeadModel.fromConfig({ ...settings, tieWordEmbeddings: false });
  assert.ok(model.stateDict().has('lm_head.weight'));
  const { loss } = model.forward({ inputIds: i32([[1, 2, 3]]), labels: i32([[1, 2, 3]]) });
  loss.backward();
  assert.ok(model.parameters().every(({ grad }) => grad !== undefined));
});

test.run();
