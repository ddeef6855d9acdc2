import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { writeFolderAtomic } from '../../common/atomic-files.ts';
import { readFolder } from '../../common/atomic-folder.ts';
import { readError } from '../../common/json-file.ts';
import { hasManifest, verifyManifest, writeManifest } from '../../common/manifest.ts';
import type { TokenCorpus } from './token-corpus.ts';
import { bytesPerToken, readTokenMeta, sizesOf, TokenWriter } from './token-writer.ts';
import type { TokenMeta, TokenWriterOptions } from './token-writer.ts';

/** A token corpus on disk, read as it is needed. */
export interface TokenFiles extends TokenCorpus {
  readonly meta: TokenMeta;
  /** Gives the file back; nothing can be read afterwards. */
  close(): void;
}

/** Facts that a corpus must agree with; another is refused. */
export type ExpectedTokens = Partial<TokenWriterOptions>;

/**
 * Writes tokenised documents as a folder, whole or not at all, in bounded memory; an older corpus there is
 * replaced. Errors, one line: an id outside of the vocabulary, no documents, a folder that holds other
 * things, whatever keeps a file from being written (a full disk, permissions).
 *
 * @example
 * const { tokens } = await writeTokenCorpus('written', [[5, 6], [7]], { vocabSize: 10, tokenizer: 'mine' });
 * tokens; // 3
 */
export function writeTokenCorpus(
  folder: string,
  documents: AsyncIterable<ArrayLike<number>> | Iterable<ArrayLike<number>>,
  options: TokenWriterOptions,
): Promise<TokenMeta> {
  return writeFolderAtomic(folder, 'meta.json', async (temporary) => {
    const writer = await TokenWriter.create(temporary, options);
    try {
      for await (const document of documents) await writer.add(document);
      const meta = await writer.finish();
      await writeManifest(temporary);
      return meta;
    } finally {
      await writer.discard();
    }
  });
}

/**
 * Opens a corpus that `writeTokenCorpus` wrote. Its offsets (8 bytes a document) are held in memory, its ids
 * are read from the file by position, so that any number of corpora larger than memory can be open. Errors,
 * one line: no corpus there, files shorter or longer than meta.json says, offsets that do not ascend, a
 * vocabulary or a tokenizer other than the one expected, and, unless `verify` is false, files whose SHA-256
 * is not that in manifest.json, for which all are read (about a second for each GB). A corpus of an earlier
 * version has no manifest.json; `verifyTokenCorpus` checks its ids.
 *
 * @example
 * await writeTokenCorpus('ids', [[5, 6], [7]], { vocabSize: 10, tokenizer: 'mine' });
 * const corpus = await openTokenCorpus('ids', { vocabSize: 10 });
 * corpus.read(0, 3); // [5, 6, 7]
 */
export function openTokenCorpus(
  folder: string,
  expected: ExpectedTokens = {},
  { verify = true }: { readonly verify?: boolean } = {},
): Promise<TokenFiles> {
  // A split lies in the folder of a prepared corpus, which is saved as one.
  const partOf = dirname(resolve(folder));
  const open = (): Promise<TokenFiles> => openFiles(folder, expected, verify);
  return readFolder(folder, open, { partOf, discard: (corpus) => corpus.close() });
}

async function openFiles(folder: string, expected: ExpectedTokens, verify: boolean): Promise<TokenFiles> {
  const meta = await readTokenMeta(folder);
  checkExpected(folder, meta, expected);
  const path = join(folder, 'tokens.bin');
  const sizes = sizesOf(meta);
  closeSync(openChecked(path, sizes.tokens));
  closeSync(openChecked(join(folder, 'offsets.bin'), sizes.offsets));
  if (verify) await verifyFiles(folder);
  const offsets = readOffsets(folder, meta);
  const file = openChecked(path, sizes.tokens);
  let open = true;
  const read = (start: number, end: number): Int32Array => {
    if (!open) throw new Error(`${folder}: the corpus is closed`);
    return readIds(path, file, meta, start, end);
  };
  const close = (): void => {
    if (open) closeSync(file);
    open = false;
  };
  return { tokens: meta.tokens, offsets, vocabSize: meta.vocabSize, hash: meta.sha256, meta, read, close };
}

/** The mend of a damaged corpus. */
export const remake = 'copy the corpus again, or remove its folder and make it again';

/** Checks a corpus by its manifest, its own or that of the prepared corpus of which it is a split. */
async function verifyFiles(folder: string): Promise<void> {
  if (await hasManifest(folder)) return verifyManifest(folder, { mend: remake });
  const path = resolve(folder);
  const parent = dirname(path);
  if (await hasManifest(parent)) await verifyManifest(parent, { mend: remake, below: basename(path) });
}

/**
 * Reads a whole corpus and checks that its ids are those whose hash meta.json has.
 *
 * @example
 * await writeTokenCorpus('verified', [[5, 6], [7]], { vocabSize: 10, tokenizer: 'mine' });
 * await verifyTokenCorpus('verified');
 */
export async function verifyTokenCorpus(folder: string): Promise<void> {
  const corpus = await openTokenCorpus(folder);
  try {
    const hash = createHash('sha256');
    const block = 1 << 20;
    for (let start = 0; start < corpus.tokens; start += block)
      hash.update(new Uint8Array(corpus.read(start, Math.min(start + block, corpus.tokens)).buffer));
    if (hash.digest('hex') !== corpus.hash)
      throw new Error(`${folder}: tokens.bin is not what was written (its hash differs); tokenize the texts again`);
  } finally {
    corpus.close();
  }
}

function checkExpected(folder: string, meta: TokenMeta, { vocabSize, tokenizer }: ExpectedTokens): void {
  if (vocabSize !== undefined && vocabSize !== meta.vocabSize)
    throw new Error(
      `${folder}: its ids are of a vocabulary of ${meta.vocabSize}, but ${vocabSize} is expected; ` +
        `tokenize the texts with the model's own tokenizer`,
    );
  if (tokenizer !== undefined && meta.tokenizer !== undefined && tokenizer !== meta.tokenizer)
    throw new Error(
      `${folder}: its ids are of another tokenizer (of ${meta.vocabSize} tokens too); ` +
        `tokenize the texts with the model's own tokenizer`,
    );
}

function readOffsets(folder: string, meta: TokenMeta): Float64Array {
  const path = join(folder, 'offsets.bin');
  const offsets = new Float64Array(meta.documents + 1);
  const file = openChecked(path, sizesOf(meta).offsets);
  try {
    readFully(path, file, offsets, 0);
  } finally {
    closeSync(file);
  }
  const ascends = offsets.every((offset, i) => offset >= (i === 0 ? 0 : offsets[i - 1]!));
  if (!ascends || offsets[0] !== 0 || offsets.at(-1) !== meta.tokens)
    throw new Error(`${path} is damaged: it does not ascend from 0 to ${meta.tokens}; tokenize the texts again`);
  return offsets;
}

function readIds(path: string, file: number, meta: TokenMeta, start: number, end: number): Int32Array {
  const { dtype, tokens } = meta;
  if (!(start >= 0 && start <= end && end <= tokens && Number.isInteger(start) && Number.isInteger(end)))
    throw new Error(
      `${path}: cannot read ids ${start} to ${end} of ${tokens}; 0 <= start <= end <= ${tokens} is needed`,
    );
  const ids = dtype === 'u16' ? new Uint16Array(end - start) : new Int32Array(end - start);
  readFully(path, file, ids, start * bytesPerToken(dtype));
  return ids instanceof Int32Array ? ids : Int32Array.from(ids);
}

function openChecked(path: string, bytes: number): number {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw readError(path, error);
  }
  const { size } = fstatSync(file);
  if (size === bytes) return file;
  closeSync(file);
  throw new Error(
    `${path} is damaged: ${size} bytes where meta.json says ${bytes}; copy it again, or tokenize the texts again`,
  );
}

function readFully(path: string, file: number, into: ArrayBufferView, position: number): void {
  const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
  for (let done = 0; done < bytes.length;) {
    const count = readSync(file, bytes, done, Math.min(bytes.length - done, 1 << 30), position + done);
    if (count === 0) throw new Error(`${path} became shorter while it was being read; is something writing to it?`);
    done += count;
  }
}
