import {
  BertConfig,
  BertForMaskedLM,
  BertForNextSentencePrediction,
  BertForPreTraining,
  BertForRotaryFill,
  GPT2LMHeadModel,
  MarianMTModel,
} from '../../models/index.ts';
import type { BertTokenizer, Module } from '../../models/index.ts';
import type { TokenCorpus } from '../data/token-corpus.ts';
import {
  bertPretraining,
  blockWindows,
  causalLM,
  lastIds,
  maskedLM,
  nextSentence,
  rotaryFill,
  sentenceEnds,
  sentencePairs,
  spanCorruption,
  textInfilling,
  withSeparators,
  wordStarts,
  wrapRows,
} from '../objectives/index.ts';
import type { Rows, SentencePairs } from '../objectives/index.ts';
import type { TrainingTask } from '../task.ts';

/** What all objectives of a comparison have in common. */
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

/** Objectives by name, each with a new model of the same layers and width. Dropout is off: no token is seen often. */
export const contenders: Readonly<Record<string, (setting: Setting) => Contender>> = {
  'masked-lm': (setting) => {
    const model = new BertForMaskedLM(bertConfig(setting));
    return onRows(setting, (rows) => maskedLM({ model, rows, ...masking(setting) }), model);
  },
  'whole-word': (setting) => {
    const { tokenizer } = setting;
    const model = new BertForMaskedLM(bertConfig(setting));
    const starts = wordStarts(tokensOf(tokenizer));
    return onRows(setting, (rows) => maskedLM({ model, rows, ...masking(setting), wordStarts: starts }), model);
  },
  'rotary-fill': (setting) => {
    const model = new BertForRotaryFill(bertConfig(setting));
    return onRows(setting, (rows) => rotaryFill({ model, rows, ...masking(setting) }), model);
  },
  'next-sentence': (setting) => {
    const model = new BertForNextSentencePrediction(bertConfig(setting));
    return onPairs(setting, (pairs) => nextSentence({ model, pairs, ...masking(setting) }), model);
  },
  bert: (setting) => {
    const model = new BertForPreTraining(bertConfig(setting));
    return onPairs(setting, (pairs) => bertPretraining({ model, pairs, ...masking(setting) }), model);
  },
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

const masking = ({ tokenizer, batchSize, seed }: Setting) => ({
  padTokenId: tokenizer.padTokenId,
  maskTokenId: tokenizer.maskTokenId,
  specialIds: [...tokenizer.specialTokenIds],
  batchSize,
  seed,
});

const ends = ({ tokenizer, batchSize, seed }: Setting) => ({
  padTokenId: tokenizer.padTokenId,
  eosTokenId: tokenizer.sepTokenId,
  batchSize,
  seed,
});

/** All tokens in the order of their ids. */
function tokensOf(tokenizer: BertTokenizer): string[] {
  return Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.idToToken(id) ?? '');
}

/** Rows of [CLS], text, [SEP]; documents run into one another with a [SEP] between. */
function onRows(setting: Setting, make: (rows: Rows) => TrainingTask, model: Module): Contender {
  const { clsTokenId, sepTokenId } = setting.tokenizer;
  const wrapped = (rows: Rows): TrainingTask => make(wrapRows(rows, { before: [clsTokenId], after: [sepTokenId] }));
  return onText({ ...setting, context: setting.context - 2 }, wrapped, model);
}

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

function onPairs(setting: Setting, make: (pairs: SentencePairs) => TrainingTask, model: Module): Contender {
  const { tokenizer, train, heldOut, context: length, seed } = setting;
  const { clsTokenId, sepTokenId, vocabSize } = tokenizer;
  const options = { length, clsTokenId, sepTokenId, sentenceEnds: sentenceEnds(tokensOf(tokenizer)), seed };
  return {
    model,
    task: make(sentencePairs(train, options)),
    heldOut: make(sentencePairs(heldOut, { ...options, ordered: true })),
    vocabSize,
  };
}
