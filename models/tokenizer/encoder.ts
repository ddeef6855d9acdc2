import type { JsonObject } from '../../common/json-file.ts';
import { BoundedCache, IdList } from '../../common/collections.ts';
import { Bpe } from './bpe.ts';
import { ByteLevelBpe } from './byte-level-bpe.ts';
import { Characters } from './characters.ts';
import type { Normalizer, Stretch } from './normalizers.ts';
import { readNormalizer } from './normalizers.ts';
import { Part } from './part.ts';
import type { PreTokenizer } from './pre-tokenizers.ts';
import { readPreTokenizer } from './pre-tokenizers.ts';
import type { TokenizerFolder } from './tokenizer-folder.ts';
import { Unigram } from './unigram.ts';
import { WordPiece, unknownId } from './word-piece.ts';

/** Plain text (no added tokens in it) to ids. */
export interface Encoder {
  normalize(stretch: Stretch): Stretch;
  /** Appends the ids of a normalised text. */
  encode(stretch: Stretch, ids: IdList): void;
}

/**
 * The encoder for a checked tokenizer.json: a fast one for the byte-level BPE of GPT-2, Llama 3, Qwen and the
 * like, and for vocabularies of characters; else the parts one after the other, as in Rust `tokenizers`.
 * Error, one line: a part or an option that is not known, named.
 */
export function readEncoder({ tokenizer, vocab, merges }: TokenizerFolder, path: string): Encoder {
  return (
    ByteLevelBpe.from(tokenizer, vocab, merges, path) ??
    Characters.from(tokenizer, vocab) ??
    new PartsEncoder(
      readNormalizer(tokenizer['normalizer'], `${path}: its normalizer`),
      readPreTokenizer(tokenizer['pre_tokenizer'], `${path}: its pre_tokenizer`),
      new Part(tokenizer['model'], `${path}: its model`).make(models(vocab, merges)),
    )
  );
}

type Model = (piece: string, ids: IdList) => void;

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

function cached(model: { encode(piece: string, ids: IdList): void }): Model {
  const cache = new BoundedCache<readonly number[]>(MAX_CACHED_PIECES);
  return (piece, ids) => {
    if (piece.length > MAX_CACHED_LENGTH) return model.encode(piece, ids);
    let known = cache.get(piece);
    if (!known) {
      const fresh = new IdList();
      model.encode(piece, fresh);
      known = Array.from(fresh.toArray());
      cache.set(piece, known);
    }
    ids.pushAll(known);
  };
}

const wordPiece =
  (model: WordPiece): Model =>
  (piece, ids) =>
    ids.pushAll(model.encode(piece).ids);

const wordLevel =
  (vocab: ReadonlyMap<string, number>, unknown: string): Model =>
  (piece, ids) =>
    ids.push(vocab.get(piece) ?? unknownId(vocab, unknown, piece));

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

class PartsEncoder implements Encoder {
  readonly normalize: Normalizer;
  private readonly preTokenize: PreTokenizer;
  private readonly model: Model;

  constructor(normalizer: Normalizer, preTokenizer: PreTokenizer, model: Model) {
    this.normalize = normalizer;
    this.preTokenize = preTokenizer;
    this.model = model;
  }

  encode({ text, atStart }: Stretch, ids: IdList): void {
    if (text === '') return;
    for (const piece of this.preTokenize([text], atStart)) this.model(piece, ids);
  }
}
