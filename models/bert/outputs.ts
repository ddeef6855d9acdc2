import type { Tensor } from '../../autograd/index.ts';
import type { BertModelOutput } from './model.ts';

/** The layers' outputs and attention weights, where they were asked for. */
export type Internals = Pick<BertModelOutput, 'hiddenStates' | 'attentions'>;

/** What a head returns; the loss where labels were given. */
export interface HeadOutput extends Internals {
  readonly logits: Tensor;
  readonly loss?: Tensor;
}

export function internalsOf({ hiddenStates, attentions }: Internals): Internals {
  return { ...(hiddenStates ? { hiddenStates } : {}), ...(attentions ? { attentions } : {}) };
}
