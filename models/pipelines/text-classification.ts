import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { highest } from '../../common/collections.ts';
import { exitEarly, hasExits } from '../bert/early-exit.ts';
import type { BertInputs } from '../bert/model.ts';
import type { SequenceClassificationModel } from '../auto.ts';
import type { ModelConfig } from '../config.ts';
import type { LoadOptions } from '../pretrained.ts';
import type { TextPair } from '../tokenizer/encode-options.ts';
import { softmax } from '../generation/processors.ts';
import { computing, loadTextEncoder, readRows, textRows } from './encoder.ts';
import type { EncoderOptions, TextEncoder } from './encoder.ts';

/** A text, or two of which the relation is asked for. */
export type ClassifiedText = string | { readonly text: string; readonly textPair: string };

export interface ClassLabel {
  readonly label: string;
  readonly score: number;
}

export interface TextClassificationOptions extends EncoderOptions {
  /** How many labels of each text, the most probable first; null for all. Default 1. */
  readonly topK?: number | null;
  /**
   * What makes scores of the logits. Default: sigmoid where several labels may hold or there is one, none for
   * a regression, else softmax.
   */
  readonly functionToApply?: 'sigmoid' | 'softmax' | 'none';
}

export type TextClassifier = TextEncoder<SequenceClassificationModel>;

export const loadTextClassifier = (id: string, options?: LoadOptions): Promise<TextClassifier> =>
  loadTextEncoder(id, 'ForSequenceClassification', options);

const wholeLogits = computing('text classification', (model: SequenceClassificationModel, batch: BertInputs) => {
  return model.forward(batch).logits;
});

/** The logits of each row, [numLabels]; of a model with off-ramps those where the row leaves. */
export const sequenceLogits = (
  model: SequenceClassificationModel,
): ((batch: BertInputs) => Tensor | Promise<Tensor>) =>
  hasExits(model) ? async (batch) => tensor((await exitEarly(model, batch)).logits) : wholeLogits(model);

export const pairOf = (input: ClassifiedText): string | TextPair =>
  typeof input === 'string' ? input : [input.text, input.textPair];

/** The labels of each text, as Transformers' TextClassificationPipeline. */
export async function classifyTexts(
  classifier: TextClassifier,
  texts: readonly ClassifiedText[],
  options: TextClassificationOptions = {},
): Promise<ClassLabel[][]> {
  const { truncation, topK = 1, functionToApply } = options;
  const rank = scoreLabels('text-classification', classifier.model.config, { topK, functionToApply });
  const rows = textRows(classifier, texts.map(pairOf), { truncation });
  return (await readRows(classifier, rows, sequenceLogits, options)).map(rank);
}

/** Makes of a row of logits the labels with the highest scores. */
export function scoreLabels(
  task: string,
  { labels, ...config }: ModelConfig,
  { topK, functionToApply }: { readonly topK: number | null } & Pick<TextClassificationOptions, 'functionToApply'>,
): (logits: Float32Array) => ClassLabel[] {
  const { problemType = null } = config as { readonly problemType?: string | null };
  const count = topK ?? labels.length;
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`${task}: topK must be a whole number of at least 1, or null for all, got ${topK}`);
  const apply = applied[functionToApply ?? defaultFunction(labels.length, problemType)];
  return (logits) => {
    const scores = apply(logits);
    return highest(scores, count).map((i) => ({ label: labels[i]!, score: scores[i]! }));
  };
}

const applied = {
  sigmoid: (logits: Float32Array) => Array.from(logits, (x) => 1 / (1 + Math.exp(-x))),
  softmax: (logits: Float32Array) => Array.from(softmax(logits)),
  none: (logits: Float32Array) => Array.from(logits),
} as const;

function defaultFunction(count: number, problemType: string | null): keyof typeof applied {
  if (problemType === 'regression') return 'none';
  return problemType === 'multi_label_classification' || count === 1 ? 'sigmoid' : 'softmax';
}
