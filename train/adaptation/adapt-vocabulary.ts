import { extendTokenizer, extendVocabulary } from '../../models/index.ts';
import type { BertTokenizer, PreTrainedModel, Tokenizer } from '../../models/index.ts';
import type { ModelConfig } from '../../models/index.ts';

/**
 * Model and tokenizer with a token for each of `words` (see `domainWords`), ready to be trained on: new rows
 * are means of those of the tokens that stood for the word. Both are new and are saved together; the old ones
 * stay as they are. Error: a tokenizer with more tokens than the model has rows.
 */
export async function adaptVocabulary<
  C extends ModelConfig & { readonly vocabSize: number },
  M extends PreTrainedModel<C>,
  T extends BertTokenizer | Tokenizer,
>(
  model: M & PreTrainedModel<C>,
  tokenizer: T,
  words: readonly string[],
): Promise<{ readonly model: M; readonly tokenizer: T }> {
  if (tokenizer.vocabSize > model.config.vocabSize)
    throw new Error(
      `adaptVocabulary: the tokenizer has ${tokenizer.vocabSize} tokens, the model rows for ${model.config.vocabSize}; use the tokenizer of the model`,
    );
  const extended = extendTokenizer(tokenizer, words);
  // A model may have rows to spare, as where its vocabulary was rounded up.
  const made = await extendVocabulary<C, M>(model, extended.pieces, { firstId: tokenizer.vocabSize });
  return { model: made, tokenizer: extended.tokenizer };
}
