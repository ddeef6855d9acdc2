import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import type { IdList } from '../../common/collections.ts';
import type { PlacedPiece, Stretch } from './stretch.ts';

/** Encodes by a vocabulary of characters: the BPE without merges that `trainCharacters` writes. */
export class Characters {
  private readonly ids: ReadonlyMap<string, number>;
  private readonly unknown: number | undefined;

  private constructor(ids: ReadonlyMap<string, number>, unknown: number | undefined) {
    this.ids = ids;
    this.unknown = unknown;
  }

  /** The encoder for a tokenizer.json; null where it is of another kind. */
  static from(tokenizer: JsonObject, ids: ReadonlyMap<string, number>): Characters | null {
    const { model, normalizer = null, pre_tokenizer: preTokenizer = null } = tokenizer;
    if (!isJsonObject(model) || model['type'] !== 'BPE' || normalizer !== null || preTokenizer !== null) return null;
    const others = ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix', 'byte_fallback', 'fuse_unk'];
    if (others.some((name) => Boolean(model[name]))) return null;
    if (!Array.isArray(model['merges']) || model['merges'].length > 0) return null;
    const unknown = typeof model['unk_token'] === 'string' ? ids.get(model['unk_token']) : undefined;
    return new Characters(ids, unknown);
  }

  normalize(stretch: Stretch): Stretch {
    return stretch;
  }

  /**
   * Appends the ids of a text. Error: a character that is not in the vocabulary, where there is no token for
   * unknown ones. (Rust `tokenizers` leaves it out, and the text does not come back.)
   */
  encode({ text }: Stretch, ids: IdList): void {
    for (const char of text) ids.push(this.idOf(char));
  }

  pieces(stretch: Stretch): PlacedPiece[] {
    const chars = Array.from(stretch.text);
    let at = 0;
    const ends = chars.map(({ length }) => (at += length));
    const starts = ends.map((end, i) => end - chars[i]!.length);
    return [{ stretch, tokens: { ids: chars.map((char) => this.idOf(char)), starts, ends } }];
  }

  private idOf(char: string): number {
    const id = this.ids.get(char) ?? this.unknown;
    if (id !== undefined) return id;
    const code = char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
    throw new Error(
      `no token for the character ${JSON.stringify(char)} (U+${code}), and none for unknown ` +
        'ones; train it on texts that have it, or with an unk_token',
    );
  }
}
