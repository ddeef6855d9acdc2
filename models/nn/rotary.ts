import { add, cast, embedding, flip, floor, mul, reshape, sub, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { hostTable } from '../parameter.ts';
import type { ModuleBuffer } from '../parameter.ts';

/**
 * How frequencies change so that a model reaches further than it was trained: as config.json's `rope_scaling`
 * says.
 */
export type RotaryScaling =
  | { readonly ropeType: 'default' }
  /** Positions are divided by `factor` (Chen et al. 2023). */
  | { readonly ropeType: 'linear'; readonly factor: number }
  /**
   * Long wavelengths are stretched by `factor`, short ones stay, those between are blended (Grattafiori et
   * al. 2024, "The Llama 3 herd of models").
   */
  | {
      readonly ropeType: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings: number;
    };

/**
 * Radians that each of the dim / 2 pairs of a head turns from one position to the next: theta^(-2i / dim),
 * scaled.
 */
export function rotaryFrequencies(
  dim: number,
  theta: number,
  scaling: RotaryScaling = { ropeType: 'default' },
): number[] {
  const plain = Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
  if (scaling.ropeType === 'default') return plain;
  const { factor } = scaling;
  if (scaling.ropeType === 'linear') return plain.map((frequency) => frequency / factor);
  const { lowFreqFactor: low, highFreqFactor: high, originalMaxPositionEmbeddings: context } = scaling;
  return plain.map((frequency) => {
    const turns = (context * frequency) / (2 * Math.PI); // over the context of the training
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return (1 - kept) * (frequency / factor) + kept * frequency;
  });
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
  readonly scaling?: RotaryScaling;
  /** Positions are below this. */
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
 * a large angle and one table would hold 64 MiB at 131072 positions.
 */
export class RotaryEmbedding extends Module {
  /** (coarse steps, D) and (256, D): cosines, then sines, of D/2 frequencies. */
  readonly coarse: ModuleBuffer;
  readonly fine: ModuleBuffer;
  readonly maxPositions: number;

  constructor(dim: number, { theta = 10000, scaling, maxPositions }: RotaryOptions) {
    super();
    if (!(dim > 0 && dim % 2 === 0))
      throw new Error(`RotaryEmbedding: the size of a head must be even, got ${dim}; pairs of numbers are turned`);
    const frequencies = rotaryFrequencies(dim, theta, scaling);
    this.coarse = table(frequencies, Math.ceil(maxPositions / step), step);
    this.fine = table(frequencies, Math.min(step, maxPositions), 1);
    this.maxPositions = maxPositions;
  }

  /** The rotation of tokens at `positions`, whole numbers (T) or (B, T). */
  override forward(positions: Tensor): Rotation {
    const pairs = this.fine.shape[1]! / 2;
    const high = floor(mul(cast(positions, 'f32'), 1 / step));
    const low = sub(positions, mul(high, step));
    const [a, b] = [embedding(this.coarse, cast(high, 'i32')), embedding(this.fine, cast(low, 'i32'))]; // (..., D)
    const part = (x: Tensor, which: number): Tensor =>
      reshape(x.narrow(-1, which * pairs, pairs), [...positions.shape, 1, 1, pairs]);
    const [ca, sa, cb, sb] = [part(a, 0), part(a, 1), part(b, 0), part(b, 1)];
    const sin = add(mul(sa, cb), mul(ca, sb));
    return { cos: sub(mul(ca, cb), mul(sa, sb)), sin: mul(sin, tensor([[-1], [1]])) };
  }

  override extraRepr(): string {
    return `${this.fine.shape[1]}, positions: ${this.maxPositions}`;
  }
}

/** Cosines and sines of the multiples of `width`, [rows, 2 frequencies]. */
function table(frequencies: readonly number[], rows: number, width: number): ModuleBuffer {
  const pairs = frequencies.length;
  return hostTable([rows, 2 * pairs], (values) => {
    for (let row = 0; row < rows; row++) {
      frequencies.forEach((frequency, i) => {
        const angle = row * width * frequency;
        values[2 * row * pairs + i] = Math.cos(angle);
        values[(2 * row + 1) * pairs + i] = Math.sin(angle);
      });
    }
  });
}

/**
 * Heads x (B, T, H, D), turned. The two halves of a head change places by a view, so that this is elementwise
 * work: one kernel when compiled, and in its derivative.
 */
export function rotate(x: Tensor, { cos, sin }: Rotation): Tensor {
  const halves = reshape(x, [...x.shape.slice(0, -1), 2, x.shape.at(-1)! / 2]); // (B, T, H, 2, D/2)
  const turned = add(mul(halves, cos), mul(flip(halves, -2), sin));
  return reshape(cast(turned, x.dtype), x.shape);
}
