import type { Tensor } from '../../autograd/index.ts';
import type { KeyValueCache } from '../nn/kv-cache.ts';
import type { Parameter } from '../parameter.ts';

/** All that generation asks of a model. */
export interface Decoder {
  readonly vocabSize: number;
  /** How many tokens the model has positions for; Infinity where they are computed. */
  readonly positions: number;
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
