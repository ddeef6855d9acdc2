import {
  BertForMaskedLM,
  BertForNextSentencePrediction,
  BertForPreTraining,
  BertForRotaryFill,
} from '../../models/index.ts';
import type { BertConfig, BertTokenizer, ModelConfig, PreTrainedModel } from '../../models/index.ts';
import type { TokenCorpus } from '../data/token-corpus.ts';
import {
  bertPretraining,
  blockWindows,
  documentWindows,
  maskedLM,
  nextSentence,
  rotaryFill,
  sentenceEnds,
  sentencePairs,
  withSeparators,
  wordStarts,
  wrapRows,
} from '../objectives/index.ts';
import type { Rows } from '../objectives/index.ts';
import type { TrainingTask } from '../objectives/task.ts';

export interface BertTaskOptions {
  readonly corpus: TokenCorpus;
  readonly tokenizer: BertTokenizer;
  /** Tokens of a row, [CLS] and [SEP] included. */
  readonly length: number;
  readonly batchSize: number;
  readonly seed: number;
  /** One pass in order, for evaluation. */
  readonly ordered?: boolean;
  readonly wholeWords: boolean;
  readonly maskProbability: number;
  /** Rows that hold the end of one document and the beginning of the next, so that nothing is padded. */
  readonly pack: boolean;
}

/** A model with the heads of an objective, and that objective on a corpus. */
export interface BertObjective {
  readonly model: PreTrainedModel<ModelConfig>;
  task(options: BertTaskOptions): TrainingTask;
}

function objective<M extends PreTrainedModel<ModelConfig>>(
  Model: new (config: BertConfig) => M,
  task: (model: M, options: BertTaskOptions) => TrainingTask,
): (config: BertConfig) => BertObjective {
  return (config) => {
    const model = new Model(config);
    return { model, task: (options) => task(model, options) };
  };
}

/** Objectives that a BERT can be pretrained for, by the names of `--objective`. */
export const bertObjectives = {
  mlm: objective(BertForMaskedLM, (model, options) =>
    maskedLM({ model, rows: bertRows(options), ...masking(options), ...common(options) }),
  ),
  nsp: objective(BertForNextSentencePrediction, (model, options) =>
    nextSentence({ model, pairs: pairsOf(options), ...common(options) }),
  ),
  'mlm+nsp': objective(BertForPreTraining, (model, options) =>
    bertPretraining({ model, pairs: pairsOf(options), ...masking(options), ...common(options) }),
  ),
  'rotary-fill': objective(BertForRotaryFill, (model, options) =>
    rotaryFill({
      model,
      rows: bertRows(options),
      specialIds: [...options.tokenizer.specialTokenIds],
      ...common(options),
    }),
  ),
} as const;

export type BertObjectiveName = keyof typeof bertObjectives;
export const bertObjectiveNames = Object.keys(bertObjectives) as BertObjectiveName[];

/** Rows [CLS] text [SEP]. */
export function bertRows({
  corpus,
  tokenizer,
  length,
  seed,
  ordered = false,
  pack,
}: Pick<BertTaskOptions, 'corpus' | 'tokenizer' | 'length' | 'seed' | 'ordered' | 'pack'>): Rows {
  const { clsTokenId, sepTokenId } = tokenizer;
  const options = { length: length - 2, ...(ordered ? {} : { seed }) };
  const rows = pack ? blockWindows(withSeparators(corpus, sepTokenId), options) : documentWindows(corpus, options);
  return wrapRows(rows, { before: [clsTokenId], after: [sepTokenId] });
}

function pairsOf({ corpus, tokenizer, length, seed, ordered }: BertTaskOptions) {
  const { clsTokenId, sepTokenId } = tokenizer;
  return sentencePairs(corpus, {
    length,
    clsTokenId,
    sepTokenId,
    seed,
    ordered,
    sentenceEnds: sentenceEnds(tokensOf(tokenizer)),
  });
}

/** The options of `maskedLM` that a tokenizer decides. */
export function masking({
  tokenizer,
  wholeWords,
  maskProbability,
}: Pick<BertTaskOptions, 'tokenizer' | 'wholeWords' | 'maskProbability'>) {
  return {
    maskTokenId: tokenizer.maskTokenId,
    specialIds: [...tokenizer.specialTokenIds],
    maskProbability,
    ...(wholeWords ? { wordStarts: wordStarts(tokensOf(tokenizer)) } : {}),
  };
}

function common({ tokenizer: { padTokenId }, batchSize, seed }: BertTaskOptions) {
  return { padTokenId, batchSize, seed };
}

function tokensOf(tokenizer: BertTokenizer): string[] {
  return tokenizer.convertIdsToTokens(Array.from({ length: tokenizer.vocabSize }, (_, id) => id));
}
