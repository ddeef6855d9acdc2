import {
  add,
  cast,
  concat,
  cos,
  embedding,
  exp,
  flip,
  floor,
  gt,
  log,
  max,
  maximum,
  mul,
  reshape,
  sin,
  sub,
  tensor,
  unsqueeze,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { hostTable } from '../parameter.ts';
import type { ModuleBuffer } from '../parameter.ts';

/**
 * How frequencies change so that a model reaches further than it was trained: as config.json's `rope_scaling`
 * or `rope_parameters` says. `originalMaxPositionEmbeddings`, the context of the training, is
 * `maxPositions` where it is left out.
 */
export type RotaryScaling =
  | { readonly ropeType: 'default' }
  /** Positions are divided by `factor` (Chen et al. 2023). */
  | { readonly ropeType: 'linear'; readonly factor: number }
  /**
   * Texts longer than `maxPositions` stretch long wavelengths the more the longer they are ("dynamic NTK").
   * Keys in a cache keep the turn that they were given.
   */
  | { readonly ropeType: 'dynamic'; readonly factor: number }
  /**
   * Wavelengths that fit fewer than `betaSlow` times into the context of the training are stretched by
   * `factor`, those that fit `betaFast` times stay, those between are blended; scores are sharpened by
   * `attentionFactor` (Peng et al. 2023, "YaRN").
   */
  | {
      readonly ropeType: 'yarn';
      /** Default: maxPositions over the context of the training. */
      readonly factor?: number | undefined;
      readonly originalMaxPositionEmbeddings?: number | undefined;
      readonly attentionFactor?: number | undefined;
      readonly betaFast?: number | undefined;
      readonly betaSlow?: number | undefined;
      readonly mscale?: number | undefined;
      readonly mscaleAllDim?: number | undefined;
      /** Round the bounds between which is blended to whole pairs. Default true. */
      readonly truncate?: boolean | undefined;
    }
  /**
   * Each wavelength has a factor of its own: one in texts within the context of the training, another in
   * longer ones (Ding et al. 2024, "LongRoPE").
   */
  | {
      readonly ropeType: 'longrope';
      readonly shortFactor: readonly number[];
      readonly longFactor: readonly number[];
      readonly factor?: number | undefined;
      readonly originalMaxPositionEmbeddings?: number | undefined;
      readonly attentionFactor?: number | undefined;
    }
  /**
   * Long wavelengths are stretched by `factor`, short ones stay, those between are blended (Grattafiori et
   * al. 2024, "The Llama 3 herd of models").
   */
  | {
      readonly ropeType: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings?: number | undefined;
    };

/** What the frequencies of a text depend on besides. */
export interface RotaryContext {
  /** Positions that the model was made for, `max_position_embeddings`. Default: the text's. */
  readonly maxPositions?: number;
  /** Tokens of the text. Default: so few that nothing is stretched for them. */
  readonly length?: number;
}

/**
 * Radians that each of the dim / 2 pairs of a head turns from one position to the next: theta^(-2i / dim),
 * scaled. In Transformers: `modeling_rope_utils.py`.
 *
 * @example
 * rotaryFrequencies(4, 10000); // [1, 0.01]
 */
export function rotaryFrequencies(
  dim: number,
  theta: number,
  scaling: RotaryScaling = { ropeType: 'default' },
  { length = 0, maxPositions = length }: RotaryContext = {},
): number[] {
  const plain = Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
  switch (scaling.ropeType) {
    case 'default':
      return plain;
    case 'linear':
      return plain.map((frequency) => frequency / scaling.factor);
    case 'dynamic': {
      const ratio = (scaling.factor * Math.max(length, maxPositions)) / maxPositions - (scaling.factor - 1);
      return plain.map((frequency, i) => frequency * ratio ** ((-2 * i) / (dim - 2)));
    }
    case 'yarn': {
      const { betaFast = 32, betaSlow = 1, truncate = true } = scaling;
      const [context, factor] = [originalPositions(scaling, maxPositions), stretchOf(scaling, maxPositions)];
      /** The pair that turns so many times within the context. */
      const pairOf = (turns: number): number =>
        (dim * Math.log(context / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)];
      const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
      const high = Math.min(truncate ? Math.ceil(slow) : slow, dim - 1);
      return plain.map((frequency, i) => {
        const kept = 1 - clamped((i - low) / (high === low ? 0.001 : high - low));
        return (1 - kept) * (frequency / factor) + kept * frequency;
      });
    }
    case 'longrope': {
      const isLong = length > originalPositions(scaling, maxPositions);
      const factors = isLong ? scaling.longFactor : scaling.shortFactor;
      return plain.map((frequency, i) => frequency / factors[i]!);
    }
    case 'llama3': {
      const { factor, lowFreqFactor: low, highFreqFactor: high } = scaling;
      const context = originalPositions(scaling, maxPositions);
      return plain.map((frequency) => {
        const turns = (context * frequency) / (2 * Math.PI); // over the context of the training
        const kept = clamped((turns - low) / (high - low));
        return (1 - kept) * (frequency / factor) + kept * frequency;
      });
    }
  }
}

const clamped = (x: number): number => Math.min(1, Math.max(0, x));

/** The context of the training. */
const originalPositions = (
  { originalMaxPositionEmbeddings: given }: { readonly originalMaxPositionEmbeddings?: number | undefined },
  maxPositions: number,
): number => given ?? maxPositions;

/** By how much a model reaches further than it was trained. */
const stretchOf = (
  scaling: Extract<RotaryScaling, { readonly ropeType: 'yarn' | 'longrope' }>,
  maxPositions: number,
): number => scaling.factor ?? maxPositions / originalPositions(scaling, maxPositions);

/**
 * By what yarn and longrope multiply cosines and sines: its square sharpens the scores.
 *
 * @example
 * rotaryAttentionFactor({ ropeType: 'default' }, 2048); // 1
 */
export function rotaryAttentionFactor(scaling: RotaryScaling, maxPositions: number): number {
  if (scaling.ropeType !== 'yarn' && scaling.ropeType !== 'longrope') return 1;
  if (scaling.attentionFactor !== undefined) return scaling.attentionFactor;
  const stretch = stretchOf(scaling, maxPositions);
  if (stretch <= 1) return 1;
  if (scaling.ropeType === 'longrope')
    return Math.sqrt(1 + Math.log(stretch) / Math.log(originalPositions(scaling, maxPositions)));
  const { mscale = 0, mscaleAllDim = 0 } = scaling;
  const by = (weight: number): number => 0.1 * weight * Math.log(stretch) + 1;
  return mscale > 0 && mscaleAllDim > 0 ? by(mscale) / by(mscaleAllDim) : by(1);
}

/**
 * How many positions a model has: scaling may reach beyond those of `max_position_embeddings`.
 *
 * @example
 * rotaryPositions(2048, null); // 2048
 */
export function rotaryPositions(maxPositions: number, scaling: RotaryScaling | null): number {
  if (scaling?.ropeType === 'dynamic') return Math.floor(scaling.factor * maxPositions);
  if (scaling?.ropeType !== 'yarn') return maxPositions;
  const reach = Math.floor(stretchOf(scaling, maxPositions) * originalPositions(scaling, maxPositions));
  return Math.max(maxPositions, reach);
}

/** Cosines and sines that turn the heads of some tokens: made once for all layers. */
export interface Rotation {
  /** Cosines, (T, 1, 1, D/2) or (B, T, 1, 1, D/2). */
  readonly cos: Tensor;
  /** Sines, (T, 1, 2, D/2) or (B, T, 1, 2, D/2): the first half negative. */
  readonly sin: Tensor;
}

export interface RotaryOptions {
  readonly theta?: number;
  readonly scaling?: RotaryScaling | undefined;
  /** Positions are below this, or where scaling reaches further, below `rotaryPositions` of it. */
  readonly maxPositions: number;
}

/** Positions of one coarse step. */
const step = 256;

/**
 * Rotary position embedding (Su et al. 2021): the pair (x_i, x_{i + D/2}) of a head of D numbers is turned by
 * the angle position x frequency_i. That is Transformers' layout ("rotate half"); the paper pairs neighbours.
 *
 * Cosines and sines come from two small tables made in f64 on the host, of the multiples of 256 and of what
 * is left, by the sum of angles: exact to rounding at any position, where a device's sine loses all digits of
 * a large angle and one table would hold 64 MiB at 131072 positions. Scalings that depend on the length of a
 * text (longrope, dynamic) take it on the device: of the longest text of a batch, as Transformers does; in
 * generation of each, so that a text does not depend on those beside it.
 *
 * @example
 * const rotary = new RotaryEmbedding(8, { maxPositions: 128 });
 * rotate(randn(1, 5, 2, 8), rotary.forward(arange(0, 5, 1, { dtype: 'i32' }))).shape; // [1, 5, 2, 8]
 */
export class RotaryEmbedding extends Module {
  /** (coarse steps, D) and (256, D): cosines, then sines, of D/2 frequencies. */
  readonly coarse: ModuleBuffer;
  readonly fine: ModuleBuffer;
  /** The same for texts longer than `switchAt` tokens, in longrope. */
  readonly longCoarse: ModuleBuffer | undefined;
  readonly longFine: ModuleBuffer | undefined;
  readonly switchAt: number;
  readonly maxPositions: number;
  /** Of dynamic: texts longer than `switchAt` tokens are turned by angles that are computed for them. */
  readonly #stretch: { readonly factor: number; readonly frequencies: readonly number[] } | undefined;

  constructor(dim: number, { theta = 10000, scaling = { ropeType: 'default' }, maxPositions }: RotaryOptions) {
    super();
    if (!(dim > 0 && dim % 2 === 0))
      throw new Error(`RotaryEmbedding: the size of a head must be even, got ${dim}; pairs of numbers are turned`);
    const positions = rotaryPositions(maxPositions, scaling);
    const amplitude = rotaryAttentionFactor(scaling, maxPositions);
    const tables = (length: number): readonly [coarse: ModuleBuffer, fine: ModuleBuffer] => {
      const frequencies = rotaryFrequencies(dim, theta, scaling, { length, maxPositions });
      return [
        table(frequencies, Math.ceil(positions / step), step, amplitude),
        table(frequencies, Math.min(step, positions), 1),
      ];
    };
    [this.coarse, this.fine] = tables(0);
    this.switchAt =
      'originalMaxPositionEmbeddings' in scaling ? originalPositions(scaling, maxPositions) : maxPositions;
    if (scaling.ropeType === 'longrope' && positions > this.switchAt)
      [this.longCoarse, this.longFine] = tables(positions);
    if (scaling.ropeType === 'dynamic')
      this.#stretch = { factor: scaling.factor, frequencies: rotaryFrequencies(dim, theta) };
    this.maxPositions = positions;
  }

  /**
   * The rotation of tokens at `positions`, whole numbers (T) or (B, T), in texts of so many tokens, (B, 1);
   * by default the last of these is the last of all texts.
   */
  override forward(positions: Tensor, textLengths?: Tensor): Rotation {
    const short = this.#fromTables(positions, this.coarse, this.fine);
    if (!this.longCoarse && !this.#stretch) return rotationOf(positions, short);
    const length = reshape(cast(textLengths ?? add(max(positions), 1), 'f32'), [-1, 1]); // (1, 1) or (B, 1)
    const long = this.longCoarse
      ? this.#fromTables(positions, this.longCoarse, this.longFine!)
      : this.#stretched(positions, length);
    const isLong = unsqueeze(gt(length, this.switchAt), -1);
    return rotationOf(positions, [where(isLong, long[0], short[0]), where(isLong, long[1], short[1])]);
  }

  /** Cosines and sines, (..., D/2) each. */
  #fromTables(positions: Tensor, coarse: ModuleBuffer, fine: ModuleBuffer): readonly [cos: Tensor, sin: Tensor] {
    const pairs = fine.shape[1]! / 2;
    const high = floor(mul(cast(positions, 'f32'), 1 / step));
    const low = sub(positions, mul(high, step));
    const [a, b] = [embedding(coarse, cast(high, 'i32')), embedding(fine, cast(low, 'i32'))]; // (..., D)
    const part = (x: Tensor, which: number): Tensor => x.narrow(-1, which * pairs, pairs);
    const [ca, sa, cb, sb] = [part(a, 0), part(a, 1), part(b, 0), part(b, 1)];
    return [sub(mul(ca, cb), mul(sa, sb)), add(mul(sa, cb), mul(ca, sb))];
  }

  /** The same for texts of so many tokens, (1, 1) or (B, 1), more than `switchAt`. */
  #stretched(positions: Tensor, length: Tensor): readonly [cos: Tensor, sin: Tensor] {
    const { factor, frequencies } = this.#stretch!;
    const pairs = frequencies.length;
    const ratio = sub(mul(maximum(length, this.switchAt), factor / this.switchAt), factor - 1);
    const powers = tensor(frequencies.map((_, i) => (-2 * i) / (2 * pairs - 2)));
    const lower = exp(mul(log(unsqueeze(ratio, -1)), powers)); // (..., 1, D/2)
    const turns = mul(tensor(frequencies.map((f) => f / (2 * Math.PI))), lower);
    const all = mul(reshape(cast(positions, 'f32'), [...positions.shape, 1]), turns); // (..., D/2)
    const angle = mul(sub(all, floor(all)), 2 * Math.PI);
    return [cos(angle), sin(angle)];
  }

  override extraRepr(): string {
    return `${this.fine.shape[1]}, positions: ${this.maxPositions}`;
  }
}

/** Cosines and sines (..., D/2) of tokens at `positions` (...), as `rotate` takes them. */
function rotationOf({ shape }: Tensor, [c, s]: readonly [cos: Tensor, sin: Tensor]): Rotation {
  const spread = (x: Tensor): Tensor => reshape(x, [...shape, 1, 1, x.shape.at(-1)!]);
  return { cos: spread(c), sin: mul(spread(s), tensor([[-1], [1]])) };
}

/** Cosines and sines of the multiples of `width`, times the amplitude, [rows, 2 frequencies]. */
function table(frequencies: readonly number[], rows: number, width: number, amplitude = 1): ModuleBuffer {
  const pairs = frequencies.length;
  return hostTable([rows, 2 * pairs], (values) => {
    for (let row = 0; row < rows; row++) {
      frequencies.forEach((frequency, i) => {
        const angle = row * width * frequency;
        values[2 * row * pairs + i] = amplitude * Math.cos(angle);
        values[(2 * row + 1) * pairs + i] = amplitude * Math.sin(angle);
      });
    }
  });
}

/**
 * Heads x (B, T, H, D), turned; where the rotation has fewer than D numbers, the first ones of each head. The
 * two halves of what is turned change places by a view, so that this is elementwise work: one kernel when
 * compiled, and in its derivative.
 *
 * @example
 * const rotation = new RotaryEmbedding(8, { maxPositions: 128 }).forward(arange(0, 5, 1, { dtype: 'i32' }));
 * rotate(randn(1, 5, 2, 8), rotation).shape; // [1, 5, 2, 8]
 */
export function rotate(x: Tensor, rotation: Rotation): Tensor {
  const { cos, sin } = rotation;
  const [width, turning] = [x.shape.at(-1)!, 2 * cos.shape.at(-1)!];
  if (turning < width)
    return concat([rotate(x.narrow(-1, 0, turning), rotation), x.narrow(-1, turning, width - turning)], -1);
  const halves = reshape(x, [...x.shape.slice(0, -1), 2, turning / 2]); // (B, T, H, 2, D/2)
  const turned = add(mul(halves, cos), mul(flip(halves, -2), sin));
  return reshape(cast(turned, x.dtype), x.shape);
}
