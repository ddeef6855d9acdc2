import { createHash } from 'node:crypto';
import { basename, join } from 'node:path';
import { BertTokenizer } from '../../../models/index.ts';
import type { FileToWrite } from '../../../models/io/atomic.ts';
import { isJsonObject, pathKind, readJsonFile } from '../../../models/io/json-file.ts';

/** What is needed of a tokenizer to make a token corpus. */
export interface TextTokenizer {
  /** Ids are below this. */
  readonly vocabSize: number;
  /** The ids of one text, without special tokens around it. */
  idsOf(text: string): ArrayLike<number>;
  /** The tokenizer's files for `folder`. */
  filesToSave(folder: string): FileToWrite[];
}

/** Loads the tokenizer in `folder` by what its tokenizer.json says it is. Errors, one line: no tokenizer there, or one of an unknown kind. */
export async function loadTokenizer(folder: string): Promise<TextTokenizer> {
  const path = join(folder, 'tokenizer.json');
  if ((await pathKind(path)) === 'file') {
    const { model } = await readJsonFile(path);
    const type = isJsonObject(model) ? model['type'] : undefined;
    if (type !== 'WordPiece')
      throw new Error(`${path}: a tokenizer of type ${JSON.stringify(type)} cannot be used here; WordPiece is needed`);
  }
  const tokenizer = await BertTokenizer.fromPretrained(folder);
  return {
    vocabSize: tokenizer.vocabSize,
    idsOf: (text) => tokenizer.encodeText(text).ids,
    filesToSave: (target) => tokenizer.filesToSave(target),
  };
}

/** Hash by which a tokenizer is known: of its tokenizer.json, or, where it has none, of all its files. */
export function tokenizerFingerprint(tokenizer: TextTokenizer): string {
  const files = tokenizer.filesToSave('').filter(({ data }) => typeof data !== 'function');
  const main = files.filter(({ path }) => basename(path) === 'tokenizer.json');
  const hash = createHash('sha256');
  for (const { data } of main.length > 0 ? main : files) hash.update(data as string | Uint8Array);
  return hash.digest('hex');
}

/** Characters that are tokenised at once. */
const LONGEST = 1 << 20;

/**
 * The ids of a text of any length in bounded memory: more than a million characters are cut between a letter and a space before another letter, where no token lies across (BERT's pre-tokeniser drops the
 * space, GPT-2's begins the next word with it).
 */
export function* idsInPieces(tokenizer: TextTokenizer, text: string): Generator<ArrayLike<number>> {
  let start = 0;
  while (text.length - start > LONGEST) {
    const end = cutBefore(text, start + LONGEST, start);
    yield tokenizer.idsOf(text.slice(start, end));
    start = end;
  }
  yield tokenizer.idsOf(text.slice(start));
}

/** The last place up to `limit`, after `start`, before a space between two letters; else `limit`. */
function cutBefore(text: string, limit: number, start: number): number {
  const letter = /^\p{L}$/u;
  for (let at = limit; at > start + 1; at--) {
    if (text[at] === ' ' && letter.test(text[at - 1]!) && letter.test(text[at + 1]!)) return at;
  }
  const low = text.charCodeAt(limit);
  return low >= 0xdc00 && low <= 0xdfff ? limit - 1 : limit;
}
