// Logits of first and last tokens to answers, in the two ways that Transformers has: that of its pipeline,
// and that of run_qa, which evaluates.
import { highest } from '../../../common/collections.ts';
import type { QuestionFeature } from './features.ts';

/** What the model gives for a row of T tokens: for each, how well the answer begins and ends there. */
export interface SpanLogits {
  readonly start: Float32Array;
  readonly end: Float32Array;
}

export interface Answer {
  /** Probability. */
  readonly score: number;
  /** The answer is `context.slice(start, end)`: UTF-16 units, where Transformers counts code points. */
  readonly start: number;
  readonly end: number;
  readonly answer: string;
}

export interface AnswerOptions {
  /** Answers at most; default 1. */
  readonly topK?: number;
  /** Tokens of an answer at most; default 15. */
  readonly maxAnswerLen?: number;
  /** Whether "there is no answer" is an answer too: the empty one, at 0. Default false. */
  readonly handleImpossibleAnswer?: boolean;
  /** Whether answers begin and end with whole words; default true. */
  readonly alignToWords?: boolean;
}

/**
 * The best answers to one question, best first, from all parts of its context, as in Transformers'
 * QuestionAnsweringPipeline: the score of a span is the probability of its first token times that of its
 * last, each a softmax over the part's tokens and [CLS]; scores of spans of the same text (in lower case) are
 * added. There are fewer than `topK` where the context has no more; of a context without tokens the answer is
 * '' with the score 0.
 */
export function bestAnswers(
  context: string,
  features: readonly QuestionFeature[],
  logits: readonly SpanLogits[],
  options: AnswerOptions = {},
): Answer[] {
  const { topK = 1, maxAnswerLen = 15, handleImpossibleAnswer = false, alignToWords = true } = options;
  checkCount('topK', topK);
  checkCount('maxAnswerLen', maxAnswerLen);
  // Spans of the same word become one answer.
  const count = alignToWords ? 2 * topK + 10 : topK;
  const byText = new Map<string, { score: number; start: number; end: number; answer: string }>();
  let noAnswer = Infinity;
  features.forEach((feature, i) => {
    const [first, last] = [probabilities(feature, logits[i]!.start), probabilities(feature, logits[i]!.end)];
    noAnswer = Math.min(noAnswer, first[0]! * last[0]!);
    for (const { from, to, score } of bestSpans(feature, maxAnswerLen, count, (a, b) => first[a]! * last[b]!)) {
      const [start, end] = alignToWords ? wholeWords(feature, from, to) : [feature.starts[from]!, feature.ends[to]!];
      const answer = context.slice(start, end);
      const same = byText.get(answer.toLowerCase());
      if (same) same.score += score;
      else byText.set(answer.toLowerCase(), { score, start, end, answer });
    }
  });
  const answers: Answer[] = [...byText.values()];
  if (answers.length === 0) answers.push({ score: 0, start: 0, end: 0, answer: '' });
  if (handleImpossibleAnswer) answers.push({ score: noAnswer, start: 0, end: 0, answer: '' });
  return answers.sort((a, b) => b.score - a.score).slice(0, topK);
}

/** Softmax over [CLS] and the context's tokens; 0 elsewhere. */
function probabilities({ first, stop }: QuestionFeature, logits: Float32Array): Float64Array {
  let most = logits[0]!;
  for (let i = first; i < stop; i++) most = Math.max(most, logits[i]!);
  const result = new Float64Array(logits.length);
  result[0] = Math.exp(logits[0]! - most);
  let sum = result[0];
  for (let i = first; i < stop; i++) sum += result[i] = Math.exp(logits[i]! - most);
  return result.map((value) => value / sum);
}

interface Span {
  readonly from: number;
  readonly to: number;
  readonly score: number;
}

/** The `count` best spans of up to `longest` tokens of the context, best first. */
function bestSpans(
  { first, stop }: QuestionFeature,
  longest: number,
  count: number,
  score: (from: number, to: number) => number,
): Span[] {
  const best: Span[] = [];
  for (let from = first; from < stop; from++) {
    for (let to = from; to < Math.min(from + longest, stop); to++) {
      const span = { from, to, score: score(from, to) };
      if (best.length === count && !(span.score > best[count - 1]!.score)) continue;
      if (best.length === count) best.pop();
      let at = best.length;
      while (at > 0 && best[at - 1]!.score < span.score) at--;
      best.splice(at, 0, span);
    }
  }
  return best;
}

/** Where the words of two tokens begin and end, as far as they are in this part. */
function wholeWords({ first, stop, starts, ends, words }: QuestionFeature, from: number, to: number): [number, number] {
  while (from > first && words[from - 1] === words[from]) from--;
  while (to + 1 < stop && words[to + 1] === words[to]) to++;
  return [starts[from]!, ends[to]!];
}

export interface PredictionOptions {
  /** First tokens, last tokens, and answers that are looked at; default 20. */
  readonly nBestSize?: number;
  /** Tokens of an answer at most; default 30. */
  readonly maxAnswerLength?: number;
  /** Whether there may be no answer (SQuAD 2.0); default false. */
  readonly version2?: boolean;
  /**
   * With version2: there is no answer where its score is above that of the best answer by more than this;
   * default 0.
   */
  readonly nullScoreDiffThreshold?: number;
}

/** One of the best answers; no answer is the text '' at 0. */
export interface NBestAnswer {
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly startLogit: number;
  readonly endLogit: number;
  /** Softmax of the sums of the two logits over the best answers. */
  readonly probability: number;
}

export interface Prediction {
  /** The answer that is scored; '' for none. */
  readonly text: string;
  readonly nBest: readonly NBestAnswer[];
  /** With version2: the score of no answer less that of the best answer. */
  readonly nullScoreDiff?: number;
}

/**
 * The answer to one question from all parts of its context, as postprocess_qa_predictions of Transformers'
 * run_qa: the score of a span is the sum of its two logits, that of no answer the least sum at [CLS] among
 * the parts. Where no span is left at all, which run_qa answers with the word "empty", the answer is ''.
 */
export function predictAnswer(
  context: string,
  features: readonly QuestionFeature[],
  logits: readonly SpanLogits[],
  options: PredictionOptions = {},
): Prediction {
  const { nBestSize = 20, maxAnswerLength = 30, version2 = false, nullScoreDiffThreshold = 0 } = options;
  checkCount('nBestSize', nBestSize);
  checkCount('maxAnswerLength', maxAnswerLength);
  const found: Candidate[] = [];
  let none: Candidate | undefined;
  features.forEach(({ first, stop, starts, ends }, i) => {
    const { start, end } = logits[i]!;
    const scored = (from: number, to: number, at: readonly [number, number]): Candidate => ({
      start: at[0],
      end: at[1],
      startLogit: start[from]!,
      endLogit: end[to]!,
      score: Math.fround(start[from]! + end[to]!), // f32 like the reference, whose ties are then these
    });
    const empty = scored(0, 0, [0, 0]);
    if (!none || none.score > empty.score) none = empty;
    const lasts = highest(end, nBestSize).filter((to) => to >= first && to < stop);
    for (const from of highest(start, nBestSize)) {
      if (from < first || from >= stop) continue;
      for (const to of lasts)
        if (to >= from && to - from < maxAnswerLength) found.push(scored(from, to, [starts[from]!, ends[to]!]));
    }
  });
  const nothing = none!;
  const ranked = [...found, ...(version2 ? [nothing] : [])].sort((a, b) => b.score - a.score);
  const kept = ranked.slice(0, nBestSize);
  if (version2 && !kept.includes(nothing)) kept.push(nothing);

  const most = kept[0]?.score ?? 0;
  const sum = kept.reduce((total, { score }) => total + Math.exp(score - most), 0);
  const nBest = kept.map(({ score, ...answer }) => ({
    ...answer,
    text: context.slice(answer.start, answer.end),
    probability: Math.exp(score - most) / sum,
  }));
  const best = nBest.find(({ text }) => text !== '');
  if (!version2) return { text: best?.text ?? '', nBest };
  const nullScoreDiff = nothing.score - (best?.startLogit ?? 0) - (best?.endLogit ?? 0);
  return { text: nullScoreDiff > nullScoreDiffThreshold ? '' : (best?.text ?? ''), nBest, nullScoreDiff };
}

type Candidate = Omit<NBestAnswer, 'text' | 'probability'> & { readonly score: number };

function checkCount(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`question answering: ${name} must be a whole number of at least 1, got ${value}`);
}
