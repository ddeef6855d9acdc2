import { sizeOf } from '../../kernels/layout.ts';
import { chooseMatmul } from '../../kernels/matmul/matmul.ts';
import { quantizeRows } from '../../kernels/quant/int8.ts';
import { int8Linear, quantizedLinear as quantizedKernel, quantizedProduct } from '../../kernels/quant/quantized.ts';
import type { QuantizedLinearAttrs } from '../../kernels/quant/quantized.ts';
import { groupsOf, perWord } from '../../kernels/quant/weights.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Like, Op, Spec } from '../op.ts';
import { requireFloat, show } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { cast, sum } from './broadcast.ts';
import type { QuantizedTensor } from './quantize.ts';
import { reshape } from './reshape.ts';

interface QuantizedAttrs extends QuantizedLinearAttrs {
  /** Rounds x to 8 bits too. */
  readonly int8: boolean;
}

/** x [rows, in], packed u32 [out, in / 8 or 4], scales and zeros [out, groups], bias [out]. */
type Inputs = { x: Tensor; packed: Tensor; scales: Tensor; zeros?: Tensor; bias?: Tensor };
type Quantized = Op<Inputs, { y: Tensor }, QuantizedAttrs>;

/** y [rows, out] of x [rows, in]; transposed [rows, in] of x [rows, out]. */
const quantizedLinearOp: Quantized = defineOp<Quantized>({
  name: 'quantizedLinear',
  infer(inputs, attrs) {
    check(inputs, attrs);
    const { x, packed } = inputs;
    return { y: { shape: [x.shape[0]!, attrs.transposed ? attrs.inFeatures : packed.shape[0]!], dtype: x.dtype } };
  },
  lower(lowering, { x, packed, scales, zeros, bias }, _, attrs) {
    const { int8, ...kernelAttrs } = attrs;
    // Packed words are read from the beginning of their buffer.
    const fromZero = (t: Tensor): Tensor => (t.isContiguous && t.offset === 0 ? t : lowering.copy(t));
    const sink = lowering.sink();
    const weight = { b: fromZero(packed), scales: fromZero(scales), bias, y: sink };
    if (!int8 || attrs.transposed) {
      const operands = { a: lowering.contiguous(x), zeros: zeros && fromZero(zeros), ...weight };
      const product = quantizedProduct({ ...operands, y: sink.elements }, kernelAttrs);
      return lowering.emit(quantizedKernel, operands, { ...kernelAttrs, plan: chooseMatmul(lowering.target, product) });
    }
    const [rows, cols] = x.shape as [number, number];
    const bytes = lowering.temporary([rows, cols / 4], 'u32');
    const steps = lowering.temporary([rows], 'f32');
    lowering.emit(quantizeRows, { x: lowering.source('x'), bytes, steps }, null);
    lowering.emit(int8Linear, { a: bytes, aScales: steps, ...weight }, kernelAttrs);
  },
  fuses: { epilogue: true },
  saves: { inputs: ['packed', 'scales', 'zeros'] },
  vjp({ g, input, specs, attrs, needs }) {
    const weight = { packed: input('packed'), scales: input('scales'), zeros: input('zeros') };
    const dx = (): Tensor =>
      apply(quantizedLinearOp, { x: g, ...weight }, { ...attrs, transposed: !attrs.transposed }).y;
    return {
      x: needs('x') ? cast(dx(), specs.x.dtype) : null,
      bias: needs('bias') ? cast(sum(g, [0]), specs.bias!.dtype) : null,
    };
  },
});

function check({ x, packed, scales, zeros, bias }: Like<Inputs, Spec>, attrs: QuantizedAttrs): void {
  requireFloat('quantizedLinear', x);
  const out = packed.shape[0]!;
  const [words, groups] = [attrs.inFeatures / perWord(attrs), groupsOf(attrs)];
  const fail = (what: string): never => {
    throw new ShapeError(`quantizedLinear: ${what}`);
  };
  if (packed.dtype !== 'u32' || packed.shape.join() !== [out, words].join())
    fail(
      `the weight is ${packed.dtype} ${show(packed.shape)}, ` +
        `${attrs.bits} bits of ${attrs.inFeatures} inputs need u32 [out, ${words}]`,
    );
  for (const [name, spec] of [
    ['scales', scales],
    ['zeros', zeros],
  ] as const) {
    if (spec && (spec.dtype !== attrs.scales || spec.shape.join() !== [out, groups].join()))
      fail(`${name} ${spec.dtype} ${show(spec.shape)} must be ${attrs.scales} [${out}, ${groups}]`);
  }
  const width = attrs.transposed ? out : attrs.inFeatures;
  if (x.shape.length !== 2 || x.shape[1] !== width) fail(`${show(x.shape)} must be [rows, ${width}]`);
  if (bias && bias.shape.join() !== `${out}`) fail(`bias ${show(bias.shape)} must be [${out}]`);
}

export interface QuantizedLinearOptions {
  /**
   * 'int8' rounds each row of x to 8 bits too (Dettmers et al. 2022, without outliers) and multiplies bytes,
   * exactly, in integers. Takes weights of 8 bits with one scale a row and no zeros. An output changes by at
   * most max |x| of the row / 254 * the sum of the weights' magnitudes. Gradients are those without the
   * rounding.
   */
  readonly activations?: 'float' | 'int8';
}

/**
 * Computes x @ W^T + bias for a frozen weight W [out, in] of 4 or 8 bits (see `quantize`), x [..., in] and
 * bias [out]. The kernel dequantizes W as it reads it; the result is that of `dequantize(W)`, to a rounding
 * of x's type. Gradients flow to x and bias.
 */
export function quantizedLinear(
  x: Tensor,
  weight: QuantizedTensor,
  bias?: Tensor,
  { activations = 'float' }: QuantizedLinearOptions = {},
): Tensor {
  const { packed, scales, zeros, bits, group, shape } = weight;
  const [out, inFeatures] = shape;
  if (x.ndim === 0 || x.shape.at(-1) !== inFeatures) {
    throw new ShapeError(
      `quantizedLinear: ${show(x.shape)} needs a weight [out, ${x.shape.at(-1) ?? 'in'}], got ${show(shape)}`,
    );
  }
  if (activations === 'int8' && (bits !== 8 || zeros || group < inFeatures)) {
    throw new ShapeError(
      'quantizedLinear: int8 activations need a symmetric weight of 8 bits with one scale a row, got ' +
        `${bits} bits in groups of ${group}${zeros ? ' with zeros' : ''}; quantize() with its defaults makes one`,
    );
  }
  const rows = reshape(x, [sizeOf(x.shape.slice(0, -1)), inFeatures]);
  const scaleType = scales.dtype === 'f16' ? 'f16' : 'f32';
  const attrs = {
    bits,
    inFeatures,
    group,
    scales: scaleType,
    zeros: zeros !== undefined,
    transposed: false,
    int8: activations === 'int8',
  } as const;
  return reshape(apply(quantizedLinearOp, { x: rows, packed, scales, zeros, bias }, attrs).y, [
    ...x.shape.slice(0, -1),
    out,
  ]);
}
