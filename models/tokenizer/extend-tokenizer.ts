// New words in a tokenizer: as WordPieces of their own, or by further merges of byte-level BPE.
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { brief } from '../../common/printable.ts';
import { BertTokenizer } from './bert-tokenizer.ts';
import { Tokenizer } from './tokenizer.ts';

export interface ExtendedTokenizer<T> {
  readonly tokenizer: T;
  /** For each new id, from the old vocabulary's size up: the old ids that stood for it. */
  readonly pieces: readonly (readonly number[])[];
}

/** A word of several tokens, and these. */
interface NewWord {
  readonly word: string;
  readonly pieces: readonly number[];
  readonly tokens: readonly string[];
}

/**
 * The tokenizer with one token for each of `words`, at ids behind all others; words that are one token
 * already stay so. WordPiece gets them in its vocabulary. Byte-level BPE gets merges after all others that
 * join a word's tokens from left to right, and so a token for each beginning too; there a word most often
 * begins with its space. Old texts of other words are cut as before, but for words that BPE's new beginnings
 * are part of. With `pieces`, `extendVocabulary` gives a model its rows.
 *
 * Errors, one line each: a word with characters that the vocabulary lacks; one that the tokenizer cuts in two
 * whatever its vocabulary (spaces, punctuation); another kind of tokenizer.
 *
 * @example
 * const { tokenizer } = extendTokenizer(BertTokenizer.default(), ['webgpu']);
 * tokenizer.tokenize('webgpu'); // ['webgpu']
 */
export function extendTokenizer<T extends BertTokenizer | Tokenizer>(
  tokenizer: T,
  words: readonly string[],
): ExtendedTokenizer<T> {
  const [json, config] = ['tokenizer.json', 'tokenizer_config.json'].map((name) => fileOf(tokenizer, name));
  const model = json!['model'] as JsonObject;
  const isBpe = model['type'] === 'BPE' || 'merges' in model;
  if (!isBpe && model['type'] !== 'WordPiece')
    throw new Error(
      `extendTokenizer: the tokenizer's model is ${brief(model['type'])}; ` + 'only WordPiece and BPE can be extended',
    );
  const fresh = [...new Set(words)].map((word) => newWord(tokenizer, word)).filter(({ pieces }) => pieces.length > 1);
  const vocab = { ...(model['vocab'] as Record<string, number>) };
  const pieces: (readonly number[])[] = [];
  const add = (token: string, of: readonly number[]): void => {
    if (token in vocab || tokenizer.tokenToId(token) !== undefined) return;
    vocab[token] = tokenizer.vocabSize + pieces.length;
    pieces.push(of);
  };
  let extended: JsonObject;
  if (isBpe) extended = { ...model, vocab, merges: withMerges(model['merges'] as unknown[], fresh, add) };
  else {
    const { continuing_subword_prefix: prefix = '##' } = model;
    for (const { tokens, pieces: of } of fresh) add(joined(tokens, prefix as string), of);
    extended = { ...model, vocab };
  }
  const made = fromJson(tokenizer, { ...json, model: extended }, config!);
  for (const { word } of fresh) {
    if (made.idsOf(word).length === 1) continue;
    throw new Error(
      `extendTokenizer: "${word}" cannot be one token, for the tokenizer cuts it before it looks at its ` +
        'vocabulary; give single words',
    );
  }
  return { tokenizer: made as T, pieces };
}

function newWord(tokenizer: BertTokenizer | Tokenizer, word: string): NewWord {
  const pieces = Array.from(tokenizer.idsOf(word));
  // GPT-2 names its end of text as unknown, and never needs it.
  if (pieces.length === 0 || pieces.includes(tokenizer.unkTokenId ?? -1))
    throw new Error(`extendTokenizer: "${word}" has characters that the vocabulary lacks; leave it out`);
  return { word, pieces, tokens: pieces.map((id) => tokenizer.idToToken(id)!) };
}

/** WordPieces as one: the first is the beginning of a word, the others continue it. */
function joined([first, ...rest]: readonly string[], prefix: string): string {
  return first! + rest.map((token) => (token.startsWith(prefix) ? token.slice(prefix.length) : token)).join('');
}

/**
 * The merges of BPE and new ones for each word. A word is looked at as the merges of the words before it
 * leave it, so that these cannot tear what its own would join.
 */
function withMerges(
  merges: readonly unknown[],
  words: readonly NewWord[],
  add: (token: string, pieces: readonly number[]) => void,
): unknown[] {
  const asText = typeof merges[0] === 'string';
  const ranks = new Map<string, number>();
  const added: unknown[] = [];
  for (const { tokens, pieces } of words) {
    const parts = tokens.map((token, i) => ({ token, pieces: [pieces[i]!] }));
    for (;;) {
      const at = nextMerge(
        parts.map(({ token }) => token),
        ranks,
      );
      const [left, right] = [parts[at]!, parts[at + 1]];
      if (!right) break; // one token
      const pair = `${left.token} ${right.token}`;
      const whole = { token: left.token + right.token, pieces: [...left.pieces, ...right.pieces] };
      if (!ranks.has(pair)) {
        ranks.set(pair, ranks.size);
        added.push(asText ? pair : [left.token, right.token]);
        add(whole.token, whole.pieces);
      }
      parts.splice(at, 2, whole);
    }
  }
  return [...merges, ...added];
}

/** The place of the pair that the new merges join first, else of the first pair. */
function nextMerge(tokens: readonly string[], ranks: ReadonlyMap<string, number>): number {
  let [best, place] = [Infinity, 0];
  for (let i = 0; i + 1 < tokens.length; i++) {
    const rank = ranks.get(`${tokens[i]!} ${tokens[i + 1]!}`) ?? Infinity;
    if (rank < best) [best, place] = [rank, i];
  }
  return place;
}

function fromJson(like: BertTokenizer | Tokenizer, json: JsonObject, config: JsonObject): BertTokenizer | Tokenizer {
  const Class = like instanceof BertTokenizer ? BertTokenizer : Tokenizer;
  return Class.fromJson(json, config, 'the extended tokenizer');
}

/** The contents of one of the files that the tokenizer would save. */
function fileOf(tokenizer: BertTokenizer | Tokenizer, name: string): JsonObject {
  const file = tokenizer.filesToSave('.').find(({ path }) => path === name || path.endsWith(`/${name}`));
  const json: unknown = typeof file?.data === 'string' ? JSON.parse(file.data) : undefined;
  if (!isJsonObject(json)) throw new Error(`extendTokenizer: the tokenizer has no ${name}`);
  return json;
}
