// Generation of replies: a decoder reads the turns and goes on with the reply.
import { dialogueIds, generateText, logLikelihoods } from '../../models/index.ts';
import type { AnyTokenizer, CausalLM, GenerationOptions, Likelihood } from '../../models/index.ts';
import { chunks } from '../../models/pipelines/rows.ts';
import { loadDecoder } from '../cli/fine-tune.ts';
import type { BatchOptions } from '../data/batches.ts';
import { corpusBleu } from '../metrics/bleu.ts';
import { distinctN } from '../metrics/diversity.ts';
import { perplexity } from '../metrics/perplexity.ts';
import { labelledTokens } from '../objectives/labelled-tokens.ts';
import type { TrainingTask } from '../objectives/task.ts';
import { fitTurns } from './candidates.ts';
import type { Candidates } from './candidates.ts';
import type { DialogueExample } from './data.ts';

export interface Writer {
  readonly model: CausalLM;
  readonly tokenizer: AnyTokenizer;
  /** Tokens of a history and a reply together. */
  readonly maxLength: number;
}

/** A decoder to train, or a trained one, with its recommended options. Error: a model of another kind. */
export async function loadWriter(
  id: string | undefined,
  maxLength: number,
): Promise<Writer & { readonly options: GenerationOptions }> {
  const decoder = await loadDecoder(id);
  return { ...decoder, maxLength: Math.min(maxLength, decoder.model.decoder().positions) };
}

/** A history and its reply as tokens, as they fit. */
export interface ReplyRow {
  readonly context: readonly number[];
  /** Ends with the token that ends texts, unless the reply was cut. */
  readonly continuation: readonly number[];
}

/** Turns as `dialogueIds` has them; a history that is too long loses its beginning, a reply its end. */
export function replyRow(
  { tokenizer, maxLength }: Writer,
  { history, reply }: Pick<DialogueExample, 'history' | 'reply'>,
): ReplyRow {
  const context = dialogueIds(tokenizer, history);
  const continuation = dialogueIds(tokenizer, [{ role: 'assistant', content: reply }]);
  const kept = fitTurns(context.length, continuation.length, maxLength);
  return {
    context: context.slice(context.length - kept.history),
    continuation: continuation.slice(0, kept.reply),
  };
}

/** Learns replies: the mean cross-entropy of the tokens of each reply and its end, of the history none. */
export function replyTask({ model }: Writer, rows: readonly ReplyRow[], options: BatchOptions): TrainingTask {
  const sequences = rows.map(({ context, continuation }) => ({
    ids: [...context, ...continuation],
    learnt: [...context.map(() => 0), ...continuation.map(() => 1)],
  }));
  return labelledTokens({ name: 'replies', model, sequences, length: model.decoder().positions, ...options });
}

/** Scores of each list's candidates by a decoder. */
export interface LikelihoodRankings {
  /** ln p of a reply given its history, for each of its tokens. */
  readonly likelihoods: readonly (readonly number[])[];
  /**
   * What the history adds to it, ln p(reply | history) - ln p(reply): a reply that fits anywhere gains
   * little.
   */
  readonly gains: readonly (readonly number[])[];
}

/** Ranks candidates by likelihood, and by pointwise mutual information (Li et al. 2016, MMI). */
export async function rankByLikelihood(
  writer: Writer,
  lists: readonly Candidates[],
  batchSize: number,
): Promise<LikelihoodRankings> {
  const { model, tokenizer } = writer;
  const rows = lists.flatMap(({ example, replies }) =>
    replies.map((reply) => replyRow(writer, { history: example.history, reply })),
  );
  const given = await logLikelihoods(model, rows, { batchSize });
  const alone = rows.map(({ continuation }) => ({ context: [tokenizer.eosTokenId!], continuation }));
  const prior = await logLikelihoods(model, alone, { batchSize });
  const mean = ({ logLikelihood, logProbs }: Likelihood): number => logLikelihood / logProbs.length;
  const count = lists[0]!.replies.length;
  const byList = (score: (i: number) => number): number[][] =>
    chunks(
      rows.map((_, i) => score(i)),
      count,
    );
  return {
    likelihoods: byList((i) => mean(given[i]!)),
    gains: byList((i) => given[i]!.logLikelihood - prior[i]!.logLikelihood),
  };
}

/** Perplexity of true replies, for each token. */
export async function replyPerplexity(writer: Writer, examples: readonly DialogueExample[], batchSize: number) {
  const rows = examples.map((example) => replyRow(writer, example));
  const likelihoods = await logLikelihoods(writer.model, rows, { batchSize });
  return perplexity(
    likelihoods.map(({ logLikelihood }) => -logLikelihood),
    likelihoods.map(({ logProbs }) => logProbs.length),
  );
}

/** Tokens that a history may have where a reply is to follow it: at least half of what the model reads. */
export function roomForHistory({ maxLength }: Writer, { maxNewTokens = 20 }: GenerationOptions): number {
  return maxLength - Math.min(maxNewTokens, Math.floor(maxLength / 2));
}

/** A reply to each history; a reply of no words is an empty text. */
export async function writeReplies(
  writer: Writer,
  histories: readonly DialogueExample['history'][],
  options: GenerationOptions & { readonly batchSize: number },
): Promise<string[]> {
  const { model, tokenizer } = writer;
  const { batchSize, seed = 0, ...given } = options;
  const room = roomForHistory(writer, given);
  const replies: string[] = [];
  for (const numbers of chunks(
    histories.map((_, i) => i),
    batchSize,
  )) {
    const prompts = numbers.map((i) => Int32Array.from(dialogueIds(tokenizer, histories[i]!, room)));
    const seeds = numbers.map((i) => (seed as number) + i);
    const texts = await generateText(model, tokenizer, prompts, { ...given, seed: seeds });
    replies.push(...texts.map(({ text }) => text.trim()));
  }
  return replies;
}

/** How replies read, and how near they come to the true ones. */
export function scoreWritten(written: readonly string[], wanted: readonly string[]): Readonly<Record<string, number>> {
  const words = written.reduce((sum, text) => sum + text.split(/\s+/).filter(Boolean).length, 0);
  return {
    'distinct-1': distinctN(written, 1),
    'distinct-2': distinctN(written, 2),
    BLEU: corpusBleu(written, wanted).score,
    words: words / written.length,
  };
}
