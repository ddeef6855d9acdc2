import { embedding, slice } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { hostTable } from '../parameter.ts';
import type { ModuleBuffer } from '../parameter.ts';

/**
 * Positions as sines and cosines of wavelengths from 2 pi to 10000 x 2 pi (Vaswani et al. 2017, section 3.5),
 * not learned. Files have them where `persistent` is set (Pegasus), else none needs to. The sines fill the
 * first half, the cosines the second, as in Marian and fairseq; the paper interleaves them.
 *
 * @example
 * new SinusoidalPositions(100, 4).forward(2); // [[0, 0, 1, 1], [0.8415, 0.0100, 0.5403, 1.0000]]
 */
export class SinusoidalPositions extends Module {
  static override readonly keys = { table: 'weight' };

  readonly table: ModuleBuffer;

  constructor(count: number, dim: number, options: { readonly persistent?: boolean } = {}) {
    super();
    const sines = Math.ceil(dim / 2);
    this.table = hostTable(
      [count, dim],
      (values) => {
        for (let i = 0; i < values.length; i++) {
          const [position, column] = [Math.floor(i / dim), i % dim];
          const pair = column < sines ? column : column - sines;
          const angle = position / 10000 ** ((2 * pair) / dim);
          values[i] = column < sines ? Math.sin(angle) : Math.cos(angle);
        }
      },
      options,
    );
  }

  /** The first `length` positions (T, D), or those given, [T] or [B, T] -> (..., D). */
  override forward(length: number, positions?: Tensor): Tensor {
    return positions ? embedding(this.table, positions) : slice(this.table, [0, length]);
  }

  override extraRepr(): string {
    return this.table.shape.join(', ');
  }
}
