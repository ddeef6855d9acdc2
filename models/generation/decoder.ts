import type { Tensor } from '../../autograd/index.ts';
import type { KeyValueCache } from '../nn/kv-cache.ts';
import type { Parameter } from '../parameter.ts';

/**
 * Added by an encoder-decoder: its prompts are sources, and its texts begin with a
 * token of their own.
 */
export interface SourceReader {
  /** Tokens that the encoder knows. */
  readonly vocabSize: number;
  readonly positions: number;
  /** The id that the decoder's text begins with. */
  readonly start: number;
  /**
   * Reads sources (B, S), padded on the right, of these lengths, i32 [B]: what every layer attends to goes
   * into `cache.source`.
   */
  read(inputIds: Tensor, lengths: Tensor, cache: KeyValueCache): void;
}

/** What an adapter lets a model read before every text. */
export interface TokensAhead {
  /** How many; `positions` and `switchAt` of the decoder count those of the text alone. */
  readonly count: number;
  /** Writes them into an empty cache, whose rows all begin with them; `cache.advance` then counts them. */
  write(cache: KeyValueCache): void;
}

/** All that generation asks of a model. */
export interface Decoder {
  readonly vocabSize: number;
  /** How many tokens the model has positions for; Infinity where they are computed. */
  readonly positions: number;
  /** Of an encoder-decoder. */
  readonly source?: SourceReader;
  /**
   * Texts of more tokens are computed otherwise from their first token on: one that grows beyond is read
   * anew.
   */
  readonly switchAt?: number;
  readonly ahead?: TokensAhead;
  /** Tokens (B, T) after those of the cache, which takes them up, -> their last hidden states (B, T, D). */
  hidden(inputIds: Tensor, cache: KeyValueCache): Tensor;
  /** Hidden states (..., D) -> logits of the next token (..., V). */
  logits(hidden: Tensor): Tensor;
}

/** The ids of special tokens, as configs have them. */
export interface SpecialTokens {
  readonly eosTokenId?: number | readonly number[] | null;
  readonly bosTokenId?: number | null;
  readonly padTokenId?: number | null;
}

/** A model that generates: `decoder` is the one method that a model class adds for it. */
export interface Generative {
  readonly config: SpecialTokens;
  decoder(): Decoder;
  parameters(): readonly Parameter[];
  /** Whether dropout is active. */
  readonly training: boolean;
  eval(): unknown;
  train(mode?: boolean): unknown;
}
