import { join } from 'node:path';
import { isJsonObject, pathKind, readJsonFile } from '../../common/json-file.ts';
import type { ResolveOptions } from '../io/resolve.ts';
import { readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import { BertTokenizer } from './bert-tokenizer.ts';
import { Tokenizer } from './tokenizer.ts';

/**
 * The tokenizer of a folder, of a model in the Hugging Face cache or on the hub: BertTokenizer where it is
 * BERT's WordPiece (or a bare vocab.txt), else Tokenizer.
 */
export async function loadTokenizer(
  id: string,
  options: Omit<ResolveOptions, 'need'> = {},
): Promise<BertTokenizer | Tokenizer> {
  const folder = await resolveModelFolder(id, { ...options, need: 'tokenizer' });
  return readModelFolder(folder, async () =>
    (await isBert(folder)) ? BertTokenizer.fromPretrained(folder) : Tokenizer.fromPretrained(folder),
  );
}

async function isBert(folder: string): Promise<boolean> {
  const path = join(folder, 'tokenizer.json');
  if ((await pathKind(path)) !== 'file') return true;
  const json = await readJsonFile(path);
  const has = (part: string, type: string): boolean => {
    const value = json[part];
    return isJsonObject(value) && value['type'] === type;
  };
  return (
    has('model', 'WordPiece') &&
    has('pre_tokenizer', 'BertPreTokenizer') &&
    ((json['normalizer'] ?? null) === null || has('normalizer', 'BertNormalizer'))
  );
}
