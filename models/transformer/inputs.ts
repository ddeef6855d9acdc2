import {
  arange,
  cast,
  concat,
  eq,
  full,
  knownRange,
  logicalAnd,
  ne,
  slice,
  sub,
  sum,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { showShape } from '../names.ts';
import type { TokensBefore } from '../nn/kv-cache.ts';
import { ignoredLabel } from '../nn/token-loss.ts';
import type { EncoderOutput } from './outputs.ts';

/** The inputs of every Transformer over tokens. */
export interface TokenInputs {
  /** Token numbers, [B, T]. */
  readonly inputIds: Tensor;
  /**
   * 1 (or true) for tokens to attend to, 0 for padding: [B, T], or [B, T, T] for each query. Default: all.
   */
  readonly attentionMask?: Tensor;
  /** [T] or [B, T]. Default: 0, 1, ... */
  readonly positionIds?: Tensor;
  /** Return what each layer computed. */
  readonly outputHiddenStates?: boolean;
  /** Return the attention weights of each layer. */
  readonly outputAttentions?: boolean;
}

/** The inputs of every Transformer over pictures. */
export interface ImageInputs extends Pick<TokenInputs, 'outputHiddenStates' | 'outputAttentions'> {
  /** f32 [B, C, H, W], as `ImageProcessor` gives it. */
  readonly pixelValues: Tensor;
  /**
   * Take pictures of other sizes than the config's, by interpolating the table of positions. Default false.
   */
  readonly interpolatePosEncoding?: boolean;
}

/** Sizes of a model's tables. */
export interface TokenLimits {
  readonly vocabSize: number;
  readonly positions: number;
  /** The position of padding, where those of tokens begin behind it: so many fewer are left for them. */
  readonly paddingPosition?: number;
}

/** The inputs of a decoder. */
export interface DecoderInputs extends TokenInputs {
  /**
   * Whole numbers [B, T] that tell the sequences of packed rows apart: neighbours with one number are of one,
   * and see no other. Give `positionIds` that begin anew with each. Costs no mask of T x T.
   */
  readonly documentIds?: Tensor;
  /**
   * Keys and values of the tokens before these, to which those of these are added; `cache.advance` then
   * counts them. The mask, other positions, the layers' internals and dropout in attention do not go with it;
   * what is written to a `KeyValueCache` has no gradient.
   */
  readonly cache?: TokensBefore;
}

/** Throws for inputs that a decoder cannot take: see `checkTokenInputs` and `checkCacheInputs`. */
export function checkDecoderInputs(inputs: DecoderInputs, limits: TokenLimits): void {
  checkTokenInputs(inputs, limits);
  checkShape('documentIds', inputs.documentIds, [inputs.inputIds.shape]);
  checkWhole('documentIds', inputs.documentIds);
  checkCacheInputs(inputs);
}

/** Throws, before anything is computed, where neither logits nor a loss are asked for. */
export function checkLossInputs(labels: Tensor | undefined, outputLogits: boolean): void {
  if (!labels && !outputLogits)
    throw new Error('without logits there is only a loss, and it needs labels; give labels');
}

/** Throws unless what goes with a cache is all that was given. */
function checkCacheInputs({ inputIds, cache, ...rest }: DecoderInputs): void {
  if (!cache) return;
  const other = Object.entries(rest).find(([, value]) => value !== undefined && value !== false);
  if (other) throw new Error(`${other[0]} does not go with a cache; leave one of them out`);
  if (inputIds.shape[0] !== cache.batch)
    throw new Error(`inputIds ${showShape(inputIds.shape)} are not for this cache, which has ${cache.batch} rows`);
}

/** Throws in one line for inputs that the model cannot take: values are checked where the host knows them. */
export function checkTokenInputs(
  { inputIds, attentionMask, positionIds }: TokenInputs,
  { vocabSize, positions, paddingPosition = -1 }: TokenLimits,
): void {
  if (inputIds.ndim !== 2 || inputIds.size === 0) {
    throw new Error(
      `inputIds must be [batch, tokens] and not empty, got ${showShape(inputIds.shape)}; encode a list of texts`,
    );
  }
  checkWhole('inputIds', inputIds);
  const [batch, length] = inputIds.shape as [number, number];
  const most = positions - paddingPosition - 1;
  if (length > most) {
    throw new Error(
      `${length} tokens are more than the model's ${most} positions; encode with { truncation: true, ` +
        `maxLength: ${most} }`,
    );
  }
  const same = [batch, length];
  checkShape('positionIds', positionIds, [same, [length], [1, length]]);
  checkShape('attentionMask', attentionMask, [same, [batch, length, length]]);
  checkRange('token id', inputIds, vocabSize, 'the vocabulary', 'use the tokenizer the model was trained with');
  checkRange('position', positionIds, positions, 'the positions', 'leave positionIds out');
}

/** Throws unless x, where given, has one of the shapes that go with inputIds. */
export function checkShape(name: string, x: Tensor | undefined, allowed: readonly (readonly number[])[]): void {
  if (!x || allowed.some((shape) => shape.join() === x.shape.join())) return;
  throw new Error(
    `${name} is ${showShape(x.shape)}, to match inputIds it must be ${allowed.map(showShape).join(' or ')}`,
  );
}

/** Throws unless x, where given, holds whole numbers: of floats, 0.7 would be taken for a token. */
export function checkWhole(name: string, x: Tensor | undefined): void {
  if (!x || x.dtype === 'i32' || x.dtype === 'u32') return;
  throw new Error(
    `${name} are ${x.dtype}, they must be i32; make them with { dtype: 'i32' } or convert with to('i32')`,
  );
}

/** Throws where the host knows that x, rows of a table of `count`, leaves it. */
export function checkRange(what: string, x: Tensor | undefined, count: number, table: string, mend: string): void {
  const range = x && knownRange(x);
  if (!range || (range[0] >= 0 && range[1] < count)) return;
  const bad = range[1] >= count ? range[1] : range[0];
  throw new Error(`${what} ${bad} is outside ${table} of this model, 0 to ${count - 1}; ${mend}`);
}

/** The inputs of an encoder-decoder model. */
export interface Seq2SeqInputs {
  /** Tokens of the source [B, S], for the encoder; or encoderOutputs. */
  readonly inputIds?: Tensor;
  /**
   * 1 (or true) for tokens of the source to attend to, 0 for padding, [B, S]: for the encoder, and for the
   * decoder's attention to it. Default: all.
   */
  readonly attentionMask?: Tensor;
  /** The encoder's output for the source, from an earlier call: the encoder does not run again. */
  readonly encoderOutputs?: Pick<EncoderOutput, 'lastHiddenState'>;
  /**
   * Tokens of the target [B, T], for the decoder, beginning with the config's decoderStartTokenId. Default:
   * made of the labels.
   */
  readonly decoderInputIds?: Tensor;
  /** Which tokens of the target to attend to, [B, T]. Default: all; no token sees those after it. */
  readonly decoderAttentionMask?: Tensor;
  /** [T] or [B, T]. Default: 0, 1, ... */
  readonly decoderPositionIds?: Tensor;
  /** Return what each layer computed. */
  readonly outputHiddenStates?: boolean;
  /** Return the attention weights of each layer. */
  readonly outputAttentions?: boolean;
}

export interface Seq2SeqLMInputs extends Seq2SeqInputs {
  /** The target [B, T], -100 where a token does not count. */
  readonly labels?: Tensor;
  /**
   * Share of each label spread evenly over the vocabulary; 0.1 in Vaswani et al. 2017, section 5.4. Default
   * 0.
   */
  readonly labelSmoothing?: number;
  /** false: the loss alone, for training. The logits, B x T x V numbers, are then not kept. Default true. */
  readonly outputLogits?: boolean;
}

/**
 * Labels [B, T] as the decoder's input: `start`, then all but the last label, with `padding` for those that
 * do not count. `start` 'last': each row begins with its last label that counts, the code of its language in
 * mBART.
 *
 * @example
 * shiftRight(tensor([[5, 6, -100]], { dtype: 'i32' }), { start: 0, padding: 1 }); // [[0, 5, 6]]
 */
export function shiftRight(
  labels: Tensor,
  { start, padding }: { readonly start: number | 'last'; readonly padding: number },
): Tensor {
  if (labels.ndim !== 2 || labels.size === 0)
    throw new Error(`labels are ${showShape(labels.shape)}; they must be [batch, tokens] and not empty`);
  const ids = cast(labels, 'i32');
  const begin = start === 'last' ? lastThatCounts(ids, padding) : full([ids.shape[0]!, 1], start, { dtype: 'i32' });
  const shifted = concat([begin, slice(ids, null, [0, -1])], 1); // (B, T)
  return where(eq(shifted, ignoredLabel), padding, shifted);
}

/** The last of each row's labels [B, T] that is neither ignored nor padding, (B, 1). */
function lastThatCounts(ids: Tensor, padding: number): Tensor {
  const counts = logicalAnd(ne(ids, ignoredLabel), ne(ids, padding)); // (B, T)
  const last = sub(sum(cast(counts, 'i32'), 1, { keepDims: true }), 1); // (B, 1)
  const places = arange(0, ids.shape[1]!, 1, { dtype: 'i32' });
  return sum(where(eq(places, last), ids, 0), 1, { keepDims: true });
}
