import { sizeOf } from '../../kernels/layout.ts';
import { chooseMatmul, matmulDispatch } from '../../kernels/matmul/matmul.ts';
import type { MatmulParams } from '../../kernels/matmul/params.ts';
import { matmulInt8, quantizeRows } from '../../kernels/quant/int8.ts';
import { byteMatrix, matmulInt8Subgroup } from '../../kernels/quant/int8-subgroup.ts';
import { groupsOf, perWord } from '../../kernels/quant/weights.ts';
import type { QuantizedWeight } from '../../kernels/quant/weights.ts';
import { requireFloat, show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { tensorsOf } from '../lower/elementwise.ts';
import type { Like, Lowering, Op, Spec } from '../op.ts';
import type { QuantizedTensor } from './quantize.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { cast, sum } from './broadcast.ts';
import { reshape } from './reshape.ts';

interface QuantizedAttrs extends QuantizedWeight {
  /** Whether x is rounded to 8 bits too. */
  readonly int8: boolean;
  /** x @ W, for the gradient, in the place of x @ W^T. */
  readonly transposed: boolean;
}

/** x [rows, in], packed u32 [out, in / 8 or 4], scales and zeros [out, groups], bias [out]. */
type Inputs = { x: Tensor; packed: Tensor; scales: Tensor; zeros?: Tensor; bias?: Tensor };
type Quantized = Op<Inputs, { y: Tensor }, QuantizedAttrs>;

/** y [rows, out], or, transposed, [rows, in] of x [rows, out]. */
const quantizedLinearOp: Quantized = defineOp<Quantized>({
  name: 'quantizedLinear',
  infer(inputs, attrs) {
    check(inputs, attrs);
    const { x, packed } = inputs;
    return { y: { shape: [x.shape[0]!, attrs.transposed ? attrs.inFeatures : packed.shape[0]!], dtype: x.dtype } };
  },
  lower(lowering, { x, packed, scales, zeros, bias }, { y }, attrs) {
    const sink = lowering.sink();
    const { inFeatures, transposed } = attrs;
    const quantized: QuantizedWeight = {
      bits: attrs.bits,
      inFeatures,
      group: attrs.group,
      scales: attrs.scales,
      zeros: attrs.zeros,
    };
    const rows = attrs.int8 && !transposed ? x : lowering.contiguous(x);
    const params: MatmulParams = {
      m: y.shape[0]!,
      n: y.shape[1]!,
      k: x.shape[1]!,
      batch: [1, 1],
      a: { dtype: x.dtype, offset: rows.offset, row: x.shape[1]!, col: 1, batch: [0, 0] },
      b: {
        dtype: 'u32',
        offset: 0,
        row: transposed ? inFeatures : 1,
        col: transposed ? 1 : inFeatures,
        batch: [0, 0],
        quantized,
      },
      bias: bias && { dtype: bias.dtype, offset: bias.offset, stride: bias.strides[0]! },
      sink: sink.elements,
    };
    const weights = [packed, scales, ...(zeros ? [zeros] : [])].map((t) => fromZero(lowering, t));
    if (attrs.int8 && !transposed) {
      const bytes = lowering.temporary([params.m, params.k / 4], 'u32');
      const steps = lowering.temporary([params.m], 'f32');
      lowering.emit(quantizeRows, { x: lowering.source('x'), bytes, steps }, null);
      const tensors = [bytes, steps, ...weights, ...(bias ? [bias] : []), ...tensorsOf(sink)];
      // A software driver's matrices are loops of its own making.
      const matrix = lowering.target.software ? undefined : byteMatrix(lowering.target);
      const product = matrix ? matmulInt8Subgroup(params, matrix, lowering.target) : matmulInt8(params);
      return lowering.dispatch(product, tensors);
    }
    const tensors = [rows, ...weights, ...(bias ? [bias] : []), ...tensorsOf(sink)];
    lowering.dispatch(matmulDispatch(chooseMatmul(lowering.target, params), params), tensors);
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

/** Packed words are read from the beginning of their buffer. */
function fromZero(lowering: Lowering<Inputs>, x: Tensor): Tensor {
  return x.isContiguous && x.offset === 0 ? x : lowering.copy(x);
}

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
   * 'int8' rounds each row of x to 8 bits too (Dettmers et al. 2022, without its outliers) and multiplies
   * bytes, exactly, in integers; for weights of 8 bits with one scale a row and no zeros. An output is then
   * off by at most the row's largest magnitude / 254 times the sum of the weights' magnitudes. Gradients are
   * those of the product without that rounding.
   */
  readonly activations?: 'float' | 'int8';
}

/**
 * x @ W^T + bias for a frozen weight W [out, in] of 4 or 8 bits (see `quantize`), dequantised inside the
 * kernel: x [..., in], bias [out]. Gradients flow to x and bias. The result is that of the dequantised
 * weight, to a rounding of x's type; how far that is from the original weight's is stated at `quantize`.
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
