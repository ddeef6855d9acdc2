import { nf4, perWord } from '../../kernels/quant/weights.ts';
import { tensor } from '../create.ts';
import { fromHalf, toHalf } from '../../common/half.ts';
import { show } from '../shapes.ts';
import { ShapeError } from '../op.ts';
import type { Tensor } from '../tensor.ts';

/**
 * A frozen weight [out, in] in 4 or 8 bits, with a scale (and a zero) for each group of neighbours of a row.
 */
export interface QuantizedTensor {
  readonly shape: readonly [number, number];
  readonly bits: 4 | 8;
  /** Neighbours along `in` that share a scale. */
  readonly group: number;
  /** u32 [out, in / (32 / bits)]: element 0 in the lowest bits. */
  readonly packed: Tensor;
  /** [out, groups], f32 or f16. */
  readonly scales: Tensor;
  /** [out, groups], as the scales; absent where the zero is the middle of the range. */
  readonly zeros?: Tensor;
  /** [out, groups], as the scales: elements are q * scale + minimum, and there are no zeros. */
  readonly minimums?: Tensor;
  /** Elements are codebook[q] * scale, as NF4 has them; there are no zeros and no minimums. */
  readonly codebook?: 'nf4' | undefined;
  /** What is multiplied with it is rounded to 8 bits, too; see `QuantizedLinearOptions`. */
  readonly activations?: 'int8' | undefined;
  /** Scales as files have them where these are of 8 bits themselves; see `Nf4`. */
  readonly doubly?: DoublyQuantized | undefined;
}

/** Scales map[code] * steps[i / 256] + offset. */
export interface DoublyQuantized {
  readonly codes: Uint8Array;
  readonly steps: Float32Array;
  readonly offset: number;
}

export interface QuantizeOptions {
  /** Default 8. */
  readonly bits?: 4 | 8;
  /** Default 64 for 4 bits, the whole row for 8. */
  readonly group?: number;
  /**
   * Makes zero the middle of the range (default); else each group has a zero of its own and uses all the
   * range.
   */
  readonly symmetric?: boolean;
  /** Type of scales and zeros; default the weight's. */
  readonly scales?: 'f32' | 'f16';
}

/**
 * Rounds a weight [out, in] to 4 or 8 bits by groups along its rows, on the host. The scale of a group is its
 * largest magnitude / 7 (4 bits) or / 127 (8 bits); asymmetric its range, which includes 0, / 15 or / 255. An
 * element changes by at most scale / 2, and by scale / 16 more where scales are stored in f16.
 *
 * @example
 * const { bits, packed } = await quantize(randn(4, 64));
 * bits; // 8
 * packed.shape; // [4, 16]
 */
export async function quantize(weight: Tensor, options: QuantizeOptions = {}): Promise<QuantizedTensor> {
  const { bits = 8, symmetric = true } = options;
  const [out = 0, into = 0] = weight.shape;
  const each = perWord({ bits });
  const { group = bits === 4 ? 64 : into, scales = weight.dtype === 'f16' ? 'f16' : 'f32' } = options;
  if (weight.ndim !== 2 || into === 0 || into % each !== 0) {
    throw new ShapeError(`quantize: the weight ${show(weight.shape)} must be [out, in] with in a multiple of ${each}`);
  }
  if (!(Number.isInteger(group) && group > 0 && group % each === 0)) {
    throw new ShapeError(`quantize: groups of ${group} must be whole words, multiples of ${each}`);
  }
  const data = await weight.data();
  const [top, middle] = [2 ** bits - 1, 2 ** (bits - 1)];
  const groups = Math.ceil(into / group);
  const stored = (value: number): number => (scales === 'f16' ? fromHalf(toHalf(value)) : Math.fround(value));
  const packed = new Uint32Array((out * into) / each);
  const [steps, zeros] = [new Float32Array(out * groups), new Float32Array(out * groups)];
  for (let g = 0; g < steps.length; g++) {
    const first = Math.floor(g / groups) * into + (g % groups) * group;
    const last = Math.min(first + group, (Math.floor(g / groups) + 1) * into);
    let [low, high] = [0, 0];
    for (let i = first; i < last; i++) {
      low = Math.min(low, Number(data[i]));
      high = Math.max(high, Number(data[i]));
    }
    const range = symmetric ? Math.max(high, -low) / (middle - 1) : (high - low) / top;
    const step = stored(range) || 1; // a group of zeros, or too small for the type
    const zero = symmetric ? middle : Math.min(top, Math.round(-low / step));
    steps[g] = step;
    zeros[g] = zero;
    for (let i = first; i < last; i++) {
      const q = Math.min(top, Math.max(0, Math.round(Number(data[i]) / step) + zero));
      packed[Math.floor(i / each)]! |= q << ((i % each) * bits);
    }
  }
  const perGroup = (values: Float32Array): Tensor => tensor(values, { shape: [out, groups], dtype: scales });
  return {
    shape: [out, into],
    bits,
    group,
    packed: tensor(packed, { shape: [out, into / each], dtype: 'u32' }),
    scales: perGroup(steps),
    ...(symmetric ? {} : { zeros: perGroup(zeros) }),
  };
}

/**
 * Returns the weight [out, in] that a quantized one stands for, in f32.
 *
 * @example
 * const weight = full([2, 32], 7);
 * (await dequantize(await quantize(weight))).max(); // 7
 */
export async function dequantize(weight: QuantizedTensor): Promise<Tensor> {
  const { shape, bits, group, packed, scales, zeros, minimums, codebook } = weight;
  const [out, into] = shape;
  const each = perWord({ bits });
  const groups = Math.ceil(into / group);
  const data = [packed.data(), scales.data(), zeros?.data(), minimums?.data()] as const;
  const [words, steps, origins, lowest] = await Promise.all(data);
  const values = Float32Array.from({ length: out * into }, (_, i) => {
    const g = Math.floor(i / into) * groups + Math.floor((i % into) / group);
    const q = (Number(words[Math.floor(i / each)]) >>> ((i % each) * bits)) & (2 ** bits - 1);
    if (codebook) return nf4[q]! * Number(steps[g]);
    if (lowest) return Math.fround(q * Number(steps[g])) + Number(lowest[g]);
    return (q - (origins ? Number(origins[g]) : 2 ** (bits - 1))) * Number(steps[g]);
  });
  return tensor(values, { shape });
}
