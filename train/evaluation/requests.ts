import { createHash } from 'node:crypto';
import { encodeContinuation, logLikelihoods } from '../../models/generation/likelihood.ts';
import type { Continuation } from '../../models/generation/likelihood.ts';
import { textIds } from '../../models/generation/text.ts';
import { generate } from '../../models/index.ts';
import type { AnyTokenizer, CausalLM, Generative } from '../../models/index.ts';

/** A question to a model, in the words of lm-evaluation-harness. */
export type Request =
  /** How probable a continuation is after its context. */
  | { readonly kind: 'loglikelihood'; readonly context: string; readonly continuation: string }
  /** How probable a whole text is, of any length. */
  | { readonly kind: 'loglikelihood_rolling'; readonly text: string }
  /** What the model writes, greedily, up to one of these strings. */
  | {
      readonly kind: 'generate_until';
      readonly context: string;
      readonly until: readonly string[];
      readonly maxTokens: number;
    };

/** ln p and whether a greedy search would write it; ln p; a text. */
export type Answer = readonly [logLikelihood: number, isGreedy: boolean] | number | string;

/** A model and how it is asked. */
export interface Asked {
  readonly model: CausalLM & Generative;
  readonly tokenizer: AnyTokenizer;
  /** Tokens that it reads at most. */
  readonly maxLength: number;
  readonly batchSize: number;
}

/** Equal for equal requests alone. */
export function requestKey(request: Request, maxLength: number): string {
  return createHash('sha256')
    .update(JSON.stringify([maxLength, request]))
    .digest('hex');
}

/** What an answered request is told with: its number among those that were asked. */
type Take = (index: number, answer: Answer) => void;

/**
 * Answers requests, in an order of its own; `take` gets each answer as soon as it is known. Returns how many
 * contexts were longer than the model reads and lost their beginning.
 */
export async function answerRequests(asked: Asked, requests: readonly Request[], take: Take): Promise<number> {
  const of = <K extends Request['kind']>(kind: K) =>
    requests.flatMap((request, index) =>
      request.kind === kind ? [{ index, request: request as Extract<Request, { kind: K }> }] : [],
    );
  const cut = await answerContinuations(asked, of('loglikelihood'), take);
  await answerTexts(asked, of('loglikelihood_rolling'), take);
  return cut + (await answerPrompts(asked, of('generate_until'), take));
}

interface Numbered<K extends Request['kind']> {
  readonly index: number;
  readonly request: Extract<Request, { kind: K }>;
}

async function answerContinuations(
  { model, tokenizer, ...options }: Asked,
  requests: readonly Numbered<'loglikelihood'>[],
  take: Take,
): Promise<number> {
  const rows = requests.map(({ request }) =>
    encodeContinuation(tokenizer, request.context, request.continuation, specialTokens(tokenizer, model)),
  );
  await logLikelihoods(model, rows, {
    ...options,
    onResult: (i, { logLikelihood, isGreedy }) => take(requests[i]!.index, [logLikelihood, isGreedy]),
  });
  return rows.filter(({ context, continuation }) => context.length + continuation.length > options.maxLength + 1)
    .length;
}

/** The tokenizer's own, or else the model's. */
function specialTokens({ bosTokenId, eosTokenId }: AnyTokenizer, { config }: CausalLM) {
  const own = config as {
    readonly bosTokenId?: number | null;
    readonly eosTokenId?: number | readonly number[] | null;
  };
  return { bosTokenId: bosTokenId ?? null, eosTokenId: eosTokenId ?? own.eosTokenId ?? own.bosTokenId ?? null };
}

/** A text in windows that the model reads at once: see `rollingWindows`. */
async function answerTexts(
  { model, tokenizer, ...options }: Asked,
  requests: readonly Numbered<'loglikelihood_rolling'>[],
  take: Take,
): Promise<void> {
  const { bosTokenId, eosTokenId } = specialTokens(tokenizer, model);
  const first = [bosTokenId ?? eosTokenId ?? []].flat()[0];
  const windows = requests.map(({ request }) =>
    rollingWindows(textIds(tokenizer, request.text, first), first, options.maxLength),
  );
  const sums = windows.map((own) => ({ open: own.length, sum: 0 }));
  const owners = windows.flatMap((own, i) => own.map(() => i));
  requests.forEach(({ index }, i) => {
    if (sums[i]!.open === 0) take(index, 0);
  });
  await logLikelihoods(model, windows.flat(), {
    ...options,
    onResult(i, { logLikelihood }) {
      const own = sums[owners[i]!]!;
      own.sum += logLikelihood;
      if (--own.open === 0) take(requests[owners[i]!]!.index, own.sum);
    },
  });
}

/**
 * A text as windows of at most `maxLength` tokens, each token predicted once, and with as much before it as
 * fits: of [0 .. 9] at most 4 at once, `first` 0 1 2 predict 0 1 2 3, then 3 4 5 6 predict 4 5 6 7, and
 * 5 6 7 8 predict 8 9.
 */
export function rollingWindows(ids: readonly number[], first: number | undefined, maxLength: number): Continuation[] {
  if (first === undefined && ids.length > 0)
    throw new Error('loglikelihood_rolling: neither tokenizer nor model name a token that begins or ends texts');
  const windows: Continuation[] = [];
  for (let from = 0; from < ids.length;) {
    const end = Math.min(ids.length, from + maxLength);
    const context = from === 0 ? [first!] : ids.slice(Math.max(0, end - maxLength - 1), from);
    windows.push({ context, continuation: ids.slice(from, end) });
    from = end;
  }
  return windows;
}

/** Prompts of one way to end are continued together; what they are too long by goes from their beginning. */
async function answerPrompts(
  { model, tokenizer, maxLength, batchSize }: Asked,
  requests: readonly Numbered<'generate_until'>[],
  take: Take,
): Promise<number> {
  const groups = new Map<string, Numbered<'generate_until'>[]>();
  for (const numbered of requests) {
    const { until, maxTokens } = numbered.request;
    const key = JSON.stringify([until, maxTokens]);
    groups.set(key, [...(groups.get(key) ?? []), numbered]);
  }
  const { bosTokenId, eosTokenId } = specialTokens(tokenizer, model);
  const first = [bosTokenId ?? eosTokenId ?? []].flat().slice(0, 1);
  let cut = 0;
  for (const group of groups.values()) {
    const { until, maxTokens } = group[0]!.request;
    const room = maxLength - maxTokens;
    if (room < 1)
      throw new Error(
        `generate_until: max_gen_toks ${maxTokens} leaves no room for a prompt in the ${maxLength} tokens that the ` +
          'model reads; lower it in generation_kwargs',
      );
    const ends = until.filter((text) => text !== '');
    const prompts = group.map(({ index, request }) => {
      const ids = textIds(tokenizer, request.context, first[0]);
      if (ids.length > room) cut++;
      return { index, ids: ids.length === 0 ? first : ids.slice(-room) };
    });
    prompts.sort((a, b) => b.ids.length - a.ids.length);
    for (let from = 0; from < prompts.length; from += batchSize) {
      const batch = prompts.slice(from, from + batchSize);
      const written = batch.map((): number[] => []);
      const textOf = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens: true });
      const isStop = ({ prompt, id }: { readonly prompt: number; readonly id: number }): boolean => {
        written[prompt]!.push(id);
        const text = textOf(written[prompt]!);
        return ends.some((end) => text.includes(end));
      };
      const options = { maxNewTokens: maxTokens, doSample: false, eosTokenId: eosTokenId as number | null };
      const ids = batch.map((prompt) => prompt.ids);
      for (const { prompt, tokens } of await generate(model, ids, options, { isStop })) {
        const text = ends.reduce((rest, end) => rest.split(end)[0]!, textOf(tokens));
        take(batch[prompt]!.index, text);
      }
    }
  }
  return cut;
}
