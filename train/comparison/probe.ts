import { manualSeed } from '../../autograd/index.ts';
import { BertForSequenceClassification } from '../../models/index.ts';
import type { BertConfig, BertTokenizer, Module } from '../../models/index.ts';
import { loadSpamAssassin } from '../data/spam-assassin.ts';
import { attentionOf, i32, padRows } from '../objectives/rows.ts';
import { tokenise } from '../data/tokenised.ts';
import type { TokenisedExample } from '../data/tokenised.ts';
import { shuffledPasses } from '../objectives/windows.ts';
import { purposeSeed } from '../objectives/random-order.ts';
import { f1Score } from '../metrics/classification.ts';
import { predict } from '../classifier/predict.ts';
import type { TrainingTask } from '../objectives/task.ts';
import { steps } from './train-contender.ts';

/** Mails as ham or spam, tokenised. */
export interface ProbeData {
  readonly train: readonly TokenisedExample[];
  readonly test: readonly TokenisedExample[];
  readonly padTokenId: number;
}

export async function probeData(tokenizer: BertTokenizer, context: number): Promise<ProbeData> {
  const { train, test } = await loadSpamAssassin();
  const [a, b] = [train, test].map((examples) => tokenise(tokenizer, examples, context, 'ends'));
  return { train: a!, test: b!, padTokenId: tokenizer.padTokenId };
}

export interface ProbeOptions {
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly seed: number;
}

/**
 * How much a pretrained encoder helps a task that no objective knows: it is fine-tuned for a few steps to
 * tell spam from ham; the F1 of spam on the test mails. Without an encoder, the same from nothing.
 */
export async function probe(
  config: BertConfig,
  encoder: Module | undefined,
  { train, test, padTokenId }: ProbeData,
  { steps: total, batchSize, learningRate, seed }: ProbeOptions,
): Promise<number> {
  manualSeed(seed);
  const model = BertForSequenceClassification.fromConfig({ ...config, numLabels: 2, labels: ['ham', 'spam'] });
  if (encoder) {
    const state = [...encoder.stateDict()].filter(([key]) => key.startsWith('bert.'));
    model.loadStateDict(new Map(state), { strict: false });
  }
  const task = classification(model, train, { batchSize, seed, padTokenId, length: config.maxPositionEmbeddings });
  const settings = { steps: total, learningRate, seed, warmupSteps: Math.floor(total / 10) };
  await steps(model, task, settings, () => undefined);
  const { labels } = await predict(model, test, { batchSize: 64, padTokenId });
  return f1Score(
    test.map(({ label }) => label),
    labels,
  );
}

interface ClassificationOptions {
  readonly batchSize: number;
  readonly seed: number;
  readonly padTokenId: number;
  /** All are padded to this. */
  readonly length: number;
}

function classification(
  model: BertForSequenceClassification,
  examples: readonly TokenisedExample[],
  { batchSize, seed, padTokenId, length }: ClassificationOptions,
): TrainingTask {
  const order = shuffledPasses(examples.length, purposeSeed(seed, 'examples'));
  return {
    name: 'classification',
    batchesPerEpoch: Math.ceil(examples.length / batchSize),
    batch(index) {
      const rows = Array.from({ length: batchSize }, (_, i) => examples[order(index * batchSize + i)]!);
      const ids = rows.map(({ inputIds }) => inputIds);
      return {
        arrays: {
          inputIds: padRows(ids, length, padTokenId),
          attentionMask: attentionOf(ids, length),
          labels: i32(
            Int32Array.from(rows, ({ label }) => label),
            batchSize,
          ),
        },
        counts: { label: batchSize },
        tokens: ids.reduce((sum, row) => sum + row.length, 0),
      };
    },
    losses: ({ inputIds, attentionMask, labels }) => ({
      label: model.forward({ inputIds: inputIds!, attentionMask, labels }).loss!,
    }),
  };
}
