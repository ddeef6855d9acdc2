import { manualSeed } from '../../autograd/index.ts';
import { BertConfig, BertForSequenceClassification, BertTokenizer, untrainedLike } from '../../models/index.ts';
import type { SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { UsageError } from '../cli/cli.ts';
import type { Option } from '../cli/cli.ts';
import { loadToFineTune } from '../cli/fine-tune.ts';
import { keptParts } from '../data/tokenised.ts';
import { embeddedCorpus, tasks } from './data.ts';
import type { ClassifierData } from './data.ts';
import { kinds } from './kinds.ts';

/**
 * Where texts and labels come from, and how much of a text is read, as flags of every script on classifiers.
 */
export const classifierDataFlags = {
  data: {
    type: 'string',
    default: embeddedCorpus,
    help: `JSONL, CSV or TSV file of texts and labels, or ${embeddedCorpus}`,
  },
  testData: { type: 'path', exists: 'file', help: 'file to test on; without it a part of the data is held out' },
  textColumn: { type: 'string', default: 'text', help: 'column of the texts' },
  textPairColumn: { type: 'string', help: 'column of the second texts, for tasks on pairs' },
  labelColumn: { type: 'string', default: 'label', help: 'column of the labels, or of the scores' },
  labelColumns: { type: 'string', help: 'columns of 0 and 1, one for each of several labels, with commas between' },
  labelSeparator: { type: 'string', help: 'what stands between several labels in their column' },
  task: { type: 'choice', choices: tasks, default: 'auto', help: 'kind of the labels; auto finds it' },
  keep: { type: 'choice', choices: keptParts, default: 'ends', help: 'part of a longer text that is read' },
} as const satisfies Record<string, Option>;

/** Flags for a new BERT and its sizes. */
export const newBertFlags = {
  fromScratch: { type: 'boolean', help: 'a new BERT of the sizes below, with nothing learnt' },
  layers: { type: 'int', default: 2, min: 1, help: 'layers of a new BERT' },
  hidden: { type: 'int', default: 128, min: 8, help: 'width of a new BERT' },
  heads: { type: 'int', default: 2, min: 1, help: 'attention heads of a new BERT' },
} as const satisfies Record<string, Option>;

export interface ModelChoice {
  /** Folder or name; default the one that comes with the project. */
  readonly model?: string;
  /** A new BERT instead, of these sizes. */
  readonly fromScratch: boolean;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  /** Probability of dropping, while it is trained. */
  readonly dropout: number;
  readonly maxLength: number;
  readonly seed: number;
}

export type Classifier = TextEncoder<SequenceClassificationModel>;

/** Which labels a model is for. */
export type HeadChoice = Pick<ClassifierData, 'kind' | 'labels'> & {
  /** It reads pairs of texts, which its config.json then says. */
  readonly pairs: boolean;
};

/** The model to fine-tune, with a new head for the labels. */
export async function makeClassifier(choice: ModelChoice, head: HeadChoice): Promise<Classifier> {
  const classifier = await startingModel(choice, head);
  // Those of what it was trained for before are not its own.
  withExtra(classifier.model, { thresholds: undefined, [pairsKey]: head.pairs ? true : undefined });
  return classifier;
}

const pairsKey = 'text_pairs';

/** Whether a model was trained on pairs of texts, as far as it says. */
export const readsPairs = ({ config }: SequenceClassificationModel): boolean => config.extra[pairsKey] === true;

/** Sets keys of config.json that the model itself does not use; undefined takes one out. */
export function withExtra(model: SequenceClassificationModel, more: Readonly<Record<string, unknown>>): void {
  const extra = Object.fromEntries(
    Object.entries({ ...model.config.extra, ...more }).filter(([, value]) => value !== undefined),
  );
  model.config = Object.freeze({ ...model.config, extra });
}

async function startingModel(choice: ModelChoice, { kind, labels }: HeadChoice): Promise<Classifier> {
  const { model: name, fromScratch, dropout, seed } = choice;
  const { problemType } = kinds[kind];
  if (!fromScratch) return loadToFineTune(name, 'ForSequenceClassification', { labels, problemType, dropout, seed });
  manualSeed(seed);
  const { layers, hidden, heads, maxLength } = choice;
  if (hidden % heads !== 0) throw new UsageError(`--hidden ${hidden} must be a multiple of --heads ${heads}`);
  const tokenizer = BertTokenizer.default();
  const config = BertConfig.create({
    labels,
    problemType,
    hiddenDropoutProb: dropout,
    attentionProbsDropoutProb: dropout,
    vocabSize: tokenizer.vocabSize,
    hiddenSize: hidden,
    numHiddenLayers: layers,
    numAttentionHeads: heads,
    intermediateSize: 4 * hidden,
    maxPositionEmbeddings: Math.max(512, maxLength),
  });
  return { model: new BertForSequenceClassification(config), tokenizer };
}

/** The same model and tokenizer with nothing learnt. */
export function untrained({ model, tokenizer }: Classifier, seed: number): Classifier {
  manualSeed(seed);
  return { model: untrainedLike(model), tokenizer };
}
