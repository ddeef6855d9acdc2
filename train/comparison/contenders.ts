import { BertConfig, GPT2LMHeadModel, MarianMTModel } from '../../models/index.ts';
import type { BertTokenizer, Module } from '../../models/index.ts';
import type { TokenCorpus } from '../data/token-corpus.ts';
import { blockWindows, causalLM, lastIds, spanCorruption, textInfilling, withSeparators } from '../objectives/index.ts';
import type { Rows } from '../objectives/index.ts';
import { bertObjectives } from '../pretraining/bert-objectives.ts';
import type { BertObjectiveName, BertTaskOptions } from '../pretraining/bert-objectives.ts';
import type { TrainingTask } from '../objectives/task.ts';

/** The settings that all objectives of a comparison share. */
export interface Setting {
  readonly tokenizer: BertTokenizer;
  readonly train: TokenCorpus;
  readonly heldOut: TokenCorpus;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  /** Tokens of a row. */
  readonly context: number;
  readonly batchSize: number;
  readonly seed: number;
}

/** A new model, and its task on the training and on the held-out text. */
export interface Contender {
  readonly model: Module;
  readonly task: TrainingTask;
  readonly heldOut: TrainingTask;
  /** Ids that labels may be. */
  readonly vocabSize: number;
}

/** Sentinels of span corruption: enough for rows of 500 tokens. */
const SENTINELS = 32;

/**
 * Objectives by name, each with a new model of the same layers and width. Dropout is off: no token is seen
 * often.
 */
export const contenders: Readonly<Record<string, (setting: Setting) => Contender>> = {
  mlm: (setting) => bert('mlm', setting),
  'mlm-whole-words': (setting) => bert('mlm', setting, { wholeWords: true }),
  'rotary-fill': (setting) => bert('rotary-fill', setting),
  nsp: (setting) => bert('nsp', setting),
  'mlm+nsp': (setting) => bert('mlm+nsp', setting),
  'causal-lm': (setting) => {
    const { tokenizer, layers, hidden, heads, context, batchSize } = setting;
    const model = GPT2LMHeadModel.fromConfig({
      vocabSize: tokenizer.vocabSize,
      nPositions: context,
      nEmbd: hidden,
      nLayer: layers,
      nHead: heads,
      embdPdrop: 0,
      residPdrop: 0,
      attnPdrop: 0,
      bosTokenId: tokenizer.sepTokenId,
      eosTokenId: tokenizer.sepTokenId,
    });
    return onText(setting, (rows) => causalLM({ model, rows, batchSize }), model, 1);
  },
  'span-corruption': (setting) => {
    const vocabSize = setting.tokenizer.vocabSize + SENTINELS;
    const model = encoderDecoder(setting, vocabSize);
    const sentinelIds = lastIds(vocabSize, SENTINELS);
    return {
      ...onText(setting, (rows) => spanCorruption({ model, rows, sentinelIds, ...ends(setting) }), model),
      vocabSize,
    };
  },
  'text-infilling': (setting) => {
    const model = encoderDecoder(setting, setting.tokenizer.vocabSize);
    const { maskTokenId } = setting.tokenizer;
    return onText(setting, (rows) => textInfilling({ model, rows, maskTokenId, ...ends(setting) }), model);
  },
};

function bert(
  name: BertObjectiveName,
  setting: Setting,
  { wholeWords = false }: Partial<Pick<BertTaskOptions, 'wholeWords'>> = {},
): Contender {
  const { tokenizer, train, heldOut, context: length, batchSize, seed } = setting;
  const { model, task } = bertObjectives[name](bertConfig(setting));
  const common = { tokenizer, length, batchSize, seed, wholeWords, maskProbability: 0.15, pack: true };
  return {
    model,
    task: task({ ...common, corpus: train }),
    heldOut: task({ ...common, corpus: heldOut, ordered: true }),
    vocabSize: tokenizer.vocabSize,
  };
}

export function bertConfig({ tokenizer, layers, hidden, heads, context }: Setting): BertConfig {
  return BertConfig.create({
    vocabSize: tokenizer.vocabSize,
    hiddenSize: hidden,
    numHiddenLayers: layers,
    numAttentionHeads: heads,
    intermediateSize: 4 * hidden,
    maxPositionEmbeddings: context,
    hiddenDropoutProb: 0,
    attentionProbsDropoutProb: 0,
    padTokenId: tokenizer.padTokenId,
  });
}

function encoderDecoder({ tokenizer, layers, hidden, heads, context }: Setting, vocabSize: number): MarianMTModel {
  return MarianMTModel.fromConfig({
    vocabSize,
    maxPositionEmbeddings: context + 2,
    dModel: hidden,
    encoderLayers: layers,
    decoderLayers: layers,
    encoderAttentionHeads: heads,
    decoderAttentionHeads: heads,
    encoderFfnDim: 4 * hidden,
    decoderFfnDim: 4 * hidden,
    dropout: 0,
    padTokenId: tokenizer.padTokenId,
    eosTokenId: tokenizer.sepTokenId,
    decoderStartTokenId: tokenizer.padTokenId,
  });
}

const ends = ({ tokenizer, batchSize, seed }: Setting) => ({
  padTokenId: tokenizer.padTokenId,
  eosTokenId: tokenizer.sepTokenId,
  batchSize,
  seed,
});

function onText(
  { tokenizer, train, heldOut, context: length, seed }: Setting,
  make: (rows: Rows) => TrainingTask,
  model: Module,
  overlap = 0,
): Contender {
  const packed = (corpus: TokenCorpus): TokenCorpus => withSeparators(corpus, tokenizer.sepTokenId);
  return {
    model,
    task: make(blockWindows(packed(train), { length, overlap, seed })),
    heldOut: make(blockWindows(packed(heldOut), { length, overlap })),
    vocabSize: tokenizer.vocabSize,
  };
}
