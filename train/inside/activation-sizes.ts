// How large the numbers inside of a model are, place by place: moments, histograms, and units that stand out.
import type { Module } from '../../models/index.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { forEachActivation } from './activations.ts';
import type { ActivationOptions } from './activations.ts';

/** The numbers of one place, of all tokens. */
export interface ActivationSize {
  /** TransformerLens' name. */
  readonly name: string;
  readonly mean: number;
  readonly deviation: number;
  /** Fourth moment by the square of the second: 3 of a normal distribution, more with heavy tails. */
  readonly kurtosis: number;
  readonly least: number;
  readonly most: number;
  /** The share that is exactly 0, such as behind a ReLU. */
  readonly zeros: number;
  /** Shares of the numbers in bins of equal width from -`span` to `span` deviations, ends beyond included. */
  readonly bins: Float64Array;
  /** Units whose root mean square is largest, and how many times the median one's it is. */
  readonly units: readonly { readonly unit: number; readonly times: number }[];
}

/** Deviations to each side that histograms show. */
export const span = 4;

/** What a layer gives, what its parts add, and the units of its feed-forward part. */
export const sizedPlaces = /^blocks\.\d+\.(hook_(normalized_)?resid_post|hook_attn_out|hook_mlp_out|mlp\.hook_post)$/;

export interface ActivationSizeOptions extends ActivationOptions {
  /** Default 33. */
  readonly bins?: number;
  /** Units that are named of each place; default 3. */
  readonly units?: number;
}

/**
 * How large activations are on rows of tokens, at `sizedPlaces`, in the order in which they come. Units that
 * stand out on all texts, as in many trained models, are what quantisation suffers from (Dettmers et al.
 * 2022). All numbers are held in memory. Errors: no rows; a model without such places.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const rows = tokenise(tokenizer, [{ text: 'My fellow citizens', label: 0 }], 64);
 * const [{ name }] = await activationSizes(model, rows);
 */
export async function activationSizes(
  model: Module,
  rows: readonly TokenRow[],
  { bins: binCount = 33, units: unitCount = 3, ...options }: ActivationSizeOptions = {},
): Promise<ActivationSize[]> {
  const found = new Map<string, { readonly width: number; readonly parts: Float32Array[] }>();
  await forEachActivation(
    model,
    rows,
    sizedPlaces,
    (_row, activations) => {
      for (const [name, { width, values }] of Object.entries(activations)) {
        const place = found.get(name) ?? { width, parts: [] };
        place.parts.push(values.slice());
        found.set(name, place);
      }
    },
    options,
  );
  return [...found].map(([name, { width, parts }]) => sizeOf(name, width, parts, binCount, unitCount));
}

/** Figures of numbers in rows of `width`. */
export function sizeOf(
  name: string,
  width: number,
  parts: readonly Float32Array[],
  binCount: number,
  unitCount: number,
): ActivationSize {
  const squares = new Float64Array(width);
  let [count, sum, zeros, least, most] = [0, 0, 0, Infinity, -Infinity];
  for (const part of parts)
    for (let i = 0; i < part.length; i++) {
      const x = part[i]!;
      sum += x;
      count++;
      zeros += Number(x === 0);
      least = Math.min(least, x);
      most = Math.max(most, x);
      squares[i % width]! += x * x;
    }
  const mean = sum / count;
  let [second, fourth] = [0, 0];
  for (const part of parts)
    for (const x of part) {
      const square = (x - mean) ** 2;
      second += square / count;
      fourth += square ** 2 / count;
    }
  const deviation = Math.sqrt(second);
  const bins = new Float64Array(binCount);
  for (const part of parts)
    for (const x of part) {
      const at = deviation > 0 ? (x - mean) / deviation / span : 0;
      const bin = Math.floor(((at + 1) / 2) * binCount);
      bins[Math.max(0, Math.min(binCount - 1, bin))]! += 1 / count;
    }
  const sizes = squares.map((square) => Math.sqrt((square * width) / count));
  const median = [...sizes].sort((a, b) => a - b)[width >> 1]!;
  const units = [...sizes.keys()]
    .sort((a, b) => sizes[b]! - sizes[a]!)
    .slice(0, unitCount)
    .map((unit) => ({ unit, times: sizes[unit]! / median }));
  return { name, mean, deviation, kurtosis: fourth / second ** 2, least, most, zeros: zeros / count, bins, units };
}
