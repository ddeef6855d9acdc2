import { paddingOf, rowLimits } from '../../models/index.ts';
import type { TokenClassificationModel } from '../../models/index.ts';
import { ignoredLabel } from '../../models/nn/token-loss.ts';
import { padRows } from '../../models/pipelines/rows.ts';
import { tokenLogits } from '../../models/pipelines/token-classification.ts';
import type { TokenClassifier } from '../../models/pipelines/token-classification.ts';
import { endlessBatches } from '../data/batches.ts';
import type { BatchOptions } from '../data/batches.ts';
import { hashOfJson } from '../data/text-hash.ts';
import { hashOfRows, paddedArrays, tokensOf } from '../data/tokenised.ts';
import { entityScores } from '../metrics/sequence-labels.ts';
import type { Scheme } from '../metrics/sequence-labels.ts';
import type { TrainingTask } from '../objectives/task.ts';
import { trainEpochs } from '../trainer/epochs.ts';
import type { FineTuneRun } from '../trainer/epochs.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import type { TaggedText } from './data.ts';
import { labelledRows } from './rows.ts';
import type { LabelledRow, RowLengths } from './rows.ts';

export interface TokenTask extends Omit<FineTuneRun, 'model' | 'task' | 'tokenizer' | 'evaluate' | 'best'> {
  readonly classifier: TokenClassifier;
  readonly train: readonly LabelledRow[];
  readonly validation: readonly TaggedText[];
  readonly lengths: RowLengths;
  /** As of `TokenData`. */
  readonly scheme: Scheme | undefined;
}

/**
 * Fine-tunes a model to label tokens, measures precision, recall and F1 of the validation texts' entities
 * after each epoch (the best model is that of the highest F1), and saves model, tokenizer, log, curves and
 * report to the output folder; see `train` of trainer/.
 */
export async function fineTuneTokens(run: TokenTask): Promise<TrainingResult> {
  const { classifier, train, validation, lengths, scheme, identity, ...rest } = run;
  const { model, tokenizer } = classifier;
  const truth = validation.map(({ tags }) => tags);
  const evaluate = async () => {
    const predicted = await predictTags(classifier, validation, { ...lengths, batchSize: rest.options.batchSize });
    const { f1, precision, recall } = entityScores(truth, predicted, { scheme });
    return { f1, precision, recall };
  };
  return trainEpochs({
    ...rest,
    model,
    tokenizer,
    task: tokenLabelling(model, train, rest.options, paddingOf(classifier)),
    ...(validation.length > 0 ? { evaluate, best: { name: 'f1', mode: 'max' as const } } : {}),
    identity: {
      ...identity,
      ...lengths,
      data: hashOfRows(train, ({ labels }) => labels.join()),
      validation: hashOfJson(validation),
    },
  });
}

/** Labels of tokens as a training task: every row once an epoch, in batches of like length. */
function tokenLabelling(
  model: TokenClassificationModel,
  given: readonly LabelledRow[],
  options: BatchOptions,
  padTokenId: number,
): TrainingTask {
  // A batch of rows without a label would have no loss.
  const counted = given.filter(({ labels }) => labels.some((label) => label !== ignoredLabel));
  const { batchesPerEpoch, indices } = endlessBatches(
    counted.map(({ inputIds }) => inputIds.length),
    options,
  );
  const limits = rowLimits(model);
  return {
    name: 'token-classification',
    batchesPerEpoch,
    examples: { labels: { loss: 'labels' } },
    batch(index) {
      const rows = indices(index).map((i) => counted[i]!);
      // Labels are padded as tokens are, with what does not count.
      const labels = padRows(
        rows.map(({ labels, tokenTypeIds }) => ({ inputIds: labels, tokenTypeIds })),
        ignoredLabel,
        limits,
      );
      return {
        arrays: {
          ...paddedArrays(rows, padTokenId, limits),
          labels: { data: labels.inputIds, shape: labels.shape },
        },
        counts: { loss: labels.inputIds.filter((label) => label !== ignoredLabel).length },
        tokens: tokensOf(rows),
      };
    },
    losses: ({ inputIds, ...rest }) => ({ loss: model.forward({ inputIds: inputIds!, ...rest }).loss! }),
  };
}

/** The tag of each word: that of its first piece, and O where the tokenizer leaves nothing of it. */
export async function predictTags(
  classifier: TokenClassifier,
  texts: readonly Pick<TaggedText, 'text' | 'words' | 'tags'>[],
  { batchSize, ...lengths }: RowLengths & { readonly batchSize: number },
): Promise<string[][]> {
  const { labels } = classifier.model.config;
  const { rows } = labelledRows(classifier.tokenizer, texts, labels, lengths);
  const logits = await tokenLogits(classifier, rows, { batchSize });
  const tags = texts.map(({ words }) => words.map(() => 'O'));
  rows.forEach(({ text, words }, row) =>
    words.forEach((word, token) => {
      if (word === -1) return;
      const own = logits[row]!.subarray(token * labels.length, (token + 1) * labels.length);
      tags[text]![word] = labels[own.indexOf(Math.max(...own))]!;
    }),
  );
  return tags;
}
