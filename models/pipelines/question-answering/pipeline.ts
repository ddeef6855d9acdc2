import { stack } from '../../../autograd/index.ts';
import type { QuestionAnsweringModel } from '../../auto.ts';
import { rowLimits } from '../../bert/model.ts';
import type { LoadOptions } from '../../pretrained.ts';
import { computing, loadTextEncoder, readRows } from '../encoder.ts';
import type { EncoderOptions, TextEncoder } from '../encoder.ts';
import { bestAnswers } from './decode.ts';
import type { Answer, AnswerOptions, SpanLogits } from './decode.ts';
import { questionFeatures } from './features.ts';
import type { FeatureOptions, Question, QuestionFeature } from './features.ts';

/** A model that answers questions, with its tokenizer. */
export type QuestionAnswerer = TextEncoder<QuestionAnsweringModel>;

/**
 * Loads a model that answers questions from a folder, the Hugging Face cache or the hub. Error, one line: the
 * folder has no head that answers questions.
 *
 * @example
 * const shape = { hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const folder = memoryFolder();
 * const model = BertForQuestionAnswering.fromConfig(shape);
 * await model.savePretrained(folder, { tokenizer: BertTokenizer.default() });
 * const answerer = await loadQuestionAnswerer(folder);
 */
export const loadQuestionAnswerer = (id: string, options: LoadOptions = {}): Promise<QuestionAnswerer> =>
  loadTextEncoder(id, 'ForQuestionAnswering', options);

export interface QuestionAnsweringOptions extends AnswerOptions, Pick<EncoderOptions, 'batchSize' | 'signal'> {
  /** Tokens of a row, special tokens included; default 384, less where tokenizer or model take less. */
  readonly maxSeqLen?: number;
  /** Tokens that a part of a context repeats from the part before; default 128, at most half of maxSeqLen. */
  readonly docStride?: number;
}

/**
 * Answers each question from its context: up to `topK` answers, best first, see `bestAnswers`. Places are in
 * UTF-16 units, as `slice` counts.
 *
 *     const { model, tokenizer } = await loadQuestionAnswerer('runs/squad');
 *     const [answers] = await answerQuestions({ model, tokenizer }, [{ question, context }]);
 *
 * Errors, each one line: an empty question or context, by its id or number; those of `questionFeatures`; more
 * tokens than the model has positions.
 *
 * @example
 * const shape = { hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const [model, tokenizer] = [BertForQuestionAnswering.fromConfig(shape), BertTokenizer.default()];
 * const question = { question: 'Who wrote it?', context: 'Melville wrote it.' };
 * const [[{ answer, start, end }]] = await answerQuestions({ model, tokenizer }, [question]);
 */
export async function answerQuestions(
  { model, tokenizer }: QuestionAnswerer,
  questions: readonly Question[],
  options: QuestionAnsweringOptions = {},
): Promise<Answer[][]> {
  const { maxSeqLen, docStride, batchSize, signal, ...decoding } = options;
  questions.forEach((asked, i) => checkTexts(asked, i));
  const lengths = rowLengths({ model, tokenizer }, { maxLength: maxSeqLen, docStride });
  const features = questionFeatures(tokenizer, questions, lengths);
  const logits = await spanLogits({ model, tokenizer }, features, { batchSize, signal });
  return byQuestion(questions.length, features, logits).map((parts, i) =>
    bestAnswers(questions[i]!.context, parts.features, parts.logits, decoding),
  );
}

/**
 * Lengths of rows with their defaults: 384 tokens, or as many as tokenizer and model take, and a stride of
 * 128, at most half of them. Error: rows longer than the model has positions for.
 */
export function rowLengths(
  { model, tokenizer }: QuestionAnswerer,
  { maxLength, docStride }: FeatureOptions,
): Required<FeatureOptions> {
  const { positions } = rowLimits(model);
  const length = maxLength ?? Math.min(384, tokenizer.modelMaxLength, positions);
  if (length > positions)
    throw new Error(
      `question answering: rows of ${length} tokens are too long, the model has positions for ${positions}; ` +
        `make them of at most ${positions}`,
    );
  return { maxLength: length, docStride: docStride ?? Math.min(128, Math.floor(length / 2)) };
}

function checkTexts(asked: Question, index: number): void {
  for (const name of ['question', 'context'] as const) {
    const text: unknown = asked[name];
    if (typeof text !== 'string' || text.trim() === '')
      throw new Error(
        `question ${asked.id ?? index}: its ${name} is ${typeof text === 'string' ? 'empty' : 'no text'}; ` +
          'give a question and a context to answer it from',
      );
  }
}

/** The parts of each question's context with their logits. */
export function byQuestion(
  count: number,
  features: readonly QuestionFeature[],
  logits: readonly SpanLogits[],
): { features: QuestionFeature[]; logits: SpanLogits[] }[] {
  const parts = Array.from({ length: count }, () => ({ features: [], logits: [] }) as ReturnType<typeof byQuestion>[0]);
  features.forEach((feature, i) => {
    parts[feature.question]!.features.push(feature);
    parts[feature.question]!.logits.push(logits[i]!);
  });
  return parts;
}

/** (B, T, 2): for each token, how well an answer begins and ends there. */
const forward = computing('question answering', (model: QuestionAnsweringModel, batch) => {
  const { startLogits, endLogits } = model.forward(batch);
  return stack([startLogits, endLogits], 2);
});

/** Runs rows through the model in batches of like length, dropout off: the logits of each, unpadded. */
export async function spanLogits(
  answerer: QuestionAnswerer,
  features: readonly QuestionFeature[],
  options: Pick<EncoderOptions, 'batchSize' | 'signal'>,
): Promise<SpanLogits[]> {
  const logits = await readRows(answerer, features, forward, { ...options, perToken: true });
  const side = (row: Float32Array, of: 0 | 1): Float32Array => row.filter((_, i) => i % 2 === of);
  return logits.map((row) => ({ start: side(row, 0), end: side(row, 1) }));
}
