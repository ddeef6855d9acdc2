import type { IdList } from '../../common/collections.ts';
import { byteTokenIds, idsOfBytes } from './byte-level.ts';
import type { MergeTable } from './merge-table.ts';
import { mergeTable } from './merge-table.ts';
import type { Part } from './part.ts';
import { unknownId } from './word-piece.ts';
import type { PieceTokens } from './word-piece.ts';

/** BPE of characters (Sennrich et al. 2016), with every option of tokenizer.json but dropout. */
export class Bpe {
  private readonly vocab: ReadonlyMap<string, number>;
  private readonly merges: MergeTable;
  private readonly prefix: string;
  private readonly suffix: string;
  private readonly unknown: string | null;
  private readonly fusesUnknown: boolean;
  private readonly ignoresMerges: boolean;
  /** The ids of <0x00> and so on, where bytes stand for characters without a token; else null. */
  private readonly bytes: readonly (number | undefined)[] | null;

  /** Error, one line: an option of another type than it should be; dropout, for then ids are chance. */
  constructor(part: Part, vocab: ReadonlyMap<string, number>, merges: readonly (readonly [string, string])[]) {
    this.vocab = vocab;
    if (part.json['dropout'] != null && part.json['dropout'] !== 0)
      throw part.refuse('its dropout would make ids a matter of chance; set it to null');
    this.prefix = part.text('continuing_subword_prefix', '');
    this.suffix = part.text('end_of_word_suffix', '');
    this.unknown = part.json['unk_token'] == null ? null : part.text('unk_token');
    this.fusesUnknown = part.flag('fuse_unk', false);
    this.ignoresMerges = part.flag('ignore_merges', false);
    this.bytes = part.flag('byte_fallback', false) ? byteTokenIds(vocab) : null;
    this.merges = mergeTable(vocab, merges, this.prefix);
  }

  /** Appends the ids of a piece. Error, one line: a character is unknown, and so is the token for those. */
  encode(piece: string, ids: IdList): void {
    const whole = this.ignoresMerges ? this.vocab.get(piece) : undefined;
    if (whole !== undefined) ids.push(whole);
    else ids.pushAll(this.merges.apply(this.symbols(piece).ids));
  }

  /** The tokens of a piece and where they stand in it. */
  tokens(piece: string): PieceTokens {
    const whole = this.ignoresMerges ? this.vocab.get(piece) : undefined;
    if (whole !== undefined) return { ids: [whole], starts: [0], ends: [piece.length] };
    const symbols = this.symbols(piece);
    const lengths = symbols.bytes;
    const ids = this.merges.apply(symbols.ids, lengths);
    const units = unitsOfBytes(piece);
    let at = 0;
    const starts = lengths.map((length) => units.starts[(at += length) - length] ?? 0);
    at = 0;
    const ends = lengths.map((length) => units.ends[(at += length) - 1] ?? piece.length);
    return { ids, starts, ends };
  }

  /** The tokens of characters and bytes, and how many bytes of the piece each stands for. */
  private symbols(piece: string): { readonly ids: number[]; readonly bytes: number[] } {
    const ids: number[] = [];
    const bytes: number[] = [];
    // A token for what is unknown, which bytes after it go before.
    let pending: { readonly id: number; length: number } | undefined;
    const push = (id: number, length: number): void => {
      ids.push(id);
      bytes.push(length);
    };
    const flush = (): void => {
      if (pending) push(pending.id, pending.length);
      pending = undefined;
    };
    let at = 0;
    for (const char of piece) {
      const isFirst = at === 0;
      at += char.length;
      const token = (isFirst ? '' : this.prefix) + char + (at === piece.length ? this.suffix : '');
      const length = byteLength(char);
      const id = this.vocab.get(token);
      if (id !== undefined) {
        flush();
        push(id, length);
        continue;
      }
      const ofBytes = this.bytes && idsOfBytes(token, this.bytes);
      if (ofBytes) {
        for (const byte of ofBytes) push(byte, 1);
        continue;
      }
      // Without a token for what is unknown, it is left out.
      if (this.unknown === null) continue;
      if (pending && this.fusesUnknown) {
        pending.length += length;
        continue;
      }
      flush();
      pending = { id: unknownId(this.vocab, this.unknown, char), length };
    }
    flush();
    return { ids, bytes };
  }
}

function byteLength(char: string): number {
  const code = char.codePointAt(0)!;
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/** For each byte of a text, where its character begins and ends in UTF-16 units. */
function unitsOfBytes(text: string): { readonly starts: readonly number[]; readonly ends: readonly number[] } {
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const char of text) {
    for (let i = byteLength(char); i > 0; i--) {
      starts.push(at);
      ends.push(at + char.length);
    }
    at += char.length;
  }
  return { starts, ends };
}
