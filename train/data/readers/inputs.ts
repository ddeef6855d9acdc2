import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { namedCorpora } from './corpora.ts';
import type { ReadOptions, TextDocument } from './document.ts';
import { parquetFileDocuments } from './parquet-file.ts';
import { tableFileDocuments, textFileDocuments } from './text-file.ts';

type Reader = (path: string, options: ReadOptions) => AsyncGenerator<TextDocument>;

/** Readers by a file's ending. */
const READERS: Readonly<Record<string, Reader>> = {
  '.txt': textFileDocuments,
  '.md': textFileDocuments,
  '.jsonl': tableFileDocuments,
  '.ndjson': tableFileDocuments,
  '.csv': tableFileDocuments,
  '.tsv': tableFileDocuments,
  '.parquet': parquetFileDocuments,
};

/** One file or named corpus to read. */
export interface Input {
  /** A path, or the corpus's name. */
  readonly name: string;
  /** Bytes of a file, about the characters of a corpus; for progress. */
  readonly size: number;
  /** When a file was changed last, in ms. */
  readonly modified?: number;
  /** Given by name, not found in a folder: then it may not be empty. */
  readonly named: boolean;
}

/**
 * The files and corpora that `inputs` stand for, in order: each a file (.txt, .md, .jsonl, .ndjson, .csv,
 * .tsv, .parquet), a folder of such files (its folders too, by name), a corpus that comes with the project
 * ("sotu", "moby-dick", "spam-assassin"), or several joined by "+". Errors, one line: nothing of that name,
 * an ending that tells no format, a folder without a text.
 *
 * @example
 * await saveFiles([{ path: 'notes.txt', data: 'hello' }]);
 * (await expandInputs(['notes.txt'])).length; // 1
 */
export async function expandInputs(inputs: readonly string[]): Promise<Input[]> {
  const names = inputs.flatMap((input) => (statSync(input, { throwIfNoEntry: false }) ? [input] : input.split('+')));
  if (names.length === 0) throw new Error('no input: give files, folders, or names of corpora');
  const found: Input[] = [];
  for (const name of names) {
    const corpus = namedCorpora.get(name);
    const stat = statSync(name, { throwIfNoEntry: false });
    if (stat?.isDirectory()) found.push(...(await filesOf(name)));
    else if (stat) found.push(fileInput(name, true));
    else if (corpus) found.push({ name, size: corpus.characters, named: true });
    else
      throw new Error(
        `${name}: no such file or folder, and no corpus of that name (there are ` +
          `${[...namedCorpora.keys()].join(', ')})`,
      );
  }
  return found;
}

/**
 * The documents of all inputs one by one. Errors, one line: what the readers refuse; a file that was named
 * and is empty.
 *
 * @example
 * await saveFiles([{ path: 'notes.txt', data: 'hello' }]);
 * for await (const { text } of readDocuments(await expandInputs(['notes.txt']))) console.log(text);
 */
export async function* readDocuments(
  inputs: readonly Input[],
  options: ReadOptions = {},
): AsyncGenerator<TextDocument> {
  for (const { name, size, named, modified } of inputs) {
    if (modified === undefined) {
      for (const document of await namedCorpora.get(name)!.load()) {
        options.onBytes?.(document.text.length);
        yield document;
      }
      continue;
    }
    let documents = 0;
    if (size > 0) {
      for await (const document of readerOf(name)(name, options)) {
        documents++;
        yield document;
      }
    }
    if (documents === 0 && named) throw new Error(`${name}: the file is empty; a corpus needs at least one text`);
  }
}

async function filesOf(folder: string): Promise<Input[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const files = entries
    .filter((entry) => !entry.isDirectory() && extname(entry.name).toLowerCase() in READERS)
    // `path` is what Node before 20.12 calls it.
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  if (files.length === 0)
    throw new Error(`${folder}: no file to read in it; it needs some that end in ${Object.keys(READERS).join(', ')}`);
  return files.map((file) => fileInput(file, false));
}

function fileInput(name: string, named: boolean): Input {
  readerOf(name);
  const { size, mtimeMs } = statSync(name);
  return { name, size, modified: mtimeMs, named };
}

function readerOf(path: string): Reader {
  const reader = READERS[extname(path).toLowerCase()];
  if (!reader)
    throw new Error(`${path}: the ending tells no format; rename it to one of ${Object.keys(READERS).join(', ')}`);
  return reader;
}
