import { argmax, cat, crossEntropy, embedding, eq, narrow, neg, reshape, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { compiledFor, forEachBatch, paddedLength } from '../pipelines/rows.ts';
import type { CausalLM } from '../transformer/causal-lm.ts';
import type { SpecialTokens } from './decoder.ts';
import { textIds } from './text.ts';
import type { TextTokenizer } from './text.ts';

/** A text and what may follow it, as ids of tokens. */
export interface Continuation {
  /** At least one token; of a text from its beginning, the one that begins texts. */
  readonly context: ArrayLike<number>;
  /** At least one token. */
  readonly continuation: ArrayLike<number>;
}

/** How probable a continuation is to a model. */
export interface Likelihood {
  /** ln p of each token of the continuation, given all before it. */
  readonly logProbs: Float32Array;
  /** Their sum, ln p of the continuation. */
  readonly logLikelihood: number;
  /** Whether each of its tokens is the most probable one: what a greedy search would write. */
  readonly isGreedy: boolean;
}

export interface LikelihoodOptions {
  /** Continuations at once; default 16. */
  readonly batchSize?: number;
  /** Tokens that the model reads at most; default as many as it has positions for. */
  readonly maxLength?: number;
  /** Ends the work between two batches with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called with the number of continuations that are done. */
  readonly onProgress?: (done: number) => void;
  /** Called with each continuation's number and likelihood as soon as it is known. */
  readonly onResult?: (index: number, likelihood: Likelihood) => void;
}

interface Batch {
  /** Rows that end before the last token of their continuation [B, T]. */
  readonly inputIds: Tensor;
  /** Places of the continuations' tokens, counted through all rows, one before each [N]. */
  readonly places: Tensor;
  /** The tokens themselves [N]. */
  readonly targets: Tensor;
}

/**
 * Logits in memory at once, 64 MiB: of long continuations and large vocabularies they are computed in parts.
 */
const mostLogits = 2 ** 24;

const scoring = compiledFor('likelihood', (model: CausalLM, { inputIds, places, targets }: Batch) => {
  const hidden = model.lastHiddenState(inputIds); // (B, T, D)
  const [batch, length, dim] = hidden.shape as [number, number, number];
  const rows = embedding(reshape(hidden, [batch * length, dim]), places); // (N, D)
  const step = Math.max(1, Math.floor(mostLogits / model.config.vocabSize));
  const parts: { readonly logProbs: Tensor; readonly isMost: Tensor }[] = [];
  for (let from = 0; from < places.size; from += step) {
    const count = Math.min(step, places.size - from);
    const logits = model.lmHead.forward(narrow(rows, 0, from, count)); // (count, V)
    const own = narrow(targets, 0, from, count);
    const logProbs = neg(crossEntropy(logits, own, { reduction: 'none' }));
    parts.push({ logProbs, isMost: eq(argmax(logits, 1), own) });
  }
  return {
    logProbs: cat(parts.map(({ logProbs }) => logProbs)),
    isMost: cat(parts.map(({ isMost }) => isMost)),
  };
});

/**
 * The log-likelihood of each continuation given its context, as lm-evaluation-harness computes it: one pass
 * of the model over both, without dropout. Where they are longer than the model reads, the context loses
 * tokens at its beginning. A text's own likelihood is that of its tokens after the one that begins texts.
 *
 *     const [likelihood] = await logLikelihoods(model, [{ context: tokenizer.idsOf('The whale is'),
 *       continuation: tokenizer.idsOf(' white') }]);
 *
 * Errors, each one line: nothing to score; an empty context or continuation; a continuation that is longer
 * than the model reads; ids outside the vocabulary.
 *
 * @example
 * const model = await GPT2LMHeadModel.fromPretrained('models/pretrained/gpt-small');
 * const tokenizer = await loadTokenizer('models/pretrained/gpt-small');
 * const texts = [' Union', ' banana'].map((text) => encodeContinuation(tokenizer, 'The state of the', text));
 * const [union, banana] = await logLikelihoods(model, texts);
 * union.logLikelihood > banana.logLikelihood; // true
 */
export async function logLikelihoods(
  model: CausalLM,
  continuations: readonly Continuation[],
  options: LikelihoodOptions = {},
): Promise<Likelihood[]> {
  const { positions, vocabSize } = model.decoder();
  const { batchSize = 16, signal, onProgress, onResult } = options;
  const maxLength = Math.min(options.maxLength ?? Infinity, positions);
  const rows = sharedRows(continuations.map((given, i) => rowOf(given, i, maxLength, vocabSize)));
  const results = new Array<Likelihood>(continuations.length);
  let done = 0;
  if (rows.length === 0) return results;
  await forEachBatch(model, rows, batchSize, async (indices) => {
    signal?.throwIfAborted();
    const batch = indices.map((i) => rows[i]!);
    const width = paddedLength(Math.max(...batch.map(({ inputIds }) => inputIds.length)), maxLength);
    const inputIds = new Int32Array(batch.length * width); // what pads a row stands behind all that counts
    const [places, targets]: [number[], number[]] = [[], []];
    batch.forEach((row, b) => {
      inputIds.set(row.inputIds, b * width);
      for (const { targets: own } of row.members) {
        const first = b * width + row.inputIds.length - own.length;
        own.forEach((target, t) => {
          places.push(first + t);
          targets.push(target);
        });
      }
    });
    // Powers of two, so that few programs are captured.
    const count = 2 ** Math.ceil(Math.log2(places.length));
    const padded = (values: readonly number[]): Tensor => {
      const data = new Int32Array(count);
      data.set(values);
      return tensor(data, { shape: [count] });
    };
    const scores = scoring(model)({
      inputIds: tensor(inputIds, { shape: [batch.length, width] }),
      places: padded(places),
      targets: padded(targets),
    });
    const logProbs = (await scores.logProbs.data()) as Float32Array;
    const isMost = await scores.isMost.data();
    let at = 0;
    for (const { index, targets: own } of batch.flatMap(({ members }) => members)) {
      const end = at + own.length;
      const values = logProbs.slice(at, end);
      const isGreedy = Array.from(isMost.subarray(at, end)).every((yes) => Boolean(yes));
      results[index] = { logProbs: values, logLikelihood: values.reduce((sum, x) => sum + x, 0), isGreedy };
      onResult?.(index, results[index]);
      at = end;
      done++;
    }
    onProgress?.(done);
  });
  return results;
}

/** A continuation's tokens, and which it is. */
interface Member {
  readonly index: number;
  readonly targets: readonly number[];
}

/**
 * The rows with those of equal tokens once: choices of one token each after one context, and what is asked
 * several times, cost one row.
 */
function sharedRows(rows: readonly { readonly inputIds: Int32Array; readonly targets: readonly number[] }[]) {
  const known = new Map<string, { readonly inputIds: Int32Array; readonly members: Member[] }>();
  rows.forEach(({ inputIds, targets }, index) => {
    const key = inputIds.join();
    const row = known.get(key);
    if (row) row.members.push({ index, targets });
    else known.set(key, { inputIds, members: [{ index, targets }] });
  });
  return [...known.values()];
}

/**
 * A text and what follows it as tokens, as lm-evaluation-harness takes them: both are encoded together, for a
 * tokenizer may join what stands on either side, and white space at the context's end goes to the
 * continuation. What the tokenizer puts before every text (Llama's <s>) is part of the context. An empty
 * context is the token that begins texts, or else the one that ends them; a continuation that begins with it
 * itself has it once.
 *
 * @example
 * const { continuation } = encodeContinuation(await Tokenizer.gpt2(), 'The state of the', ' Union');
 * continuation; // [4479]
 */
export function encodeContinuation(
  tokenizer: TextTokenizer,
  context: string,
  continuation: string,
  { bosTokenId = tokenizer.bosTokenId, eosTokenId = tokenizer.eosTokenId }: SpecialTokens = {},
): Continuation {
  const before = context.trimEnd();
  const first = [bosTokenId ?? eosTokenId ?? []].flat().slice(0, 1);
  if (before === '') {
    const ids = Array.from(tokenizer.idsOf(context + continuation));
    return { context: first, continuation: ids[0] === first[0] ? ids.slice(1) : ids };
  }
  const whole = textIds(tokenizer, context + continuation, first[0]);
  const { length } = textIds(tokenizer, before, first[0]);
  return { context: whole.slice(0, length), continuation: whole.slice(length) };
}

/**
 * What the model reads of a continuation and its context, and the tokens that it is to predict at the end.
 */
function rowOf({ context, continuation }: Continuation, index: number, maxLength: number, vocabSize: number) {
  const [before, targets] = [Array.from(context), Array.from(continuation)];
  const name = `logLikelihoods: ${before.length === 0 ? 'context' : 'continuation'} ${index}`;
  if (before.length === 0) throw new Error(`${name} is empty; give a text, or the token that begins texts`);
  if (targets.length === 0) throw new Error(`${name} is empty; give at least one token`);
  if (targets.length > maxLength)
    throw new Error(
      `${name} has ${targets.length} tokens, and the model reads at most ${maxLength}; score it in parts`,
    );
  const all = [...before, ...targets];
  const bad = all.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (bad !== undefined)
    throw new Error(
      `${name} or its context has the token ${bad}, which is outside the model's vocabulary, 0 to ${vocabSize - 1}; ` +
        'use the tokenizer the model was trained with',
    );
  return { inputIds: Int32Array.from(all.slice(-(maxLength + 1), -1)), targets };
}
