import type { FileToWrite } from '../../common/atomic-files.ts';
import type { DecodeStream } from './decode-stream.ts';

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
 * What data preparation, objectives and generation need of a tokenizer; BertTokenizer and Tokenizer both have
 * it.
 */
export interface AnyTokenizer extends SpecialTokenIds {
  /** Number of ids, added tokens included: the rows an embedding needs. */
  readonly vocabSize: number;
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
