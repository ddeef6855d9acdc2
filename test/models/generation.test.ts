// Generated texts against Transformers: greedy texts and beam searches token for token, processors of
// scores on fixed ones.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { generate, GPT2LMHeadModel, MarianMTModel } from '../../models/index.ts';
import type { GenerationOptions, Generative } from '../../models/index.ts';
import * as processors from '../../models/generation/processors.ts';
import { withoutEffect } from '../../models/generation/config-file.ts';
import type { LogitsProcessor, SequenceBias } from '../../models/generation/processors.ts';
import { camelCase } from '../../models/names.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';

interface Case {
  readonly options: Record<string, unknown>;
  readonly texts: number[][];
  readonly scores?: number[];
}

interface Golden {
  readonly prompts: number[][];
  readonly texts: Case[];
  readonly sources: number[][];
  readonly translations: Case[];
  readonly processors: {
    readonly tokens: number[][];
    readonly source: number[][];
    readonly scores: (number | null)[][];
    readonly after: Record<string, Record<string, number | null>[]>;
  };
  readonly keys: string[];
}

const golden = JSON.parse(readFileSync(goldenFile('generation.json'), 'utf8')) as Golden;
const test = suite('generation against Transformers');
const model = await GPT2LMHeadModel.fromPretrained(goldenFile('tiny-gpt2'));

const marian = await MarianMTModel.fromPretrained(goldenFile('tiny-marian'));

async function compare(of: Generative, prompts: readonly number[][], { options, texts, scores }: Case): Promise<void> {
  const named = Object.fromEntries(Object.entries(options).map(([name, value]) => [camelCase(name), value]));
  const given: GenerationOptions = { eosTokenId: null, ...named };
  const results = await generate(of, prompts, given);
  assert.equal(
    results.map(({ tokens }) => tokens),
    texts,
  );
  for (const [i, score] of scores?.entries() ?? []) {
    const error = Math.abs(results[i]!.score! - score);
    if (!(error <= 2e-5)) throw new Error(`score of text ${i} is ${results[i]!.score}, want ${score}`);
  }
  const ends = new Set([options['eos_token_id'] ?? []].flat());
  for (const { tokens, finish } of results) assert.is(finish, ends.has(tokens.at(-1)!) ? 'eos' : 'length');
}

for (const golds of golden.texts)
  test(`texts ${JSON.stringify(golds.options)}`, () => compare(model, golden.prompts, golds));
for (const golds of golden.translations)
  test(`translations ${JSON.stringify(golds.options)}`, () => compare(marian, golden.sources, golds));

test('draws among so few tokens that one is left are the most probable text', async () => {
  const greedy = await generate(model, golden.prompts, { maxNewTokens: 12 });
  for (const options of [{ topH: 1e-6 }, { epsilonCutoff: 0.999 }, { typicalP: 1, topK: 1 }]) {
    const drawn = await generate(model, golden.prompts, { maxNewTokens: 12, doSample: true, ...options });
    assert.equal(drawn, greedy, JSON.stringify(options));
  }
  const [few, all] = await Promise.all(
    [{ etaCutoff: 0.9 }, {}].map((options) =>
      generate(model, golden.prompts, { maxNewTokens: 12, doSample: true, topK: 0, ...options }),
    ),
  );
  assert.not.equal(few, all);
});

test('each prompt has the text that it has alone', async () => {
  const options = { numBeams: 3, maxNewTokens: 8, eosTokenId: 70 };
  const together = await generate(model, golden.prompts, options);
  for (const [i, prompt] of golden.prompts.entries()) {
    const [alone] = await generate(model, [prompt], options);
    assert.equal(alone!.tokens, together[i]!.tokens);
  }
});

test('a list of options gives each prompt its own, beside the others what it has alone', async () => {
  const each: GenerationOptions[] = [
    { maxNewTokens: 3, doSample: false },
    { maxNewTokens: 12, seed: 7, temperature: 0.8, topP: 0.9, numReturnSequences: 2 },
    { maxNewTokens: 8, seed: [3], repetitionPenalty: 1.3, logprobs: 2, eosTokenId: null },
  ];
  const prompts = [golden.prompts[0]!, golden.prompts[1]!, golden.prompts[0]!];
  const together = await generate(model, prompts, each);
  const alone: typeof together = [];
  for (const [prompt, options] of each.entries())
    for (const text of await generate(model, [prompts[prompt]!], options)) alone.push({ ...text, prompt });
  const ofText = ({ prompt, sample, tokens, finish }: (typeof alone)[0]): unknown => [prompt, sample, tokens, finish];
  assert.equal(together.map(ofText), alone.map(ofText));
  assert.equal(
    together.map(({ logprobs }) => logprobs?.length),
    [undefined, undefined, undefined, 8],
  );
  await rejects(generate(model, prompts, each.slice(1)), /2 options for 3 prompts/);
  const guided = each.map((options, i) => ({ ...options, guidanceScale: i === 2 ? 2 : 1 }));
  await rejects(generate(model, prompts, guided), /guidanceScale is of all prompts side by side/);
});

test("OpenAI's penalties look at the text, not at its prompt", async () => {
  const scores = Float32Array.from([0, 1, 2, 3]);
  processors.occurrencePenalties(0.5, 0.25, 2)([3, 3, 1, 1, 2], scores);
  assert.equal([...scores], [0, -0.25, 1.25, 3]);
  const [plain, other] = await Promise.all(
    [{}, { frequencyPenalty: 2, presencePenalty: 2 }].map((penalties) =>
      generate(model, [golden.prompts[0]!], { maxNewTokens: 12, eosTokenId: null, doSample: false, ...penalties }),
    ),
  );
  assert.not.equal(plain, other);
});

const row = (i: number): number[] => golden.processors.tokens[i]!;
const last = (i: number, count: number): number[] => row(i).slice(-count);
const ends = [3, 11];
const biases: SequenceBias = [
  [[4], 0.3],
  [[4], -2.7],
  [[...last(0, 1), 4], 1.1],
  [[...last(0, 3), 4], 0.7],
  [[...last(1, 2), 5], 2.5],
  [[1, 2], 9],
];
const made: Record<string, (value: number, source: readonly number[]) => LogitsProcessor> = {
  sequenceBias: () => processors.sequenceBias(biases),
  encoderRepetitionPenalty: processors.encoderRepetitionPenalty,
  encoderNoRepeatNgram: processors.encoderNoRepeatNgram,
  forcedBos: () => processors.forcedBos(5),
  removeInvalidValues: processors.removeInvalidValues,
  exponentialDecay: (factor) => processors.exponentialDecay(factor > 1 ? 9 : 10, factor, [3, 7]),
  suppress: () => processors.suppress([3, 11, 39]),
  suppressAtBegin: (length) => processors.suppressAtBegin([3, 11, 39], length),
  topH: processors.topH,
  typicalP: processors.typicalP,
  epsilonCutoff: processors.epsilonCutoff,
  etaCutoff: processors.etaCutoff,
  renormalize: processors.renormalize,
  repetitionPenalty: processors.repetitionPenalty,
  noRepeatNgram: processors.noRepeatNgram,
  badWords: () => processors.badWords([[4], [...row(0).slice(11), 5], [...row(1).slice(10), 5], [1, 2]]),
  forcedEos: (length) => processors.forcedEos(length, ends),
  minLength: (length) => processors.minLength(length, ends),
  temperature: processors.temperature,
  topK: processors.topK,
  topP: processors.topP,
  minP: processors.minP,
};

for (const [name, rows] of Object.entries(golden.processors.after)) {
  test(`processor ${name}`, () => {
    const [kind, value] = name.split(' ') as [string, string];
    for (const [i, changes] of rows.entries()) {
      const process = made[kind]!(Number(value), golden.processors.source[i]!);
      const before = golden.processors.scores[i]!;
      const scores = Float32Array.from(before, (score) => score ?? -Infinity);
      process(golden.processors.tokens[i]!, scores);
      const want = before.map((score, id) => (id in changes ? changes[id]! : score));
      const found = Array.from(scores, (score) => (score === -Infinity ? null : score));
      // PyTorch sums the logarithm in another order.
      if (kind === 'renormalize')
        found.forEach((score, id) => {
          if (score !== null && Math.abs(score - want[id]!) <= 1e-6) found[id] = want[id]!;
        });
      assert.equal(found, want);
    }
  });
}

test('processors on what no golden has', () => {
  const largest = 2 ** 128 - 2 ** 104;
  const scores = Float32Array.of(NaN, Infinity, -Infinity, 2);
  processors.removeInvalidValues()([], scores);
  assert.equal([...scores], [0, largest, -largest, 2]);
  const forced = Float32Array.of(1, 2, 3);
  processors.forcedBos(1)([7], forced);
  assert.equal([...forced], [-Infinity, 0, -Infinity]);
  const [decayed, ended] = [Float32Array.of(-Infinity, 2), Float32Array.of(1, 2)];
  processors.exponentialDecay(0, 2, [0, 1])([7], decayed);
  assert.equal([...decayed], [-Infinity, 4]);
  processors.exponentialDecay(1, 2, [0, 1])([7], ended);
  assert.equal([...ended], [1, 2]);
  const guided = Float32Array.of(Math.log(0.5), Math.log(0.5));
  processors.guidance(2, () => [Math.log(0.25), Math.log(0.75)])([], guided);
  for (const [id, chance] of [0.25 / 0.25, 0.25 / 0.75].entries())
    assert.ok(Math.abs(guided[id]! - Math.log(chance)) <= 1e-6);
});

test('every setting of GenerationConfig is obeyed, without effect, or refused by name', async () => {
  const { settingNames } = await import('../../models/generation/options.ts');
  const known = golden.keys.filter((key) => !withoutEffect.has(key));
  for (const key of known) assert.ok(settingNames.includes(camelCase(key)), key);
});

test.run();
