import { highest } from '../../common/collections.ts';
import { beamSearch } from './beam.ts';
import type { Generative } from './decoder.ts';
import { withDrafts } from './drafts.ts';
import { withSession } from './pool.ts';
import type { SessionOptions } from './pool.ts';
import { argmaxOf, knownToken, sampleToken } from './sample.ts';
import { processorsOf, requestOf } from './request.ts';
import type {
  Finish,
  Generated,
  GenerationHooks,
  OptionsByPrompt,
  Request,
  Row,
  TokenLogprob,
  TokenLogprobs,
} from './request.ts';
import { guidance, logSoftmax } from './processors.ts';
import type { Beginning, DecodingSession } from './session.ts';

/** One new token of one text. */
export interface GeneratedToken {
  /** Number of the prompt, and of the text among those of this prompt. */
  readonly prompt: number;
  readonly sample: number;
  readonly id: number;
  /** Where `logprobs` asks for it. */
  readonly logprob?: number;
  readonly topLogprobs?: readonly TokenLogprob[];
  /** Set on a text's last token. */
  readonly finish?: Finish;
}

/**
 * Texts as they grow, token by token: one token of each unfinished text in turn. Prompts are lists of token
 * ids, of any lengths; each is continued numReturnSequences times. A list of options gives each prompt its
 * own. One token costs one read-back from the device: of ids where the most probable token is taken as it
 * is, which the device goes on by meanwhile, else of logits. Ending the loop early is fine.
 *
 * Errors, each one line: no prompts, an empty prompt, ids outside the vocabulary, a prompt longer than the
 * model's positions, options that do not fit, a beam search (which knows its texts at its end only: use
 * `generate`).
 *
 * @example
 * const { model, tokenizer } = await loadTextGenerator('models/pretrained/gpt-small');
 * const prompt = tokenizer.idsOf('The state of the');
 * for await (const { id } of streamTokens(model, [prompt], { maxNewTokens: 3 })) console.log(id);
 */
export async function* streamTokens(
  model: Generative,
  prompts: readonly ArrayLike<number>[],
  options: OptionsByPrompt = {},
  hooks: GenerationHooks = {},
): AsyncGenerator<GeneratedToken> {
  const request = requestOf(model, prompts, options, hooks);
  if (request.settled.numBeams > 1)
    throw new Error(
      `generate: a search with ${request.settled.numBeams} beams has its texts at its end only; leave numBeams at ` +
        '1 to stream',
    );
  yield* stream(model, request);
}

/**
 * Continues prompts, lists of token ids: one result for each text, in the order of prompts, then of their
 * texts (the best first, in a beam search). Options and errors as for `streamTokens`.
 *
 * @example
 * const { model, tokenizer } = await loadTextGenerator('models/pretrained/gpt-small');
 * const [{ tokens }] = await generate(model, [tokenizer.idsOf('The state of the')], { maxNewTokens: 3 });
 * tokenizer.decode(tokens); // ' United States,'
 */
export async function generate(
  model: Generative,
  prompts: readonly ArrayLike<number>[],
  options: OptionsByPrompt = {},
  hooks: GenerationHooks = {},
): Promise<Generated[]> {
  const request = requestOf(model, prompts, options, hooks);
  if (request.settled.numBeams > 1) return await search(model, request);
  const texts = request.rows.map(({ prompt, sample }) => ({
    prompt,
    sample,
    tokens: [] as number[],
    finish: 'length' as Finish,
    logprobs: undefined as TokenLogprobs[] | undefined,
  }));
  const firsts = texts.flatMap(({ sample }, i) => (sample === 0 ? [i] : [])); // of each prompt
  for await (const { prompt, sample, id, logprob, topLogprobs, finish } of stream(model, request)) {
    const text = texts[firsts[prompt]! + sample]!;
    text.tokens.push(id);
    if (logprob !== undefined) (text.logprobs ??= []).push({ id, logprob, top: topLogprobs! });
    if (finish) text.finish = finish;
  }
  return texts.map(({ logprobs, ...text }) => (logprobs ? { ...text, logprobs } : text));
}

async function search(model: Generative, request: Request): Promise<Generated[]> {
  const texts: Generated[] = [];
  const { rows, capacity } = request;
  const run = (session: DecodingSession): AsyncGenerator<Generated> => beamSearch(session, request);
  const all = withSession(model, rows.length, capacity, run, sessionOptions(request, rows.length));
  for await (const text of all) texts.push(text);
  return texts;
}

async function* stream(model: Generative, request: Request): AsyncGenerator<GeneratedToken> {
  const texts = request.rows.length * (request.settled.guidanceScale === 1 ? 1 : 2);
  const run = (session: DecodingSession): AsyncGenerator<GeneratedToken> =>
    withDrafts(session, request, (drafting) => decode(drafting, request));
  yield* withSession(model, texts, request.capacity, run, sessionOptions(request, texts));
}

/** With the adapter of each row, where prompts have one each; with guidance there are twice as many rows. */
function sessionOptions({ rows, settled }: Request, texts: number): SessionOptions {
  const { adapterNames: names, cacheDtype } = settled;
  return {
    adapterNames: names && Array.from({ length: texts }, (_, i) => names[rows[i % rows.length]!.prompt]!),
    cacheDtype,
  };
}

async function* decode(
  session: Pick<DecodingSession, 'begin' | 'append'>,
  request: Request,
): AsyncGenerator<GeneratedToken> {
  const { rows, settled, vocabSize } = request;
  const scale = settled.guidanceScale;
  const begin = performance.now();
  let next: ArrayLike<number>;
  const scoresOf = (row: number): Float32Array =>
    (next as Float32Array).subarray(row * vocabSize, (row + 1) * vocabSize);
  const processors = rows.map((row, i) => [
    ...(scale === 1 ? [] : [guidance(scale, () => scoresOf(rows.length + i))]),
    ...processorsOf(request, row, row.most),
  ]);
  const looksAt = ({ settled: { doSample, logprobs } }: Row, i: number): boolean =>
    doSample || processors[i]!.length > 0 || logprobs !== undefined;
  const wanted = rows.some(looksAt) ? 'logits' : 'argmax';
  const done = rows.map(() => false);
  /** Whether a text may have a token of this number, of which the device then chooses the one before. */
  const goesOn = (count: number): boolean =>
    wanted === 'argmax' && rows.some(({ most }, i) => !done[i] && count <= most);
  const chances: Float32Array[] = [];
  // With guidance, each text follows once more, without its prompt.
  const twice = <T>(list: readonly T[], again: (item: T) => T): readonly T[] =>
    scale === 1 ? list : [...list, ...list.map(again)];
  next = await session.begin(
    twice<Beginning>(rows, ({ tokens }) => ({ tokens: tokens.slice(-1) })),
    wanted,
    settled.reuseCache,
    goesOn(2),
  );
  for (let step = 0; ; step++) {
    const ids = rows.map((row, i) => {
      // A text that has ended goes on unseen, by what the device takes that goes on early.
      if (done[i]) return wanted === 'argmax' ? Math.max(next[i]!, 0) : 0;
      if (wanted === 'argmax') return knownToken(next[i]!);
      const scores = scoresOf(i);
      if (row.settled.logprobs !== undefined) chances[i] = logSoftmax(scores);
      for (const process of processors[i]!) process(row.tokens, scores);
      return row.settled.doSample
        ? sampleToken(scores, { seed: row.seed, step, sample: row.sample })
        : argmaxOf(scores);
    });
    const seconds = (performance.now() - begin) / 1000;
    for (const [i, row] of rows.entries()) {
      if (done[i]) continue;
      const { prompt, sample } = row;
      const { logprobs, maxTime } = row.settled;
      const id = ids[i]!;
      row.tokens.push(id);
      const finish = finishOf(request, row, step + 1, id) ?? (seconds > maxTime ? 'time' : undefined);
      done[i] = finish !== undefined;
      const known = logprobs === undefined ? {} : logprobsOf(chances[i]!, id, logprobs);
      yield { prompt, sample, id, ...known, ...(finish ? { finish } : {}) };
    }
    if (done.every(Boolean)) return;
    next = await session.append(
      twice(ids, (id) => id),
      wanted,
      undefined,
      goesOn(step + 3),
    );
  }
}

/** The log-probability of a token, and those of the most probable ones, the best first. */
function logprobsOf(chances: Float32Array, id: number, count: number): Pick<GeneratedToken, 'logprob' | 'topLogprobs'> {
  const best = highest(chances, count);
  return { logprob: chances[id]!, topLogprobs: best.map((other) => ({ id: other, logprob: chances[other]! })) };
}

function finishOf({ positions, hooks }: Request, row: Row, count: number, id: number): Finish | undefined {
  const stopped = hooks.isStop?.({ prompt: row.prompt, sample: row.sample, id });
  if (row.settled.ends.has(id)) return 'eos';
  if (stopped) return 'stop';
  if (count >= row.most) return 'length';
  return row.tokens.length > positions ? 'positions' : undefined;
}
