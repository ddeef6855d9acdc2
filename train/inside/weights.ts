// What weights look like by themselves: sizes of matrices, and which tokens lie near each other.
import { largestSingular } from '../../common/largest-singular.ts';
import { Embedding } from '../../models/index.ts';
import { sizeOf } from './activation-sizes.ts';
import type { ActivationSize } from './activation-sizes.ts';
import type { AnyTokenizer, Module } from '../../models/index.ts';

/** Norms of pieces, for hypot takes only so many arguments. */
function chunkNorms(x: Float64Array): number[] {
  const norms: number[] = [];
  for (let from = 0; from < x.length; from += 4096) norms.push(Math.hypot(...x.subarray(from, from + 4096)));
  return norms;
}

export interface WeightSize {
  readonly name: string;
  readonly shape: readonly [rows: number, columns: number];
  /** The root of the sum of squares. */
  readonly norm: number;
  /** The largest ones. */
  readonly singularValues: readonly number[];
  /** norm^2 / largest singular value^2: about how many directions it uses (Rudelson and Vershynin 2007). */
  readonly stableRank: number;
}

/**
 * Norms and the largest singular values of a model's matrices, in the order of its parameters: a matrix that
 * stands out, in size or because it uses few directions, is one to look at.
 *
 * @example
 * const [size] = await weightSizes(new Linear(4, 2));
 * size.shape; // [2, 4]
 */
export async function weightSizes(model: Module, { singularValues = 1 } = {}): Promise<WeightSize[]> {
  const sizes: WeightSize[] = [];
  for (const [name, parameter] of model.namedParameters()) {
    if (parameter.ndim !== 2) continue;
    const [rows, columns] = parameter.shape as [number, number];
    const data = Float64Array.from(await parameter.data(), Number);
    const norm = Math.hypot(...chunkNorms(data));
    const { values } = largestSingular(data, rows, columns, singularValues);
    const stableRank = values[0]! > 0 ? (norm / values[0]!) ** 2 : 0;
    sizes.push({ name, shape: [rows, columns], norm, singularValues: [...values], stableRank });
  }
  return sizes;
}

/**
 * Moments and a histogram of each parameter of a model, in their order; units that stand out are left out.
 *
 * @example
 * const [weight, bias] = await weightHistograms(new Linear(4, 2));
 * weight.bins.length; // 33
 */
export async function weightHistograms(model: Module, { bins = 33 } = {}): Promise<ActivationSize[]> {
  const sizes: ActivationSize[] = [];
  for (const [name, parameter] of model.namedParameters())
    sizes.push(sizeOf(name, 1, [Float32Array.from(await parameter.data(), Number)], bins, 0));
  return sizes;
}

/** The table that a model reads its tokens by. Error, one line: there is none. */
export async function tokenTable(model: Module): Promise<{ readonly rows: Float32Array[]; readonly width: number }> {
  const tables = model.modules().filter((module): module is Embedding => module instanceof Embedding);
  const largest = Math.max(...tables.map(({ weight }) => weight.shape[0]!));
  const table = tables.find(({ weight }) => weight.shape[0] === largest);
  if (!table) throw new Error(`a ${model.constructor.name} has no table of embeddings; give a model of language`);
  const [count, width] = table.weight.shape as [number, number];
  const data = Float32Array.from(await table.weight.data(), Number);
  return { width, rows: Array.from({ length: count }, (_, id) => data.subarray(id * width, (id + 1) * width)) };
}

/** The one token of a text. Error, one line: it is several. */
export function tokenOf(tokenizer: AnyTokenizer, text: string): number {
  const ids = Array.from(tokenizer.idsOf(text));
  if (ids.length === 1) return ids[0]!;
  throw new Error(`"${text}" is ${ids.length} tokens; give text that is one, such as a common word`);
}

/**
 * Tokens whose embeddings lie nearest to a token's, by cosine similarity, the nearest first.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * (await nearestTokens(model, tokenizer, 'war', 3)).length; // 3
 */
export async function nearestTokens(
  model: Module,
  tokenizer: AnyTokenizer,
  text: string,
  count = 10,
): Promise<{ readonly token: string; readonly id: number; readonly similarity: number }[]> {
  const own = tokenOf(tokenizer, text);
  const { rows } = await tokenTable(model);
  const lengths = rows.map((row) => Math.hypot(...row) || 1);
  const similar = rows.map((row, id) => {
    let dot = 0;
    for (let d = 0; d < row.length; d++) dot += row[d]! * rows[own]![d]!;
    return { id, similarity: dot / lengths[id]! / lengths[own]! };
  });
  const best = similar.filter(({ id }) => id !== own).sort((a, b) => b.similarity - a.similarity);
  const found = best.slice(0, count);
  const names = tokenizer.convertIdsToTokens(found.map(({ id }) => id));
  return found.map((each, i) => ({ token: names[i]!, ...each }));
}
