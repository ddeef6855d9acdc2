// Generated texts against Transformers: greedy texts and beam searches token for token, processors of
// scores on fixed ones.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { generate, GPT2LMHeadModel, MarianMTModel } from '../../models/index.ts';
import type { GenerationOptions, Generative } from '../../models/index.ts';
import * as processors from '../../models/generation/processors.ts';
import type { LogitsProcessor } from '../../models/generation/processors.ts';
import { camelCase } from '../../models/names.ts';
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
    readonly scores: (number | null)[][];
    readonly after: Record<string, (number | null)[][]>;
  };
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

test('each prompt has the text that it has alone', async () => {
  const options = { numBeams: 3, maxNewTokens: 8, eosTokenId: 70 };
  const together = await generate(model, golden.prompts, options);
  for (const [i, prompt] of golden.prompts.entries()) {
    const [alone] = await generate(model, [prompt], options);
    assert.equal(alone!.tokens, together[i]!.tokens);
  }
});

const row = (i: number): number[] => golden.processors.tokens[i]!;
const made: Record<string, (value: number) => LogitsProcessor> = {
  repetitionPenalty: processors.repetitionPenalty,
  noRepeatNgram: processors.noRepeatNgram,
  badWords: () => processors.badWords([[4], [...row(0).slice(11), 5], [...row(1).slice(10), 5], [1, 2]]),
  forcedEos: (length) => processors.forcedEos(length, [3, 11]),
  minNewTokens: (count) => processors.minNewTokens(8, count, [3, 11]),
  temperature: processors.temperature,
  topK: processors.topK,
  topP: processors.topP,
  minP: processors.minP,
};

for (const [name, rows] of Object.entries(golden.processors.after)) {
  test(`processor ${name}`, () => {
    const [kind, value] = name.split(' ') as [string, string];
    const process = made[kind]!(Number(value));
    for (const [i, want] of rows.entries()) {
      const scores = Float32Array.from(golden.processors.scores[i]!, (score) => score ?? -Infinity);
      process(golden.processors.tokens[i]!, scores);
      assert.equal(
        Array.from(scores, (score) => (score === -Infinity ? null : score)),
        want,
      );
    }
  });
}

test.run();
