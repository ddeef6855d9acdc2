import type { Target } from '../../gpu/device.ts';
import type { Dispatch } from '../../gpu/dispatch.ts';
import type { Operand } from '../layout.ts';
import type { Elements } from '../map/elements.ts';
import { matmulDispatch } from '../matmul/matmul.ts';
import type { MatmulPlan } from '../matmul/matmul.ts';
import type { Product } from '../matmul/product.ts';
import { byteMatrix, matmulInt8Subgroup } from './int8-subgroup.ts';
import { matmulInt8 } from './int8.ts';
import type { QuantizedWeight } from './weights.ts';

export interface QuantizedLinearAttrs extends QuantizedWeight {
  /** Computes a @ W, for the gradient, instead of a @ W^T. */
  readonly transposed: boolean;
}

export interface QuantizedLinearOperands {
  /** [rows, in], row-major; transposed [rows, out]. */
  readonly a: Operand;
  /** The packed weight, u32 [out, words]. It, scales, zeros and minimums [out, groups] begin at offset 0. */
  readonly b: Operand;
  readonly scales: Operand;
  readonly zeros?: Operand;
  readonly minimums?: Operand;
  /** [out] */
  readonly bias?: Operand;
  /** Stores [rows, out]; transposed [rows, in]. */
  readonly y: Elements;
}

/**
 * Computes a @ W^T + bias of a quantized weight W [out, in], which is dequantized as the product reads it.
 */
export function quantizedLinear(
  operands: QuantizedLinearOperands,
  { plan, ...attrs }: QuantizedLinearAttrs & { readonly plan: MatmulPlan },
): Dispatch {
  return matmulDispatch(plan, quantizedProduct(operands, attrs));
}

export interface Int8LinearOperands extends Omit<QuantizedLinearOperands, 'zeros' | 'minimums'> {
  /**
   * f32 [rows]: the step of each row of `a`, which holds signed bytes, four to a word (see `quantizeRows`).
   */
  readonly aScales: Operand;
}

/** Computes the same product of rows of signed bytes; its sums are exact. */
export function int8Linear(operands: Int8LinearOperands, attrs: QuantizedLinearAttrs, target: Target): Dispatch {
  const product = quantizedProduct(operands, attrs);
  // A software driver has no hardware for matrices and loops over their elements.
  const matrix = target.software ? undefined : byteMatrix(target);
  return matrix ? matmulInt8Subgroup(product, matrix, target) : matmulInt8(product);
}

/** The product of a quantized weight, for `chooseMatmul`. */
export function quantizedProduct(
  { a, b, bias, y }: Omit<QuantizedLinearOperands, 'scales'>,
  { transposed, ...quantized }: QuantizedLinearAttrs,
): Product {
  const { inFeatures } = quantized;
  const out = b.shape[0]!;
  const k = transposed ? out : inFeatures;
  return {
    m: a.shape[0]!,
    n: transposed ? inFeatures : out,
    k,
    batch: [1, 1],
    a: { dtype: a.dtype, offset: a.offset, row: k, col: 1, batch: [0, 0] },
    b: {
      dtype: 'u32',
      offset: 0,
      row: transposed ? inFeatures : 1,
      col: transposed ? 1 : inFeatures,
      batch: [0, 0],
      quantized,
    },
    bias: bias && { dtype: bias.dtype, offset: bias.offset, stride: bias.strides[0]! },
    sink: y,
  };
}
