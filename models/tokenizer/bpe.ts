import type { IdList } from '../../common/collections.ts';
import { byteTokenIds, idsOfBytes } from './byte-level.ts';
import type { MergeTable } from './merge-table.ts';
import { mergeTable } from './merge-table.ts';
import type { Part } from './part.ts';
import { unknownId } from './word-piece.ts';

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
    else ids.pushAll(this.merges.apply(this.symbols(piece)));
  }

  private symbols(piece: string): number[] {
    const symbols: number[] = [];
    let pending: number | undefined; // a token for what is unknown, which bytes after it go before
    const flush = (): void => {
      if (pending !== undefined) symbols.push(pending);
      pending = undefined;
    };
    let at = 0;
    for (const char of piece) {
      const isFirst = at === 0;
      at += char.length;
      const token = (isFirst ? '' : this.prefix) + char + (at === piece.length ? this.suffix : '');
      const id = this.vocab.get(token);
      if (id !== undefined) {
        flush();
        symbols.push(id);
        continue;
      }
      const bytes = this.bytes && idsOfBytes(token, this.bytes);
      if (bytes) {
        symbols.push(...bytes);
        continue;
      }
      // Without a token for what is unknown, it is left out.
      if (this.unknown === null || (pending !== undefined && this.fusesUnknown)) continue;
      flush();
      pending = unknownId(this.vocab, this.unknown, char);
    }
    flush();
    return symbols;
  }
}
