// Texts as an encoder-decoder reads and writes them: with the tokens that its tokenizer puts around them, of
// which one may be the code of a language (mBART).
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import type { Template } from '../tokenizer/post-processors.ts';
import type { Generative } from './decoder.ts';
import type { GenerationOptions } from './options.ts';

/** What this needs of a tokenizer; one without a template gets the token that ends texts at the end. */
export type SourceTokenizer = Pick<AnyTokenizer, 'idsOf'> & Partial<AnyTokenizer>;

type ModelIds = Pick<Generative, 'config'>;

/**
 * The tokens around a text: those of the tokenizer's template, with the code of `language` in place of the
 * one that is there; without a template, the token that ends texts. Default language: the tokenizer's
 * `src_lang`. Throws in one line where the tokenizer knows no languages, or not this one.
 *
 * @example
 * const { model, tokenizer } = await loadTextGenerator('models/pretrained/translation-en-fr-small');
 * textTemplate(model, tokenizer); // { before: [], after: [0] }
 */
export function textTemplate(
  { config }: ModelIds,
  tokenizer: SourceTokenizer,
  language?: string,
  option: 'srcLang' | 'tgtLang' = 'srcLang',
): Template {
  const { template = { before: [], after: [] }, languages } = tokenizer;
  const own = languageIn(tokenizer);
  if (language === undefined && (own === undefined || languages?.source === undefined)) {
    if (template.before.length + template.after.length > 0) return template;
    return { before: [], after: [config.eosTokenId ?? []].flat().slice(0, 1) };
  }
  const id = languageId(tokenizer, language ?? languages!.source!, option);
  const replaced = (ids: readonly number[]): number[] => ids.map((each) => (each === own ? id : each));
  return { before: replaced(template.before), after: replaced(template.after) };
}

/**
 * Ids of a text with the tokens around it; with `most`, its end is cut so that there are at most so many.
 *
 * @example
 * withTemplate({ before: [101], after: [102] }, [7, 8, 9], 4); // [101, 7, 8, 102]
 */
export function withTemplate({ before, after }: Template, ids: ArrayLike<number>, most = Infinity): number[] {
  const kept = Array.from(ids).slice(0, Math.max(0, most - before.length - after.length));
  return [...before, ...kept, ...after];
}

/** The token in the template that stands for a language: the one that has no other name. */
function languageIn(tokenizer: SourceTokenizer): number | undefined {
  const { before, after } = tokenizer.template ?? { before: [], after: [] };
  return [...before, ...after].find((id) => !isNamed(tokenizer, id));
}

/** Whether a token begins or ends texts, or pads them, and so on. */
function isNamed(tokenizer: SourceTokenizer, id: number): boolean {
  const { bosTokenId, eosTokenId, clsTokenId, sepTokenId } = tokenizer;
  const { padTokenId, unkTokenId, maskTokenId } = tokenizer;
  return [bosTokenId, eosTokenId, clsTokenId, sepTokenId, padTokenId, unkTokenId, maskTokenId].includes(id);
}

function languageId(tokenizer: SourceTokenizer, language: string, option: 'srcLang' | 'tgtLang'): number {
  const own = languageIn(tokenizer);
  if (own === undefined)
    throw new Error(`${option} is "${language}", but the tokenizer puts no language around texts; leave it out`);
  const id = tokenizer.tokenToId?.(language);
  if (id === undefined || !tokenizer.specialTokenIds?.has(id))
    throw new Error(
      `${option} is "${language}", which is no special token of the tokenizer; give the code ` +
        `of a language as it is there, such as "${tokenizer.idToToken?.(own)}"`,
    );
  return id;
}

/**
 * The setting that begins texts with the code of a language; none where the tokenizer knows none. Default
 * language: the tokenizer's `tgt_lang`, unless the options or the model's config say how texts begin. Throws
 * in one line where nothing says which language to write.
 *
 * @example
 * const { model, tokenizer } = await loadTextGenerator('models/pretrained/translation-en-fr-small');
 * targetOptions(model, tokenizer, {}); // {}
 */
export function targetOptions(
  { config }: ModelIds,
  tokenizer: SourceTokenizer,
  { forcedBosTokenId, decoderStartTokenId }: GenerationOptions,
  language?: string,
): Pick<GenerationOptions, 'forcedBosTokenId'> {
  if (language !== undefined) return { forcedBosTokenId: languageId(tokenizer, language, 'tgtLang') };
  if (languageIn(tokenizer) === undefined || forcedBosTokenId !== undefined) return {};
  const { decoderStartTokenId: ownStart } = config as { readonly decoderStartTokenId?: number | null };
  const starts = [decoderStartTokenId ?? ownStart ?? []].flat();
  if (starts.length > 0 && !starts.some((id) => isNamed(tokenizer, id))) return {};
  const target = tokenizer.languages?.target;
  if (target === undefined)
    throw new Error(
      'generate: the tokenizer knows many languages, and nothing says which one to write; give tgtLang to the ' +
        'pipeline, or forcedBosTokenId',
    );
  return { forcedBosTokenId: languageId(tokenizer, target, 'tgtLang') };
}
