// Guessed tokens change no text, and save passes where they are right; log-probabilities are the model's own.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad, tensor } from '../../autograd/index.ts';
import { generate, GPT2LMHeadModel, LlamaForCausalLM } from '../../models/index.ts';
import type { GenerationOptions } from '../../models/index.ts';
import type { Decoder } from '../../models/generation/decoder.ts';
import { logSoftmax } from '../../models/generation/processors.ts';
import { rejects } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';

const test = suite('guessed tokens');

const settings = { vocabSize: 61, nEmbd: 32, nLayer: 2, nHead: 4, nPositions: 160, eosTokenId: null };
const gpt2 = (seed: number, more = {}): GPT2LMHeadModel => {
  manualSeed(seed);
  return GPT2LMHeadModel.fromConfig({ ...settings, initializerRange: 0.25, ...more }).eval();
};
const llama = {
  vocabSize: 61,
  hiddenSize: 32,
  intermediateSize: 48,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  initializerRange: 0.25,
  eosTokenId: null,
};

const tied = gpt2(3); // soon repeats itself
const loose = gpt2(4, { tieWordEmbeddings: false });
const prompt = [3, 4, 5, 3, 4, 9, 3];

const options: readonly GenerationOptions[] = [
  { maxNewTokens: 60 },
  { maxNewTokens: 60, doSample: true, seed: 5, temperature: 0.7 },
  { maxNewTokens: 60, doSample: true, seed: 6, topP: 0.5, repetitionPenalty: 1.2 },
  { maxNewTokens: 60, noRepeatNgramSize: 3 },
  { maxNewTokens: 1 },
  { maxNewTokens: 60, eosTokenId: 9 },
  { maxNewTokens: 400 }, // ends with the model's positions
  { maxNewTokens: 60, cacheCapacity: 8 },
  { maxNewTokens: 30, numReturnSequences: 2, doSample: true, seed: 1 }, // not guessed at
];

for (const [name, model] of [
  ['a model that repeats itself', tied],
  ['one that does not', loose],
] as const)
  for (const given of options)
    test(`${name}: the same texts by looking back, ${JSON.stringify(given)}`, async () => {
      const plain = await generate(model, [prompt], given);
      for (const [promptLookupNumTokens, maxMatchingNgramSize] of [
        [1, 1],
        [10, 3],
      ] as const) {
        const guessed = await generate(model, [prompt], { ...given, promptLookupNumTokens, maxMatchingNgramSize });
        assert.equal(guessed, plain);
      }
    });

for (const given of options)
  test(`the same texts by another model, ${JSON.stringify(given)}`, async () => {
    const plain = await generate(loose, [prompt], given);
    for (const assistantModel of [gpt2(9), loose, tied, gpt2(4, { tieWordEmbeddings: false, nPositions: 20 })])
      assert.equal(await generate(loose, [prompt], { ...given, assistantModel, numAssistantTokens: 4 }), plain);
  });

test('Llama guessed at by its equal needs a pass for five tokens', async () => {
  const [model, assistantModel] = [3, 3].map((seed) => {
    manualSeed(seed);
    return LlamaForCausalLM.fromConfig(llama).eval();
  }) as [LlamaForCausalLM, LlamaForCausalLM];
  const plain = await generate(assistantModel, [prompt], { maxNewTokens: 50 });
  const decoder = model.decoder();
  const widths: number[] = [];
  const hidden: Decoder['hidden'] = (ids, cache) => {
    widths.push(ids.shape[1]!);
    return decoder.hidden(ids, cache);
  };
  model.decoder = () => ({ ...decoder, hidden });
  assert.equal(await generate(model, [prompt], { maxNewTokens: 50, assistantModel, numAssistantTokens: 4 }), plain);
  // A chunk of the prompt and the step of five tokens, as they are captured; a step of one is never needed.
  assert.equal(widths, [16, 5]);
});

test('a kept cache goes on from what was chosen, not from what was guessed', async () => {
  const model = gpt2(7);
  const first = { maxNewTokens: 20, reuseCache: true, promptLookupNumTokens: 5 };
  const [text] = await generate(model, [prompt], first);
  const next = [...prompt, ...text!.tokens, 8, 3, 4];
  assert.equal(await generate(model, [next], first), await generate(gpt2(7), [next], { maxNewTokens: 20 }));
});

test('who may guess', async () => {
  const other = gpt2(1, { vocabSize: 60 });
  await rejects(
    generate(loose, [prompt], { assistantModel: other }),
    /assistantModel has a vocabulary of 60 tokens, the model one of 61; give a model of the same tokenizer/,
  );
  await rejects(
    generate(loose, [prompt], { assistantModel: tied, promptLookupNumTokens: 3 }),
    /both guess tokens; leave one of them out/,
  );
  const wrong = { assistantModel: 'gpt2' } as unknown as GenerationOptions;
  await rejects(generate(loose, [prompt], wrong), /assistantModel is "gpt2": it must be a model that generates/);
});

test('log-probabilities of the tokens, as of the whole text at once', async () => {
  const prompts = [prompt, [7]];
  const given = { maxNewTokens: 12, logprobs: 3, doSample: true, seed: 4, temperature: 2, topK: 5 };
  for (const more of [{}, { promptLookupNumTokens: 4 }])
    for (const { prompt: row, tokens, logprobs } of await generate(loose, prompts, { ...given, ...more })) {
      const text = [...prompts[row]!, ...tokens];
      const { logits } = noGrad(() => loose.forward({ inputIds: tensor([text], { dtype: 'i32' }) }));
      const all = (await logits.data()) as Float32Array;
      assert.is(logprobs!.length, tokens.length);
      for (const [i, { id, logprob, top }] of logprobs!.entries()) {
        const at = (prompts[row]!.length - 1 + i) * 61;
        const chances = logSoftmax(all.subarray(at, at + 61));
        const order = Array.from(chances.keys()).sort((a, b) => chances[b]! - chances[a]!);
        assert.equal([id, top.map((one) => one.id)], [tokens[i], order.slice(0, 3)]);
        const error = largestDifference(
          [logprob, ...top.map((one) => one.logprob)],
          [id, ...order.slice(0, 3)].map((one) => chances[one]!),
        );
        assert.ok(error <= 1e-4, `${error}`);
      }
    }
  assert.equal((await generate(loose, [prompt], { logprobs: 0 }))[0]!.logprobs![0]!.top, []);
  await rejects(generate(loose, [prompt], { logprobs: 1, numBeams: 2 }), /logprobs does not go with 2 beams/);
});

test.run();
