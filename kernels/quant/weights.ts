import { bytesOf, read, u32 } from '../kernel.ts';
import type { Binding, Param } from '../kernel.ts';

/**
 * A weight [out, in] of unsigned integers q, the right operand of a product. Element (o, i) is
 * (q - zero) * scale, q * scale + minimum, or codebook[q] * scale, with zero, scale and minimum at
 * [o, i / group] of [out, groups]. Rows are packed into u32 words, element 0 in the lowest bits; `in` and
 * `group` are multiples of the elements of a word.
 */
export interface QuantizedWeight {
  readonly bits: 4 | 8;
  readonly inFeatures: number;
  /** Elements of a row that share a scale. */
  readonly group: number;
  readonly scales: 'f32' | 'f16';
  /** Whether zeros are given; else each is the middle of the range, 8 or 128. */
  readonly zeros: boolean;
  /** Whether minimums are given, which take the place of zeros. */
  readonly minimums?: boolean;
  /** Of 4 bits: what each integer stands for, in the place of zeros and minimums. */
  readonly codebook?: 'nf4' | undefined;
}

/**
 * The sixteen numbers of NF4, as f32: quantiles of a normal distribution, from -1 to 1, 0 among them (QLoRA,
 * Dettmers et al. 2023, appendix E).
 */
export const nf4 = Float32Array.of(
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
  ...[-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725],
  ...[0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
);

/** Elements of a word: 8 or 4. */
export const perWord = ({ bits }: Pick<QuantizedWeight, 'bits'>): number => 32 / bits;

export const groupsOf = ({ inFeatures, group }: Pick<QuantizedWeight, 'inFeatures' | 'group'>): number =>
  Math.ceil(inFeatures / group);

/** Bytes of an element, with its share of its group's scale, and zero or minimum. */
export const bytesOfWeight = ({ bits, group, scales, zeros, minimums }: QuantizedWeight): number =>
  bits / 8 + (bytesOf(scales) * (zeros || minimums ? 2 : 1)) / group;

/** Returns the bindings of a quantized weight: b, scales and, where there are any, zeros or minimums. */
export function quantizedBindings({ scales, zeros, minimums }: QuantizedWeight): Binding[] {
  return [
    read('b', 'u32'),
    read('scales', scales),
    ...(zeros ? [read('zeros', scales)] : []),
    ...(minimums ? [read('minimums', scales)] : []),
  ];
}

export function quantizedParams(weight: QuantizedWeight): Record<string, Param> {
  return { qIn: u32(weight.inFeatures), qGroup: u32(weight.group), qGroups: u32(groupsOf(weight)) };
}

/** Emits `fn quad(row, at) -> vec4<f32>`: elements at, ..., at + 3 of a row; `at` is a multiple of 4. */
export function quadOf({ bits, zeros, minimums, codebook }: QuantizedWeight): string {
  const word = bits === 4 ? 'b[(row * p.qIn + at) / 8u] >> ((at % 8u) * 4u)' : 'b[(row * p.qIn + at) / 4u]';
  const shifts = bits === 4 ? '0u, 4u, 8u, 12u' : '0u, 8u, 16u, 24u';
  const mask = bits === 4 ? '15u' : '255u';
  const zero = zeros ? 'f32(zeros[g])' : bits === 4 ? '8.0' : '128.0';
  // With a scale of f16 the product is exact, so that the sum is the same whether it is fused or not.
  const value = minimums ? 'q * f32(scales[g]) + f32(minimums[g])' : `(q - ${zero}) * f32(scales[g])`;
  const table = `const codebook = array<f32, 16>(${[...nf4].join(', ')});`;
  const of = (lane: string): string => `codebook[code.${lane}]`;
  const numbers = codebook ? ['x', 'y', 'z', 'w'].map(of).join(', ') : 'code';
  return `${codebook ? table : ''}
fn quad(row: u32, at: u32) -> vec4<f32> {
  let word = ${word};
  let code = (vec4<u32>(word) >> vec4<u32>(${shifts})) & vec4<u32>(${mask});
  let q = vec4<f32>(${numbers});
  let g = row * p.qGroups + at / p.qGroup;
  return ${codebook ? 'q * f32(scales[g])' : value};
}`;
}
