// Low-rank adapters in the scripts: trained, killed and resumed, used, merged.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad } from '../../autograd/index.ts';
import { addLora, loadModel } from '../../models/index.ts';
import type { GPT2LMHeadModel } from '../../models/index.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { lossesIn, refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { i32 } from '../support/model-golden.ts';

const test = suite('lora in scripts');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-lora-'));
const data = join(folder, 'reviews.csv');
writeFileSync(data, reviews);
const gpt = fileURLToPath(new URL('../../models/pretrained/gpt-small', import.meta.url));
const base = join(folder, 'base');
const adapted = join(folder, 'adapted');

const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> => runScript(args, options);
const finetune = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  run(['train/finetune-classifier.ts', '--data', data, ...args], options);
const lora = ['--model', base, '--epochs', '2', '--batch-size', '8', '--max-length', '12', '--lora', '2'];
const predict = (model: string, more: readonly string[] = []): Promise<Finished> =>
  run(['train/finetune-classifier.ts', '--predict', '--model', model, ...more, 'wonderful day', 'terrible day']);

test('--lora trains an adapter beside the model that it begins with', async () => {
  const first = await finetune(['--output', base, '--epochs', '1', ...smallClassifier]);
  assert.is(first.code, 0, first.stderr);
  const weights = readFileSync(join(base, 'model.safetensors'));
  const done = await finetune(['--output', adapted, '--learning-rate', '0.02', ...lora]);
  assert.is(done.code, 0, done.stderr);
  const files = readdirSync(adapted);
  for (const name of ['adapter_config.json', 'adapter_model.safetensors', 'config.json', 'tokenizer.json', 'best'])
    assert.ok(files.includes(name), name);
  assert.not.ok(files.includes('model.safetensors'));
  assert.ok(readFileSync(join(base, 'model.safetensors')).equals(weights), 'the base is as it was');
  const config = JSON.parse(readFileSync(join(adapted, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal([config['r'], config['lora_alpha'], config['task_type']], [2, 4, 'SEQ_CLS']);
  assert.is(config['base_model_name_or_path'], base);
});

test('killed and resumed, it has the losses and the bytes of a run never stopped', async () => {
  const output = join(folder, 'killed');
  const args = ['--output', output, '--learning-rate', '0.02', '--save-every', '2', ...lora];
  const killed = await finetune(args, { killAt: join(output, 'checkpoint-4') });
  assert.is(killed.signal, 'SIGKILL', killed.stderr);
  const resumed = await finetune([...args, '--resume']);
  assert.is(resumed.code, 0, resumed.stderr);
  assert.equal(lossesIn(output), lossesIn(adapted));
  const weights = (path: string): Buffer => readFileSync(join(path, 'adapter_model.safetensors'));
  assert.ok(weights(output).equals(weights(adapted)));
  refused(
    await finetune(['--output', output, ...args.slice(2), '--lora', '3', '--resume']),
    1,
    /r 2 -> 3|other options/,
  );
});

test('--peft ia3 trains factors, which are far fewer; --peft lora is --lora 8', async () => {
  const common = [...lora.slice(0, -2), '--epochs', '1', '--learning-rate', '0.1'];
  for (const [kind, type] of [
    ['ia3', 'IA3'],
    ['lora', 'LORA'],
  ] as const) {
    const output = join(folder, kind);
    const done = await finetune(['--output', output, ...common, '--peft', kind]);
    assert.is(done.code, 0, done.stderr);
    const config = JSON.parse(readFileSync(join(output, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    assert.is(config['peft_type'], type);
    if (kind === 'lora') assert.equal([config['r'], config['lora_alpha']], [8, 16]);
    else assert.equal(config['feedforward_modules'], ['output.dense']);
    assert.match((await predict(output)).stdout, /wonderful day/);
  }
});

test('--peft prompt trains vectors before every text; killed and resumed, too', async () => {
  const common = [...lora.slice(0, -2), '--learning-rate', '0.1', '--save-every', '2'];
  const prompt = ['--peft', 'prompt', '--virtual-tokens', '4', '--prompt-text', 'good or bad'];
  const tune = (output: string, more: readonly string[] = [], options?: ScriptOptions) =>
    finetune(['--output', output, ...common, ...prompt, ...more], options);
  const whole = join(folder, 'prompt');
  const done = await tune(whole);
  assert.is(done.code, 0, done.stderr);
  const config = JSON.parse(readFileSync(join(whole, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal([config['peft_type'], config['prompt_tuning_init']], ['PROMPT_TUNING', 'TEXT']);
  assert.match((await predict(whole)).stdout, /wonderful day/);
  const killed = join(folder, 'prompt-killed');
  const stopped = await tune(killed, [], { killAt: join(killed, 'checkpoint-4') });
  assert.is(stopped.signal, 'SIGKILL', stopped.stderr);
  await resumesAs(whole, killed, () => tune(killed, ['--resume']));
});

test('--peft prefix and prompt teach a decoder, which then writes behind them', async () => {
  for (const kind of ['prefix', 'prompt']) {
    const output = join(folder, `sft-${kind}`);
    const flags = ['--model', gpt, '--peft', kind, '--virtual-tokens', '4', '--max-length', '128'];
    const more = ['--epochs', '1', '--learning-rate', '0.03', '--replies', '2', '--output', output];
    const done = await run(['train/sft.ts', ...flags, ...more]);
    assert.is(done.code, 0, done.stderr);
    assert.match(done.stdout, /one conversation each/);
    const loss = (name: string): number => Number(new RegExp(`^${name} +([\\d.]+)`, 'm').exec(done.stdout)![1]);
    assert.ok(loss('this model') < loss('the model it began as'), done.stdout);
    const generated = await run(['train/generate.ts', '--model', output, '--max-new-tokens', '4', 'The number']);
    assert.is(generated.code, 0, generated.stderr);
    refused(
      await run(['train/export.ts', '--model', output, '--output', join(folder, 'none')]),
      1,
      /read before every text, and is no part of any weight/,
    );
  }
});

test('an adapter folder stands for its model; with --adapter it goes on one, or is merged into it', async () => {
  const found = await predict(adapted);
  assert.is(found.code, 0, found.stderr);
  assert.match(found.stdout.trim(), /^\w+ +0\.\d+ {2}wonderful day\n\w+ +0\.\d+ {2}terrible day$/);
  const merged = join(folder, 'merged');
  const done = await run(['train/export.ts', '--model', base, '--adapter', adapted, '--output', merged]);
  assert.is(done.code, 0, done.stderr);
  assert.ok(readdirSync(merged).includes('model.safetensors'));
  assert.is((await predict(merged)).stdout, found.stdout);
  assert.is.not((await predict(base)).stdout, found.stdout);
});

test('a decoder with an adapter generates otherwise, and becomes one GGUF file', async () => {
  const adapter = join(folder, 'of-a-decoder');
  manualSeed(1);
  const loaded = (await loadModel(gpt)) as GPT2LMHeadModel;
  const peft = addLora(loaded, { initLoraWeights: false, targetModules: 'all-linear', loraAlpha: 16 });
  await peft.savePretrained(adapter);
  const generate = async (from: string, more: readonly string[] = []): Promise<string> => {
    const flags = ['--greedy', '--max-new-tokens', '8', '--ignore-eos', 'The computer'];
    const done = await run(['train/generate.ts', '--model', from, ...more, ...flags]);
    assert.is(done.code, 0, done.stderr);
    return done.stdout;
  };
  const changed = await generate(gpt, ['--adapter', adapter]);
  assert.is.not(changed, await generate(gpt));
  const output = join(folder, 'merged.gguf');
  const args = ['--model', gpt, '--adapter', adapter, '--output', output, '--precision', 'f16'];
  const done = await run(['train/export.ts', ...args]);
  assert.is(done.code, 0, done.stderr);
  const logits = (of: GPT2LMHeadModel): Promise<ArrayLike<number>> =>
    noGrad(() => of.forward({ inputIds: i32([[5, 6, 7]]) }).logits).data() as Promise<Float32Array>;
  const merged = (await loadModel(output)) as GPT2LMHeadModel;
  assert.ok(largestDifference(await logits(merged), await logits(loaded)) < 0.05);
});

test('a decoder of a GGUF file goes on with texts by an adapter on its packed weights; killed, too', async () => {
  const file = join(folder, 'merged.gguf');
  const packed = join(folder, 'packed.gguf');
  const written = await run(['train/export.ts', '--model', file, '--output', packed, '--precision', 'q8_0']);
  assert.is(written.code, 0, written.stderr);
  const texts = join(folder, 'texts.txt');
  writeFileSync(texts, Array.from({ length: 120 }, (_, i) => `the fox number ${i} ran over the hill\n`).join(''));
  const flags = ['--data', texts, '--documents', 'line', '--no-clean', '--context', '16', '--batch-size', '4'];
  const training = ['--steps', '6', '--warmup-steps', '0', '--learning-rate', '0.01', '--save-every', '2'];
  const adapt = (output: string, more: readonly string[] = [], options?: ScriptOptions) => {
    const lora = ['--lora', '2', '--quantize', 'keep', '--output', output, ...more];
    return run(['train/adapt.ts', '--model', packed, ...flags, ...training, ...lora], options);
  };
  const whole = join(folder, 'of-texts');
  const done = await adapt(whole);
  assert.is(done.code, 0, done.stderr);
  const [, before, after] = /\nnew +(\d+\.\d+) +(\d+\.\d+) /.exec(done.stdout)!;
  assert.ok(Number(after) < Number(before), done.stdout);
  const files = readdirSync(whole);
  assert.ok(files.includes('adapter_model.safetensors') && !files.includes('model.safetensors'), files.join());
  const killed = join(folder, 'of-texts-killed');
  const stopped = await adapt(killed, [], { killAt: join(killed, 'checkpoint-4') });
  assert.is(stopped.signal, 'SIGKILL', stopped.stderr);
  await resumesAs(whole, killed, () => adapt(killed, ['--resume']));
  const unpacked = join(folder, 'of-texts-unpacked');
  const args = ['--model', gpt, ...flags, '--steps', '1', '--lora', '2', '--output', unpacked];
  assert.is((await run(['train/adapt.ts', ...args])).code, 0);
  const config = JSON.parse(readFileSync(join(unpacked, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
  assert.is(config['base_model_name_or_path'], gpt);
});

test('bad input: one line that names the mend', async () => {
  const cases: readonly (readonly [args: readonly string[], code: number, pattern: RegExp])[] = [
    [['train/finetune-classifier.ts', '--lora', '0'], 2, /--lora must be 1 or more/],
    [['train/finetune-classifier.ts', '--lora', '4', '--from-scratch'], 2, /an adapter is for a model that has learnt/],
    [
      ['train/finetune-classifier.ts', '--data', data, '--lora', '4', '--lora-targets', 'q_proj'],
      1,
      /BertForSequenceClassification has no module "q_proj"; its layers are called .*query/,
    ],
    [['train/train-embeddings.ts', '--data', data, '--lora', '4'], 2, /--lora/],
    [
      ['train/sft.ts', '--lora', '4', '--lora-init', 'svd'],
      2,
      /--lora-init is svd; it is gaussian, pissa, or pissa_niter_/,
    ],
    [['train/sft.ts', '--peft', 'ia3', '--lora', '4'], 2, /--peft ia3 has no flags of LoRA; leave --lora/],
    [['train/sft.ts', '--peft', 'none'], 2, /--peft must be one of lora, ia3, prompt, prefix/],
    [['train/sft.ts', '--quantize', 'q4_0'], 2, /--quantize q4_0: weights of 4 or 8 bits are frozen; give --lora 8/],
    [['train/adapt.ts', '--model', gpt, '--data', data, '--quantize', 'q8_0'], 2, /--quantize q8_0: .* are frozen/],
    [
      ['train/adapt.ts', '--model', gpt, '--data', data, '--lora', '2', '--new-words', '5'],
      2,
      /new words need weights of their own; leave --new-words or the adapter out/,
    ],
    [
      ['train/adapt.ts', '--model', join(folder, 'of-a-decoder'), '--data', data, '--output', join(folder, 'upon')],
      1,
      /of-a-decoder is an adapter of a model; merge it first: train\/export\.ts --model/,
    ],
    [
      ['train/sft.ts', '--peft', 'ia3', '--virtual-tokens', '3'],
      2,
      /--virtual-tokens goes with --peft prompt and prefix/,
    ],
    [['train/sft.ts', '--prompt-text', 'x'], 2, /--prompt-text is of an adapter; give --peft prompt, too/],
    [
      ['train/finetune-classifier.ts', '--data', data, '--model', base, '--peft', 'prefix'],
      1,
      /prefix tuning is for models that continue texts, not for BertForSequenceClassification; use LoRA/,
    ],
    [['train/generate.ts', '--model', gpt, '--adapter', goldenFile('tiny-bert'), 'x'], 1, /adapter_config/],
    [
      ['train/generate.ts', '--model', goldenFile('adapters/gpt2'), 'x'],
      1,
      /its base model is missing \(tiny-gpt2 .*give the base as the model and .*gpt2 as its adapter/,
    ],
  ];
  for (const [args, code, pattern] of cases) refused(await run(args), code, pattern);
  // Flags that do not fit are refused before the folder is touched.
  const output = join(folder, 'untouched');
  for (const script of ['sft', 'dpo', 'grpo', 'finetune-tokens'])
    refused(await run([`train/${script}.ts`, '--data', data, '--prompt-text', 'x', '--output', output]), 2, /--peft/);
  assert.not.ok(existsSync(output));
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
