import { isJsonObject } from '../../common/json-file.ts';
import { hasModelFile, readModelJson } from '../io/model-files.ts';
import type { ResolveOptions } from '../io/resolve.ts';
import { readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import { BertTokenizer } from './bert-tokenizer.ts';
import { Tokenizer } from './tokenizer.ts';

/**
 * The tokenizer of a folder, of a model in the Hugging Face cache or on the hub: BertTokenizer where it is
 * BERT's WordPiece (or a bare vocab.txt), else Tokenizer.
 *
 * @example
 * const tokenizer = await loadTokenizer('models/pretrained/gpt-small');
 * tokenizer.tokenize('my citizens'); // ['my', 'Ġcitizens']
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
  if (!(await hasModelFile(folder, 'tokenizer.json'))) return true;
  const json = await readModelJson(folder, 'tokenizer.json');
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
