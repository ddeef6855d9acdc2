import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { manualSeed } from '../../autograd/index.ts';
import type { Tokenizer } from '../../models/index.ts';
import {
  BertForSequenceClassification,
  BertTokenizer,
  GPT2LMHeadModel,
  loadModel,
  loadTokenizer,
} from '../../models/index.ts';
import { openPrepared, prepareCorpus } from '../../train/data/corpus/prepare.ts';
import type { PrepareOptions } from '../../train/data/corpus/prepare.ts';
import { openTokenCorpus, writeTokenCorpus } from '../../train/data/token-files.ts';
import { trainCharacters } from '../../train/tokenizer-training/train-characters.ts';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { AdamW } from '../../train/optim/index.ts';
import { latestCheckpoint, readTrainingState, restoreTraining, saveTraining } from '../../train/trainer/run-state.ts';
import { settings } from './small-bert.ts';
import type { Writer } from './saved-state.ts';

// What the project writes, each over something else of its kind and where there was nothing.

const wordPiece = (): BertTokenizer =>
  BertTokenizer.fromVocab(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', 'quick', '##er', 'fox', 'fux']);

async function* stream(text: string): AsyncGenerator<string> {
  yield text;
}
const characters = (text = 'the quick brown fox'): Promise<Tokenizer> => trainCharacters(stream(text), {});

/** A BERT with labels, in shards, with vocab.txt. */
export async function saveBert(folder: string): Promise<void> {
  manualSeed(1);
  const model = BertForSequenceClassification.fromConfig({ ...settings, labels: ['ham', 'spam'] });
  await model.savePretrained(folder, { tokenizer: wordPiece(), maxShardBytes: 1000 });
}

/** A GPT-2 in one file, with an alphabet. */
export async function saveGpt(folder: string): Promise<void> {
  manualSeed(2);
  const sizes = { vocabSize: 20, nPositions: 8, nEmbd: 8, nLayer: 1, nHead: 2 };
  const model = GPT2LMHeadModel.fromConfig(sizes);
  await model.savePretrained(folder, { tokenizer: await characters() });
}

export const openModel = async (folder: string): Promise<unknown> => {
  const model = await loadModel(folder, { log: () => undefined });
  return [model.constructor.name, model.numParameters(), (await loadTokenizer(folder)).vocabSize];
};
export const openTokenizer = async (folder: string): Promise<unknown> => [(await loadTokenizer(folder)).vocabSize];

async function prepare(folder: string, text: string, options: Partial<PrepareOptions>): Promise<void> {
  // Beside the folder, whose contents are looked at.
  const input = join(folder, '..', 'text.txt');
  await writeFile(input, text);
  // A corpus is known by the time of its inputs, too.
  await utimes(input, 1e9, 1e9);
  const tokenizer = await characters(text);
  const corpus = await prepareCorpus({ inputs: [input], tokenizer, folder, ...options });
  corpus.close();
}
const prose = Array.from({ length: 40 }, (_, i) => `the quick fox number ${i} jumps over ${i * i} lazy dogs`).join(
  '\n',
);
const small: Partial<PrepareOptions> = { clean: false, duplicates: false, read: { documents: 'line' } };
export const saveCorpus = (folder: string, text = prose): Promise<void> =>
  prepare(folder, text, { ...small, fractions: { train: 0.6, validation: 0.2, test: 0.2 } });
const prepareNew = (folder: string): Promise<void> => prepare(folder, prose.toUpperCase(), { split: 'position' });
export const openCorpus = async (folder: string): Promise<unknown> => {
  const corpus = await openPrepared(folder);
  const ids = Array.from(corpus.train.read(0, corpus.train.tokens));
  corpus.close();
  return ids;
};
const openTokens = async (folder: string): Promise<unknown> => {
  const corpus = await openTokenCorpus(folder);
  const ids = Array.from(corpus.read(0, corpus.tokens));
  corpus.close();
  return ids;
};

/** A run's checkpoint, whose weights are functions of its step. */
async function saveCheckpoint(output: string, step: number): Promise<void> {
  manualSeed(step);
  const model = BertForSequenceClassification.fromConfig(settings);
  const optimizer = new AdamW(model.parameters(), { lr: 0.1 });
  const state = { step, seconds: 1, sinceBest: 0, identity: { data: 'abc' } };
  await saveTraining(output, state, optimizer, (folder) => model.savePretrained(folder));
}
const openCheckpoint = async (output: string): Promise<unknown> => {
  const folder = await latestCheckpoint(output);
  const model = BertForSequenceClassification.fromConfig(settings);
  await model.loadWeights(folder!);
  const state = await readTrainingState(folder!);
  await restoreTraining(folder!, state, new AdamW(model.parameters(), { lr: 0.1 }));
  return [state.step, Array.from(await model.parameters()[0]!.data()).slice(0, 4)];
};

export const writers: readonly Writer[] = [
  { what: 'savePretrained over another model', before: saveBert, write: saveGpt, open: openModel },
  { what: 'savePretrained of shards over one file', before: saveGpt, write: saveBert, open: openModel },
  { what: 'savePretrained into a new folder', write: saveBert, open: openModel },
  {
    what: 'a tokenizer over one of another kind',
    before: (folder) => wordPiece().save(folder),
    write: async (folder) => (await characters()).save(folder),
    open: openTokenizer,
  },
  { what: 'prepare-data over another corpus', before: saveCorpus, write: prepareNew, open: openCorpus },
  { what: 'prepare-data into a new folder', write: saveCorpus, open: openCorpus },
  {
    what: 'a token corpus over another',
    before: (folder) => writeTokenCorpus(folder, [[1, 2, 3]], { vocabSize: 10 }),
    write: (folder) => writeTokenCorpus(folder, [[4], [5, 6]], { vocabSize: 10 }),
    open: openTokens,
  },
  {
    what: 'a checkpoint after an older one',
    before: (folder) => saveCheckpoint(folder, 1),
    write: (folder) => saveCheckpoint(folder, 2),
    open: openCheckpoint,
    byReader: true,
  },
  {
    what: 'one file over another',
    before: (folder) => writeFileAtomic(join(folder, 'README.md'), 'old'),
    write: (folder) => writeFileAtomic(join(folder, 'README.md'), 'new'),
  },
];
