import { checkRows, checkTexts, splitWords } from './text.ts';

/** Percentages, 0 to 100. */
export interface SquadScore {
  /** Answers that are equal to a true one once normalized. */
  readonly exactMatch: number;
  /** Mean F1 of an answer's words, against the true answer of the best. */
  readonly f1: number;
}

export interface SquadV2Score extends SquadScore {
  /** Scores of the questions that have answers; undefined where there are none. */
  readonly hasAnswer?: SquadScore & { readonly total: number };
  /** Scores of the questions that have none; undefined where there are none. */
  readonly noAnswer?: SquadScore & { readonly total: number };
  readonly total: number;
  /** With `noAnswerProbabilities`: the scores at the thresholds that would have been best for each. */
  readonly best?: {
    readonly exactMatch: number;
    readonly exactMatchThreshold: number;
    readonly f1: number;
    readonly f1Threshold: number;
  };
}

export interface SquadV2Options {
  /** Of each question, how likely it has no answer, or any number that grows with it; default 0. */
  readonly noAnswerProbabilities?: readonly number[];
  /** Above it a question counts as answered by nothing; default 1. */
  readonly noAnswerThreshold?: number;
}

/**
 * Lower case, without ASCII punctuation, without a, an and the, one space between words: SQuAD's
 * normalization.
 *
 * @example
 * normalizeAnswer('The  Quick, brown fox!'); // 'quick brown fox'
 */
export function normalizeAnswer(text: string): string {
  const words = text.toLowerCase().replace(/[!-/:-@[-`{-~]/g, '');
  return splitWords(words.replace(/(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu, ' ')).join(' ');
}

/**
 * Exact match and F1 of SQuAD 1.1 (Rajpurkar et al. 2016), equal to its official script. `answers[i]`: the
 * true answers of question i, at least one. Two answers without a word in common have F1 0, empty ones too.
 *
 * @example
 * squad(['the whale', 'Ahab'], [['whale'], ['Ishmael']]); // { exactMatch: 50, f1: 50 }
 */
export function squad(predictions: readonly string[], answers: readonly (readonly string[])[]): SquadScore {
  checkAnswers('squad', predictions, answers);
  const row = answers.findIndex((own) => own.length === 0);
  if (row !== -1)
    throw new Error(`squad: answers[${row}] is an empty list; give at least one, or use squadV2 for unanswerable ones`);
  const scores = predictions.map((prediction, i) => bestScore(prediction, answers[i]!, false));
  return meanScore(scores);
}

/**
 * Exact match and F1 of SQuAD 2.0 (Rajpurkar et al. 2018), equal to its official script, evaluate-v2.0, as
 * Transformers has it. `answers[i]` is an empty list where question i has no answer; the prediction for that
 * is `''`.
 *
 * @example
 * squadV2(['', 'Ahab'], [[], ['Ahab']]).exactMatch; // 100
 */
export function squadV2(
  predictions: readonly string[],
  answers: readonly (readonly string[])[],
  options: SquadV2Options = {},
): SquadV2Score {
  checkAnswers('squadV2', predictions, answers);
  const { noAnswerProbabilities, noAnswerThreshold = 1 } = options;
  if (noAnswerProbabilities) checkProbabilities(predictions, noAnswerProbabilities);
  const raw = predictions.map((prediction, i) => {
    const real = answers[i]!.filter((answer) => normalizeAnswer(answer) !== '');
    return bestScore(prediction, real.length > 0 ? real : [''], true);
  });
  const hasAnswer = answers.map((own) => own.length > 0);
  const scores = raw.map((score, i) => {
    if (!((noAnswerProbabilities?.[i] ?? 0) > noAnswerThreshold)) return score;
    return hasAnswer[i] ? { exactMatch: 0, f1: 0 } : { exactMatch: 1, f1: 1 };
  });
  const part = (name: 'hasAnswer' | 'noAnswer') => {
    const own = scores.filter((_, i) => hasAnswer[i] === (name === 'hasAnswer'));
    return own.length > 0 ? { [name]: { ...meanScore(own), total: own.length } } : {};
  };
  const bestOf = (name: keyof SquadScore) =>
    bestThreshold({ predictions, hasAnswer, scores: raw.map((score) => score[name]), noAnswerProbabilities });
  const [exactMatch, f1] = [bestOf('exactMatch'), bestOf('f1')];
  return {
    ...meanScore(scores),
    total: scores.length,
    ...part('hasAnswer'),
    ...part('noAnswer'),
    ...(exactMatch && f1
      ? {
          best: {
            exactMatch: exactMatch.score,
            exactMatchThreshold: exactMatch.threshold,
            f1: f1.score,
            f1Threshold: f1.threshold,
          },
        }
      : {}),
  };
}

/**
 * The threshold of no answer at which the mean score is highest; of several the lowest, 0 for no answers at
 * all.
 */
function bestThreshold(questions: {
  readonly predictions: readonly string[];
  readonly hasAnswer: readonly boolean[];
  readonly scores: readonly number[];
  readonly noAnswerProbabilities: readonly number[] | undefined;
}): { score: number; threshold: number } | undefined {
  const { predictions, hasAnswer, scores, noAnswerProbabilities: probabilities } = questions;
  if (!probabilities) return undefined;
  let sum = hasAnswer.filter((has) => !has).length;
  let [best, threshold] = [sum, 0];
  const order = scores.map((_, i) => i).sort((a, b) => probabilities[a]! - probabilities[b]!);
  for (const i of order) {
    sum += hasAnswer[i] ? scores[i]! : predictions[i] === '' ? 0 : -1;
    if (sum > best) [best, threshold] = [sum, probabilities[i]!];
  }
  return { score: (100 * best) / scores.length, threshold };
}

/** The best exact match and the best F1, 0 to 1, against any of the answers. */
function bestScore(prediction: string, answers: readonly string[], emptyMatchesEmpty: boolean): SquadScore {
  const own = normalizeAnswer(prediction);
  const others = answers.map(normalizeAnswer);
  const f1 = others.reduce((best, other) => Math.max(best, wordF1(own, other, emptyMatchesEmpty)), 0);
  return { exactMatch: others.includes(own) ? 1 : 0, f1 };
}

function wordF1(prediction: string, answer: string, emptyMatchesEmpty: boolean): number {
  if (emptyMatchesEmpty && prediction === '' && answer === '') return 1;
  const [own, other] = [splitWords(prediction), splitWords(answer)];
  const left = new Map<string, number>();
  for (const word of other) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of own) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    common++;
    left.set(word, count - 1);
  }
  if (common === 0) return 0;
  const [precision, recall] = [common / own.length, common / other.length];
  return (2 * precision * recall) / (precision + recall);
}

function meanScore(scores: readonly SquadScore[]): SquadScore {
  const mean = (name: keyof SquadScore): number =>
    (100 * scores.reduce((sum, score) => sum + score[name], 0)) / scores.length;
  return { exactMatch: mean('exactMatch'), f1: mean('f1') };
}

function checkAnswers(op: string, predictions: readonly string[], answers: readonly (readonly string[])[]): void {
  checkRows(op, predictions, answers, 'answers', 'predictions');
  answers.forEach((own, i) => {
    if (!Array.isArray(own) || own.length > 0) checkTexts(op, own, `answers[${i}]`);
  });
}

function checkProbabilities(predictions: readonly string[], probabilities: readonly number[]): void {
  if (probabilities.length !== predictions.length)
    throw new Error(
      `squadV2: ${predictions.length} predictions but ${probabilities.length} noAnswerProbabilities; give one for each`,
    );
  const wrong = probabilities.findIndex((value) => typeof value !== 'number' || Number.isNaN(value));
  if (wrong !== -1)
    throw new Error(`squadV2: noAnswerProbabilities[${wrong}] is ${String(probabilities[wrong])}; give a number`);
}
