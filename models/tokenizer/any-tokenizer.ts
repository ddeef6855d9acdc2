import type { FileToWrite } from '../../common/atomic-files.ts';
import type { BatchEncoder, EncodedArrays, Encoding } from './encode.ts';
import type { EncodeOptions, TextBatch } from './encode-options.ts';
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

export interface DecodeOptions {
  /** Leave out special tokens such as [CLS], [SEP] and [PAD]; default false. */
  skipSpecialTokens?: boolean;
  /** Undo spaces before punctuation in the whole text; default: as tokenizer_config.json says, else false. */
  cleanUpTokenizationSpaces?: boolean;
}

export interface EncodeIdsOptions {
  /** The special tokens that its template puts around one text; default false. */
  readonly addSpecialTokens?: boolean;
}

/**
 * A tokenizer, of whatever kind: BertTokenizer and Tokenizer both are one, and `loadTokenizer` gives that of
 * a folder. For BERT's WordPiece, BertTokenizer gives what Tokenizer gives and is faster; besides it reads a
 * bare vocab.txt, and knows the vocabulary of bert-base-uncased.
 */
export interface AnyTokenizer extends SpecialTokenIds, BatchEncoder {
  /** Number of ids, added tokens included: the rows an embedding needs. */
  readonly vocabSize: number;
  /** The special tokens that it puts around one text. */
  readonly template: Template;
  /** The languages of a multilingual tokenizer's texts, as tokenizer_config.json names them. */
  readonly languages?: Languages;
  /** How the model reads dialogues, in Jinja, or several such ways by name; see `applyChatTemplate`. */
  readonly chatTemplate?: string | Readonly<Record<string, string>> | undefined;
  /** Ids of all special tokens: those named above, and added tokens marked as special. */
  readonly specialTokenIds: ReadonlySet<number>;
  /**
   * The ids of one text, without special tokens around it unless asked for. A special token that is written
   * out in the text is one id.
   */
  idsOf(text: string, options?: EncodeIdsOptions): Int32Array;
  /** Encodes texts or pairs into tensors [B, T] for a model's forward; see encode.ts. */
  encode(batch: TextBatch, options?: EncodeOptions): Encoding;
  /** Encodes texts or pairs into plain arrays; see `encodeToArrays` in encode.ts for shapes and errors. */
  encodeToArrays(batch: TextBatch, options?: EncodeOptions): EncodedArrays;
  /** The tokens of one text as strings, without special tokens. */
  tokenize(text: string): string[];
  /** Ids back to text. Error: an id outside the vocabulary. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** Decodes ids as they come; see DecodeStream. */
  decodeStream(options?: DecodeOptions): DecodeStream;
  /** What tokens that go on with a word begin with, such as ##; '' where words are not told so. */
  readonly continuingSubwordPrefix: string;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** The token of an id, or of each of a list. Error: an id outside the vocabulary. */
  convertIdsToTokens(ids: number): string;
  convertIdsToTokens(ids: ArrayLike<number>): string[];
  /** Tokens as they are joined to text, special ones too. */
  convertTokensToString(tokens: readonly string[]): string;
  /** The tokenizer's files for `folder`, to write together with a model's (`writeFilesAtomic`). */
  filesToSave(folder: string): FileToWrite[];
}

/** The token of an id, or of each of a list. Error: an id outside the vocabulary. */
export function tokensOfIds(
  tokenizer: Pick<AnyTokenizer, 'idToToken' | 'vocabSize'>,
  ids: number | ArrayLike<number>,
): string | string[] {
  const tokenOf = (id: number): string => {
    const token = tokenizer.idToToken(id);
    if (token === undefined)
      throw new Error(`token id ${id} is not in the vocabulary: ids go from 0 to ${tokenizer.vocabSize - 1}`);
    return token;
  };
  return typeof ids === 'number' ? tokenOf(ids) : Array.from(ids, tokenOf);
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
