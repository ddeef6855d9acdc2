import type { FeatureOptions, Prediction, QuestionAnswerer } from '../../models/index.ts';
import { predictAnswer } from '../../models/pipelines/question-answering/decode.ts';
import { questionFeatures } from '../../models/pipelines/question-answering/features.ts';
import { byQuestion, spanLogits } from '../../models/pipelines/question-answering/pipeline.ts';
import { squad, squadV2 } from '../metrics/squad.ts';
import type { SquadScore, SquadV2Score } from '../metrics/squad.ts';
import type { QuestionExample } from './data.ts';

export interface EvaluateOptions extends FeatureOptions {
  readonly batchSize: number;
  /** Whether questions may have no answer. */
  readonly version2: boolean;
  /** With version2: there is none where its score is above the best answer's by more than this. */
  readonly nullThreshold: number;
}

/** Answers questions as run_qa does, see `predictAnswer`. */
export async function predictAnswers(
  answerer: QuestionAnswerer,
  examples: readonly QuestionExample[],
  { batchSize, version2, nullThreshold, ...options }: EvaluateOptions,
): Promise<Prediction[]> {
  const features = questionFeatures(answerer.tokenizer, examples, options);
  const parts = byQuestion(examples.length, features, await spanLogits(answerer, features, { batchSize }));
  const decoding = { version2, nullScoreDiffThreshold: nullThreshold };
  return parts.map((part, i) => predictAnswer(examples[i]!.context, part.features, part.logits, decoding));
}

/** Percentages, 0 to 100; where questions may have no answer, also those of each kind. */
export type QuestionScore = SquadScore & Partial<SquadV2Score>;

/** What is scored of a prediction. */
type Scored = Pick<Prediction, 'text' | 'nullScoreDiff'> & { readonly nBest: readonly { readonly text: string }[] };

/** Exact match and F1 of predictions, by SQuAD's metric. */
export function scoreAnswers(
  examples: readonly QuestionExample[],
  predictions: readonly Scored[],
  { version2, nullThreshold }: Pick<EvaluateOptions, 'version2' | 'nullThreshold'>,
): QuestionScore {
  const answers = examples.map((example) => example.answers.map(({ text }) => text));
  if (!version2)
    return squad(
      predictions.map(({ text }) => text),
      answers,
    );
  // The metric itself turns answers into none above the threshold, and finds the threshold that is best.
  const some = predictions.map(({ nBest }) => nBest.find(({ text }) => text !== '')?.text ?? '');
  return squadV2(some, answers, {
    noAnswerProbabilities: predictions.map(({ nullScoreDiff }) => nullScoreDiff!),
    noAnswerThreshold: nullThreshold,
  });
}

/**
 * What answers have to be better than: of the context's sentences, the one with most of the question's words.
 */
export function sentenceBaseline({ question, context }: Pick<QuestionExample, 'question' | 'context'>): string {
  const asked = new Set(wordsOf(question));
  let best = { sentence: '', shared: -1 };
  for (const sentence of context.split(/(?<=[.!?])\s+|(?<=[。！？])/u)) {
    const shared = new Set(wordsOf(sentence).filter((word) => asked.has(word))).size;
    if (shared > best.shared) best = { sentence: sentence.trim(), shared };
  }
  return best.sentence;
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
