// Log-likelihoods of continuations against Transformers: likelihood.json is made by
// test/golden/golden_likelihood.py.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  CausalLM,
  dialogueIds,
  encodeContinuation,
  GPT2LMHeadModel,
  LlamaForCausalLM,
  loadTextGenerator,
  logLikelihoods,
  turnsTemplate,
  withChatTemplate,
} from '../../models/index.ts';
import type { Message } from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';

interface Case {
  readonly context: readonly number[];
  readonly continuation: readonly number[];
  readonly logProbs: readonly number[];
  readonly isGreedy: boolean;
  readonly texts?: readonly [context: string, continuation: string];
}

const test = suite('likelihood');
const golden = JSON.parse(await readFile(goldenFile('likelihood.json'), 'utf8')) as {
  ids: Record<'gpt2' | 'llama', Case[]>;
  texts: Case[];
  chat: { messages: Message[]; template: string; ids: number[] };
};
const shipped = fileURLToPath(new URL('../../models/pretrained/gpt-small', import.meta.url));

async function check(model: CausalLM, cases: readonly Case[], options: { batchSize: number; maxLength?: number }) {
  const results = await logLikelihoods(model, cases, options);
  results.forEach(({ logProbs, logLikelihood, isGreedy }, i) => {
    const wanted = cases[i]!;
    const difference = largestDifference(logProbs, wanted.logProbs);
    assert.ok(difference < 2e-5, `case ${i}: ${difference}`);
    const sum = wanted.logProbs.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(logLikelihood - sum) < 1e-5 * (10 + Math.abs(sum)), `case ${i}: ${logLikelihood}, not ${sum}`);
    assert.is(isGreedy, wanted.isGreedy, `case ${i}`);
  });
}

for (const batchSize of [1, 4, 16]) {
  test(`as in Transformers, ${batchSize} at once, contexts cut at their beginning`, async () => {
    const [gpt2, llama] = [
      await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2')),
      await LlamaForCausalLM.fromPretrained(goldenFile('tiny-llama')),
    ];
    await check(gpt2, golden.ids.gpt2, { batchSize });
    await check(llama, golden.ids.llama, { batchSize, maxLength: 32 });
  });
}

test('texts are encoded together with what goes before them', async () => {
  const { model, tokenizer } = await loadTextGenerator(shipped);
  for (const { texts, context, continuation } of golden.texts) {
    const encoded = encodeContinuation(tokenizer, ...texts!, model.config);
    assert.equal([encoded.context, encoded.continuation], [context, continuation], texts!.join('|'));
  }
  assert.ok(model instanceof CausalLM);
  await check(model, golden.texts, { batchSize: 16 });
});

test('a dialogue is written as by its chat_template; the oldest tokens go first', async () => {
  const { messages, template, ids } = golden.chat;
  const { tokenizer } = await loadTextGenerator(shipped);
  assert.is(turnsTemplate, template);
  assert.equal(dialogueIds(tokenizer, messages), ids);
  assert.equal(dialogueIds(tokenizer, messages, 7), ids.slice(-7));
  const config = withChatTemplate(tokenizer, turnsTemplate)
    .filesToSave('x')
    .find(({ path }) => path.endsWith('tokenizer_config.json'))!;
  assert.is((JSON.parse(config.data as string) as { chat_template: string }).chat_template, template);
  const endless = { idsOf: (text: string) => tokenizer.idsOf(text), eosTokenId: undefined };
  assert.throws(() => dialogueIds(endless, messages), /no token that ends texts/);
});

test('a model in training is scored without dropout and goes on training; a signal ends the work', async () => {
  const model = await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'), { embdPdrop: 0.5 });
  model.train();
  const done: number[] = [];
  await check(model, golden.ids.gpt2, { batchSize: 16 });
  assert.ok(model.training);
  await logLikelihoods(model, golden.ids.gpt2, { batchSize: 4, onProgress: (count) => done.push(count) });
  assert.equal(done, [4, 8, 11]);
  const stop = new AbortController();
  stop.abort(new Error('enough'));
  await rejects(logLikelihoods(model, golden.ids.gpt2, { signal: stop.signal }), /^enough$/);
});

test('continuations of equal tokens are one row; each result is told as it comes', async () => {
  const model = await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'));
  // The same twice, and other last tokens after the same context.
  const given = [...golden.ids.gpt2, ...golden.ids.gpt2, { context: [5, 17], continuation: [3] }];
  const others = [0, 1, 2].map((id) => ({ context: [5, 17], continuation: [id] }));
  const told: number[] = [];
  const done: number[] = [];
  const results = await logLikelihoods(model, [...given, ...others], {
    batchSize: 64,
    onResult: (index) => told.push(index),
    onProgress: (count) => done.push(count),
  });
  const all = Array.from({ length: 26 }, (_, i) => i);
  assert.equal(
    told.sort((a, b) => a - b),
    all,
  );
  assert.equal(done, [26]);
  const alone = await logLikelihoods(model, others);
  others.forEach((_, i) => assert.ok(Math.abs(results[23 + i]!.logLikelihood - alone[i]!.logLikelihood) < 1e-5));
  golden.ids.gpt2.forEach((_, i) => assert.equal(results[i], results[11 + i]));
});

test('what goes before every text is part of the context; a text that has it already has it once', () => {
  const ids = (text: string): number[] => [...text].map((character) => character.codePointAt(0)!);
  const begin = ids('^');
  const stub = {
    vocabSize: 128,
    bosTokenId: begin[0],
    template: { before: begin, after: [] },
    decodeStream: () => ({ push: () => '', end: () => '' }),
  };
  const tokenizer = { ...stub, idsOf: (text: string) => Int32Array.from(ids(text)) };
  const encode = (context: string, continuation: string) => encodeContinuation(tokenizer, context, continuation);
  assert.equal(encode('ab ', 'c'), { context: ids('^ab'), continuation: ids(' c') });
  assert.equal(encode('^ab', ' c'), { context: ids('^ab'), continuation: ids(' c') });
  assert.equal(encode('', 'c'), { context: begin, continuation: ids('c') });
  assert.equal(encode('', '^c'), { context: begin, continuation: ids('c') });
});

test('bad continuations are refused by number', async () => {
  const model = await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'));
  const good = { context: [1], continuation: [2] };
  const bad = (context: number[], continuation: number[]) => logLikelihoods(model, [good, { context, continuation }]);
  await rejects(bad([], [1]), /^logLikelihoods: context 1 is empty; give a text, or the token that begins texts$/);
  await rejects(bad([1], []), /^logLikelihoods: continuation 1 is empty; give at least one token$/);
  await rejects(bad([1], Array<number>(33).fill(1)), /^logLikelihoods: continuation 1 has 33 tokens.* at most 32; .*$/);
  await rejects(bad([1], [97]), /^logLikelihoods: continuation 1 or its context has the token 97.*0 to 96; .*$/);
  assert.equal(await logLikelihoods(model, []), []);
});

test.run();
