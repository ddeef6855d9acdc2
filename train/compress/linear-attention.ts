/** Classifiers and other encoders whose attention takes time linear in the tokens. */
import { noGrad } from '../../autograd/index.ts';
import type { ModelConfig } from '../../models/index.ts';
import { hasBertEncoder, rebuilt } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/**
 * A copy of a BERT, RoBERTa or ELECTRA whose attention is linear in the tokens (Katharopoulos et al. 2020),
 * see `linearAttention`, with the same weights: they were learnt for a softmax, so that it is to be trained
 * on. config.json says so as `linear_attention`, with which the folder loads here; Transformers does not know
 * that word, and would go on with a softmax. Errors, each one line: another family; a model that has it.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = withLinearAttention(BertForSequenceClassification.fromConfig(config));
 * model.config.extra; // { linear_attention: true }
 */
export function withLinearAttention<M extends Shrinkable>(model: M): M {
  const { config } = model;
  if (!hasBertEncoder(model))
    throw new Error(
      `withLinearAttention: a ${model.constructor.name} has no linear attention here; give BERT, RoBERTa or ELECTRA`,
    );
  if (config.extra['linear_attention'] === true)
    throw new Error('withLinearAttention: the attention of the model is linear already');
  const extra = { ...config.extra, linear_attention: true };
  return noGrad(() => rebuilt(model, { ...config, extra } as ModelConfig, model.stateDict()));
}
