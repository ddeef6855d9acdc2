// Random decoders and encoder-decoders, random prompts and options of generation. Whatever way a text is made
// (beside others, alone, in a cache that grows, from a cache kept of before, by guesses), it must be the same
// text, with the log-probabilities that the model without any cache has.
import { noGrad, scope, tensor } from '../../autograd/index.ts';
import { generate, streamTokens } from '../../models/index.ts';
import type { GenerationOptions } from '../../models/index.ts';
import { logSoftmax } from '../../models/generation/processors.ts';
import type { Generated } from '../../models/generation/request.ts';
import type { CausalLM } from '../../models/transformer/causal-lm.ts';
import type { Seq2SeqLM } from '../../models/transformer/seq2seq.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { Choices, generatorFamilies, randomGenerator } from '../support/random-model.ts';
import type { DrawnModel } from '../support/random-model.ts';

export const name = 'random generations';

/** Of a log-probability: sums in another order, through three layers. */
const tolerance = 2e-4;

interface Drawn {
  readonly drawn: DrawnModel;
  readonly prompts: readonly (readonly number[])[];
  readonly options: GenerationOptions;
}

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome> {
  const tally = new Tally();
  const rounds = short ? 1 : 12;
  const families = short ? generatorFamilies.filter((_, i) => i % 6 === seed % 6) : generatorFamilies;
  for (let round = 0; round < rounds; round++)
    for (const [i, family] of families.entries()) {
      const number = 1000 * seed + 100 * round + i;
      await tally.try(`generation ${number}, ${family}`, () => check(number, family));
    }
  return tally.outcome();
}

async function check(number: number, family: string): Promise<void> {
  const choices = new Choices(number, 2);
  const drawn = randomGenerator(number, family);
  const { prompts, options } = request(choices, drawn);
  const told = `${JSON.stringify({ prompts, options })}\n  ${drawn.text}`;
  const fail = (what: string): never => {
    throw new Error(`${what}\n  ${told}`);
  };
  const { model } = drawn;
  const texts = await generate(model, prompts, options);
  const known = (options.numBeams ?? 1) === 1;
  if (known) await checkChances({ drawn, prompts, options }, texts, fail);

  const same = async (what: string, others: readonly Generated[], wanted: readonly Generated[] = texts) => {
    for (const [i, text] of wanted.entries()) {
      const other = others[i];
      const at = text.tokens.findIndex((token, place) => other?.tokens[place] !== token);
      const length = text.tokens.length === other?.tokens.length && text.finish === other.finish;
      if (at < 0 && length) continue;
      fail(
        `${what}, text ${i} is ${other?.tokens.join(' ')} (${other?.finish}), not ${text.tokens.join(' ')} ` +
          `(${text.finish})`,
      );
    }
  };
  await same('once more', await generate(model, prompts, options));
  for (const [i, prompt] of prompts.entries()) {
    if (prompts.length === 1) break;
    const seed = Array.isArray(options.seed) ? options.seed[i] : options.seed;
    const own = texts.filter((text) => text.prompt === i);
    await same(`prompt ${i} alone`, await generate(model, [prompt], { ...options, seed }), own);
  }
  await same('in a cache that grows', await generate(model, prompts, { ...options, cacheCapacity: 1 }));
  if (known) {
    const streamed: number[][] = texts.map(() => []);
    const { numReturnSequences = 1 } = options;
    for await (const { prompt, sample, id } of streamTokens(model, prompts, options))
      streamed[prompt * numReturnSequences + sample]!.push(id);
    await same(
      'as a stream',
      texts.map((text, i) => ({ ...text, tokens: streamed[i]! })),
    );
  }
  if (prompts.length > 1) return;
  const more = { ...options, reuseCache: true };
  const text = texts[0]!.tokens;
  await same('with a cache to reuse', await generate(model, prompts, more));
  await generate(model, [drawn.isSeq2Seq ? prompts[0]! : [...prompts[0]!, ...text].slice(0, -1)], {
    ...more,
    minNewTokens: undefined,
    maxNewTokens: 2,
  });
  await same('from a cache kept of before', await generate(model, prompts, more));
  if (known && !options.numReturnSequences) {
    let left = choices.between(1, text.length);
    for await (const token of streamTokens(model, prompts, more)) if (token.finish || --left === 0) break;
    await same('after a stream that was left', await generate(model, prompts, more));
    if (!drawn.isSeq2Seq && prompts[0]!.length + text.length < drawn.positions) {
      const longer = [[...prompts[0]!, ...text, prompts[0]![0]!]];
      const anew = await generate(model, longer, options);
      await same('as the text goes on', await generate(model, longer, more), anew);
    }
  }
  if (!known || options.numReturnSequences) return;
  await same('by lookup', await generate(model, prompts, { ...options, promptLookupNumTokens: choices.between(1, 6) }));
  const assistantModel = randomGenerator(number, family).model;
  const guessed = { ...options, assistantModel, numAssistantTokens: choices.between(1, 6) };
  await same('by guesses of the same model', await generate(model, prompts, guessed));
}

/** Compares the log-probability of each token, and the choice of the most probable, with the model's own. */
async function checkChances(
  { drawn, prompts, options }: Drawn,
  texts: readonly Generated[],
  fail: (what: string) => never,
) {
  const { numReturnSequences = 1, doSample = false } = options;
  const again = await generate(drawn.model, prompts, { ...options, logprobs: 1 });
  for (const [i, { tokens, logprobs }] of again.entries()) {
    if (String(tokens) !== String(texts[i]!.tokens)) fail(`with logprobs, text ${i} is ${tokens.join(' ')}`);
    const prompt = prompts[Math.floor(i / numReturnSequences)]!;
    for (const [t, { id, logprob, top }] of logprobs!.entries()) {
      const chances = await chancesOf(drawn, prompt, tokens.slice(0, t));
      const wanted = chances[id]!;
      const scale = Math.max(1, Math.abs(wanted));
      if (!(Math.abs(logprob - wanted) <= tolerance * scale))
        fail(`text ${i}, token ${t} has log-probability ${logprob}; without a cache it has ${wanted}`);
      const best = Math.max(...chances);
      if (!(Math.abs(top[0]!.logprob - best) <= tolerance * Math.max(1, Math.abs(best))))
        fail(`text ${i}, token ${t}: the most probable has ${top[0]!.logprob}; without a cache ${best}`);
      const plain = !doSample && Object.keys(options).every((key) => plainOptions.has(key));
      if (plain && !(logprob >= best - tolerance * Math.max(1, Math.abs(best))))
        fail(`text ${i}, token ${t} is ${id}, ${best - logprob} below the most probable`);
    }
  }
}

/** Options that leave the scores as they are. */
const plainOptions = new Set(['maxNewTokens', 'cacheCapacity', 'doSample']);

/** ln p of every token after these, by one pass of the whole text. */
async function chancesOf(
  { model, isSeq2Seq }: DrawnModel,
  prompt: readonly number[],
  text: readonly number[],
): Promise<Float32Array> {
  using _ = scope();
  const row = (ids: readonly number[]) => tensor([[...ids]], { dtype: 'i32' });
  const logits = noGrad(() => {
    if (!isSeq2Seq) return (model as CausalLM).forward({ inputIds: row([...prompt, ...text]) }).logits;
    const start = model.decoder().source!.start;
    return (model as Seq2SeqLM).forward({ inputIds: row(prompt), decoderInputIds: row([start, ...text]) }).logits;
  });
  const data = (await logits.data()) as Float32Array;
  return logSoftmax(data.slice(data.length - logits.shape[2]!));
}

/** Random prompts and options that go together. */
function request(choices: Choices, { vocabSize, positions, isSeq2Seq }: DrawnModel): Omit<Drawn, 'drawn'> {
  const maxNewTokens = choices.between(1, 14);
  const id = (): number => choices.between(0, vocabSize - 1);
  const longest = isSeq2Seq ? positions : positions - choices.between(0, maxNewTokens);
  // Few short ones would never meet a window's edge, a chunk's, or that of the positions.
  const length = (): number =>
    choices.between(1, choices.of([3, 10, 20, 40, longest].filter((most) => most <= longest)));
  const count = choices.of([1, 1, 2, 3]);
  const runs = (): number[] => Array.from({ length: choices.between(1, 3) }, id);
  const prompts = Array.from({ length: count }, () => {
    const piece = Array.from({ length: length() }, id);
    // Texts that repeat themselves, as lookups and bans of runs need them.
    return choices.maybe(0.4, () => Array.from(piece, (_, i) => piece[i % 4]!), piece);
  });
  const kind = choices.of(['plain', 'greedy', 'draw', 'draw', 'beams']);
  const options: Record<string, unknown> = { maxNewTokens };
  const sometimes = (key: string, value: () => unknown, probability = 0.2): void => {
    if (choices.chance(probability)) options[key] = value();
  };
  if (kind !== 'plain') {
    sometimes('repetitionPenalty', () => choices.of([1.2, 3]));
    sometimes('encoderRepetitionPenalty', () => 1.5, 0.1);
    sometimes('noRepeatNgramSize', () => choices.between(2, 3));
    sometimes('encoderNoRepeatNgramSize', () => choices.between(2, 3), 0.1);
    sometimes('badWordsIds', () => [runs(), runs()]);
    sometimes('sequenceBias', () => [[runs(), choices.of([-3, 4])]]);
    sometimes('suppressTokens', () => runs());
    sometimes('beginSuppressTokens', () => runs());
    const free = (): number => {
      const [banned, token] = [(options['suppressTokens'] ?? []) as number[], id()];
      return banned.includes(token) ? free() : token;
    };
    sometimes('forcedBosTokenId', free, 0.1);
    sometimes('forcedEosTokenId', free, 0.1);
    sometimes('minNewTokens', () => choices.between(1, maxNewTokens));
    sometimes('eosTokenId', () => choices.of([id(), [id(), id()]]), 0.4);
    sometimes('renormalizeLogits', () => true, 0.1);
  }
  if (kind === 'draw') {
    options['doSample'] = true;
    options['seed'] = choices.maybe<number | number[]>(0.3, () => prompts.map((_, i) => 7 + i), choices.between(0, 99));
    sometimes('temperature', () => choices.of([0.3, 1.5]));
    sometimes('topK', () => choices.of([0, 1, 3]));
    sometimes('topP', () => choices.of([0.5, 0.9]));
    sometimes('minP', () => 0.1);
    sometimes('topH', () => 0.5);
    sometimes('typicalP', () => 0.7);
    sometimes('epsilonCutoff', () => 0.02);
    sometimes('etaCutoff', () => 0.02);
    sometimes('numReturnSequences', () => choices.between(2, 3));
  }
  if (kind === 'beams') {
    const numBeams = choices.between(2, 4);
    options['numBeams'] = numBeams;
    sometimes('numReturnSequences', () => choices.between(2, numBeams), 0.4);
    sometimes('lengthPenalty', () => choices.of([-1, 0, 2]), 0.4);
    sometimes('earlyStopping', () => choices.of([true, 'never']), 0.5);
  } else if (!isSeq2Seq) sometimes('guidanceScale', () => 1.5, 0.15);
  return { prompts, options: options as GenerationOptions };
}
