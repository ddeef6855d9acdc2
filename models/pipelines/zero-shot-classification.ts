import { highest } from '../../common/collections.ts';
import { softmax } from '../generation/processors.ts';
import { readRows, textRows } from './encoder.ts';
import type { EncoderOptions } from './encoder.ts';
import { sequenceLogits } from './text-classification.ts';
import type { TextClassifier } from './text-classification.ts';

/** A text and its labels, the most probable first. */
export interface ZeroShotLabels {
  readonly sequence: string;
  readonly labels: readonly string[];
  readonly scores: readonly number[];
}

export interface ZeroShotOptions extends EncoderOptions {
  /** Makes a sentence of each label, at {}; default "This example is {}." */
  readonly hypothesisTemplate?: string;
  /** Each label may hold or not, by itself; default false: their scores sum to 1. */
  readonly multiLabel?: boolean;
}

/** The labels of a list, or of a text with commas between them. Error: none. */
export function candidatesOf(candidateLabels: string | readonly string[], task = 'zero-shot-classification'): string[] {
  const candidates = (typeof candidateLabels === 'string' ? candidateLabels.split(',') : candidateLabels)
    .map((label) => label.trim())
    .filter((label) => label !== '');
  if (candidates.length === 0) throw new Error(`${task}: there are no candidate labels; give one or more`);
  return candidates;
}

/**
 * Labels for each text by a model that was trained to tell whether a sentence follows from another (Yin et
 * al. 2019), as Transformers' ZeroShotClassificationPipeline: the logit of entailment of each label's
 * sentence. Texts are cut to what the model reads, the labels never.
 */
export async function classifyZeroShot(
  classifier: TextClassifier,
  texts: readonly string[],
  candidateLabels: string | readonly string[],
  options: ZeroShotOptions = {},
): Promise<ZeroShotLabels[]> {
  const { hypothesisTemplate = 'This example is {}.', multiLabel = false } = options;
  const candidates = candidatesOf(candidateLabels);
  if (!hypothesisTemplate.includes('{}'))
    throw new Error(
      `zero-shot-classification: hypothesisTemplate "${hypothesisTemplate}" has no {} for the label; put it in`,
    );
  const { labels } = classifier.model.config;
  const entailment = labels.findIndex((label) => /^entail/i.test(label));
  if (entailment < 0)
    throw new Error(
      `zero-shot-classification: the model tells ${labels.slice(0, 6).join(', ')} apart, and none of these is ` +
        'entailment; it takes a model trained on natural language inference, or one that continues texts',
    );
  const contradiction = entailment === 0 ? labels.length - 1 : 0;
  const pairs = texts.flatMap((text) =>
    candidates.map((label) => [text, hypothesisTemplate.replaceAll('{}', label)] as const),
  );
  const rows = textRows(classifier, pairs, { truncation: 'only_first' });
  const logits = await readRows(classifier, rows, sequenceLogits, options);
  return texts.map((sequence, i) => {
    const own = logits.slice(i * candidates.length, (i + 1) * candidates.length);
    const scores =
      multiLabel || candidates.length === 1
        ? own.map((row) => softmax([row[contradiction]!, row[entailment]!])[1]!)
        : softmax(own.map((row) => row[entailment]!));
    const order = highest(scores, scores.length);
    return { sequence, labels: order.map((k) => candidates[k]!), scores: order.map((k) => scores[k]!) };
  });
}
