// Weights that config.json ties and a file has with different values, as Transformers takes them
// (test/golden/golden_tied.py), and what becomes of such a model.
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, manualSeed, noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { acquire } from '../../gpu/index.ts';
import * as models from '../../models/index.ts';
import {
  extendVocabulary,
  generate,
  GPT2LMHeadModel,
  MarianMTModel,
  SavedWeights,
  writeSafetensors,
} from '../../models/index.ts';
import type { LoadOptions, Module } from '../../models/index.ts';
import { toFloat32 } from '../../models/io/tensor-data.ts';
import { causalLM } from '../../train/objectives/index.ts';
import type { Rows } from '../../train/objectives/index.ts';
import type { Callback } from '../../train/trainer/callback.ts';
import { train } from '../../train/trainer/trainer.ts';
import type { TrainingRun } from '../../train/trainer/trainer.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { checkTraining, i32 } from '../support/model-golden.ts';
import type { TrainingGolden } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('tied weights');
const { target } = await acquire();
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});
test.before.each(() => manualSeed(1));

interface Case {
  readonly folder: string;
  readonly class: 'GPT2LMHeadModel';
  readonly tie: boolean | null;
  readonly without: readonly string[];
  readonly added: Readonly<Record<string, readonly [from: string, isEqual: boolean]>>;
  readonly apart: readonly (readonly [string, string])[];
  readonly parameters: number;
  readonly saved: readonly string[];
  readonly logits: readonly number[];
  readonly training: TrainingGolden;
}

const golden = JSON.parse(await readFile(goldenFile('tied.json'), 'utf8')) as readonly Case[];

/** The folder of a case, as golden_tied.py writes it. */
async function write(at: string, { folder: from, tie, without, added }: Omit<Case, keyof Golden>): Promise<string> {
  const source = goldenFile(from);
  await cp(source, at, { recursive: true });
  const config = JSON.parse(await readFile(join(source, 'config.json'), 'utf8')) as Record<string, unknown>;
  if (tie === null) delete config['tie_word_embeddings'];
  else config['tie_word_embeddings'] = tie;
  await writeFile(join(at, 'config.json'), JSON.stringify(config));
  const weights = await SavedWeights.open(source);
  const all = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const name of weights.names()) {
    const { shape } = weights.entry(name);
    all.set(name, { shape, values: toFloat32(await weights.read(name)) });
  }
  await weights.close();
  for (const [key, [name, isEqual]] of Object.entries(added)) {
    const { shape, values } = all.get(name)!;
    all.set(key, { shape, values: isEqual ? values : values.toReversed().map((value) => 0.5 * value) });
  }
  for (const key of without) all.delete(key);
  await writeSafetensors(
    join(at, 'model.safetensors'),
    [...all].map(([name, { shape, values }]) => ({ name, dtype: 'F32', shape, data: () => values })),
  );
  return at;
}

type Golden = Pick<Case, 'class' | 'apart' | 'parameters' | 'saved' | 'logits' | 'training'>;

const gptApart = {
  folder: 'tiny-gpt2',
  tie: true,
  without: [],
  added: { 'lm_head.weight': ['transformer.wte.weight', false] },
} as const;

type AnyModel = GPT2LMHeadModel;
const load = async (at: string, kind: Case['class'] = 'GPT2LMHeadModel', options: LoadOptions = {}) => {
  const lines: string[] = [];
  const log = (line: string): void => void lines.push(line);
  const model: AnyModel = await models[kind].fromPretrained(at, undefined, { ...options, log });
  return { model, apart: lines.filter((line) => line.startsWith('kept apart')) };
};

const inputs = {
  inputIds: i32([
    [3, 7, 11, 5],
    [9, 2, 30, 8],
  ]),
};
const labels = i32([
  [4, 12, 6, 1],
  [10, 3, 33, 2],
]);

const stateOf = async (model: Module): Promise<Record<string, number[]>> =>
  Object.fromEntries(
    await Promise.all([...model.stateDict()].map(async ([key, x]) => [key, Array.from(await x.data())] as const)),
  );

for (const [number, made] of golden.entries()) {
  const keys = Object.entries(made.added).map(([key, [, isEqual]]) => `${key} ${isEqual ? 'equal' : 'apart'}`);
  test(`${number} ${made.class}, tied ${made.tie}, ${keys.join(', ')}: as in Transformers, also saved`, async () => {
    const at = await write(join(folder, 'case'), made);
    const { model, apart } = await load(at, made.class);
    assert.is(apart.length, made.apart.length > 0 ? 1 : 0);
    for (const key of made.apart.map(([name]) => name)) assert.ok(apart[0]!.includes(key), apart[0]);
    assert.is(model.parameters().length, made.parameters);
    assert.equal(made.saved, [...model.stateDict().keys()].filter((key) => made.saved.includes(key)).sort());
    const { logits } = noGrad(() => model.forward({ ...inputs, labels }));
    const row = Array.from(await logits.data()).slice(6 * made.logits.length, 7 * made.logits.length);
    assert.ok(largestDifference(row, made.logits) <= 1e-5, 'logits');

    await model.savePretrained(join(folder, 'saved'));
    const again = await load(join(folder, 'saved'), made.class);
    assert.equal(again.apart.length, apart.length);
    assert.equal(await stateOf(again.model), await stateOf(model));
    await checkTraining(model, () => model.forward({ ...inputs, labels }), made.training);
  });
}

test('the line names the folder, the keys and the mend', async () => {
  const at = await write(join(folder, 'case'), gptApart);
  const { apart } = await load(at);
  assert.equal(apart, [
    `kept apart: lm_head.weight and transformer.wte.weight differ in ${at}, though its config.json ties them (set ` +
      'tie_word_embeddings to false there if all of them should be)',
  ]);
});

test('a model in f16, and one saved in f16, keep both', async () => {
  const { model } = await load(await write(join(folder, 'case'), gptApart));
  await model.savePretrained(join(folder, 'half'), { dtype: 'f16' });
  const { model: half, apart } = await load(join(folder, 'half'));
  assert.is(apart.length, 1);
  half.to('f16');
  assert.is.not(half.lmHead.weight, half.transformer.wte.weight);
  await half.savePretrained(join(folder, 'again'));
  const again = await load(join(folder, 'again'));
  assert.equal(await stateOf(again.model), await stateOf(half));
});

test('generation uses the head of its own', async () => {
  const { model } = await load(await write(join(folder, 'case'), gptApart));
  const ids = [5, 17, 80];
  const [text] = await generate(model, [ids], { maxNewTokens: 4, doSample: false });
  for (const id of text!.tokens) {
    const { logits } = noGrad(() => model.forward({ inputIds: i32([ids]) }));
    const row = Array.from(await logits.data()).slice(-97);
    assert.is(id, row.indexOf(Math.max(...row)));
    ids.push(id);
  }
});

test('a vocabulary is extended on both sides', async () => {
  const { model } = await load(await write(join(folder, 'case'), gptApart));
  const made = await extendVocabulary(model, [[3, 5]]);
  for (const [table, before] of [
    [made.lmHead.weight, model.lmHead.weight],
    [made.transformer.wte.weight, model.transformer.wte.weight],
  ] as const) {
    const [rows, old] = [Array.from(await table.data()), Array.from(await before.data())];
    assert.equal(rows.slice(0, 97 * 32), old);
    assert.equal(
      rows.slice(97 * 32),
      old.slice(3 * 32, 4 * 32).map((value, i) => Math.fround((value + old[5 * 32 + i]!) / 2)),
    );
  }
});

for (const precision of target.f16 ? (['f32', 'mixed'] as const) : (['f32'] as const))
  test(`a run in ${precision} that stops and goes on is the run that never stopped`, async () => {
    const at = await write(join(folder, 'case'), gptApart);
    const row = (index: number): Int32Array => Int32Array.from({ length: 6 }, (_, t) => (7 * index + 5 * t) % 97);
    const rows: Rows = { count: 8, length: 6, full: true, ordered: false, vocabSize: 97, row };
    const start = async (name: string, more: Partial<TrainingRun> = {}): Promise<number[]> => {
      const { model } = await load(at);
      const task = causalLM({ model, rows, batchSize: 2 });
      const options = { steps: 6, learningRate: 0.01, saveEvery: 3, precision };
      const { steps } = await train({ model, task, options, output: join(folder, name), quiet: true, ...more });
      assert.equal((await load(join(folder, name))).apart.length, 1);
      return steps.map(({ loss }) => loss);
    };
    const stop: Callback = {
      onStep({ step }) {
        if (step === 5) throw new Error('stopped');
      },
    };
    await rejects(start('stopped', { callbacks: [stop] }), /stopped/);
    const resumed = await start('stopped', { resume: true });
    assert.equal(resumed, await start('whole'));
    assert.equal(await start('whole', { resume: true }), resumed, 'a finished run is read');
  });

test('weights that differ are refused where the model ties them', async () => {
  const at = await write(join(folder, 'case'), gptApart);
  const tied = GPT2LMHeadModel.fromConfig((await load(at)).model.config);
  await rejects(
    tied.loadWeights(at),
    new RegExp(
      `^${at} does not fit this GPT2LMHeadModel, which ties lm_head.weight and transformer.wte.weight: they ` +
        'differ in the folder; load it with fromPretrained, which keeps them apart$',
    ),
  );
  const state = (await load(at)).model.stateDict();
  throwsOneLine(
    () => tied.loadStateDict(state),
    /transformer.wte.weight and lm_head.weight are tied here, the state has a tensor for each; leave one out, or keep/,
  );
  tied.untie('lm_head.weight').loadStateDict(state);
  assert.equal(await stateOf(tied), await stateOf((await load(at)).model));
});

test('a second key with another shape is refused', async () => {
  const at = await write(join(folder, 'case'), gptApart);
  const weights = await SavedWeights.open(at);
  const all: { name: string; shape: readonly number[]; values: Float32Array }[] = [];
  for (const name of weights.names())
    all.push({ name, shape: weights.entry(name).shape, values: toFloat32(await weights.read(name)) });
  await weights.close();
  await writeSafetensors(
    join(at, 'model.safetensors'),
    all.map(({ name, shape, values }) =>
      name === 'lm_head.weight'
        ? { name, dtype: 'F32', shape: [90, 32], data: () => values.subarray(0, 90 * 32) }
        : { name, dtype: 'F32', shape, data: () => values },
    ),
  );
  await rejects(load(at), /does not fit GPT2LMHeadModel: lm_head.weight is \[90, 32\] in the file, \[97, 32\] in the/);
  const { model } = await load(at, 'GPT2LMHeadModel', { ignoreMismatchedSizes: true });
  assert.is(model.lmHead.weight, model.transformer.wte.weight);
});

test('untie gives a parameter memory of its own, or says why not', async () => {
  const model = MarianMTModel.fromConfig({
    ...{ vocabSize: 9, dModel: 16, encoderLayers: 0, decoderLayers: 0 },
    ...{ padTokenId: 8, decoderStartTokenId: 8 },
  });
  const { shared, encoder, decoder } = model.model;
  assert.is(encoder.embedTokens.weight, shared!.weight);
  const before = Array.from(await shared!.weight.data());
  model.untie('model.encoder.embed_tokens.weight');
  noGrad(() => assign(shared!.weight, shared!.weight.mul(2)));
  const data = async (x: Tensor): Promise<number[]> => Array.from(await x.data());
  assert.equal(await data(encoder.embedTokens.weight), before);
  assert.is(decoder.embedTokens.weight, model.lmHead.weight);
  throwsOneLine(() => model.untie('model.nothing'), /^untie: MarianMTModel has no parameter model.nothing/);
});

test.run();
