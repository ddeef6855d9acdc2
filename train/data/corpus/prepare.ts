import { basename, join } from 'node:path';
import { writeFilesAtomic, writeFolderAtomic } from '../../../common/atomic-files.ts';
import { readFolder, recoverFolder } from '../../../common/atomic-folder.ts';
import { disk } from '../../../common/file-system.ts';
import { pathKind } from '../../../common/json-file.ts';
import { verifyManifest, writeManifest } from '../../../common/manifest.ts';
import type { Cleaner } from '../cleaning/cleaner.ts';
import { DuplicateFilter } from '../duplicates/filter.ts';
import { NearDuplicates } from '../duplicates/near-duplicates.ts';
import type { TextDocument } from '../readers/document.ts';
import { expandInputs } from '../readers/inputs.ts';
import type { Input } from '../readers/inputs.ts';
import { hashedSplit, positionSplit, splitNames } from '../split.ts';
import { textKey } from '../text-hash.ts';
import { openTokenCorpus, remake } from '../token-files.ts';
import type { TokenFiles } from '../token-files.ts';
import { cardPage } from './data-card-page.ts';
import { readCard } from './data-card.ts';
import type { CorpusCard } from './data-card.ts';
import { corpusKey, withDefaults } from './corpus-options.ts';
import type { CorpusOptions, FullCorpusOptions } from './corpus-options.ts';
import { SplitWriters } from './split-writers.ts';
import { findDuplicates, inputSource, makeCleaner, pass, spoolSource, writeDocuments } from './stages.ts';
import type { DocumentSource } from './stages.ts';
import { tokenizerFingerprint } from './text-tokenizer.ts';
import type { TextTokenizer } from './text-tokenizer.ts';
import { Watch } from './watch.ts';
import type { WatchOptions } from './watch.ts';

export interface PrepareOptions extends CorpusOptions, WatchOptions {
  /** Files, folders, and names of corpora, see `expandInputs`. */
  readonly inputs: readonly string[];
  readonly tokenizer: TextTokenizer;
  /** Where the corpus lies, or is made: a folder of its own. */
  readonly folder: string;
  /** Refuse to replace a corpus by one of other tokens, such as that of a run which goes on. */
  readonly keepTexts?: boolean;
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
 * Text in, token corpora out: reads, cleans, de-duplicates, splits and tokenises `inputs` into `folder`
 * (train/, validation/, test/, the tokenizer's files, card.json), whole or not at all; does nothing where the
 * folder was made from the same inputs with the same tokenizer and options. Errors, one line: what the
 * readers refuse, an empty split, a folder that holds other things, a disk that is full.
 *
 * @example
 * await saveFiles([{ path: 'text.txt', data: 'It was the best of times, it was the worst of times.' }]);
 * const whole = { train: 1, validation: 0, test: 0 };
 * const options = { inputs: ['text.txt'], tokenizer: Tokenizer.gpt2(), clean: false } as const;
 * const { train } = await prepareCorpus({ ...options, fractions: whole, folder: 'prepared' });
 * train.tokens; // 14
 */
export async function prepareCorpus(options: PrepareOptions): Promise<PreparedCorpus> {
  const { folder, tokenizer } = options;
  const full = withDefaults(options);
  const inputs = await expandInputs(options.inputs);
  const key = corpusKey(inputs, tokenizer, full);
  const cached = await isPrepared(folder, key);
  if (!cached) {
    const old = options.keepTexts && (await isCorpus(folder)) ? await readCard(folder) : undefined;
    await writeFolderAtomic(folder, 'card.json', async (temporary) => {
      const { splits } = await make(temporary, key, inputs, full, options);
      if (old && splitNames.some((name) => splits[name]?.sha256 !== old.splits[name]?.sha256))
        throw new Error(
          `${folder} was made of other texts, or with other options, than are given now; resume with the same, or ` +
            'remove the run to start again; who knows what it means can go on with --resume-anyway',
        );
    });
  }
  return openPrepared(folder, cached, { vocabSize: tokenizer.vocabSize, tokenizer: tokenizerFingerprint(tokenizer) });
}

/**
 * Opens a prepared corpus. Unless this process has just made it (`cached` is false), the SHA-256 of every
 * file is compared with manifest.json, which takes about a second for each GB. Errors: as `openTokenCorpus`
 * and `readCard`; a file that is not as it was written.
 *
 * @example
 * await saveFiles([{ path: 'text.txt', data: 'It was the best of times, it was the worst of times.' }]);
 * const whole = { train: 1, validation: 0, test: 0 };
 * const options = { inputs: ['text.txt'], tokenizer: Tokenizer.gpt2(), clean: false } as const;
 * (await prepareCorpus({ ...options, fractions: whole, folder: 'opened' })).close();
 * const { train } = await openPrepared('opened');
 */
export function openPrepared(
  folder: string,
  cached = true,
  expected: { readonly vocabSize?: number; readonly tokenizer?: string } = {},
): Promise<PreparedCorpus> {
  const open = (): Promise<PreparedCorpus> => openParts(folder, cached, expected);
  return readFolder(folder, open, { below: true, discard: (corpus) => corpus.close() });
}

async function openParts(...[folder, cached, expected]: Required<Parameters<typeof openPrepared>>) {
  const card = await readCard(folder);
  await verifyManifest(folder, { mend: remake, hashes: cached });
  const open: TokenFiles[] = [];
  const close = (): void => open.forEach((corpus) => corpus.close());
  try {
    const parts: { -readonly [name in (typeof splitNames)[number]]?: TokenFiles } = {};
    for (const name of splitNames.filter((split) => card.splits[split])) {
      parts[name] = await openTokenCorpus(join(folder, name), expected, { verify: false });
      open.push(parts[name]);
    }
    return { ...parts, train: parts.train!, card, cached, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function isCorpus(folder: string): Promise<boolean> {
  await recoverFolder(folder);
  return (await pathKind(join(folder, 'card.json'))) === 'file';
}

async function isPrepared(folder: string, key: string): Promise<boolean> {
  return (await isCorpus(folder)) && (await readCard(folder)).key === key;
}

async function make(
  folder: string,
  key: string,
  inputs: readonly Input[],
  options: FullCorpusOptions,
  { tokenizer, ...watching }: PrepareOptions,
): Promise<CorpusCard> {
  const watch = new Watch(watching);
  const texts = await cleanAndCompare(
    join(folder, 'documents.jsonl'),
    inputSource(inputs, options.read),
    options,
    watch,
  );
  const sha256 = tokenizerFingerprint(tokenizer);
  const { vocabSize } = tokenizer;
  const { split, fractions, seed } = options;
  const writers = await SplitWriters.create(folder, tokenizer, fractions, { vocabSize, tokenizer: sha256 });
  let documents = 0;
  try {
    for await (const document of pass('tokenize', texts.source, watch)) {
      const i = documents++;
      const { text } = document;
      texts.duplicates?.see(i, document);
      if (texts.duplicates?.keeps(i) === false) continue;
      if (split === 'hash')
        await writers.add(hashedSplit(texts.duplicates?.splitKey(i) ?? textKey(text), fractions, seed), text);
      else {
        const parts = positionSplit(text, fractions);
        for (const name of splitNames) await writers.add(name, parts[name]);
      }
      watch.step(writers.tokens);
    }
    const splits = await writers.finish();
    const cleaning = texts.cleaner?.report();
    const card: CorpusCard = {
      format: 'tapeform-corpus',
      version: 1,
      key,
      inputs: inputs.map(({ name, size }) => ({ name: basename(name), size })),
      options: { ...options },
      tokenizer: { vocabSize, sha256 },
      documentsRead: cleaning?.documents ?? documents,
      ...(cleaning ? { cleaning: cleaning } : {}),
      ...(texts.duplicates ? { duplicates: texts.duplicates.report() } : {}),
      splits: { ...splits, train: splits.train! },
    };
    await disk.remove(join(folder, 'documents.jsonl'));
    await writeFilesAtomic([
      ...tokenizer.filesToSave(folder),
      { path: join(folder, 'card.json'), data: `${JSON.stringify(card, null, 2)}\n` },
      { path: join(folder, 'README.md'), data: cardPage(card) },
    ]);
    // The page is made from card.json, and may be edited.
    await writeManifest(folder, ['README.md']);
    return card;
  } finally {
    await writers.discard();
  }
}

/**
 * The documents to split: as they are, or cleaned and written to `spool`; and what was found out about them.
 */
async function cleanAndCompare(
  spool: string,
  source: DocumentSource,
  { clean, duplicates }: FullCorpusOptions,
  watch: Watch,
): Promise<{ source: DocumentSource; cleaner?: Cleaner; duplicates?: DuplicateFilter }> {
  if (!clean) return { source, ...(duplicates ? { duplicates: await findDuplicates(source, duplicates, watch) } : {}) };
  const cleaner = await makeCleaner(source, clean, watch);
  const index = duplicates ? new NearDuplicates() : undefined;
  const change = (document: TextDocument): string | null => {
    const text = cleaner.clean(document);
    if (text !== null) index?.add(text);
    return text;
  };
  await writeDocuments(spool, pass('clean', source, watch), change, cleaner);
  const cleaned = { source: await spoolSource(spool), cleaner };
  return index && duplicates ? { ...cleaned, duplicates: new DuplicateFilter(index, duplicates) } : cleaned;
}
