import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { BatchEncoder, EncodedArrays } from './encode-batch.ts';
import { encodeToArrays } from './encode-batch.ts';
import type { TextBatch } from './encode-inputs.ts';
import type { EncodeOptions } from './encode-options.ts';

/**
 * A batch of B rows of T tokens, ready for a model's forward. What a model does not take stays on the host.
 */
export interface Encoding extends Omit<EncodedArrays, 'shape' | 'inputIds' | 'attentionMask' | 'tokenTypeIds'> {
  /** i32 [B, T]. */
  readonly inputIds: Tensor;
  /** i32 [B, T]: 1 for tokens, 0 for padding. */
  readonly attentionMask: Tensor;
  /** i32 [B, T]: 0 for the first text, 1 for the second; 0 for padding. */
  readonly tokenTypeIds: Tensor;
}

/**
 * Encodes a text, a list of texts, or a list of pairs into tensors on the device. Options and errors are
 * those of `encodeToArrays`.
 */
export function encode(encoder: BatchEncoder, batch: TextBatch, options: EncodeOptions = {}): Encoding {
  const { shape, inputIds, attentionMask, tokenTypeIds, ...onHost } = encodeToArrays(encoder, batch, options);
  const upload = (values: Int32Array): Tensor => tensor(values, { shape });
  return {
    inputIds: upload(inputIds),
    attentionMask: upload(attentionMask),
    tokenTypeIds: upload(tokenTypeIds),
    ...onHost,
  };
}
