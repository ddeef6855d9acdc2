import type { JsonObject } from '../../common/json-file.ts';
import { BoundedCache, IdList } from '../../common/collections.ts';
import { Bpe } from './bpe.ts';
import { ByteLevelBpe } from './byte-level-bpe.ts';
import { Characters } from './characters.ts';
import type { Normalizer } from './normalizers.ts';
import { readNormalizer } from './normalizers.ts';
import { Part } from './part.ts';
import type { PreTokenizer } from './pre-tokenizers.ts';
import { readPreTokenizer } from './pre-tokenizers.ts';
import type { PlacedPiece, Stretch } from './stretch.ts';
import type { TokenizerFolder } from './tokenizer-folder.ts';
import { Unigram } from './unigram.ts';
import { WordPiece, unknownId } from './word-piece.ts';
import type { PieceTokens } from './word-piece.ts';

/** Plain text (no added tokens in it) to ids. */
export interface Encoder {
  normalize(stretch: Stretch): Stretch;
  /** Appends the ids of a normalised text. */
  encode(stretch: Stretch, ids: IdList): void;
}

/** Plain text to tokens that know where they stand. */
export interface PlacingEncoder {
  normalize(stretch: Stretch): Stretch;
  /** The pieces of a normalised text that has places. */
  pieces(stretch: Stretch): Iterable<PlacedPiece>;
}

/**
 * The encoders for a checked tokenizer.json. `ids`: a fast one for the byte-level BPE of GPT-2, Llama 3, Qwen
 * and the like, and for vocabularies of characters; else the parts one after the other, as in Rust
 * `tokenizers`. `placing` is always the latter but for characters, made when it is first asked for. Error,
 * one line: a part or an option that is not known, named.
 */
export function readEncoder(
  { tokenizer, vocab, merges }: TokenizerFolder,
  path: string,
): { readonly ids: Encoder; readonly placing: () => PlacingEncoder } {
  const parts = (): PartsEncoder =>
    new PartsEncoder(
      readNormalizer(tokenizer['normalizer'], `${path}: its normalizer`),
      readPreTokenizer(tokenizer['pre_tokenizer'], `${path}: its pre_tokenizer`),
      new Part(tokenizer['model'], `${path}: its model`).make(models(vocab, merges)),
    );
  const characters = Characters.from(tokenizer, vocab);
  const fast = ByteLevelBpe.from(tokenizer, vocab, merges, path) ?? characters;
  const ids = fast ?? parts();
  let placing: PlacingEncoder | null = characters ?? (ids instanceof PartsEncoder ? ids : null);
  return { ids, placing: () => (placing ??= parts()) };
}

interface Model {
  /** Appends the ids of a piece. */
  encode(piece: string, ids: IdList): void;
  /** The tokens of a piece and where they stand in it. */
  tokens(piece: string): PieceTokens;
}

const models = (
  vocab: ReadonlyMap<string, number>,
  merges: readonly (readonly [string, string])[],
): ReadonlyMap<string, (part: Part) => Model> =>
  new Map<string, (part: Part) => Model>([
    ['BPE', (part) => cached(new Bpe(part, vocab, merges))],
    ['Unigram', (part) => cached(new Unigram(part, vocab))],
    ['WordPiece', (part) => wordPiece(readWordPiece(part.json, vocab, part.where))],
    ['WordLevel', (part) => wordLevel(vocab, part.text('unk_token', '<unk>'))],
  ]);

// Pieces seen before are not cut again. Longer ones hardly ever come twice.
const MAX_CACHED_PIECES = 100_000;
const MAX_CACHED_LENGTH = 100;

function cached(model: Model): Model {
  const cache = new BoundedCache<readonly number[]>(MAX_CACHED_PIECES);
  const tokens = new BoundedCache<PieceTokens>(MAX_CACHED_PIECES);
  return {
    encode(piece, ids) {
      if (piece.length > MAX_CACHED_LENGTH) return model.encode(piece, ids);
      let known = cache.get(piece);
      if (!known) {
        const fresh = new IdList();
        model.encode(piece, fresh);
        known = Array.from(fresh.toArray());
        cache.set(piece, known);
      }
      ids.pushAll(known);
    },
    tokens(piece) {
      if (piece.length > MAX_CACHED_LENGTH) return model.tokens(piece);
      let known = tokens.get(piece);
      if (!known) {
        known = model.tokens(piece);
        tokens.set(piece, known);
      }
      return known;
    },
  };
}

const wordPiece = (model: WordPiece): Model => ({
  encode(piece, ids) {
    ids.pushAll(model.encode(piece).ids);
  },
  tokens(piece) {
    const { ids, lengths } = model.encode(piece);
    let at = 0;
    const ends = lengths.map((length) => (at += length));
    return { ids, starts: ends.map((end, i) => end - lengths[i]!), ends };
  },
});

function wordLevel(vocab: ReadonlyMap<string, number>, unknown: string): Model {
  const idOf = (piece: string): number => vocab.get(piece) ?? unknownId(vocab, unknown, piece);
  return {
    encode: (piece, ids) => ids.push(idOf(piece)),
    tokens: (piece) => ({ ids: [idOf(piece)], starts: [0], ends: [piece.length] }),
  };
}

/** The WordPiece model of a tokenizer.json. Error, one line: an option of another type than it should be. */
export function readWordPiece(json: JsonObject, vocab: ReadonlyMap<string, number>, where: string): WordPiece {
  const part = new Part({ ...json, type: 'WordPiece' }, where);
  return new WordPiece(
    vocab,
    part.text('unk_token', '[UNK]'),
    part.text('continuing_subword_prefix', '##'),
    part.whole('max_input_chars_per_word', 100),
  );
}

class PartsEncoder implements Encoder, PlacingEncoder {
  readonly normalize: Normalizer;
  private readonly preTokenize: PreTokenizer;
  private readonly model: Model;

  constructor(normalizer: Normalizer, preTokenizer: PreTokenizer, model: Model) {
    this.normalize = normalizer;
    this.preTokenize = preTokenizer;
    this.model = model;
  }

  encode(stretch: Stretch, ids: IdList): void {
    if (stretch.text === '') return;
    for (const { text } of this.preTokenize([stretch])) this.model.encode(text, ids);
  }

  pieces(stretch: Stretch): PlacedPiece[] {
    if (stretch.text === '') return [];
    return this.preTokenize([stretch]).map((piece) => ({ stretch: piece, tokens: this.model.tokens(piece.text) }));
  }
}
