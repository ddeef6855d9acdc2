import type { Tensor } from '../../autograd/index.ts';
import { checkRange, checkShape, checkTokenInputs } from '../inputs.ts';
import type { TokenInputs } from '../inputs.ts';
import type { BertConfig } from './config.ts';

/** What every BERT takes. `tokenizer.encode` gives inputIds, attentionMask and tokenTypeIds. */
export interface BertInputs extends TokenInputs {
  /** Which of two texts a token belongs to, [B, T]. Default: 0. */
  readonly tokenTypeIds?: Tensor;
}

/** Throws in one line for inputs that the model cannot take: values are checked where the host knows them. */
export function checkInputs(inputs: BertInputs, config: BertConfig): void {
  const { vocabSize, maxPositionEmbeddings, typeVocabSize } = config;
  checkTokenInputs(inputs, { vocabSize, positions: maxPositionEmbeddings });
  checkShape('tokenTypeIds', inputs.tokenTypeIds, [inputs.inputIds.shape]);
  checkRange('token type', inputs.tokenTypeIds, typeVocabSize, 'the token types', 'leave tokenTypeIds out');
}
