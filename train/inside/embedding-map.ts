// Tokens and texts as points, and their two main directions.
import { largestSingular } from '../../common/largest-singular.ts';
import type { AnyTokenizer, Module } from '../../models/index.ts';
import { forEachActivation, residualName, shownRows } from './activations.ts';
import type { ActivationOptions } from './activations.ts';
import type { LanguageModel } from './lens.ts';
import { meanOf } from './points.ts';
import type { Points } from './points.ts';
import { tokenOf, tokenTable } from './weights.ts';

/**
 * The embeddings of tokens. Error, one line: a text that is several tokens; a model without a table.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * (await tokenVectors(model, tokenizer, ['war', 'peace'])).count; // 2
 */
export async function tokenVectors(model: Module, tokenizer: AnyTokenizer, tokens: readonly string[]): Promise<Points> {
  const { rows, width } = await tokenTable(model);
  const values = new Float32Array(tokens.length * width);
  tokens.forEach((token, i) => values.set(rows[tokenOf(tokenizer, token)]!, i * width));
  return { count: tokens.length, width, values };
}

export interface TextVectorOptions extends ActivationOptions {
  /** Behind which layer; default the last. */
  readonly layer?: number | undefined;
}

/**
 * A vector for each text, the mean of its tokens' residual stream behind a layer; behind the last layer of an
 * encoder this is sentence-transformers' mean pooling. Texts that are longer than the model reads are cut.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * (await textVectors(model, tokenizer, ['My fellow citizens', 'The state'])).width; // 128
 */
export async function textVectors(
  model: Module,
  tokenizer: AnyTokenizer,
  texts: readonly string[],
  { layer, ...options }: TextVectorOptions = {},
): Promise<Points> {
  const name = residualName(model as LanguageModel, layer);
  let [values, size] = [new Float32Array(), 0];
  const rows = shownRows(model, tokenizer, texts);
  await forEachActivation(
    model,
    rows,
    name,
    (row, activations) => {
      const { width, values: own } = activations[name]!;
      if (size === 0) [values, size] = [new Float32Array(texts.length * width), width];
      for (let i = 0; i < own.length; i++) values[row * width + (i % width)]! += (own[i]! * width) / own.length;
    },
    options,
  );
  return { count: texts.length, width: size, values };
}

/**
 * Where points lie along their two main directions (PCA): [x, y] each, and the share of the variance that
 * each direction has. Error, one line: fewer than three points, or numbers that are not finite.
 *
 * @example
 * const values = Float32Array.of(0, 0, 1, 1, 2, 2);
 * principalMap({ count: 3, width: 2, values }).shares; // [1, 0]
 */
export function principalMap(points: Points): {
  readonly points: [x: number, y: number][];
  readonly shares: readonly [x: number, y: number];
} {
  const { count, width, values } = points;
  if (count < 3) throw new Error(`principalMap: ${count} points make no map; give three or more`);
  const middle = meanOf(points);
  const centred = Float64Array.from({ length: count * width }, (_, i) => values[i]! - middle[i % width]!);
  const { values: found, right: directions } = largestSingular(centred, count, width, 2);
  const total = centred.reduce((sum, x) => sum + x * x, 0);
  const along = (i: number, k: number): number =>
    (directions[k] ?? new Float64Array()).reduce((sum, x, d) => sum + x * centred[i * width + d]!, 0);
  const share = (k: number): number => (total > 0 ? (found[k] ?? 0) ** 2 / total : 0);
  return {
    points: Array.from({ length: count }, (_, i) => [along(i, 0), along(i, 1)]),
    shares: [share(0), share(1)],
  };
}
