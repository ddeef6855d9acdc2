import { readFile } from 'node:fs/promises';
import { Dropout, rolesTemplate, rowLimits, withChatTemplate } from '../../models/index.ts';
import type { AnyTokenizer, Module, Quantization, SequenceClassificationModel } from '../../models/index.ts';
import { longerChoices } from '../sft/sequences.ts';
import type { FineTuneOptions } from '../trainer/epochs.ts';
import { trainerFlags } from '../trainer/settings.ts';
import type { Option, Parsed } from './cli.ts';
import {
  fineTuneFlags,
  fineTuneOptions,
  isAdapted,
  loadDecoder,
  loadToFineTune,
  shippedGpt,
  virtualTokensOf,
} from './fine-tune.ts';
import type { TrainableDecoder } from './fine-tune.ts';

const { dropout: _, ...tuning } = fineTuneFlags;

/** How a decoder is taught on dialogues, as flags of every script that does. */
export const decoderFlags = {
  testData: { type: 'path', exists: 'file', help: 'file to test on; without it a part of the data is held out' },
  model: { type: 'string', help: 'folder, GGUF file, Hugging Face cache or hub; default the small GPT' },
  chatTemplate: {
    type: 'path',
    exists: 'file',
    help: "Jinja file of how dialogues are written; default the tokenizer's own, else a simple one",
  },
  maxLength: { type: 'int', default: 1024, min: 2, help: 'tokens a row, if the model can' },
  longer: { type: 'choice', choices: longerChoices, default: 'refuse', help: 'what becomes of longer ones' },
  ...tuning,
  epochs: { type: 'int', min: 1, help: tuning.epochs.help },
  batchSize: { ...tuning.batchSize, default: 8, help: 'rows a step, for each of --accumulate' },
  accumulate: trainerFlags.accumulate,
  precision: trainerFlags.precision,
} as const satisfies Record<string, Option>;

type Given = Parsed<typeof decoderFlags>['values'];

/** What the weights beneath an adapter are kept as. */
interface Beneath {
  readonly quantize?: Quantization | undefined;
}

export interface ChatDecoder extends TrainableDecoder {
  /** In place of the tokenizer's own template; undefined where that is used. */
  readonly chatTemplate: string | undefined;
  /** The tokenizer as it is saved, with the template. */
  readonly saved: Parameters<typeof withChatTemplate>[0];
}

export interface TaughtDecoder extends ChatDecoder {
  /** Tokens of a row at most. */
  readonly maxLength: number;
}

/** The decoder that the flags name, and how dialogues are written for it. */
export async function loadChatDecoder(
  values: Pick<Given, 'model' | 'seed' | 'chatTemplate'> & Beneath,
): Promise<ChatDecoder> {
  const decoder = await loadDecoder(values.model, values.seed, values.quantize);
  return { ...decoder, ...(await templateFor(decoder.tokenizer, values.chatTemplate)) };
}

/**
 * How dialogues are written: by the file that is given, by the tokenizer's own template, or by a simple one.
 */
async function templateFor(
  tokenizer: AnyTokenizer,
  file: string | undefined,
): Promise<Pick<ChatDecoder, 'chatTemplate' | 'saved'>> {
  const own = tokenizer.chatTemplate === undefined ? rolesTemplate : undefined;
  const chatTemplate = file === undefined ? own : await readFile(file, 'utf8');
  return { chatTemplate, saved: chatTemplate === undefined ? tokenizer : withChatTemplate(tokenizer, chatTemplate) };
}

export interface RewardModel extends Pick<TaughtDecoder, 'chatTemplate' | 'saved' | 'maxLength'> {
  readonly model: SequenceClassificationModel;
  readonly tokenizer: AnyTokenizer;
}

/** The decoder or encoder that the flags name, with a head that gives a text one number. */
export async function loadRewardModel(values: Given): Promise<RewardModel> {
  const { model: name = shippedGpt(), seed } = values;
  const settings = { numLabels: 1, problemType: 'regression', seed } as const;
  const { model, tokenizer } = await loadToFineTune(name, 'ForSequenceClassification', settings);
  dropNothing(model);
  const maxLength = Math.min(values.maxLength, rowLimits(model).positions);
  return { model, tokenizer, maxLength, ...(await templateFor(tokenizer, values.chatTemplate)) };
}

/** The same, with the length of its rows. */
export async function loadTaught(values: Given & Beneath): Promise<TaughtDecoder> {
  const decoder = await loadChatDecoder(values);
  const positions = decoder.model.decoder().positions - virtualTokensOf(values);
  return { ...decoder, maxLength: Math.min(values.maxLength, positions) };
}

/** Turns dropout off: differences between texts are to be theirs, not those of what is dropped, as in TRL. */
export function dropNothing(model: Module): void {
  for (const module of model.modules()) if (module instanceof Dropout) module.p = 0;
}

/** Learning rates and epochs where none are given. */
export interface TeachingDefaults {
  /** Of all weights of a model that was given, of an adapter of it, of the small GPT. */
  readonly rates: readonly [whole: number, adapter: number, small: number];
  /** Of a model that was given, and of the small GPT. */
  readonly epochs: readonly [given: number, small: number];
}

/** The options for `trainEpochs`. */
export function teachingOptions(values: Given, { rates, epochs }: TeachingDefaults): FineTuneOptions {
  const { model, accumulate, precision } = values;
  const { learningRate = model === undefined ? rates[2] : rates[isAdapted(values) ? 1 : 0] } = values;
  const passes = values.epochs ?? epochs[model === undefined ? 1 : 0];
  return { ...fineTuneOptions({ ...values, learningRate, epochs: passes }), accumulate, precision };
}
