import { manualSeed } from '../../autograd/index.ts';
import {
  BertConfig,
  BertForSequenceClassification,
  BertTokenizer,
  readModelFolder,
  resolveModelFolder,
} from '../../models/index.ts';
import type { BertSettings, LoadOptions } from '../../models/index.ts';
import { UsageError } from '../cli/cli.ts';
import { shippedBert } from '../cli/fine-tune.ts';

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

export interface Classifier {
  readonly model: BertForSequenceClassification;
  readonly tokenizer: BertTokenizer;
}

/** The model to fine-tune, with a new head for `labels`. */
export async function makeClassifier(choice: ModelChoice, labels: readonly string[]): Promise<Classifier> {
  const { model: name = shippedBert, fromScratch, dropout, seed } = choice;
  const settings = { labels, hiddenDropoutProb: dropout, attentionProbsDropoutProb: dropout };
  manualSeed(seed);
  if (!fromScratch) {
    const log = (line: string): void => {
      // That a classifier's head is new goes without saying.
      if (!/^newly initialised: (bert\.pooler\.|classifier\.)|^not used by .*: cls\./.test(line)) console.error(line);
    };
    return loadClassifier(name, settings, { log });
  }
  const { layers, hidden, heads, maxLength } = choice;
  if (hidden % heads !== 0) throw new UsageError(`--hidden ${hidden} must be a multiple of --heads ${heads}`);
  const tokenizer = BertTokenizer.default();
  const config = BertConfig.create({
    ...settings,
    vocabSize: tokenizer.vocabSize,
    hiddenSize: hidden,
    numHiddenLayers: layers,
    numAttentionHeads: heads,
    intermediateSize: 4 * hidden,
    maxPositionEmbeddings: Math.max(512, maxLength),
  });
  return { model: new BertForSequenceClassification(config), tokenizer };
}

/** A model and its tokenizer, of one save. */
export async function loadClassifier(id: string, settings: BertSettings = {}, options: LoadOptions = {}) {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, async () => ({
    tokenizer: await BertTokenizer.fromPretrained(folder),
    model: await BertForSequenceClassification.fromPretrained(folder, settings, options),
  }));
}

/** The same model and tokenizer with nothing learnt. */
export function untrained({ model, tokenizer }: Classifier, seed: number): Classifier {
  manualSeed(seed);
  return { model: new BertForSequenceClassification(model.config), tokenizer };
}
