import { extendTokenizer, extendVocabulary } from '../../models/index.ts';
import type { AnyTokenizer, BertTokenizer, ModelConfig, PreTrainedModel, Tokenizer } from '../../models/index.ts';

/**
 * Model and tokenizer with a token for each of `words` (see `domainWords`), ready to be trained on: new rows
 * are means of those of the tokens that stood for the word. Both are new and are saved together; the old ones
 * stay as they are. Without words they are those that were given. Error: a tokenizer with more tokens than
 * the model has rows.
 *
 * @example
 * const model = await BertForMaskedLM.fromPretrained('models/pretrained/bert-small');
 * const tokenizer = await BertTokenizer.fromPretrained('models/pretrained/bert-small');
 * const adapted = await adaptVocabulary(model, tokenizer, ['webgpu']);
 * adapted.model.config.vocabSize; // 8001
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
      `adaptVocabulary: the tokenizer has ${tokenizer.vocabSize} tokens, the model rows for ` +
        `${model.config.vocabSize}; use the tokenizer of the model`,
    );
  if (words.length === 0) return { model, tokenizer };
  const extended = extendTokenizer(tokenizer, words);
  // A model may have rows to spare, as where its vocabulary was rounded up.
  const made = await extendVocabulary<C, M>(model, extended.pieces, { firstId: tokenizer.vocabSize });
  return { model: made, tokenizer: extended.tokenizer };
}

export interface DomainWordsOptions {
  /** Words to give at most. */
  readonly count: number;
  /** Words that are seen less often are left out; default 5. */
  readonly minFrequency?: number;
}

export interface DomainWord {
  /** As `extendTokenizer` takes it: with its space where the tokenizer keeps spaces. */
  readonly word: string;
  readonly frequency: number;
  /** Tokens that stand for it so far. */
  readonly pieces: number;
}

const WORD = /[\p{L}\p{N}\p{M}]+/gu;

/**
 * The words of a domain that are worth a token of their own: those whose single tokens would shorten the
 * texts most, (pieces - 1) x frequency. Words that the tokenizer writes alike (upper and lower case, where it
 * makes no difference) count as one. Left out: words that are one token already, and those with unknown
 * characters.
 *
 * @example
 * const tokenizer = BertTokenizer.default();
 * const texts = ['webgpu kernels', 'a webgpu device'];
 * const words = await domainWords(texts, tokenizer, { count: 1, minFrequency: 2 });
 * words.map(({ word, frequency }) => [word, frequency]); // [['webgpu', 2]]
 */
export async function domainWords(
  texts: AsyncIterable<string> | Iterable<string>,
  tokenizer: AnyTokenizer,
  { count, minFrequency = 5 }: DomainWordsOptions,
): Promise<DomainWord[]> {
  if (!Number.isInteger(count) || count < 0)
    throw new Error(`domainWords: count must be a whole number from 0 up, got ${count}`);
  const frequencies = new Map<string, number>();
  for await (const text of texts)
    for (const [word] of text.matchAll(WORD)) frequencies.set(word, (frequencies.get(word) ?? 0) + 1);
  const keepsSpaces = tokenizer.decode(tokenizer.idsOf(' a')).startsWith(' ');
  const found = new Map<string, DomainWord & { readonly most: number }>(); // by their ids
  for (const [text, frequency] of frequencies) {
    const word = keepsSpaces ? ` ${text}` : text;
    const ids = tokenizer.idsOf(word);
    if (ids.length < 2 || ids.includes(tokenizer.unkTokenId ?? -1)) continue;
    const key = ids.join();
    const same = found.get(key);
    found.set(key, {
      // Written as it most often is.
      ...(same && (same.most > frequency || (same.most === frequency && same.word < word))
        ? { word: same.word, most: same.most }
        : { word, most: frequency }),
      frequency: frequency + (same?.frequency ?? 0),
      pieces: ids.length,
    });
  }
  const saved = ({ pieces, frequency }: DomainWord): number => (pieces - 1) * frequency;
  return [...found.values()]
    .filter(({ frequency }) => frequency >= minFrequency)
    .sort((a, b) => saved(b) - saved(a) || (a.word < b.word ? -1 : 1))
    .slice(0, count)
    .map(({ most: _, ...word }) => word);
}
