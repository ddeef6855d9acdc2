import { answerPositions, questionFeatures } from '../../models/pipelines/question-answering/features.ts';
import type { FeatureOptions } from '../../models/index.ts';
import { rowLimits } from '../../models/index.ts';
import type { AnyTokenizer, QuestionAnsweringModel } from '../../models/index.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { endlessBatches } from '../data/batches.ts';
import type { BatchOptions } from '../data/batches.ts';
import { paddedArrays, tokensOf } from '../data/tokenised.ts';
import type { TrainingTask } from '../objectives/task.ts';
import type { QuestionExample } from './data.ts';

/** A row of tokens with the places of its answer's first and last token; 0 where it holds none. */
export interface LabelledFeature extends TokenRow {
  readonly from: number;
  readonly to: number;
}

/** The rows to train on, and how many answers are whole in none of their question's rows. */
export interface TrainingFeatures {
  readonly features: readonly LabelledFeature[];
  readonly lost: number;
}

/**
 * Rows of tokens to train on, as run_qa makes them: the first answer counts; a part of a context that does
 * not hold it whole is labelled "no answer".
 */
export function trainingFeatures(
  tokenizer: AnyTokenizer,
  examples: readonly QuestionExample[],
  options: FeatureOptions,
): TrainingFeatures {
  const answered = new Set<number>();
  const features = questionFeatures(tokenizer, examples, options).map((feature): LabelledFeature => {
    const { question, inputIds, tokenTypeIds } = feature;
    const [answer] = examples[question]!.answers;
    const [from, to] = answer ? answerPositions(feature, answer.start, answer.start + answer.text.length) : [0, 0];
    if (!answer || from > 0) answered.add(question);
    return { inputIds, tokenTypeIds, from, to };
  });
  return { features, lost: examples.length - answered.size };
}

/** Extractive question answering as a training task: every row once an epoch, in batches of like length. */
export function questionAnswering(
  model: QuestionAnsweringModel,
  features: readonly LabelledFeature[],
  options: BatchOptions,
  padTokenId: number,
): TrainingTask {
  const lengths = features.map(({ inputIds }) => inputIds.length);
  const { batchesPerEpoch, indices } = endlessBatches(lengths, options);
  return {
    name: 'question-answering',
    batchesPerEpoch,
    examples: { labels: { loss: 'startPositions' } },
    batch(index) {
      const rows = indices(index).map((i) => features[i]!);
      const positions = (side: 'from' | 'to') => ({
        data: Int32Array.from(rows, (row) => row[side]),
        shape: [rows.length],
      });
      return {
        arrays: {
          ...paddedArrays(rows, padTokenId, rowLimits(model)),
          startPositions: positions('from'),
          endPositions: positions('to'),
        },
        counts: { loss: rows.length },
        tokens: tokensOf(rows),
      };
    },
    losses: ({ inputIds, ...rest }) => ({ loss: model.forward({ inputIds: inputIds!, ...rest }).loss! }),
  };
}
