// Decoders with fewer heads of keys and values than they had.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, manualSeed, noGrad, tensor } from '../../autograd/index.ts';
import { LlamaConfig, LlamaForCausalLM, loadModel, Tokenizer } from '../../models/index.ts';
import { groupKeyValueHeads } from '../../train/compress/kv-heads.ts';
import { throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32, values } from '../support/small-bert.ts';
import { refused, runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('heads of keys and values');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const settings = {
  ...{ vocabSize: 30, hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 4 },
  ...{ intermediateSize: 24, maxPositionEmbeddings: 32, attentionBias: true, initializerRange: 0.4 },
};
function llama(more: object = {}): LlamaForCausalLM {
  manualSeed(1);
  return LlamaForCausalLM.fromConfig(LlamaConfig.create({ ...settings, ...more })).eval() as LlamaForCausalLM;
}
const inputIds = i32([[3, 9, 4, 21, 7, 7, 1]]);
const logitsOf = (model: LlamaForCausalLM): Promise<number[]> =>
  values(noGrad(() => model.forward({ inputIds }).logits));
const keys = (model: LlamaForCausalLM): string[] =>
  [...model.stateDict().keys()].filter((key) => /[kv]_proj\.(weight|bias)$/.test(key));

test('each head is the mean of those it takes the place of; of like ones the model is what it was', async () => {
  const model = llama();
  const grouped = groupKeyValueHeads(model, 2);
  assert.is(grouped.config.numKeyValueHeads, 2);
  const [before, after] = [model.stateDict(), grouped.stateDict()];
  assert.is(keys(model).length, 8);
  for (const key of keys(model)) {
    const [old, made] = [await values(before.get(key)!), await values(after.get(key)!)];
    const head = old.length / 4;
    const wanted = Array.from({ length: 2 * head }, (_, i) => {
      const [at, within] = [Math.floor(i / head), i % head];
      return (old[2 * at * head + within]! + old[(2 * at + 1) * head + within]!) / 2;
    });
    assert.ok(largestDifference(made, wanted) < 1e-6, key);
  }
  assert.ok(grouped.numParameters() < model.numParameters());
  assert.not.equal(await logitsOf(grouped), await logitsOf(model));
  // Heads 0 and 1, 2 and 3 made alike: nothing is lost.
  for (const key of keys(model)) {
    const value = before.get(key)!;
    const old = await values(value);
    const head = old.length / 4;
    const alike = old.map((_, i) => old[2 * head * Math.floor(i / (2 * head)) + (i % head)]!);
    noGrad(() => assign(value, tensor(alike, { shape: [...value.shape] })));
  }
  const same = groupKeyValueHeads(model, 2);
  assert.ok(largestDifference(await logitsOf(same), await logitsOf(model)) < 1e-5);
  const path = join(folder, 'grouped');
  await same.savePretrained(path);
  assert.equal(await logitsOf((await loadModel(path)) as LlamaForCausalLM), await logitsOf(same));
  const json = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.is(json['num_key_value_heads'], 2);
  const one = groupKeyValueHeads(same, 1);
  assert.equal(one.stateDict().get('model.layers.0.self_attn.k_proj.weight')!.shape, [4, 16]);
  assert.ok((await logitsOf(one)).every(Number.isFinite));
  for (const count of [0, 3, 4, 1.5, NaN])
    throwsOneLine(
      () => groupKeyValueHeads(model, count),
      /^groupKeyValueHeads: \S+ heads are to stay of 4; give a .*$/,
    );
});

test('families whose keys and values are held otherwise are refused in one line', async () => {
  for (const [name, line] of [
    ['tiny-gpt2', /^groupKeyValueHeads: the config of GPT2\w+ has no heads of keys and values apart; .*$/],
    ['tiny-phi3', /^groupKeyValueHeads: Phi3ForCausalLM holds keys and values in one with others$/],
    ['tiny-olmo2', /^groupKeyValueHeads: \S+k_norm\.weight normalises the keys of all heads together, .*$/],
  ] as const) {
    const model = await loadModel(goldenFile(name));
    throwsOneLine(() => groupKeyValueHeads(model as never, 1), line);
  }
  const packed = await loadModel(goldenFile('tiny-llama'), { quantize: 'q8_0', log: () => undefined });
  throwsOneLine(() => groupKeyValueHeads(packed as never, 1), /^groupKeyValueHeads: \S+ is quantised; load .*$/);
  const qwen = await loadModel(goldenFile('tiny-qwen3'));
  assert.is((groupKeyValueHeads(qwen as never, 1) as LlamaForCausalLM).config.numKeyValueHeads, 1);
});

test('adapt.ts trains on what is left, and tells what it lost and won back', async () => {
  const base = join(folder, 'base');
  const tokenizer = Tokenizer.gpt2();
  await llama({ vocabSize: tokenizer.vocabSize, eosTokenId: tokenizer.eosTokenId }).savePretrained(base, { tokenizer });
  const texts = join(folder, 'texts.txt');
  writeFileSync(texts, Array.from({ length: 120 }, (_, i) => `the fox number ${i} ran over the hill\n`).join(''));
  const data = [
    '--model',
    base,
    '--data',
    texts,
    '--documents',
    'line',
    '--no-clean',
    '--context',
    '16',
    '--batch-size',
    '4',
  ];
  const training = ['--steps', '6', '--warmup-steps', '0', '--learning-rate', '0.01'];
  const output = join(folder, 'output');
  const done = await runScript(['train/adapt.ts', ...data, ...training, '--kv-heads', '1', '--output', output]);
  assert.is(done.code, 0, done.stderr);
  assert.match(
    done.stdout,
    /\nheads {2}4 of keys and values become 1; with all of them new has a loss of \d+\.\d+, perplexity/,
  );
  const [, before, after] = /\nnew +(\d+\.\d+) +(\d+\.\d+) /.exec(done.stdout)!;
  assert.ok(Number(after) < Number(before), done.stdout);
  assert.is(((await loadModel(output)) as LlamaForCausalLM).config.numKeyValueHeads, 1);
  const adapt = (more: readonly string[]) =>
    runScript(['train/adapt.ts', ...data, '--output', join(folder, 'no'), ...more]);
  refused(await adapt(['--kv-heads', '3']), 1, /^groupKeyValueHeads: 3 heads are to stay of 4; .*$/);
  refused(await adapt(['--kv-heads', '1', '--lora', '2']), 2, /^adapt: --kv-heads makes other weights, .*$/);
});

test.run();
