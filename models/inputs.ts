import { knownRange } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { showShape } from './names.ts';
import type { KeyValueCache } from './nn/kv-cache.ts';

/** What every Transformer over tokens takes. */
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

/** What a decoder takes. */
export interface DecoderInputs extends TokenInputs {
  /**
   * Keys and values of the tokens before these, to which those of these are added; `cache.advance` then
   * counts them. The mask, other positions and the layers' internals do not go with it. For generation: no
   * dropout, no gradient.
   */
  readonly cache?: KeyValueCache;
}

/** Throws unless what goes with a cache is all that was given. */
export function checkCacheInputs({ inputIds, cache, ...rest }: DecoderInputs): void {
  if (!cache) return;
  const other = Object.entries(rest).find(([, value]) => value !== undefined && value !== false);
  if (other) throw new Error(`${other[0]} does not go with a cache; leave one of them out`);
  if (inputIds.shape[0] !== cache.batch)
    throw new Error(`inputIds ${showShape(inputIds.shape)} are not for this cache, which has ${cache.batch} rows`);
}

/** Throws in one line for inputs that the model cannot take: values are checked where the host knows them. */
export function checkTokenInputs(
  { inputIds, attentionMask, positionIds }: TokenInputs,
  { vocabSize, positions }: { readonly vocabSize: number; readonly positions: number },
): void {
  if (inputIds.ndim !== 2 || inputIds.size === 0) {
    throw new Error(
      `inputIds must be [batch, tokens] and not empty, got ${showShape(inputIds.shape)}; encode a list of texts`,
    );
  }
  const [batch, length] = inputIds.shape as [number, number];
  if (length > positions) {
    throw new Error(
      `${length} tokens are more than the model's ${positions} positions; encode with { truncation: true, maxLength: ${positions} }`,
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

/** Throws where the host knows that x, rows of a table of `count`, leaves it. */
export function checkRange(what: string, x: Tensor | undefined, count: number, table: string, mend: string): void {
  const range = x && knownRange(x);
  if (!range || (range[0] >= 0 && range[1] < count)) return;
  const bad = range[1] >= count ? range[1] : range[0];
  throw new Error(`${what} ${bad} is outside ${table} of this model, 0 to ${count - 1}; ${mend}`);
}
