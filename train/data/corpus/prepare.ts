import { basename, join } from 'node:path';
import { writeFolderAtomic } from '../../../models/io/atomic-folder.ts';
import { writeFilesAtomic } from '../../../models/io/atomic.ts';
import { pathKind } from '../../../models/io/json-file.ts';
import { expandInputs, readDocuments } from '../readers/inputs.ts';
import type { Input } from '../readers/inputs.ts';
import { hashedSplit, positionSplit, splitNames } from '../split.ts';
import { textKey } from '../text-key.ts';
import { openTokenCorpus } from '../token-files.ts';
import type { TokenFiles } from '../token-files.ts';
import { readCard } from './card.ts';
import type { CorpusCard } from './card.ts';
import { corpusKey, withDefaults } from './options.ts';
import type { CorpusOptions, FullCorpusOptions } from './options.ts';
import { SplitWriters } from './split-writers.ts';
import { tokenizerFingerprint } from './text-tokenizer.ts';
import type { TextTokenizer } from './text-tokenizer.ts';

/** How far a preparation is. */
export interface PrepareProgress {
  readonly stage: string;
  /** Bytes of input read in this stage, of `total`. */
  readonly bytes: number;
  readonly total: number;
  /** Tokens written. */
  readonly tokens: number;
}

export interface PrepareOptions extends CorpusOptions {
  /** Files, folders, and names of corpora, see `expandInputs`. */
  readonly inputs: readonly string[];
  readonly tokenizer: TextTokenizer;
  /** Where the corpus lies, or is made: a folder of its own. */
  readonly folder: string;
  /** Called often: after each document. */
  readonly onProgress?: (progress: PrepareProgress) => void;
  /** Stops between two documents with the signal's reason; nothing half-written is left. */
  readonly signal?: AbortSignal;
}

/** A corpus ready to train on. `validation` and `test` are there where their share is above 0. */
export interface PreparedCorpus {
  readonly train: TokenFiles;
  readonly validation?: TokenFiles;
  readonly test?: TokenFiles;
  readonly card: CorpusCard;
  /** Whether it was there already. */
  readonly cached: boolean;
  close(): void;
}

/**
 * Text in, token corpora out: reads, splits and tokenises `inputs` into `folder` (train/, validation/, test/, the tokenizer's files, card.json), whole or not at all; does nothing where the
 * folder was made from the same inputs with the same tokenizer and options. Errors, one line: what the readers refuse, an empty split, a folder that holds other things, a disk that is full.
 */
export async function prepareCorpus(options: PrepareOptions): Promise<PreparedCorpus> {
  const { folder, tokenizer } = options;
  const full = withDefaults(options);
  const inputs = await expandInputs(options.inputs);
  const key = corpusKey(inputs, tokenizer, full);
  const cached = await isPrepared(folder, key);
  if (!cached) await writeFolderAtomic(folder, 'card.json', (temporary) => make(temporary, key, inputs, full, options));
  return openPrepared(folder, cached, { vocabSize: tokenizer.vocabSize, tokenizer: tokenizerFingerprint(tokenizer) });
}

/** Opens a prepared corpus. Errors: as `openTokenCorpus` and `readCard`. */
export async function openPrepared(
  folder: string,
  cached = true,
  expected: { readonly vocabSize?: number; readonly tokenizer?: string } = {},
): Promise<PreparedCorpus> {
  const card = await readCard(folder);
  const open: TokenFiles[] = [];
  const close = (): void => open.forEach((corpus) => corpus.close());
  try {
    const parts: { -readonly [name in (typeof splitNames)[number]]?: TokenFiles } = {};
    for (const name of splitNames.filter((split) => card.splits[split])) {
      parts[name] = await openTokenCorpus(join(folder, name), expected);
      open.push(parts[name]);
    }
    return { ...parts, train: parts.train!, card, cached, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function isPrepared(folder: string, key: string): Promise<boolean> {
  return (await pathKind(join(folder, 'card.json'))) === 'file' && (await readCard(folder)).key === key;
}

async function make(
  folder: string,
  key: string,
  inputs: readonly Input[],
  options: FullCorpusOptions,
  { tokenizer, onProgress, signal }: PrepareOptions,
): Promise<void> {
  const sha256 = tokenizerFingerprint(tokenizer);
  const { vocabSize } = tokenizer;
  const { split, fractions, seed, read } = options;
  const writers = await SplitWriters.create(folder, tokenizer, fractions, { vocabSize, tokenizer: sha256 });
  const total = inputs.reduce((sum, { size }) => sum + size, 0);
  let bytes = 0;
  let documentsRead = 0;
  try {
    for await (const { text } of readDocuments(inputs, { ...read, onBytes: (count) => (bytes += count) })) {
      signal?.throwIfAborted();
      documentsRead++;
      if (split === 'hash') await writers.add(hashedSplit(textKey(text), fractions, seed), text);
      else {
        const parts = positionSplit(text, fractions);
        for (const name of splitNames) await writers.add(name, parts[name]);
      }
      onProgress?.({ stage: 'tokenize', bytes, total, tokens: writers.tokens });
    }
    const splits = await writers.finish();
    const card = {
      format: 'tapeform-corpus',
      version: 1,
      key,
      inputs: inputs.map(({ name, size }) => ({ name: basename(name), size })),
      options,
      tokenizer: { vocabSize, sha256 },
      documentsRead,
      splits,
    };
    await writeFilesAtomic([
      ...tokenizer.filesToSave(folder),
      { path: join(folder, 'card.json'), data: `${JSON.stringify(card, null, 2)}\n` },
    ]);
  } finally {
    await writers.discard();
  }
}
