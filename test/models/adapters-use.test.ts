// Adapters beside the numbers of adapters.test.ts: how they are chosen, switched, saved, refused.
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, manualSeed, noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  addLora,
  adaptersOf,
  BertForSequenceClassification,
  DebertaV2ForMaskedLM,
  generate,
  getPeftModel,
  GPT2LMHeadModel,
  ia3Config,
  LlamaForCausalLM,
  loadAdapter,
  loraConfig,
  PeftModel,
  Qwen2ForCausalLM,
  RobertaForSequenceClassification,
  writeSafetensors,
} from '../../models/index.ts';
import type { IA3Settings, LoraConfig, LoraSettings } from '../../models/index.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('adapters in use');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});
test.before.each(() => manualSeed(5));

const ids = i32([
  [4, 5, 6, 7],
  [8, 9, 3, 2],
]);
const llamaSettings = {
  vocabSize: 20,
  hiddenSize: 16,
  intermediateSize: 24,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  maxPositionEmbeddings: 12,
  initializerRange: 0.3,
};
const bertSettings = {
  vocabSize: 20,
  hiddenSize: 16,
  intermediateSize: 24,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  maxPositionEmbeddings: 12,
  initializerRange: 0.3,
};
const llama = (): LlamaForCausalLM => LlamaForCausalLM.fromConfig(llamaSettings).eval();
const bert = (): BertForSequenceClassification => BertForSequenceClassification.fromConfig(bertSettings).eval();

/** Values that an adapter has after some training. */
const random: LoraSettings = { initLoraWeights: false, loraAlpha: 16 };

const targetsOf = (peft: PeftModel): LoraConfig['targetModules'] =>
  (peft.adapters.get('default')!.config as LoraConfig).targetModules;

const logitsOf = async (model: { forward(inputs: { inputIds: Tensor }): { logits: Tensor } }): Promise<number[]> =>
  Array.from(await noGrad(() => model.forward({ inputIds: ids }).logits).data(), Number);

test('a new adapter changes nothing at first, whatever its settings', async () => {
  for (const settings of [{}, { initLoraWeights: 'gaussian', useRslora: true }, { bias: 'lora_only' }] as const) {
    const model = llama();
    const before = await logitsOf(model);
    const peft = addLora(model, { targetModules: 'all-linear', ...settings });
    assert.ok(largestDifference(await logitsOf(model), before) < 1e-6, JSON.stringify(settings));
    assert.equal(targetsOf(peft), [...['down_proj', 'gate_proj', 'k_proj', 'o_proj', 'q_proj', 'up_proj', 'v_proj']]);
  }
  const table = llama();
  const before = await logitsOf(table);
  addLora(table, { targetModules: ['embed_tokens'] });
  assert.ok(largestDifference(await logitsOf(table), before) < 1e-6);
});

test('the base is frozen, keeps its keys, and saves as without adapters', async () => {
  const model = bert();
  const keys = [...model.stateDict().keys()];
  await model.savePretrained(join(folder, 'before'));
  const peft = addLora(model, { ...random, targetModules: ['query', 'dense'] });
  assert.ok(model.parameters().every((x) => !x.requiresGrad));
  assert.ok(
    peft.adapters
      .get('default')!
      .parameters()
      .every((x) => x.requiresGrad),
  );
  assert.equal([...model.stateDict().keys()], keys);
  await model.savePretrained(join(folder, 'after'));
  const weights = (name: string): Promise<Buffer> => readFile(join(folder, name, 'model.safetensors'));
  assert.ok((await weights('before')).equals(await weights('after')));
  assert.is(adaptersOf(model), peft);
});

test('layers that are computed together compute the same apart', async () => {
  const model = bert();
  addLora(model, { ...random, targetModules: ['query'], taskType: 'FEATURE_EXTRACTION' });
  const adapted = await logitsOf(model);
  const compiled = compile(() => noGrad(() => model.forward({ inputIds: ids }).logits));
  assert.ok(largestDifference(await compiled().data(), adapted) < 1e-5);
  adaptersOf(model)!.mergeAndUnload();
  assert.is(adaptersOf(model), undefined);
  assert.ok(largestDifference(await logitsOf(model), adapted) < 1e-5);
});

test('several adapters: one, the other, both, none; compiled functions follow', async () => {
  const model = llama();
  const none = await logitsOf(model);
  const peft = addLora(model, { ...random, targetModules: ['q_proj', 'v_proj'] }, { name: 'one' });
  peft.add(peft.adapters.get('one')!.config, { name: 'other' });
  const compiled = compile(() => noGrad(() => model.forward({ inputIds: ids }).logits), { log: () => undefined });
  const seen = new Map<string, number[]>();
  for (const names of [['one'], ['other'], ['one', 'other'], [], ['one']]) {
    peft.setAdapters(names);
    const found = await logitsOf(model);
    assert.ok(largestDifference(await compiled().data(), found) < 1e-5, names.join());
    const before = seen.get(names.join());
    if (before) assert.equal(found, before);
    seen.set(names.join(), found);
  }
  assert.equal(seen.get(''), none);
  assert.ok(largestDifference(seen.get('one')!, seen.get('other')!) > 0.01);
  peft.setAdapters('other');
  assert.ok(
    peft.adapters
      .get('one')!
      .parameters()
      .every((x) => !x.requiresGrad),
    'inactive: frozen',
  );
  assert.ok(
    peft.adapters
      .get('other')!
      .parameters()
      .every((x) => x.requiresGrad),
  );
  peft.remove('other');
  peft.setAdapters('one');
  assert.equal(await logitsOf(model), seen.get('one'));
  peft.remove('one');
  assert.equal(await logitsOf(model), none);
  assert.is(adaptersOf(model), undefined);
});

test('disabled inside a compiled function, it is captured once', async () => {
  const model = llama();
  const none = await logitsOf(model);
  const peft = addLora(model, { ...random, targetModules: 'all-linear' });
  const adapted = await logitsOf(model);
  const notes: string[] = [];
  const both = compile(
    () => {
      const reference = peft.disableAdapters(() => noGrad(() => model.forward({ inputIds: ids }).logits));
      return [reference, noGrad(() => model.forward({ inputIds: ids }).logits)] as const;
    },
    { log: (line) => notes.push(line) },
  );
  for (let i = 0; i < 3; i++) {
    const [reference, logits] = both();
    assert.ok(largestDifference(await reference.data(), none) < 1e-5);
    assert.ok(largestDifference(await logits.data(), adapted) < 1e-5);
  }
  assert.equal(notes, []);
  const waited = await peft.disableAdapters(async () => logitsOf(model));
  assert.equal(waited, none);
  assert.equal(await logitsOf(model), adapted);
  assert.throws(
    () =>
      peft.disableAdapters(() => {
        throw new Error('inside');
      }),
    /inside/,
  );
  assert.equal(await logitsOf(model), adapted);
  throwsOneLine(
    () =>
      compile(() => {
        peft.setAdapters([]);
        return ids;
      })(),
    /outside of the compiled function/,
  );
});

test('dropout is active in training only', async () => {
  const model = llama();
  addLora(model, { ...random, loraDropout: 0.5, targetModules: ['q_proj'] });
  const still = await logitsOf(model);
  model.train();
  const [a, b] = [await logitsOf(model), await logitsOf(model)];
  assert.ok(largestDifference(a, b) > 1e-3);
  model.eval();
  assert.equal(await logitsOf(model), still);
});

test('modules to save: a copy is trained, the base keeps its own', async () => {
  const model = RobertaForSequenceClassification.fromConfig({ ...bertSettings, maxPositionEmbeddings: 14 });
  const before = await logitsOf(model.eval());
  const peft = addLora(model, { targetModules: ['query'] });
  assert.ok(largestDifference(await logitsOf(model), before) < 1e-6);
  assert.equal(peft.adapters.get('default')!.config.modulesToSave, ['classifier', 'score']);
  const trained = peft.namedParameters().filter(([, x]) => x.requiresGrad);
  assert.ok(trained.some(([key]) => key.endsWith('base_model.model.classifier.out_proj.weight')));
  const optimizer = new AdamW(decayGroups(peft.namedParameters(), 0.01), { lr: 0.1 });
  const step = compile((labels: Tensor) => {
    const { loss } = model.forward({ inputIds: ids, labels });
    loss!.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss!.detach();
  });
  model.train();
  for (let i = 0; i < 3; i++) await step(i32([[0, 1]]).reshape([2])).data();
  model.eval();
  const after = await logitsOf(model);
  assert.ok(largestDifference(after, before) > 0.01);
  assert.equal(await peft.disableAdapters(async () => logitsOf(model)), before);
  await peft.savePretrained(join(folder, 'roberta'));
  peft.unload();
  assert.equal(await logitsOf(model), before);
  await loadAdapter(model, join(folder, 'roberta'));
  assert.equal(await logitsOf(model), after);
});

test('of tied layers only the one that is adapted changes, merged or not', async () => {
  const model = Qwen2ForCausalLM.fromConfig({ ...llamaSettings, tieWordEmbeddings: true }).eval();
  const before = await logitsOf(model);
  const peft = addLora(model, { ...random, targetModules: ['lm_head'] });
  const adapted = await logitsOf(model);
  assert.ok(largestDifference(adapted, before) > 0.01);
  peft.merge();
  assert.ok(largestDifference(await logitsOf(model), adapted) < 1e-5, 'merged');
  peft.unmerge();
  assert.is(model.lmHead.weight, model.model.embedTokens.weight);
  peft.mergeAndUnload();
  assert.ok(largestDifference(await logitsOf(model), adapted) < 1e-5, 'merged for good');
  assert.is(model.config.tieWordEmbeddings, false);
  await model.savePretrained(join(folder, 'untied'));
  const again = await Qwen2ForCausalLM.fromPretrained(join(folder, 'untied'));
  assert.ok(largestDifference(await logitsOf(again), adapted) < 1e-5, 'loaded again');
});

test('a reply after another adapter was made active does not go on from what the one before read', async () => {
  const model = llama();
  const peft = addLora(model, { ...random, targetModules: 'all-linear' });
  const options = { maxNewTokens: 6, reuseCache: true };
  const prompt = [[3, 4, 5, 6, 7, 8]];
  const [adapted] = await generate(model, prompt, options);
  const [alone] = await peft.disableAdapters(() => generate(model, prompt, options));
  peft.unload();
  const [base] = await generate(model, prompt, { maxNewTokens: 6 });
  assert.equal(alone!.tokens, base!.tokens);
  assert.not.equal(alone!.tokens, adapted!.tokens);
});

test('DeBERTa adapts its table of distances, too', async () => {
  const model = await DebertaV2ForMaskedLM.fromPretrained(goldenFile('tiny-deberta-v2'));
  const before = await logitsOf(model);
  const peft = addLora(model, { ...random, targetModules: ['rel_embeddings'] });
  const adapted = await logitsOf(model);
  assert.ok(largestDifference(adapted, before) > 1e-3);
  peft.merge();
  assert.ok(largestDifference(await logitsOf(model), adapted) < 1e-5);
});

test('each row of a batch has its own adapter, or none, and is as it would be alone', async () => {
  const model = llama();
  const peft = addLora(model, { ...random, targetModules: ['q_proj', 'down_proj', 'embed_tokens'] }, { name: 'a' });
  peft.add(loraConfig({ ...random, r: 3, targetModules: ['q_proj', 'up_proj', 'lm_head'] }), { name: 'b' });
  const rows = [
    [4, 5, 6, 7],
    [8, 9, 3, 2],
    [4, 5, 6, 7],
    [1, 1, 2, 3],
  ];
  const names = ['b', '__base__', 'a', 'b'];
  const logits = async (batch: readonly number[][]): Promise<number[]> =>
    Array.from(await noGrad(() => model.forward({ inputIds: i32(batch) }).logits).data(), Number);
  const alone: number[] = [];
  for (const [i, name] of names.entries())
    alone.push(...(await peft.withAdapters(name === '__base__' ? [] : name, async () => logits([rows[i]!]))));
  const together = await peft.withAdapterNames(names, async () => logits(rows));
  assert.ok(largestDifference(together, alone) < 1e-5);
  const others = ['a', 'b', '__base__', 'a'];
  const swapped = await peft.withAdapterNames(others, async () => logits(rows));
  assert.ok(largestDifference(swapped, alone) > 0.01);
  assert.ok(largestDifference(await peft.withAdapterNames(names, async () => logits(rows)), alone) < 1e-5);
  const inputs = i32(rows);
  const weights = rows.map(() => 1);
  // Gradients, too, are those of each row alone.
  const gradients = async (run: () => void): Promise<number[]> => {
    peft.adapters.get('a')!.requiresGrad();
    run();
    const found = peft.adapters.get('a')!.parameters();
    const values = await Promise.all(found.map(async ({ grad }) => Array.from(await grad!.data(), Number)));
    for (const x of found) x.clearGrad();
    return values.flat();
  };
  const ofBatch = await gradients(() =>
    peft.withAdapterNames(names, () => model.forward({ inputIds: inputs }).logits.sum().mul(weights[0]!).backward()),
  );
  const ofRow = await gradients(() =>
    peft.withAdapters('a', () =>
      model
        .forward({ inputIds: i32([rows[2]!]) })
        .logits.sum()
        .backward(),
    ),
  );
  const scale = Math.max(...ofRow.map(Math.abs));
  assert.ok(largestDifference(ofBatch, ofRow) < 1e-5 * scale);
});

test('prompts of several adapters are continued in one batch, from call to call with others', async () => {
  const model = llama();
  const peft = addLora(model, { ...random, targetModules: 'all-linear' }, { name: 'a' });
  peft.add(loraConfig({ ...random, r: 3, targetModules: ['q_proj', 'v_proj'] }), { name: 'b' });
  const prompts = [[4, 5], [4, 5, 6], [4, 5], [7]];
  const options = { maxNewTokens: 5 };
  for (const adapterNames of [
    ['a', 'b', '__base__', 'a'],
    ['b', 'b', 'a', '__base__'],
  ]) {
    const found = await generate(model, prompts, { ...options, adapterNames });
    for (const [i, name] of adapterNames.entries()) {
      const alone = await peft.withAdapters(name === '__base__' ? [] : name, () =>
        generate(model, [prompts[i]!], options),
      );
      assert.equal(found[i]!.tokens, alone[0]!.tokens, `${i}: ${name}`);
    }
    const beams = await generate(model, prompts, { ...options, adapterNames, numBeams: 2 });
    const alone = await peft.withAdapters(adapterNames[0]!, () =>
      generate(model, [prompts[0]!], { ...options, numBeams: 2 }),
    );
    assert.equal(beams[0]!.tokens, alone[0]!.tokens);
  }
  const refuse = (adapterNames: string[], message: RegExp): Promise<void> =>
    rejects(generate(model, prompts, { ...options, adapterNames }), message);
  await refuse(['a', 'b'], /there are 2 adapterNames for 4 prompts/);
  await refuse(['a', 'b', 'c', 'a'], /none called "c"; there are a, b/);
  await rejects(generate(llama(), prompts, { adapterNames: ['a', 'a', 'a', 'a'] }), /the model has none; load them/);
  peft.add(loraConfig({ ...random, useDora: true, targetModules: ['q_proj'] }), { name: 'c' });
  await refuse(['a', 'b', 'c', 'a'], /"c" has other parts than low-rank matrices/);
  const found = await generate(model, prompts, { ...options, adapterNames: ['a', 'b', 'a', 'a'] });
  const alone = await peft.withAdapters('b', () => generate(model, [prompts[1]!], options));
  assert.equal(found[1]!.tokens, alone[0]!.tokens);
});

test('classifiers of one batch have their own heads', async () => {
  const model = bert();
  const peft = addLora(model, { ...random, targetModules: ['query', 'dense'] }, { name: 'a' });
  for (const x of peft.adapters.get('a')!.wholes.flatMap(({ copy }) => copy.parameters()))
    noGrad(() => x.assign(x.mul(2)));
  peft.add(loraConfig({ ...random, targetModules: ['value'] }), { name: 'b' });
  const alone = await Promise.all(
    ['b', 'a'].map((name) =>
      peft.withAdapters(name, () => noGrad(() => model.forward({ inputIds: ids }).logits)).data(),
    ),
  );
  const both = await peft
    .withAdapterNames(['b', 'a'], () => noGrad(() => model.forward({ inputIds: ids }).logits))
    .data();
  assert.ok(
    largestDifference(Array.from(both, Number), [
      ...Array.from(alone[0]!, Number).slice(0, 2),
      ...Array.from(alone[1]!, Number).slice(2),
    ]) < 1e-5,
  );
});

test('the trainable share is told as PEFT tells it', () => {
  const peft = addLora(llama(), { targetModules: ['q_proj'], r: 4 });
  assert.is(String(peft.trainableParameters()), 'trainable params: 256 || all params: 5,328 || trainable%: 4.8048');
});

test('a model without adapters has none, and a failed one leaves none', async () => {
  const model = llama();
  assert.is(adaptersOf(model), undefined);
  throwsOneLine(() => addLora(model, { targetModules: ['query'] }), /LlamaForCausalLM has no module "query".*q_proj/);
  assert.is(adaptersOf(model), undefined);
  assert.ok(model.parameters().every((x) => x.requiresGrad));
});

test('factors change nothing at first, go on layers that are usual, and merge', async () => {
  const model = llama();
  const logits = async (): Promise<ArrayLike<number>> =>
    noGrad(() => model.forward({ inputIds: ids }).logits).data() as Promise<Float32Array>;
  const alone = await logits();
  const peft = getPeftModel(model, ia3Config());
  assert.equal(targetsOf(peft), ['down_proj', 'k_proj', 'v_proj']);
  assert.equal(await logits(), alone);
  for (const x of peft.adapters.get('default')!.parameters()) noGrad(() => x.assign(x.mul(1.5)));
  const changed = await logits();
  assert.ok(largestDifference(changed, alone) > 1e-3);
  peft.mergeAndUnload();
  assert.ok(largestDifference(await logits(), changed) <= 1e-5);
});

test('settings of factors that are wrong are refused in one line', async () => {
  const cases: readonly (readonly [IA3Settings, RegExp])[] = [
    [{ r: 4 } as IA3Settings, /IA3 settings: there is no setting r; the settings are .*feedforwardModules/],
    [{ targetModules: ['embed_tokens'] }, /embed_tokens is a table of embeddings; IA3 goes on linear layers/],
    [{ targetModules: ['nothing'] }, /no module "nothing"/],
    [{ feedforwardModules: '(' }, /"\(" is no regular expression/],
  ];
  for (const [settings, message] of cases) throwsOneLine(() => getPeftModel(llama(), ia3Config(settings)), message);
  const model = llama();
  const peft = getPeftModel(model, ia3Config());
  await rejects(peft.addWeighted(['default'], [1], { name: 'b' }), /"default" has other parts than low-rank/);
  const other = llama();
  other.config = Object.freeze({ ...other.config, modelType: 'phi3' });
  throwsOneLine(() => getPeftModel(other, ia3Config()), /targetModules is missing, and no layers are usual .*"phi3"/);
});

test('settings that are wrong are refused in one line', () => {
  const cases: readonly (readonly [LoraSettings, RegExp])[] = [
    [{ r: 0 }, /LoRA settings: r is 0/],
    [{ rank: 4 } as LoraSettings, /no setting rank; the settings are .*loraAlpha/],
    [{ loraDropout: 1.5 }, /loraDropout is 1\.5/],
    [{ targetModules: '(' }, /"\(" is no regular expression/],
    [{ targetModules: '.*nothing' }, /no module that ".\*nothing" selects/],
    [{ targetModules: ['self_attn'] }, /self_attn is a \w+; adapters go on Linear/],
    [{ targetModules: ['q_proj'], layersToTransform: [7] }, /selects|in layers 7/],
    [{ targetModules: ['q_proj'], modulesToSave: ['nothing'] }, /no module "nothing" of modulesToSave/],
  ];
  for (const [settings, message] of cases) throwsOneLine(() => addLora(llama(), settings), message);
  const peft = addLora(llama(), { targetModules: ['q_proj'] });
  throwsOneLine(() => peft.add(peft.adapters.get('default')!.config), /one called "default" already/);
  throwsOneLine(() => peft.setAdapters('other'), /none called "other"; there are default/);
  throwsOneLine(() => peft.unmerge(), /not merged/);
  peft.merge();
  throwsOneLine(() => peft.merge(), /merged into the weights; call unmerge first/);
});

/** A copy of a golden adapter with another adapter_config.json. */
async function altered(name: string, changes: object): Promise<string> {
  const to = join(folder, 'altered');
  await cp(goldenFile(`adapters/${name}`), to, { recursive: true, force: true });
  const file = join(to, 'adapter_config.json');
  const json = JSON.parse(await readFile(file, 'utf8')) as object;
  await writeFile(file, JSON.stringify({ ...json, ...changes }));
  return to;
}

test('folders that do not fit are refused in one line, and nothing is left on the model', async () => {
  const gpt2 = await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'));
  const refuse = async (
    path: string,
    message: RegExp,
    model: LlamaForCausalLM | GPT2LMHeadModel = gpt2,
  ): Promise<void> => {
    await rejects(loadAdapter(model, path), message);
    assert.is(adaptersOf(model), undefined);
  };
  await refuse(await altered('gpt2', { peft_type: 'LOHA' }), /peft_type is "LOHA"; adapters here are/);
  await refuse(
    await altered('gpt2', { r: 5 }),
    /does not fit GPT2LMHeadModel.*lora_A.weight is \[2, 32\], here \[5, 32\].*tiny-gpt2/,
  );
  await refuse(
    await altered('gpt2', { layer_replication: [[0, 1]] }),
    /layer_replication is \[\[0,1\]\], which changes/,
  );
  await refuse(await altered('gpt2', { target_modules: ['c_attn'] }), /it has .*c_proj.*and the model no such layer/);
  await refuse(await altered('gpt2', { target_modules: ['c_attn', 'c_fc', 'c_proj'] }), /it lacks .*attn\.c_proj/);
  await refuse(goldenFile('adapters/gpt2'), /LlamaForCausalLM has no module "c_attn", "mlp.c_proj"/, llama());
  await refuse(goldenFile('tiny-gpt2'), /has no adapter_config.json: pass the folder/);
  const empty = await altered('gpt2', {});
  await writeSafetensors(join(empty, 'adapter_model.safetensors'), []);
  await refuse(empty, /it lacks/);
  await writeFile(join(empty, 'adapter_config.json'), '{"peft_type": "LORA", "r": "eight"}');
  await refuse(empty, /adapter_config.json: r is "eight"/);
});

test('an adapter goes on from its files bit for bit', async () => {
  const model = llama();
  const peft = addLora(model, { ...random, targetModules: 'all-linear' });
  await peft.savePretrained(join(folder, 'state'));
  const before = await logitsOf(model);
  peft.remove('default');
  addLora(model, { targetModules: 'all-linear', loraAlpha: 16 });
  await adaptersOf(model)!.loadWeights(join(folder, 'state'));
  assert.equal(await logitsOf(model), before);
  assert.is(PeftModel.of(model), adaptersOf(model));
});

test.run();
