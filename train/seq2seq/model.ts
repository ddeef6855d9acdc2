import { join } from 'node:path';
import { manualSeed } from '../../autograd/index.ts';
import { readJsonFile } from '../../common/json-file.ts';
import {
  BartForConditionalGeneration,
  loadTokenizer,
  MarianConfig,
  MarianMTModel,
  MBartForConditionalGeneration,
  PegasusForConditionalGeneration,
  readGenerationConfig,
  resolveModelFolder,
  T5ForConditionalGeneration,
  targetOptions,
  taskOf,
  textTemplate,
  Tokenizer,
  withTemplate,
} from '../../models/index.ts';
import type { AnyTokenizer, GenerationOptions, Seq2SeqConfig, Seq2SeqLM, Template } from '../../models/index.ts';
import { UsageError } from '../cli/cli.ts';
import { trainByteLevelBpe } from '../tokenizer-training/train-byte-level.ts';
import type { TextPair } from './pairs.ts';
import type { TokenisedPair } from './task.ts';

/** The sizes of a new encoder-decoder. */
export interface Seq2SeqSizes {
  readonly layers: number;
  readonly decoderLayers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly feedForward: number;
  readonly dropout: number;
  /** Ids after those of the tokenizer, for sentinels; default 0. */
  readonly extraIds?: number;
  /** Tokens of a text, the end included. */
  readonly maxLength: number;
  readonly seed: number;
}

export type Seq2SeqModel = Seq2SeqLM<Seq2SeqConfig & { readonly dModel: number }>;

/** An encoder-decoder with what it reads and writes texts by. */
export interface Seq2Seq {
  readonly model: Seq2SeqModel;
  readonly tokenizer: AnyTokenizer;
  /** Put before each source; default nothing. */
  readonly prefix?: string;
  /** Codes of the languages, of a tokenizer that knows several. */
  readonly srcLang?: string;
  readonly tgtLang?: string;
  /** Settings of generation that belong to the model: how its texts begin and end. */
  readonly options?: GenerationOptions;
}

/** An encoder-decoder that is trained here, by the names that its config has for what all have. */
interface Family {
  readonly kind: { fromPretrained(id: string, overrides: object): Promise<unknown> };
  readonly dropout: string;
  /** The layers of encoder and decoder. */
  readonly layers: readonly [string, string];
}

const ofBart = { dropout: 'dropout', layers: ['encoderLayers', 'decoderLayers'] } as const;

/** By model_type. */
const families: Readonly<Record<string, Family>> = {
  bart: { kind: BartForConditionalGeneration, ...ofBart },
  marian: { kind: MarianMTModel, ...ofBart },
  mbart: { kind: MBartForConditionalGeneration, ...ofBart },
  pegasus: { kind: PegasusForConditionalGeneration, ...ofBart },
  t5: { kind: T5ForConditionalGeneration, dropout: 'dropoutRate', layers: ['numLayers', 'numDecoderLayers'] },
};

/** How many layers encoder and decoder have. */
export function layersOf({ config }: Seq2SeqModel): [encoder: number, decoder: number] {
  const { layers } = families[config.modelType]!;
  const [encoder, decoder] = layers.map((name) => (config as unknown as Record<string, number | null>)[name]);
  return [encoder!, decoder ?? encoder!];
}

/** What a loaded model is trained for. */
export interface LoadSeq2SeqOptions {
  readonly dropout: number;
  /** `translation` or `summarization`: by its name config.json may have a prefix. */
  readonly task: string;
  /** Default: what config.json has for the task. */
  readonly sourcePrefix?: string | undefined;
  readonly srcLang?: string | undefined;
  readonly tgtLang?: string | undefined;
}

/**
 * A trained model to go on with, of any family here. Its config.json then says by which prefix it was trained
 * for the task, and its tokenizer for which languages. Throws in one line: another kind of model; languages
 * that the tokenizer does not know, or none where it knows many.
 */
export async function loadSeq2Seq(id: string, options: LoadSeq2SeqOptions): Promise<Seq2Seq> {
  const { dropout, task, sourcePrefix } = options;
  const folder = await resolveModelFolder(id);
  const path = join(folder, 'config.json');
  const { model_type: type } = await readJsonFile(path);
  const family = typeof type === 'string' && Object.hasOwn(families, type) ? families[type] : undefined;
  if (!family)
    throw new Error(
      `${path}: model_type is ${JSON.stringify(type)}, which is no encoder-decoder that is trained here; use one of ` +
        Object.keys(families).join(', '),
    );
  const model = (await family.kind.fromPretrained(folder, { [family.dropout]: dropout })) as Seq2SeqModel;
  const known = taskOf(model, task, { srcLang: options.srcLang, tgtLang: options.tgtLang });
  const {
    prefix = '',
    srcLang,
    tgtLang,
  } = { ...known, ...(sourcePrefix === undefined ? {} : { prefix: sourcePrefix }) };
  const { task_specific_params: _, prefix: _prefix, ...extra } = model.config.extra;
  const tasks = prefix === '' ? {} : { task_specific_params: { [task]: { prefix } } };
  model.config = Object.freeze({ ...model.config, extra: { ...extra, ...tasks } });

  const loaded = await loadTokenizer(folder);
  const isNamed = loaded instanceof Tokenizer && (srcLang ?? tgtLang) !== undefined;
  const tokenizer = isNamed ? loaded.withLanguages({ source: srcLang, target: tgtLang }) : loaded;
  const { forcedBosTokenId, forcedEosTokenId, decoderStartTokenId, badWordsIds } = await readGenerationConfig(folder);
  const ends = { forcedBosTokenId, forcedEosTokenId, decoderStartTokenId, badWordsIds };
  const own = Object.fromEntries(Object.entries(ends).filter(([, value]) => value !== undefined)) as GenerationOptions;
  const begin = targetOptions(model, tokenizer, own, tgtLang);
  const languages = { ...(srcLang === undefined ? {} : { srcLang }), ...(tgtLang === undefined ? {} : { tgtLang }) };
  const seq2seq = { model, tokenizer, prefix, ...languages, options: { ...own, ...begin } };
  templatesOf(seq2seq); // languages that are not known are told before anything long begins
  return seq2seq;
}

/** The tokens around sources and targets. */
function templatesOf({ model, tokenizer, srcLang, tgtLang }: Seq2Seq): Readonly<Record<'source' | 'target', Template>> {
  const target = tgtLang ?? tokenizer.languages?.target;
  return {
    source: textTemplate(model, tokenizer, srcLang),
    target: textTemplate(model, tokenizer, target, 'tgtLang'),
  };
}

/** Special tokens of a new encoder-decoder; the mask is for pretraining. */
const roles = { eos_token: '</s>', pad_token: '<pad>', mask_token: '<mask>' };

/**
 * A vocabulary for encoder and decoder, byte-level BPE: names, numbers and commands that are the same in the
 * texts of both have the same ids.
 */
export function seq2seqTokenizer(
  texts: Parameters<typeof trainByteLevelBpe>[0],
  vocabSize: number,
  maxLength: number,
): Promise<Tokenizer> {
  return trainByteLevelBpe(texts, { vocabSize, roles, modelMaxLength: maxLength });
}

/**
 * The Transformer of Vaswani et al. 2017 with one table of embeddings for encoder, decoder and head. Weights
 * begin with a standard deviation of 1 / sqrt(hidden), so that embeddings, scaled by sqrt(hidden), are about
 * as large as the sinusoidal positions that are added to them.
 */
export function newSeq2Seq(tokenizer: AnyTokenizer, sizes: Seq2SeqSizes): MarianMTModel {
  const { layers, decoderLayers, hidden, heads, feedForward, dropout, maxLength, seed, extraIds = 0 } = sizes;
  if (hidden % heads !== 0) throw new UsageError(`--hidden ${hidden} must be a multiple of --heads ${heads}`);
  manualSeed(seed);
  const config = MarianConfig.create({
    vocabSize: tokenizer.vocabSize + extraIds,
    dModel: hidden,
    encoderLayers: layers,
    decoderLayers,
    encoderAttentionHeads: heads,
    decoderAttentionHeads: heads,
    encoderFfnDim: feedForward,
    decoderFfnDim: feedForward,
    activationFunction: 'relu',
    dropout,
    initStd: hidden ** -0.5,
    scaleEmbedding: true,
    maxPositionEmbeddings: maxLength,
    padTokenId: tokenizer.padTokenId!,
    eosTokenId: tokenizer.eosTokenId!,
    decoderStartTokenId: tokenizer.padTokenId!,
  });
  return new MarianMTModel(config);
}

/**
 * Pairs as the model reads them. Those with a side of more than maxLength tokens are left out: a text that is
 * cut teaches to stop early. With `cutSources` sources are cut at their end instead, as summaries allow.
 * Throws where the tokenizer does not know more than half of the tokens of a pair: it is not one for this
 * language.
 */
export function tokenisePairs(
  seq2seq: Seq2Seq,
  pairs: readonly TextPair[],
  maxLength: number,
  cutSources = false,
): { readonly pairs: TokenisedPair[]; readonly tooLong: number } {
  const { tokenizer, prefix = '' } = seq2seq;
  const templates = templatesOf(seq2seq);
  const read = (text: string, template: Template, most?: number): Int32Array => {
    const ids = tokenizer.idsOf(text);
    const unknown = ids.reduce((count, id) => count + Number(id === tokenizer.unkTokenId), 0);
    if (2 * unknown > ids.length)
      throw new Error(
        `the tokenizer does not know ${unknown} of the ${ids.length} tokens of "${text.slice(0, 60)}"; is the model ` +
          'one for this language?',
      );
    return Int32Array.from(withTemplate(template, ids, most));
  };
  const all = pairs.map(({ source, target }) => ({
    source: read(prefix + source, templates.source, cutSources ? maxLength : undefined),
    target: read(target, templates.target),
  }));
  const kept = all.filter(({ source, target }) => Math.max(source.length, target.length) <= maxLength);
  return { pairs: kept, tooLong: all.length - kept.length };
}
