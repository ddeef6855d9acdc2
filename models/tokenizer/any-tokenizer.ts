import type { FileToWrite } from '../../common/atomic-files.ts';
import type { Template } from './post-processors.ts';

/** Codes of the languages that texts are read in and written in. */
export interface Languages {
  readonly source?: string | undefined;
  readonly target?: string | undefined;
}

/** The special tokens that Transformers names; undefined where a tokenizer has none of the kind. */
export interface SpecialTokenIds {
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly clsTokenId: number | undefined;
  readonly sepTokenId: number | undefined;
  readonly maskTokenId: number | undefined;
}

/**
 * The part of a tokenizer that data preparation, objectives and generation use; BertTokenizer and Tokenizer
 * both have it.
 */
export interface AnyTokenizer extends SpecialTokenIds {
  /** Number of ids, added tokens included: the rows an embedding needs. */
  readonly vocabSize: number;
  /** The special tokens that it puts around one text. */
  readonly template: Template;
  /** The languages of a multilingual tokenizer's texts, as tokenizer_config.json names them. */
  readonly languages?: Languages;
  /** Ids of all special tokens: those named above, and added tokens marked as special. */
  readonly specialTokenIds: ReadonlySet<number>;
  /**
   * The ids of one text, without special tokens around it. A special token that is written out in the text is
   * one id.
   */
  idsOf(text: string): Int32Array;
  /** Ids back to text. Error: an id outside the vocabulary. */
  decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): string;
  /** Decodes ids as they come; see DecodeStream. */
  decodeStream(options?: { skipSpecialTokens?: boolean }): DecodeStream;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** The tokenizer's files for `folder`, to write together with a model's (`writeFilesAtomic`). */
  filesToSave(folder: string): FileToWrite[];
}

/**
 * Text of ids as they come. The parts joined are the text of all ids decoded at once, except that decoders
 * other than byte-level ones (WordPiece, SentencePiece) may change what lies before a later token, see
 * `decodeWindow`.
 */
export interface DecodeStream {
  /** The text that is certain once `id` has come: '' while a character or a joined piece is not complete. */
  push(id: number): string;
  /** The rest: bytes that make no whole character become U+FFFD. The stream can be used anew after it. */
  end(): string;
}

/**
 * The stream of a byte-level decoder: each id stands for bytes, whole UTF-8 characters are passed on.
 * `bytesOf` null: no text.
 */
export function decodeBytes(bytesOf: (id: number) => Uint8Array | null): DecodeStream {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push(id) {
      const bytes = bytesOf(id);
      return bytes ? decoder.decode(bytes, { stream: true }) : '';
    },
    end: () => decoder.decode(),
  };
}

/** A decoder that cannot decode ids one by one is asked for at most about this many at once. */
const WINDOW = 64;

/**
 * The stream of any other decoder, as Rust `tokenizers` has it (tokenizer/mod.rs, step_decode_stream): a
 * window of the last ids is decoded with and without the newest, and what it adds is passed on unless it ends
 * within a character. What was passed on is not taken back where the newest id changes it ("do n" ->
 * "don't").
 */
export function decodeWindow(decode: (ids: readonly number[]) => string): DecodeStream {
  let ids: number[] = [];
  let given = ''; // of decode(ids)
  const advance = (isLast: boolean): string => {
    const text = decode(ids);
    if (text.length <= given.length || (!isLast && text.endsWith('\uFFFD'))) return '';
    const fresh = text.slice(given.length);
    given = text;
    if (ids.length >= WINDOW) {
      // The later half stands for the context of what follows.
      ids = ids.slice(WINDOW / 2);
      given = decode(ids);
    }
    return fresh;
  };
  return {
    push(id) {
      ids.push(id);
      return advance(false);
    },
    end() {
      const rest = ids.length > 0 ? advance(true) : '';
      ids = [];
      given = '';
      return rest;
    },
  };
}
