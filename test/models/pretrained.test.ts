// Checkpoint names, saving and loading.
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  BertForMaskedLM,
  BertForPreTraining,
  BertForSequenceClassification,
  BertModel,
  BertTokenizer,
  SavedWeights,
  Linear,
  Module,
  Sequential,
  writeSafetensors,
} from '../../models/index.ts';
import type { Dtype } from '../../models/io/safetensors-format.ts';
import type { LoadedTensor } from '../../models/io/tensor-data.ts';
import { toFloat32 } from '../../models/io/tensor-data.ts';
import { inputs, logitsOf, settings, values } from '../support/small-bert.ts';

const tiny = fileURLToPath(new URL('../golden/tiny-bert', import.meta.url));
const test = suite('pretrained');
let folder = '';
let lines: string[] = [];
const log = (line: string): void => void lines.push(line);
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pretrained-'));
  lines = [];
  manualSeed(1);
});
test.after.each(async () => {
  await rm(folder, { recursive: true });
});

/** Rewrites the weights of a folder; `change` gets and returns tensors by name. */
async function rewrite(
  where: string,
  change: (all: Map<string, LoadedTensor>) => void,
  dtype: Dtype = 'F32',
): Promise<void> {
  const checkpoint = await SavedWeights.open(where);
  const all = new Map<string, LoadedTensor>();
  for (const name of checkpoint.names()) all.set(name, await checkpoint.read(name));
  await checkpoint.close();
  change(all);
  const list = [...all].map(([name, t]) => ({ name, dtype, shape: t.shape, data: () => toFloat32(t) }));
  await writeSafetensors(join(where, 'model.safetensors'), list);
}

function rename(all: Map<string, LoadedTensor>, to: (name: string) => string): void {
  for (const [name, t] of [...all]) {
    all.delete(name);
    all.set(to(name), t);
  }
}

const same = async (a: BertModel, b: BertModel): Promise<void> => {
  assert.equal([...a.stateDict().keys()], [...b.stateDict().keys()]);
  for (const [key, value] of a.stateDict())
    assert.equal(await values(value), await values(b.stateDict().get(key)!), key);
};

test('a saved model loads with the same logits, config and labels; the tokenizer travels along', async () => {
  const model = BertForSequenceClassification.fromConfig({
    ...settings,
    vocabSize: 30522,
    labels: ['ham', 'spam'],
  }).eval();
  const expected = await logitsOf(model);
  await model.savePretrained(folder, { tokenizer: BertTokenizer.default() });
  const loaded = await BertForSequenceClassification.fromPretrained(folder, undefined, { log });
  assert.equal(await logitsOf(loaded), expected);
  assert.equal(loaded.config, model.config);
  assert.is(loaded.training, false);
  assert.equal(lines, []);
  const files = (await readdir(folder)).sort();
  assert.equal(files, [
    'config.json',
    'model.safetensors',
    'special_tokens_map.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'vocab.txt',
  ]);
  const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal(json['architectures'], ['BertForSequenceClassification']);
  assert.equal(json['id2label'], { 0: 'ham', 1: 'spam' });
  assert.is((await BertTokenizer.fromPretrained(folder)).vocabSize, 30522);
});

test('shards are read as one file is', async () => {
  const model = BertForSequenceClassification.fromConfig(settings).eval();
  await model.savePretrained(folder, { maxShardBytes: 1000 });
  assert.ok((await readdir(folder)).filter((name) => /^model-\d+-of-\d+\.safetensors$/.test(name)).length > 3);
  const loaded = await BertForSequenceClassification.fromPretrained(folder, {}, { log });
  assert.equal(await logitsOf(loaded), await logitsOf(model));
});

test('a failed save leaves the old model as it was', async () => {
  const model = BertForSequenceClassification.fromConfig(settings).eval();
  await model.savePretrained(folder);
  const broken = BertForSequenceClassification.fromConfig(settings);
  const tokenizer = {
    filesToSave: (at: string) => [
      { path: join(at, 'vocab.txt'), data: () => Promise.reject(new Error('disk is full')) },
    ],
  };
  await rejects(broken.savePretrained(folder, { tokenizer }), /disk is full/);
  assert.equal((await readdir(folder)).sort(), ['config.json', 'model.safetensors']);
  assert.equal(
    await logitsOf(await BertForSequenceClassification.fromPretrained(folder, {}, { log })),
    await logitsOf(model),
  );
  if (process.getuid?.() === 0) return; // root may write anywhere
  await chmod(folder, 0o500);
  await rejects(broken.savePretrained(folder), /cannot write .*no permission/);
  await chmod(folder, 0o700);
});

/** A user's own layer in place of a Linear, with weights of other names. */
class LowRank extends Module {
  readonly down: Linear;
  readonly up: Linear;

  constructor(inFeatures: number, outFeatures: number) {
    super();
    this.down = new Linear(inFeatures, 2, { bias: false });
    this.up = new Linear(2, outFeatures);
  }

  override forward(x: Tensor): Tensor {
    return this.up.forward(this.down.forward(x));
  }
}

/** A user's own layer with the weights of a Linear. */
class Doubled extends Linear {
  override forward(x: Tensor): Tensor {
    return super.forward(x).mul(2);
  }
}

test('a model with a replaced layer saves a folder that loads again, or says before writing why not', async () => {
  const replace = (change: (model: BertForSequenceClassification) => void): BertForSequenceClassification => {
    const model = BertForSequenceClassification.fromConfig(settings);
    change(model);
    return model;
  };
  const head = replace((model) => Object.assign(model, { classifier: new LowRank(8, 2) }));
  await rejects(
    head.savePretrained(folder),
    new RegExp(
      'classifier is LowRank where BertForSequenceClassification has Linear; ' +
        '.*classifier.weight, classifier.bias would be missing; classifier.down.weight, .* would not be known; put',
    ),
  );
  const inner = replace((model) => Object.assign(model.bert.pooler!, { dense: new LowRank(8, 8) }));
  await rejects(inner.savePretrained(folder), /bert\.pooler\.dense is LowRank where/);
  const without = replace((model) => Object.assign(model, { classifier: new Sequential() }));
  await rejects(without.savePretrained(folder), /classifier is Sequential where .* has Linear; .* would be missing/);
  const wider = replace((model) => Object.assign(model, { classifier: new Linear(8, 3) }));
  await rejects(wider.savePretrained(folder), /classifier\.weight is \[3, 8\], by the config it is \[2, 8\]/);
  assert.equal(await readdir(folder), [], 'nothing was written');

  const same = replace((model) => Object.assign(model, { classifier: new Doubled(8, 2) }));
  await same.savePretrained(folder);
  const loaded = await BertForSequenceClassification.fromPretrained(folder, {}, { log });
  assert.equal(await values(loaded.classifier.weight), await values(same.classifier.weight));
  await new BertModel(loaded.config, { addPoolingLayer: false }).savePretrained(folder); // has none to replace
  await BertModel.fromPretrained(folder, {}, { log });
  assert.equal(lines, ['newly initialised: pooler.dense.weight, pooler.dense.bias (train them before use)']);
});

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason as Error,
  );
  assert.ok(error, `should have failed with ${message}`);
  assert.match(error.message, message);
  assert.not.match(error.message, /\n/);
}

test('a prefix, old names and old buffers in the file make no difference', async () => {
  const expected = await BertModel.fromPretrained(tiny, {}, { log });
  const cases: [string, (all: Map<string, LoadedTensor>) => void][] = [
    ['without prefix', (all) => rename(all, (name) => name.replace(/^bert\./, ''))],
    [
      'gamma and beta',
      (all) =>
        rename(all, (name) =>
          name.replace(/LayerNorm\.weight$/, 'LayerNorm.gamma').replace(/LayerNorm\.bias$/, 'LayerNorm.beta'),
        ),
    ],
    [
      'position_ids',
      (all) => all.set('bert.embeddings.position_ids', { dtype: 'F32', shape: [1, 2], data: new Float32Array(2) }),
    ],
  ];
  for (const [name, change] of cases) {
    const copy = join(folder, name);
    await cp(tiny, copy, { recursive: true });
    await rewrite(copy, change);
    lines = [];
    await same(await BertModel.fromPretrained(copy, {}, { log }), expected);
    assert.is(lines.length, 1, name);
    assert.match(lines[0]!, /^not used by BertModel: cls\.predictions\.bias, .* and 3 more$/);
    await same((await BertForPreTraining.fromPretrained(copy, {}, { log })).bert, expected);
    assert.is(lines.length, 1, `${name}: the whole model uses every tensor`);
  }
});

test('f16 and bf16 files are read as f32', async () => {
  const model = await BertModel.fromPretrained(tiny, {}, { log });
  const exact = await values(model.pooler!.dense.weight);
  for (const [dtype, precision] of [
    ['F16', 2 ** -11],
    ['BF16', 2 ** -8],
  ] as const) {
    const copy = join(folder, dtype);
    await cp(tiny, copy, { recursive: true });
    await rewrite(copy, () => undefined, dtype);
    const loaded = await BertModel.fromPretrained(copy, {}, { log });
    assert.is(loaded.pooler!.dense.weight.dtype, 'f32');
    const found = await values(loaded.pooler!.dense.weight);
    assert.ok(
      found.every((value, i) => Math.abs(value - exact[i]!) <= precision * Math.abs(exact[i]!)),
      dtype,
    );
    assert.ok(
      found.some((value, i) => value !== exact[i]!),
      `${dtype} rounds`,
    );
  }
});

test('weights labelled as whole numbers are refused before any is read', async () => {
  const model = BertModel.fromConfig(settings);
  await model.savePretrained(folder);
  const path = join(folder, 'model.safetensors');
  const bytes = await readFile(path);
  // The same bytes under another label of the same width: F32 -> I32.
  const at = bytes.indexOf('"F32"');
  bytes.write('"I32"', at);
  await writeFile(path, bytes);
  await BertModel.fromPretrained(folder).then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /^\S+: \S+ is I32 in the file, the model's is f32; save it as F32/),
  );
});

test('f16 weights labelled bf16 are told from what config.json says', async () => {
  const model = BertModel.fromConfig(settings);
  await model.savePretrained(folder, { dtype: 'f16' });
  await BertModel.fromPretrained(folder, {}, { log });
  assert.equal(lines, []);
  const path = join(folder, 'model.safetensors');
  const bytes = await readFile(path);
  const header = Number(bytes.readBigUInt64LE(0));
  const text = bytes
    .subarray(8, 8 + header)
    .toString()
    .trimEnd()
    .replaceAll('"F16"', '"BF16"');
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(padded.length));
  await writeFile(path, Buffer.concat([size, padded, bytes.subarray(8 + header)]));
  await BertModel.fromPretrained(folder, {}, { log });
  assert.is(lines.length, 1);
  assert.match(lines[0]!, /config.json: dtype is float16, but weights are labelled BF16/);
});

test('a model in f16 is saved and loaded as such a file', async () => {
  const model = BertForSequenceClassification.fromConfig(settings).eval();
  const before = await logitsOf(model);
  const half = await logitsOf(model.to('f16'));
  assert.ok(
    half.every((value, i) => Math.abs(value - before[i]!) < 2e-2) && half.some((value, i) => value !== before[i]!),
  );
  await model.savePretrained(folder);
  const checkpoint = await SavedWeights.open(folder);
  assert.ok(checkpoint.names().every((name) => checkpoint.entry(name).dtype === 'F16'));
  await checkpoint.close();
  const loaded = await BertForSequenceClassification.fromPretrained(folder, {}, { log });
  assert.ok((await logitsOf(loaded)).every((value, i) => Math.abs(value - before[i]!) < 1e-2));
});

test('tied weights: one tensor, written once, found under either name', async () => {
  const model = await BertForMaskedLM.fromPretrained(tiny, {}, { log });
  assert.is(model.cls.predictions!.decoder.weight, model.bert.embeddings.wordEmbeddings.weight);
  assert.is(model.cls.predictions!.decoder.bias, model.cls.predictions!.bias);
  const written = [...model.stateDict().keys()];
  assert.ok(
    written.includes('cls.predictions.bias') && !written.some((key) => key.startsWith('cls.predictions.decoder')),
  );
  const expected = await values(noGrad(() => model.forward(inputs).logits));
  await cp(tiny, folder, { recursive: true });
  const old: Record<string, string> = {
    'bert.embeddings.word_embeddings.weight': 'cls.predictions.decoder.weight',
    'cls.predictions.bias': 'cls.predictions.decoder.bias',
  };
  await rewrite(folder, (all) => rename(all, (name) => old[name] ?? name));
  lines = [];
  const other = await BertForMaskedLM.fromPretrained(folder, {}, { log });
  assert.equal(await values(noGrad(() => other.forward(inputs).logits)), expected);
  assert.not.ok(
    lines.some((line) => line.includes('newly')),
    lines.join(),
  );
  const untied = BertForMaskedLM.fromConfig({ ...settings, tieWordEmbeddings: false });
  assert.ok([...untied.stateDict().keys()].includes('cls.predictions.decoder.weight'));
});

test('new heads are initialised and named; a base that does not fit is an error', async () => {
  await cp(tiny, folder, { recursive: true });
  const model = await BertForSequenceClassification.fromPretrained(folder, { numLabels: 3 }, { log });
  assert.is(lines[0], 'newly initialised: classifier.weight, classifier.bias (train them before use)');
  assert.equal(model.classifier.weight.shape, [3, 32]);
  assert.ok((await values(model.classifier.weight)).some((value) => value !== 0));
  assert.equal(await values(model.classifier.bias!), [0, 0, 0]);

  const three = join(folder, 'three');
  await model.savePretrained(three);
  const wrong = BertForSequenceClassification.fromPretrained(three, { numLabels: 2 }, { log });
  await rejects(
    wrong,
    /classifier\.weight is \[3, 32\] in the file, \[2, 32\] in the model.*ignoreMismatchedSizes: true/,
  );
  lines = [];
  const two = await BertForSequenceClassification.fromPretrained(
    three,
    { numLabels: 2 },
    { log, ignoreMismatchedSizes: true },
  );
  assert.equal(two.classifier.weight.shape, [2, 32]);
  assert.equal(lines, ['newly initialised: classifier.weight, classifier.bias (train them before use)']);

  await rejects(
    BertModel.fromPretrained(folder, { numHiddenLayers: 4 }, { log }),
    /lacks encoder\.layer\.3\.attention\.self\.query\.weight, .* and 12 more; check/,
  );
  const narrow = BertModel.fromPretrained(folder, { intermediateSize: 36 }, { log, ignoreMismatchedSizes: true });
  await rejects(
    narrow,
    /intermediate\.dense\.weight is \[37, 32\] in the file, \[36, 32\] in the model.*check config\.json and/,
  );
  await rewrite(folder, (all) => rename(all, (name) => `other.${name}`));
  await rejects(BertModel.fromPretrained(folder, {}, { log }), /holds no weights of this model/);
  await cp(tiny, folder, { recursive: true });
  await rewrite(folder, (all) => all.set('embeddings.LayerNorm.weight', all.get('bert.embeddings.LayerNorm.weight')!));
  await rejects(BertModel.fromPretrained(folder, {}, { log }), /both name embeddings\.LayerNorm\.weight/);
});

test('folders that hold no model say what is missing', async () => {
  await rejects(BertModel.fromPretrained(join(folder, 'nowhere', 'at', 'all')), /does not exist/);
  await mkdir(join(folder, 'empty'));
  await rejects(BertModel.fromPretrained(join(folder, 'empty')), /has no config\.json/);
  await cp(tiny, folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), '{"model_type": "bert", "hidden_size": 31}');
  await rejects(BertModel.fromPretrained(folder), /config\.json: hidden_size 31 must be a multiple/);
});

test('a name in the file that a terminal would obey is spelt out', async () => {
  await cp(tiny, folder, { recursive: true });
  await rewrite(folder, (all) => all.set(`\u001b[31m${'x'.repeat(200)}`, all.get('cls.predictions.bias')!));
  await BertForPreTraining.fromPretrained(folder, {}, { log });
  assert.equal(lines, [`not used by BertForPreTraining: \\x1b[31m${'x'.repeat(95)}...`]);
});

test('a config of more than fits is refused with the name of its file', async () => {
  await cp(tiny, folder, { recursive: true });
  const file = join(folder, 'config.json');
  const json = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify({ ...json, vocab_size: 1e9 }));
  const loading = BertForPreTraining.fromPretrained(folder, {}, { log });
  await rejects(
    loading,
    new RegExp(`^${file}: BertForPreTraining: the model of this config, .*; use a smaller config$`),
  );
});

test.run();
