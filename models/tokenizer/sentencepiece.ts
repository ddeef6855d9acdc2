/** Tokenizers of SentencePiece as tokenizer.json: what Transformers' converters make of them. */
import type { JsonObject } from '../../common/json-file.ts';
import { bpeModel } from './byte-level.ts';

/** Names of .model files; the first that is there counts. */
export const sentencePieceFiles: readonly string[] = [
  ...['spiece.model', 'sentencepiece.bpe.model', 'spm.model', 'tokenizer.model', 'source.spm'],
];

/** U+2581, which stands for a space. */
const space = '\u2581';

/** The parts of tokenizer.json that a vocabulary decides on: normalizer, pre_tokenizer, decoder and model. */
export type TokenizerParts = JsonObject;

export const metaspace = (scheme: 'first' | 'always' | 'never', split: boolean): JsonObject => ({
  ...{ type: 'Metaspace', replacement: space, prepend_scheme: scheme, split },
});

export const replace = (pattern: JsonObject, content: string): JsonObject => ({ type: 'Replace', pattern, content });

/** Several parts of one kind, one after the other; null for none. */
export function sequence(
  kind: 'normalizers' | 'pretokenizers' | 'decoders',
  parts: readonly JsonObject[],
): JsonObject | null {
  return parts.length > 1 ? { type: 'Sequence', [kind]: parts } : (parts[0] ?? null);
}

/**
 * A BPE of characters and bytes, as Llama's: tokens with U+2581 for spaces, `<0x0A>` for bytes. A prefix is
 * the space that a text is given before it.
 */
export function llamaParts(
  tokens: readonly string[],
  merges: readonly (readonly [string, string])[],
  hasPrefix: boolean,
): TokenizerParts {
  const decoders = [replace({ String: space }, ' '), { type: 'ByteFallback' }, { type: 'Fuse' }];
  return {
    normalizer: null,
    pre_tokenizer: metaspace(hasPrefix ? 'first' : 'never', false),
    decoder: sequence('decoders', [
      ...decoders,
      ...(hasPrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
    ]),
    model: bpeOfCharacters(tokens, merges),
  };
}

/** As `llamaParts`, with spaces replaced before a text is cut: nothing is put before it, as for Gemma. */
export function gemmaParts(tokens: readonly string[], merges: readonly (readonly [string, string])[]): TokenizerParts {
  return {
    ...llamaParts(tokens, merges, false),
    normalizer: replace({ String: ' ' }, space),
    pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
  };
}

/** As `llamaParts`, with a space before every text, whether or not it begins with one, as for Phi-3. */
export function phi3Parts(tokens: readonly string[], merges: readonly (readonly [string, string])[]): TokenizerParts {
  return {
    ...llamaParts(tokens, merges, true),
    normalizer: sequence('normalizers', [{ type: 'Prepend', prepend: space }, replace({ String: ' ' }, space)]),
    pre_tokenizer: null,
  };
}

const bpeOfCharacters = (tokens: readonly string[], merges: readonly (readonly [string, string])[]): JsonObject => ({
  ...bpeModel(Object.fromEntries(tokens.map((token, id) => [token, id])), merges),
  fuse_unk: true,
  byte_fallback: true,
});

/**
 * The merges that a vocabulary of SentencePiece's BPE stands for: each token may be made of two others; the
 * best first, by rank, then by the lengths of the parts (Transformers, generate_merges).
 */
export function mergesOf(
  tokens: readonly string[],
  rankOf: (id: number) => number,
  order: 'ascending' | 'descending',
): [string, string][] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const found = [...ids].flatMap(([token, id]) => {
    const characters = [...token];
    const splits = characters.slice(1).flatMap((_, i) => {
      const [left, right] = [characters.slice(0, i + 1).join(''), characters.slice(i + 1).join('')];
      const [leftId, rightId] = [ids.get(left), ids.get(right)];
      if (leftId === undefined || rightId === undefined) return [];
      return [{ left, right, leftId, rightId, keys: [rankOf(id), i + 1, characters.length - i - 1] }];
    });
    return splits.sort((a, b) => a.leftId - b.leftId || a.rightId - b.rightId);
  });
  const sign = order === 'ascending' ? 1 : -1;
  const compare = (a: readonly number[], b: readonly number[]): number => {
    const at = a.findIndex((value, i) => value !== b[i]);
    return at === -1 ? 0 : sign * (a[at]! - b[at]!);
  };
  return found.sort((a, b) => compare(a.keys, b.keys)).map(({ left, right }) => [left, right]);
}
