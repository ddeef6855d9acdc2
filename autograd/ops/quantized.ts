import { sizeOf } from '../../kernels/layout.ts';
import { chooseMatmul } from '../../kernels/matmul/matmul.ts';
import { quantizeRows } from '../../kernels/quant/int8.ts';
import { int8Linear, quantizedLinear as quantizedKernel, quantizedProduct } from '../../kernels/quant/quantized.ts';
import type { QuantizedLinearAttrs } from '../../kernels/quant/quantized.ts';
import { quantizedRows } from '../../kernels/quant/rows.ts';
import { groupsOf, perWord } from '../../kernels/quant/weights.ts';
import type { QuantizedWeight } from '../../kernels/quant/weights.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Like, Lowering, Op, Spec } from '../op.ts';
import { requireFloat, show } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { cast, sum } from './broadcast.ts';
import { checkIndex } from './gather.ts';
import type { QuantizedTensor } from './quantize.ts';
import { reshape } from './reshape.ts';

interface QuantizedAttrs extends QuantizedLinearAttrs {
  /** Rounds x to 8 bits too. */
  readonly int8: boolean;
}

/** packed u32 [out, in / 8 or 4], scales, zeros and minimums [out, groups]. */
type Weight = { packed: Tensor; scales: Tensor; zeros?: Tensor; minimums?: Tensor };
/** x [rows, in], bias [out]. */
type Inputs = Weight & { x: Tensor; bias?: Tensor };
type Quantized = Op<Inputs, { y: Tensor }, QuantizedAttrs>;

/** y [rows, out] of x [rows, in]; transposed [rows, in] of x [rows, out]. */
const quantizedLinearOp: Quantized = defineOp<Quantized>({
  name: 'quantizedLinear',
  infer(inputs, attrs) {
    check(inputs, attrs);
    const { x, packed } = inputs;
    return { y: { shape: [x.shape[0]!, attrs.transposed ? attrs.inFeatures : packed.shape[0]!], dtype: x.dtype } };
  },
  lower(lowering, { x, bias, ...given }, _, attrs) {
    const { int8, ...kernelAttrs } = attrs;
    const sink = lowering.sink();
    const { packed, ...perGroup } = fromZero(lowering, given);
    const weight = { b: packed, scales: perGroup.scales, bias, y: sink };
    if (!int8 || attrs.transposed) {
      const operands = { a: lowering.contiguous(x), ...perGroup, ...weight };
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
  saves: { inputs: ['packed', 'scales', 'zeros', 'minimums'] },
  vjp({ g, input, specs, attrs, needs }) {
    const [packed, scales] = [input('packed'), input('scales')];
    const weight = { packed, scales, zeros: input('zeros'), minimums: input('minimums') };
    const dx = (): Tensor =>
      apply(quantizedLinearOp, { x: g, ...weight }, { ...attrs, transposed: !attrs.transposed }).y;
    return {
      x: needs('x') ? cast(dx(), specs.x.dtype) : null,
      bias: needs('bias') ? cast(sum(g, [0]), specs.bias!.dtype) : null,
    };
  },
});

function check({ x, bias, ...weight }: Like<Inputs, Spec>, attrs: QuantizedAttrs): void {
  requireFloat('quantizedLinear', x);
  const out = weight.packed.shape[0]!;
  checkWeight('quantizedLinear', weight, attrs);
  const fail = (what: string): never => {
    throw new ShapeError(`quantizedLinear: ${what}`);
  };
  const width = attrs.transposed ? out : attrs.inFeatures;
  if (x.shape.length !== 2 || x.shape[1] !== width) fail(`${show(x.shape)} must be [rows, ${width}]`);
  if (bias && bias.shape.join() !== `${out}`) fail(`bias ${show(bias.shape)} must be [${out}]`);
}

/** Returns a weight whose tensors lie at the beginning of their buffers, where kernels read them. */
function fromZero(lowering: Lowering, weight: Weight): Weight {
  const own = (t: Tensor): Tensor => (t.isContiguous && t.offset === 0 ? t : lowering.copy(t));
  const { packed, scales, zeros, minimums } = weight;
  return { packed: own(packed), scales: own(scales), zeros: zeros && own(zeros), minimums: minimums && own(minimums) };
}

function checkWeight(op: string, weight: Like<Weight, Spec>, attrs: QuantizedWeight): void {
  const { packed, scales, zeros, minimums } = weight;
  const out = packed.shape[0]!;
  const [words, groups] = [attrs.inFeatures / perWord(attrs), groupsOf(attrs)];
  const fail = (what: string): never => {
    throw new ShapeError(`${op}: ${what}`);
  };
  if (packed.dtype !== 'u32' || packed.shape.join() !== [out, words].join())
    fail(
      `the weight is ${packed.dtype} ${show(packed.shape)}, ` +
        `${attrs.bits} bits of ${attrs.inFeatures} inputs need u32 [out, ${words}]`,
    );
  for (const [name, spec] of [
    ['scales', scales],
    ['zeros', zeros],
    ['minimums', minimums],
  ] as const) {
    if (spec && (spec.dtype !== attrs.scales || spec.shape.join() !== [out, groups].join()))
      fail(`${name} ${spec.dtype} ${show(spec.shape)} must be ${attrs.scales} [${out}, ${groups}]`);
  }
  if (zeros && minimums) fail('a weight has zeros or minimums, not both');
  if (attrs.codebook && (zeros ?? minimums ?? attrs.bits === 8))
    fail('a weight with a codebook has 4 bits, no zeros and no minimums');
}

/** Rows of a packed table [rows, cols] by index [...]: y [..., cols]. */
type QuantizedRows = Op<Weight & { index: Tensor }, { y: Tensor }, QuantizedWeight>;
const quantizedRowsOp: QuantizedRows = defineOp<QuantizedRows>({
  name: 'quantizedEmbedding',
  infer({ index, ...table }, attrs) {
    checkWeight('quantizedEmbedding', table, attrs);
    return { y: { shape: [...index.shape, attrs.inFeatures], dtype: 'f32' } };
  },
  lower(lowering, { index, ...given }, _, attrs) {
    const { packed, ...perGroup } = fromZero(lowering, given);
    lowering.emit(
      quantizedRows,
      { b: packed, ...perGroup, index: lowering.contiguous(index), y: lowering.sink() },
      attrs,
    );
  },
  fuses: { epilogue: true },
  vjp: 'none',
});

/**
 * Looks up rows of a frozen table [rows, cols] of 4 or 8 bits (see `quantize`) by index [...]: f32 [...,
 * cols]. Indices as for `embedding`.
 *
 * @example
 * const table = await quantize(randn(10, 32), { bits: 8 });
 * quantizedEmbedding(table, tensor([3, 1], { dtype: 'i32' })).shape; // [2, 32]
 */
export function quantizedEmbedding(table: QuantizedTensor, index: Tensor): Tensor {
  const { packed, scales, zeros, minimums } = table;
  const rows = checkIndex('quantizedEmbedding', index, table.shape[0], 0);
  return apply(quantizedRowsOp, { packed, scales, zeros, minimums, index: rows }, layoutOf(table)).y;
}

/** How a weight is packed, as kernels are told. */
function layoutOf({ bits, shape, group, scales, zeros, minimums, codebook }: QuantizedTensor): QuantizedWeight {
  return {
    bits,
    inFeatures: shape[1],
    group,
    scales: scales.dtype === 'f16' ? 'f16' : 'f32',
    zeros: zeros !== undefined,
    minimums: minimums !== undefined,
    ...(codebook && { codebook }),
  };
}

export interface QuantizedLinearOptions {
  /**
   * 'int8' rounds each row of x to 8 bits too (Dettmers et al. 2022, without outliers) and multiplies bytes,
   * exactly, in integers. Takes weights of 8 bits with one scale a row and no zeros. An output changes by at
   * most max |x| of the row / 254 * the sum of the weights' magnitudes. Gradients are those without the
   * rounding. Default: what the weight says, else 'float'.
   */
  readonly activations?: 'float' | 'int8';
}

/**
 * Computes x @ W^T + bias for a frozen weight W [out, in] of 4 or 8 bits (see `quantize`), x [..., in] and
 * bias [out]. The kernel dequantizes W as it reads it; the result is that of `dequantize(W)`, to a rounding
 * of x's type. Gradients flow to x and bias.
 *
 * @example
 * const weight = await quantize(randn(4, 32));
 * quantizedLinear(randn(2, 32), weight).shape; // [2, 4]
 */
export function quantizedLinear(
  x: Tensor,
  weight: QuantizedTensor,
  bias?: Tensor,
  { activations = weight.activations ?? 'float' }: QuantizedLinearOptions = {},
): Tensor {
  const { packed, scales, zeros, minimums, bits, group, shape } = weight;
  const [out, inFeatures] = shape;
  if (x.ndim === 0 || x.shape.at(-1) !== inFeatures) {
    throw new ShapeError(
      `quantizedLinear: ${show(x.shape)} needs a weight [out, ${x.shape.at(-1) ?? 'in'}], got ${show(shape)}`,
    );
  }
  if (activations === 'int8' && (bits !== 8 || zeros || minimums || group < inFeatures)) {
    throw new ShapeError(
      'quantizedLinear: int8 activations need a symmetric weight of 8 bits with one scale a row, got ' +
        `${bits} bits in groups of ${group}${zeros ? ' with zeros' : minimums ? ' with minimums' : ''}; ` +
        'quantize() with its defaults makes one',
    );
  }
  const rows = reshape(x, [sizeOf(x.shape.slice(0, -1)), inFeatures]);
  const attrs = { ...layoutOf(weight), transposed: false, int8: activations === 'int8' };
  const { y } = apply(quantizedLinearOp, { x: rows, packed, scales, zeros, minimums, bias }, attrs);
  return reshape(y, [...x.shape.slice(0, -1), out]);
}
