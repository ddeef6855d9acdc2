import type { FeatureOptions, Prediction, QuestionAnswerer } from '../../models/index.ts';
import { predictAnswer } from '../../models/pipelines/question-answering/decode.ts';
import { questionFeatures } from '../../models/pipelines/question-answering/features.ts';
import { byQuestion, spanLogits } from '../../models/pipelines/question-answering/pipeline.ts';
import { squad, squadV2 } from '../metrics/squad.ts';
import type { SquadScore } from '../metrics/squad.ts';
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
  const parts = byQuestion(examples.length, features, await spanLogits(answerer, features, batchSize));
  const decoding = { version2, nullScoreDiffThreshold: nullThreshold };
  return parts.map((part, i) => predictAnswer(examples[i]!.context, part.features, part.logits, decoding));
}

/**
 * Exact match and F1 of predictions by SQuAD's metric: that of 2.0 where a question has no answer, else of
 * 1.1.
 */
export function scoreAnswers(
  examples: readonly QuestionExample[],
  predictions: readonly Pick<Prediction, 'text'>[],
): SquadScore {
  const texts = predictions.map(({ text }) => text);
  const answers = examples.map((example) => example.answers.map(({ text }) => text));
  return answers.every((own) => own.length > 0) ? squad(texts, answers) : squadV2(texts, answers);
}

/**
 * What answers have to be better than: of the context's sentences, the one with most of the question's words.
 */
export function sentenceBaseline({ question, context }: Pick<QuestionExample, 'question' | 'context'>): string {
  const asked = new Set(wordsOf(question));
  let best = { sentence: '', shared: -1 };
  for (const [sentence] of context.matchAll(/[^.!?。！？]+(?:[.!?。！？]+|$)(?!\d)/gu)) {
    const shared = new Set(wordsOf(sentence).filter((word) => asked.has(word))).size;
    if (shared > best.shared) best = { sentence: sentence.trim(), shared };
  }
  return best.sentence;
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
