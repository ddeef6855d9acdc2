import { tensor } from '../../../autograd/index.ts';
import type { Tensor } from '../../../autograd/index.ts';
import { loadModel } from '../../auto.ts';
import { BertForQuestionAnswering } from '../../bert/heads.ts';
import type { BertInputs } from '../../bert/model.ts';
import { resolveModelFolder } from '../../io/resolve.ts';
import type { LoadOptions } from '../../pretrained.ts';
import { BertTokenizer } from '../../tokenizer/bert-tokenizer.ts';
import { compiledFor, forEachBatch, padRows } from '../rows.ts';
import { bestAnswers } from './decode.ts';
import type { Answer, AnswerOptions, SpanLogits } from './decode.ts';
import { questionFeatures } from './features.ts';
import type { FeatureOptions, Question, QuestionFeature } from './features.ts';

/** A model that answers questions, with its tokenizer. */
export interface QuestionAnswerer {
  readonly model: BertForQuestionAnswering;
  readonly tokenizer: BertTokenizer;
}

/**
 * Loads a model that answers questions from a folder, the Hugging Face cache or the hub. Error, one line: the
 * folder's model is of another kind.
 */
export async function loadQuestionAnswerer(id: string, options: LoadOptions = {}): Promise<QuestionAnswerer> {
  const folder = await resolveModelFolder(id, options);
  const model = await loadModel(folder, options);
  if (!(model instanceof BertForQuestionAnswering))
    throw new Error(
      `${folder} holds a ${model.constructor.name}, which answers no questions; fine-tune it for that ` +
        '(train/finetune-qa.ts), or pass the folder of a BertForQuestionAnswering',
    );
  return { model, tokenizer: await BertTokenizer.fromPretrained(folder) };
}

export interface QuestionAnsweringOptions extends AnswerOptions {
  /** Tokens of a row, special tokens included; default 384, less where tokenizer or model take less. */
  readonly maxSeqLen?: number;
  /** Tokens that a part of a context repeats from the part before; default 128, at most half of maxSeqLen. */
  readonly docStride?: number;
  /** Rows at once; default 16. */
  readonly batchSize?: number;
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
 */
export async function answerQuestions(
  { model, tokenizer }: QuestionAnswerer,
  questions: readonly Question[],
  options: QuestionAnsweringOptions = {},
): Promise<Answer[][]> {
  const { maxSeqLen, docStride, batchSize = 16, ...decoding } = options;
  questions.forEach((asked, i) => checkTexts(asked, i));
  const lengths = rowLengths({ model, tokenizer }, { maxLength: maxSeqLen, docStride });
  const features = questionFeatures(tokenizer, questions, lengths);
  const logits = await spanLogits({ model, tokenizer }, features, batchSize);
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
  const positions = model.config.maxPositionEmbeddings;
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

const forwardOf = compiledFor('question answering', (model: BertForQuestionAnswering, batch: BertInputs) => {
  const { startLogits, endLogits } = model.forward(batch);
  return { startLogits, endLogits };
});

/** Runs rows through the model in batches of like length, dropout off: the logits of each, unpadded. */
export async function spanLogits(
  { model, tokenizer }: QuestionAnswerer,
  features: readonly QuestionFeature[],
  batchSize: number,
): Promise<SpanLogits[]> {
  const positions = model.config.maxPositionEmbeddings;
  const logits = new Array<SpanLogits>(features.length);
  await forEachBatch(model, features, batchSize, async (indices) => {
    const rows = indices.map((i) => features[i]!);
    const { shape, ...arrays } = padRows(rows, tokenizer.padTokenId, positions);
    const onDevice = (data: Int32Array): Tensor => tensor(data, { shape: [...shape] });
    const { startLogits, endLogits } = forwardOf(model)({
      inputIds: onDevice(arrays.inputIds),
      attentionMask: onDevice(arrays.attentionMask),
      tokenTypeIds: onDevice(arrays.tokenTypeIds),
    });
    const [start, end] = (await Promise.all([startLogits.data(), endLogits.data()])) as [Float32Array, Float32Array];
    indices.forEach((i, row) => {
      const of = (all: Float32Array): Float32Array =>
        all.slice(row * shape[1], row * shape[1] + rows[row]!.inputIds.length);
      logits[i] = { start: of(start), end: of(end) };
    });
  });
  return logits;
}
