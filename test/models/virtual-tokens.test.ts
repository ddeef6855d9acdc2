// Prompt and prefix tuning beside the numbers of adapters.test.ts: in generation, in every family, refused.
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, manualSeed, noGrad } from '../../autograd/index.ts';
import {
  addLora,
  BertForMaskedLM,
  BertForSequenceClassification,
  CausalLM,
  generate,
  getPeftModel,
  loadAdapter,
  loadModel,
  prefixTuningConfig,
  promptTuningConfig,
  T5ForConditionalGeneration,
} from '../../models/index.ts';
import type { AdapterConfig } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('virtual tokens');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});
test.before.each(() => manualSeed(5));

const silent = { log: (): void => undefined };
const load = async (name: string): Promise<CausalLM> => {
  const model = await loadModel(goldenFile(name), silent);
  assert.instance(model, CausalLM);
  return (model as CausalLM).eval();
};
const kinds: Readonly<Record<string, () => AdapterConfig>> = {
  'prompt tuning': () => promptTuningConfig({ numVirtualTokens: 3 }),
  'prefix tuning': () => prefixTuningConfig({ numVirtualTokens: 3 }),
};
const logitsOf = (model: CausalLM, ids: readonly number[]) => noGrad(() => model.forward({ inputIds: i32([ids]) }));

/** Tokens that follow, each the most probable one, computed without a cache. */
async function greedy(model: CausalLM, prompt: readonly number[], count: number): Promise<number[]> {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    const { logits } = logitsOf(model, ids);
    const last = Array.from(await logits.data(), Number).slice(-logits.shape[2]!);
    ids.push(last.indexOf(Math.max(...last)));
  }
  return ids.slice(prompt.length);
}

const families = ['gpt2', 'llama', 'mistral', 'qwen2', 'qwen3', 'phi3', 'olmo2', 'smollm3', 'gpt-neox', 'opt'];
const prompts = [
  [5, 6, 7],
  [9, 4, 8, 11, 3],
];
const settings = { doSample: false, maxNewTokens: 6, eosTokenId: null } as const;

for (const family of [...families, 'gemma2']) {
  test(`${family}: texts written with a cache are those without, and other than the base's`, async () => {
    for (const [kind, config] of Object.entries(kinds)) {
      const model = await load(`tiny-${family}`);
      const alone = await logitsOf(model, prompts[1]!).logits.data();
      if (family === 'gemma2' && kind === 'prompt tuning') {
        throwsOneLine(() => getPeftModel(model, config()), /not done for gemma2, which scales the vectors/);
        continue;
      }
      const peft = getPeftModel(model, config());
      const { logits } = logitsOf(model, prompts[1]!);
      assert.equal(logits.shape.slice(0, 2), [1, 5]);
      assert.ok(largestDifference(await logits.data(), alone) > 1e-3, `${kind} changes nothing`);
      const expected = [await greedy(model, prompts[0]!, 6), await greedy(model, prompts[1]!, 6)];
      const found = await generate(model, prompts, settings);
      assert.equal(
        found.map(({ tokens }) => [...tokens]),
        expected,
        kind,
      );
      assert.equal(await peft.disableAdapters(() => logitsOf(model, prompts[1]!).logits.data()), alone);
      peft.unload();
      assert.equal(await logitsOf(model, prompts[1]!).logits.data(), alone);
    }
  });
}

test('generation follows a switch of adapters, and weights that were trained on', async () => {
  for (const config of Object.values(kinds)) {
    const model = await load('tiny-llama');
    const alone = await greedy(model, prompts[1]!, 6);
    const peft = getPeftModel(model, config(), { name: 'one' });
    peft.add(config(), { name: 'other' });
    const write = async (): Promise<number[]> => [...(await generate(model, [prompts[1]!], settings))[0]!.tokens];
    for (const name of ['one', 'other', 'one']) {
      peft.setAdapters(name);
      assert.equal(await write(), await greedy(model, prompts[1]!, 6), name);
    }
    const { table } = peft.adapters.get('one')!.virtual!;
    noGrad(() => table.assign(table.mul(-1)));
    assert.equal(await write(), await greedy(model, prompts[1]!, 6), 'trained on');
    assert.equal(await peft.disableAdapters(write), alone);
    throwsOneLine(() => peft.setAdapters(['one', 'other']), /one and other both have virtual tokens; activate one/);
  }
});

test('a text may fill the positions that are left', async () => {
  for (const config of Object.values(kinds)) {
    const model = await load('tiny-gpt2');
    const { positions } = model.decoder();
    getPeftModel(model, config());
    assert.is(model.decoder().positions, positions - 3);
    const ids = Array.from({ length: positions - 3 }, (_, i) => 3 + (i % 50));
    const [found] = await generate(model, [ids.slice(0, -4)], { ...settings, maxNewTokens: 4 });
    assert.equal([...found!.tokens], await greedy(model, ids.slice(0, -4), 4));
    throwsOneLine(
      () => logitsOf(model, [...ids, 3]),
      /3 virtual tokens and \d+ of the text are more than the model's \d+ positions/,
    );
  }
});

test('they go together with low-rank adapters, in a compiled step', async () => {
  for (const config of Object.values(kinds)) {
    const model = await load('tiny-llama');
    const peft = getPeftModel(model, config(), { name: 'tokens' });
    addLora(model, {}, { name: 'layers' });
    peft.setAdapters(['tokens', 'layers']);
    const inputIds = i32([prompts[1]!]);
    const optimizer = new AdamW(
      peft.parameters().filter((x) => x.requiresGrad),
      { lr: 0.05 },
    );
    const step = compile(() => {
      const { loss } = model.forward({ inputIds, labels: inputIds });
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
    const first = await step().item();
    for (let i = 0; i < 10; i++) step();
    assert.ok((await step().item()) < 0.8 * first);
  }
});

test('prompt tuning begins with vectors of tokens: drawn, or those of a text', async () => {
  const model = await load('tiny-llama');
  const table = Array.from(await model.parameters()[0]!.data(), Number);
  const width = 32;
  const rowsOf = async (settings: object, tokenizer?: { idsOf(text: string): number[] }): Promise<number[]> => {
    const peft = getPeftModel(model, promptTuningConfig({ numVirtualTokens: 5, ...settings }), { tokenizer });
    const rows = Array.from(await peft.adapters.get('default')!.virtual!.table.data(), Number);
    if (settings && 'promptTuningInitText' in settings) await peft.savePretrained(join(folder, 'of-a-text'));
    peft.unload();
    return Array.from({ length: 5 }, (_, i) => {
      const row = rows.slice(i * width, (i + 1) * width);
      return Array.from({ length: table.length / width }, (_, k) => k).find((k) =>
        row.every((x, d) => x === table[k * width + d]),
      )!;
    });
  };
  const text = { promptTuningInit: 'TEXT', promptTuningInitText: 'be kind' };
  const tokenizer = { idsOf: (words: string) => (words === 'be kind' ? [7, 9] : []) };
  assert.equal(await rowsOf(text, tokenizer), [7, 9, 7, 9, 7]);
  const config = JSON.parse(await readFile(join(folder, 'of-a-text/adapter_config.json'), 'utf8')) as object;
  assert.match(String((config as Record<string, unknown>)['tokenizer_name_or_path']), /tiny-llama/);
  assert.ok((await rowsOf({ promptTuningInit: 'SAMPLE_VOCAB' })).every((row) => row !== undefined));
  throwsOneLine(() => getPeftModel(model, promptTuningConfig(text as object)), /needs a tokenizer: getPeftModel/);
  throwsOneLine(() => promptTuningConfig({ promptTuningInit: 'TEXT' }), /give promptTuningInitText/);
});

test('bad input: one line that names the mend', async () => {
  const model = await load('tiny-llama');
  const bert = async () =>
    (await BertForSequenceClassification.fromPretrained(goldenFile('tiny-bert'), {}, silent)).eval();
  throwsOneLine(() => promptTuningConfig({ numVirtualTokens: 0 }), /numVirtualTokens is 0/);
  throwsOneLine(() => getPeftModel(model, prefixTuningConfig({ tokenDim: 8 })), /tokenDim is 8, and the model's is 16/);
  throwsOneLine(
    () => getPeftModel(model, prefixTuningConfig({ prefixProjection: true })),
    /not done here; leave it out/,
  );
  const classifier = await bert();
  throwsOneLine(
    () => getPeftModel(classifier, prefixTuningConfig()),
    /prefix tuning is for models that continue texts/,
  );
  const masked = await BertForMaskedLM.fromPretrained(goldenFile('tiny-bert'), {}, silent);
  throwsOneLine(() => getPeftModel(masked, promptTuningConfig()), /not for BertForMaskedLM; use LoRA/);
  const t5 = await T5ForConditionalGeneration.fromPretrained(goldenFile('tiny-t5'), {}, silent);
  throwsOneLine(() => getPeftModel(t5, promptTuningConfig()), /not for T5ForConditionalGeneration; use LoRA/);
  const longrope = await load('tiny-phi3-long');
  throwsOneLine(() => getPeftModel(longrope, promptTuningConfig()), /depend on the text's length; use LoRA/);

  const peft = getPeftModel(model, promptTuningConfig());
  const inputIds = i32([prompts[1]!]);
  throwsOneLine(
    () => model.forward({ inputIds, documentIds: i32([[1, 1, 1, 2, 2]]), positionIds: i32([[0, 1, 2, 0, 1]]) }),
    /Ids does not go with virtual tokens; give each text a row of its own/,
  );
  throwsOneLine(() => peft.merge(), /read before every text, and is no part of any weight; leave it an adapter/);
  throwsOneLine(() => peft.withAdapterNames(['default'], () => 0), /activate it alone/);
  await rejects(peft.addWeighted(['default'], [1], { name: 'x' }), /other parts than low-rank matrices/);
  await cp(goldenFile('adapters/llama-prefix'), join(folder, 'other'), { recursive: true });
  const file = join(folder, 'other/adapter_config.json');
  await writeFile(file, (await readFile(file, 'utf8')).replace('"num_layers": 2', '"num_layers": 3'));
  await rejects(loadAdapter(model, join(folder, 'other'), { name: 'x' }), /numLayers is 3, and the model's is 2/);
  const projected = await loadAdapter(await load('tiny-qwen3'), goldenFile('adapters/qwen3-projected'));
  await projected.savePretrained(join(folder, 'projected'));
});

test.run();
