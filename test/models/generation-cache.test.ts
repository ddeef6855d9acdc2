// Decoding with the cache computes what the model computes without; texts depend on nothing but prompt,
// options and seed.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, memory, noGrad, synchronize, tensor } from '../../autograd/index.ts';
import { acquire } from '../../gpu/index.ts';
import {
  generate,
  GPT2LMHeadModel,
  KeyValueCache,
  LlamaForCausalLM,
  MarianMTModel,
  Qwen3ForCausalLM,
  streamTokens,
} from '../../models/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { GenerationOptions, GPT2Settings } from '../../models/index.ts';
import type { CausalLM } from '../../models/transformer/causal-lm.ts';
import { DecodingSession } from '../../models/generation/session.ts';
import { Random } from '../../common/random.ts';
import { failure } from '../support/failure.ts';
import { largestDifference } from '../support/golden.ts';

type CausalModel = CausalLM;

const test = suite('generation with a cache');

const settings: GPT2Settings = {
  vocabSize: 61,
  nEmbd: 32,
  nLayer: 2,
  nHead: 4,
  nPositions: 160,
  initializerRange: 0.25,
  eosTokenId: null,
  tieWordEmbeddings: false, // tied ones soon repeat one token
};
const random = (more: GPT2Settings = {}, seed = 3): GPT2LMHeadModel => {
  manualSeed(seed);
  return GPT2LMHeadModel.fromConfig({ ...settings, ...more }).eval();
};
const model = random();
const prompts = [[3, 4, 5], [7], [9, 8, 7, 6, 5, 4, 3, 2, 1]];
const greedy: GenerationOptions = { maxNewTokens: 100 };

/** Logits of the token after each of the last `count`, without a cache. */
async function plainLogits(of: CausalModel, tokens: readonly number[], count: number): Promise<Float32Array> {
  const { logits } = noGrad(() => of.forward({ inputIds: tensor([tokens], { dtype: 'i32' }) }));
  return ((await logits.data()) as Float32Array).slice(-count * of.config.vocabSize);
}

/** Feeds random tokens one by one and compares every step's logits with those of the whole texts at once. */
async function compareSteps(of: CausalModel, capacity: number, steps: number): Promise<void> {
  const { vocabSize } = of.config;
  const numbers = new Random(8);
  const texts = prompts.map((ids) => [...ids]);
  const session = new DecodingSession(of.decoder(), prompts.length, capacity);
  const seen: number[][] = texts.map(() => []);
  const take = (logits: ArrayLike<number>): void =>
    seen.forEach((list, i) => list.push(...Array.from(logits).slice(i * vocabSize, (i + 1) * vocabSize)));
  take(
    await session.begin(
      texts.map((tokens) => ({ tokens })),
      'logits',
    ),
  );
  for (let step = 0; step < steps; step++) {
    const ids = texts.map(() => numbers.int(vocabSize));
    ids.forEach((id, i) => texts[i]!.push(id));
    take(await session.append(ids, 'logits'));
  }
  for (const [i, text] of texts.entries()) {
    const error = largestDifference(seen[i]!, await plainLogits(of, text, steps + 1));
    if (!(error <= 1e-5)) throw new Error(`row ${i}: logits differ by ${error}`);
  }
  assert.ok(session.capacity >= Math.min(9 + steps, of.decoder().positions));
  session.free();
}

test('logits of every step, prompts of several lengths, across growths of the cache', () =>
  compareSteps(model, 16, 120));

test('heads that the fused kernel does not take: 6 and 260 wide', async () => {
  await compareSteps(random({ nEmbd: 24 }), 16, 20);
  await compareSteps(random({ nEmbd: 520, nHead: 2, nLayer: 1, vocabSize: 16, initializerRange: 0.02 }), 16, 10);
});

test('Llama and Qwen3: rotary positions, grouped queries', async () => {
  const config = {
    vocabSize: 61,
    hiddenSize: 32,
    intermediateSize: 48,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
    maxPositionEmbeddings: 400,
    initializerRange: 0.25,
  };
  manualSeed(3);
  await compareSteps(LlamaForCausalLM.fromConfig(config).eval(), 300, 40);
  await compareSteps(Qwen3ForCausalLM.fromConfig({ ...config, headDim: 6 }).eval(), 16, 10);
});

test('longrope: a text that grows beyond the switch is read anew; rows that change places, too', async () => {
  manualSeed(3);
  const long = LlamaForCausalLM.fromConfig({
    vocabSize: 61,
    hiddenSize: 16,
    intermediateSize: 24,
    numHiddenLayers: 2,
    numAttentionHeads: 2,
    maxPositionEmbeddings: 60,
    initializerRange: 0.3,
    ropeScaling: {
      ropeType: 'longrope',
      shortFactor: [1, 1, 1, 1],
      longFactor: [3, 4, 5, 6],
      originalMaxPositionEmbeddings: 12,
    },
  }).eval();
  const text = [...prompts[0]!];
  for (let n = 0; n < 20; n++) {
    const logits = await plainLogits(long, text, 1);
    text.push(logits.indexOf(Math.max(...logits)));
  }
  const greedyText = async (prompt: readonly number[], count: number, more: GenerationOptions = {}) =>
    (await generate(long, [prompt], { maxNewTokens: count, eosTokenId: null, ...more }))[0]!.tokens;
  assert.equal(await greedyText(prompts[0]!, 20), text.slice(3));
  assert.equal(await greedyText(prompts[0]!, 20, { promptLookupNumTokens: 3 }), text.slice(3));
  await greedyText(prompts[0]!, 4, { reuseCache: true });
  assert.equal(await greedyText(text.slice(0, 14), 9, { reuseCache: true }), text.slice(14));
  assert.equal(await greedyText(text.slice(0, 9), 14, { reuseCache: true }), text.slice(9));

  const rows = [text.slice(0, 11), text.slice(5, 16)];
  const session = new DecodingSession(long.decoder(), 2, 16);
  await session.begin(
    rows.map((tokens) => ({ tokens })),
    'logits',
  );
  for (const from of [[1, 0], undefined, [0, 0]]) {
    const ids = from?.[1] === 0 && from[0] === 0 ? [7, 8] : [5, 6];
    const before = rows.map((row) => [...row]);
    ids.forEach((id, b) => (rows[b] = [...before[from?.[b] ?? b]!, id]));
    const logits = await session.append(ids, 'logits', from);
    for (const b of [0, 1]) {
      const error = largestDifference(
        Array.from(logits).slice(61 * b, 61 * (b + 1)),
        await plainLogits(long, rows[b]!, 1),
      );
      if (!(error <= 1e-5)) throw new Error(`row ${b} of ${rows[b]!.length} tokens: logits differ by ${error}`);
    }
  }
  session.free();
});

test('a step recorded before its tokens are read is the one that comes after, or taken back', async () => {
  const { encoder } = await acquire();
  const replay = encoder.replay.bind(encoder);
  let replays = 0;
  encoder.replay = (recording) => (replays++, replay(recording));
  const rows = prompts.map((tokens) => ({ tokens }));
  const [early, plain] = [0, 1].map(() => new DecodingSession(model.decoder(), prompts.length, 16));
  try {
    for (const other of [false, true]) {
      let ids = Array.from(await plain!.begin(rows, 'argmax'));
      assert.equal(Array.from(await early!.begin(rows, 'argmax', false, true)), ids);
      for (let step = 1; step < 7; step++) {
        if (other && step % 2 === 0) ids = ids.map((id, row) => (row === 1 ? 5 : id)); // not what the device took
        replays = 0;
        const goesOn = step % 3 > 0;
        const reading = early!.append(ids, 'argmax', undefined, goesOn);
        if (!other) assert.is(replays, Number(goesOn) + Number(step % 3 === 1 && step > 1));
        ids = Array.from(await plain!.append(ids, 'argmax'));
        assert.equal(Array.from(await reading), ids);
      }
      const last = Array.from(await plain!.append(ids, 'logits'));
      assert.equal(Array.from(await early!.append(ids, 'logits')), last);
    }
  } finally {
    encoder.replay = replay;
    for (const session of [early, plain]) session!.free();
  }
});

test('texts that end early, or have fewer tokens, are the same as by logits that the host looks at', async () => {
  const whole = await generate(model, prompts, greedy);
  const ends = whole.map(({ tokens }, i) => tokens[10 + 7 * i]!);
  const limited = { ...greedy, eosTokenId: ends, numReturnSequences: 1 };
  const texts = await generate(model, prompts, limited);
  const byLogits = await generate(model, prompts, { ...limited, logprobs: 0 });
  assert.ok(new Set(texts.map(({ tokens }) => tokens.length)).size > 1, 'they end at different times');
  for (const [i, { tokens, finish }] of texts.entries()) {
    assert.equal(tokens, whole[i]!.tokens.slice(0, tokens.length));
    assert.equal([tokens, finish], [byLogits[i]!.tokens, byLogits[i]!.finish]);
  }
});

test('Marian: sources of several lengths, then longer ones', async () => {
  manualSeed(3);
  const translator = MarianMTModel.fromConfig({
    vocabSize: 61,
    dModel: 32,
    encoderLayers: 1,
    encoderAttentionHeads: 4,
    encoderFfnDim: 40,
    decoderLayers: 2,
    decoderAttentionHeads: 2,
    decoderFfnDim: 40,
    maxPositionEmbeddings: 64,
    initStd: 0.25,
    padTokenId: 60,
    decoderStartTokenId: 60,
  }).eval();
  const session = new DecodingSession(translator.decoder(), 2, 8);
  const numbers = new Random(9);
  const ids = (count: number): number[] => Array.from({ length: count }, () => numbers.int(60));
  for (const sources of [
    [ids(3), ids(11)],
    [ids(25), ids(1)],
    [ids(2), ids(30)],
  ]) {
    const targets = [[60], [60]];
    const seen = [
      await session.begin(
        targets.map((tokens, i) => ({ tokens, source: sources[i]! })),
        'logits',
      ),
    ];
    for (let step = 0; step < 11; step++) {
      targets.forEach((target) => target.push(numbers.int(60)));
      seen.push(
        await session.append(
          targets.map((target) => target.at(-1)!),
          'logits',
        ),
      );
    }
    for (const [i, source] of sources.entries()) {
      const [inputIds, decoderInputIds] = [source, targets[i]!].map((ids) => tensor([ids], { dtype: 'i32' }));
      const inputs = { inputIds: inputIds!, decoderInputIds: decoderInputIds! };
      const whole = await noGrad(() => translator.forward(inputs)).logits.data();
      const steps = seen.flatMap((logits) => Array.from(logits).slice(61 * i, 61 * (i + 1)));
      const error = largestDifference(steps, whole);
      if (!(error <= 1e-5)) throw new Error(`row ${i}: logits differ by ${error}`);
    }
  }
  session.free();
});

test('a long greedy text, with and without growth, alone and in a batch', async () => {
  const whole = await generate(model, prompts, greedy);
  const grown = await generate(model, prompts, { ...greedy, cacheCapacity: 10 });
  assert.equal(grown, whole);
  for (const [i, prompt] of prompts.entries()) {
    const text = [...prompt];
    for (let n = 0; n < greedy.maxNewTokens!; n++) {
      const logits = await plainLogits(model, text, 1);
      text.push(logits.indexOf(Math.max(...logits)));
    }
    assert.equal(whole[i]!.tokens, text.slice(prompt.length));
  }
  assert.ok(new Set(whole[0]!.tokens).size > 5, 'a text that repeats one token shows little');
});

test('the turns of a dialogue: what the cache holds is not read again, unless weights have changed', async () => {
  const decoder = model.decoder();
  const kept: (number | undefined)[] = [];
  const spied = {
    ...decoder,
    hidden: (ids: Tensor, cache: KeyValueCache) => {
      if (!Object.hasOwn(cache, 'clear'))
        cache.clear = (count) => {
          kept.push(count);
          KeyValueCache.prototype.clear.call(cache, count);
        };
      return decoder.hidden(ids, cache);
    },
  };
  let weights = 0;
  const session = new DecodingSession(spied, 1, 32, () => weights);
  const first = [3, 5, 7, 11, 13];
  await session.begin([{ tokens: first }], 'logits', true);
  await session.append([17], 'logits');
  await session.append([19], 'logits');
  const second = [...first, 17, 19, 23, 29];
  const expected = await plainLogits(model, second, 1);
  const check = async (count: number, tokens = second, wanted = expected): Promise<void> => {
    const logits = await session.begin([{ tokens }], 'logits', true);
    assert.is(kept.at(-1), count);
    const error = largestDifference(logits, wanted);
    if (!(error <= 1e-5)) throw new Error(`logits differ by ${error}`);
  };
  await check(second.length - 2); // 23 and 29 are read
  await check(second.length - 1); // the same again: the last token alone
  const other = [...first, 31];
  await check(first.length, other, await plainLogits(model, other, 1));
  weights++;
  await check(0);
  const plain = await session.begin([{ tokens: second }], 'logits');
  assert.is(kept.at(-1), 0);
  assert.ok(largestDifference(plain, expected) <= 1e-5);
  session.free();

  const [whole] = await generate(model, [[...first, 2]], greedy);
  await generate(model, [first], { ...greedy, reuseCache: true });
  const [reused] = await generate(model, [[...first, 2]], { ...greedy, reuseCache: true });
  assert.equal(reused!.tokens, whole!.tokens);
});

test('several tokens after others: chunks give what single tokens give', async () => {
  const text = Array.from({ length: 12 }, (_, i) => (7 * i) % 61);
  const cache = new KeyValueCache(1, 32);
  const last = [];
  for (const [from, to] of [
    [0, 4],
    [4, 9],
    [9, 10],
    [10, 12],
  ] as const) {
    const inputIds = tensor([text.slice(from, to)], { dtype: 'i32' });
    const { logits } = noGrad(() => model.forward({ inputIds, cache }));
    cache.advance(tensor([to - from], { dtype: 'i32' }));
    last.push(...(await logits.data()));
  }
  assert.ok(largestDifference(last, await plainLogits(model, text, 12)) <= 1e-5);
});

const sampled: GenerationOptions = { doSample: true, temperature: 1.2, topK: 0, topP: 0.95, maxNewTokens: 30, seed: 5 };

test('a seed gives the same texts: again, alone, beside others, streamed', async () => {
  const options = { ...sampled, numReturnSequences: 2 };
  const results = await generate(model, prompts, options);
  assert.equal(await generate(model, prompts, options), results);
  const texts = results.map(({ tokens }) => tokens.join());
  assert.is(new Set(texts).size, 6);
  const [alone] = await generate(model, [prompts[2]!], sampled);
  assert.is(alone!.tokens.join(), texts[4]);
  const other = await generate(model, prompts, { ...options, seed: 6 });
  assert.is.not(other[0]!.tokens.join(), texts[0]);
  const own = await generate(model, prompts, { ...options, seed: [5, 6, 5] });
  assert.equal([own[0], own[2], own[4]], [results[0], other[2], results[4]]);
  const streamed: number[] = [];
  for await (const token of streamTokens(model, [prompts[2]!], sampled)) streamed.push(token.id);
  assert.is(streamed.join(), texts[4]);
});

test('draws follow the probabilities', async () => {
  const [counts, draws] = [new Map<number, number>(), 4000];
  for (const { tokens } of await generate(model, [[5]], {
    doSample: true,
    topK: 4,
    maxNewTokens: 1,
    numReturnSequences: draws,
  }))
    counts.set(tokens[0]!, (counts.get(tokens[0]!) ?? 0) + 1);
  const logits = await plainLogits(model, [5], 1);
  const best = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!).slice(0, 4);
  const weights = best.map((id) => Math.exp(logits[id]!));
  const sum = weights.reduce((a, b) => a + b);
  assert.is(
    [...counts.keys()].every((id) => best.includes(id)),
    true,
  );
  best.forEach((id, i) => {
    const p = weights[i]! / sum;
    const error = Math.abs(counts.get(id)! / draws - p);
    if (!(error <= 4 * Math.sqrt((p * (1 - p)) / draws)))
      throw new Error(`token ${id}: ${counts.get(id)! / draws}, want ${p}`);
  });
});

test('texts end at an end token, at maxNewTokens, at the last position', async () => {
  const [free] = await generate(model, [[3, 4, 5]], greedy);
  const end = free!.tokens[7]!;
  const [ended] = await generate(model, [[3, 4, 5]], { ...greedy, eosTokenId: [end, 60] });
  assert.equal([ended!.finish, ended!.tokens], ['eos', free!.tokens.slice(0, free!.tokens.indexOf(end) + 1)]);
  const [late] = await generate(model, [[3, 4, 5]], { ...greedy, eosTokenId: end, minNewTokens: 40 });
  assert.ok(late!.tokens.length >= 40 && !late!.tokens.slice(0, 40).includes(end));
  const [short] = await generate(model, [[3, 4, 5]], { maxLength: 9 });
  assert.equal([short!.finish, short!.tokens], ['length', free!.tokens.slice(0, 6)]);
  const narrow = random({ nPositions: 12 });
  const results = await generate(narrow, prompts, greedy);
  assert.equal(
    results.map(({ finish, tokens }) => [finish, tokens.length]),
    [
      ['positions', 10],
      ['positions', 12],
      ['positions', 4],
    ],
  );
  const [single] = await generate(narrow, [[7]], greedy);
  assert.equal(single, { ...results[1]!, prompt: 0 });
});

test('stopping a stream early gives its session back; training mode is as before; memory stays', async () => {
  const trained = random({ residPdrop: 0.5 }).train();
  const take = async (): Promise<number[]> => {
    const ids: number[] = [];
    for await (const { id } of streamTokens(trained, [[1, 2]], greedy)) {
      ids.push(id);
      if (ids.length === 5) break;
    }
    return ids;
  };
  const first = await take();
  await synchronize();
  const before = memory().live;
  for (let i = 0; i < 5; i++) assert.equal(await take(), first);
  await synchronize();
  // less, where older tensors were collected
  assert.ok(memory().live <= before, `${before} bytes before, ${memory().live} after`);
  assert.is(trained.training, true);
});

test('a model that changes is generated with as it is', async () => {
  const changing = random();
  const [before] = await generate(changing, [[1, 2, 3]], greedy);
  const other = random({}, 4);
  changing.loadStateDict(other.stateDict());
  const [after] = await generate(changing, [[1, 2, 3]], greedy);
  assert.equal(after, (await generate(other, [[1, 2, 3]], greedy))[0]);
  assert.is.not(after!.tokens.join(), before!.tokens.join());
  changing.to('f16');
  const [half] = await generate(changing, [[1, 2, 3]], greedy);
  assert.equal(half!.tokens.slice(0, 3), after!.tokens.slice(0, 3));
});

test('what cannot be generated is refused in one line', async () => {
  const bad: [readonly number[][], GenerationOptions, RegExp][] = [
    [[], {}, /^generate: there are no prompts/],
    [[[1], []], {}, /^generate: prompt 1 is empty; begin with/],
    [[new Array<number>(161).fill(1)], {}, /^generate: the prompt has 161 tokens, more than the model's 160 positions/],
    [[[1, 61]], {}, /^generate: the prompt has the token 61, which is outside the model's vocabulary, 0 to 60/],
    [[[1, 2, 3]], { maxLength: 3 }, /^generate: the prompt has 3 tokens, maxLength 3 leaves room for none/],
    [[[1, 2, 3]], { minNewTokens: 5, maxNewTokens: 4 }, /^generate: minNewTokens 5 is more than the 4 tokens that/],
    [[[1]], { temperature: 0 }, /^generate: temperature is 0: /],
    [[[1]], { temperature: -1 }, /^generate: temperature is -1: /],
    [[[1]], { temperature: 0 }, /^generate: temperature is 0: it must be above 0; for the most probable token set doS/],
    [[[1]], { topP: 0 }, /^generate: topP is 0: /],
    [[[1]], { topP: 1.1 }, /^generate: topP is 1.1: /],
    [[[1]], { minP: 2 }, /^generate: minP is 2: /],
    [[[1]], { topK: 0.5 }, /^generate: topK is 0.5: /],
    [[[1]], { repetitionPenalty: 0 }, /^generate: repetitionPenalty is 0: /],
    [[[1]], { maxNewTokens: 0 }, /^generate: maxNewTokens is 0: /],
    [[[1]], { stopStrings: [''] }, /^generate: stopStrings/],
    [[[1]], { topp: 0.9 } as GenerationOptions, /^generate: there is no option topp; the options are maxNewTokens, /],
    [[[1]], { seed: [1, 2] }, /^generate: there are 2 seeds for 1 prompts/],
    [[[1]], { numReturnSequences: 2 }, /^generate: 2 texts for each prompt need doSample or as many beams, there is 1/],
    [[[1]], { numBeams: 2, doSample: true }, /^generate: doSample does not go with 2 beams/],
    [
      [[1]],
      { numBeams: 2, guidanceScale: 2 },
      /^generate: guidanceScale 2 does not go with 2 beams; set one of them to 1$/,
    ],
    [
      [[1]],
      { penaltyAlpha: 0.6 },
      /^generate: penaltyAlpha 0.6 asks for contrastive search, which is not here; set it to null$/,
    ],
    [
      [[1]],
      { watermarkingConfig: { bias: 2 } },
      /^generate: watermarkingConfig {"bias":2} asks for a watermark, which/,
    ],
    [[[1]], { forceWordsIds: [[1]] }, /^generate: forceWordsIds .* asks for a search with constraints/],
    [[[1]], { numBeamGroups: 2 }, /^generate: numBeamGroups 2 asks for groups of beams/],
    [[[1]], { topH: 0 }, /^generate: topH is 0: /],
    [
      [[1]],
      { numBeams: 2 ** 31 },
      /^generate: 2147483648 texts for each of 1 prompts are more than 65535 at once; ask/,
    ],
    [[[1]], { numReturnSequences: 1e9, doSample: true }, /^generate: 1000000000 texts for each of 1 prompts/],
    [[[1]], { typicalP: 1.5 }, /^generate: typicalP is 1.5: /],
    [[[1]], { epsilonCutoff: 1 }, /^generate: epsilonCutoff is 1: /],
    [[[1]], { suppressTokens: [0.5] }, /^generate: suppressTokens.0 is \[0.5\]: /],
    [[[1]], { sequenceBias: [[[], 1]] }, /^generate: sequenceBias.0.0 is /],
    [
      [[1]],
      { sequenceBias: [[[61], 1]] },
      /^generate: sequenceBias has the token 61, which is outside the model's voc/,
    ],
    [[[1]], { badWordsIds: [[1, 61]] }, /^generate: badWordsIds has the token 61, which is outside/],
    [[[1]], { forcedBosTokenId: 61 }, /^generate: forcedBosTokenId has the token 61/],
    [
      [[1]],
      { exponentialDecayLengthPenalty: [2, 1.5], eosTokenId: null },
      /^generate: exponentialDecayLengthPenalty makes the end .*; give eosTokenId$/,
    ],
    [
      [[1]],
      { forcedBosTokenId: 3, suppressTokens: [3, 4] },
      /^generate: forcedBosTokenId 3 is also in suppressTokens; take it out of one of them$/,
    ],
  ];
  for (const [ids, options, says] of bad) {
    const message = await failure(generate(model, ids, options));
    assert.match(message, says);
    assert.not.match(message, /\n/);
  }
  assert.match(await failure(streamTokens(model, [[1]], { numBeams: 2 }).next()), /^generate: a search with 2 beams/);
});

test('an option of draws asks for draws; else a line tells what does nothing', async () => {
  const own = random();
  const warn = console.warn;
  let lines: string[] = [];
  console.warn = (line: string) => void lines.push(line);
  const texts = async (options: GenerationOptions) =>
    (await generate(own, [[1, 2]], { maxNewTokens: 12, ...options })).map(({ tokens }) => tokens);
  try {
    const greedy = await texts({});
    for (const option of [{ topP: 0.95 }, { temperature: 1.5 }, { topK: 40 }, { minP: 0.01 }, { seed: 42 }]) {
      const drawn = await texts(option);
      assert.equal(drawn, await texts({ ...option, doSample: true }));
      assert.not.equal(drawn, greedy);
    }
    assert.equal(lines, []);
    assert.equal(await texts({ topP: 0.95, seed: 42, doSample: false }), greedy);
    assert.equal(lines, ['generate: topP does nothing, since doSample is false']);
    lines = [];
    assert.equal(await texts({ temperature: 2, minP: 0.1, numBeams: 2 }), await texts({ numBeams: 2 }));
    assert.equal(lines, ['generate: temperature, minP do nothing, since numBeams 2 is a search']);
    lines = [];
    await texts({ temperature: 1, topK: 50, topP: 1, minP: 0, doSample: false });
    assert.equal(lines, []);
  } finally {
    console.warn = warn;
  }
});

test('NaN is not taken for a token', async () => {
  const broken = random();
  broken.loadStateDict(new Map([['transformer.ln_f.bias', tensor(new Float32Array(32).fill(NaN))]]), { strict: false });
  // Also where only ids are read back, with guesses, and where the guesses are another model's.
  for (const options of [
    sampled,
    {},
    { promptLookupNumTokens: 3 },
    { repetitionPenalty: 2 },
    { assistantModel: random() },
  ])
    assert.match(await failure(generate(broken, [[1]], options)), /^generate: no token has a probability/);
  const guessed = { maxNewTokens: 4, assistantModel: broken };
  assert.match(await failure(generate(random(), [[1]], guessed)), /^generate: no token has a probability/);
});

test('a cache refuses what does not go with it', () => {
  const cache = new KeyValueCache(2, 8);
  const inputIds = tensor([[1, 2]], { dtype: 'i32' });
  assert.throws(() => model.forward({ inputIds, cache }), /inputIds \[1, 2\] are not for this cache, which has 2 rows/);
  assert.throws(
    () => model.forward({ inputIds, cache, attentionMask: inputIds }),
    /attentionMask does not go with a cache/,
  );
});

test.run();
