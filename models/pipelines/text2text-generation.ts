import type { GenerationOptions } from '../generation/options.ts';
import { generate } from '../generation/generate.ts';
import type { TextGenerator } from '../generation/load.ts';
import { sourceIds } from '../generation/text.ts';

export interface Text2TextOptions extends GenerationOptions {
  /** Sources that are read side by side; default 16. */
  readonly batchSize?: number;
  /**
   * Cut sources that are longer than the model reads, at their end; else they are an error. Default false.
   */
  readonly truncation?: boolean;
  /** Told how many texts are done, of all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Writes a text for each source with an encoder-decoder: translates, summarises. Sources of like length are
 * read together; the results are in the order of the sources. Where neither options nor the model's
 * generation_config.json say how long a text may be, it may have twice the tokens of the batch's longest
 * source and ten more.
 *
 * Errors, each one line: a source that is empty, or, without `truncation`, longer than the model's positions;
 * a model that only has a decoder; those of `generate`.
 */
export async function generateFromSources(
  { model, tokenizer, options: recommended }: TextGenerator,
  sources: readonly string[],
  { batchSize = 16, truncation = false, onProgress, ...given }: Text2TextOptions = {},
): Promise<string[]> {
  const { source, positions } = model.decoder();
  if (!source)
    throw new Error('generateFromSources: the model has no encoder; continue texts with generateText instead');
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new Error(`generateFromSources: batchSize must be a positive integer, got ${batchSize}`);
  const options = { ...recommended, ...given };
  const prompts = sources.map((text, i) => {
    const ids = sourceIds(model, tokenizer, text);
    if (text.trim() === '') throw new Error(`generateFromSources: source ${i} is empty; leave it out`);
    if (ids.length <= source.positions) return ids;
    if (!truncation)
      throw new Error(
        `generateFromSources: source ${i} has ${ids.length} tokens, more than the model's ${source.positions} ` +
          'positions; cut it in pieces, or give truncation: true',
      );
    // The token that ends the text stays.
    return [...ids.slice(0, source.positions - 1), ids.at(-1)!];
  });
  const order = prompts.map((_, i) => i).sort((a, b) => prompts[b]!.length - prompts[a]!.length);
  const texts = new Array<string>(sources.length);
  for (let from = 0; from < order.length; from += batchSize) {
    const members = order.slice(from, from + batchSize);
    const longest = prompts[members[0]!]!.length;
    const isLimited = (options.maxNewTokens ?? options.maxLength) !== undefined;
    const limit = isLimited ? {} : { maxNewTokens: Math.min(2 * longest + 10, positions - 1) };
    const results = await generate(
      model,
      members.map((i) => prompts[i]!),
      { ...options, ...limit },
    );
    // With several texts for each source, the first one is the best.
    const perSource = results.length / members.length;
    members.forEach((i, k) => {
      texts[i] = tokenizer.decode(results[k * perSource]!.tokens, { skipSpecialTokens: true });
    });
    onProgress?.(Math.min(from + batchSize, order.length), order.length);
  }
  return texts;
}
