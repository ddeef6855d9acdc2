import { triangular } from '../../kernels/triangular.ts';
import { partsOf } from '../blocks/parts.ts';
import { show } from '../dtypes.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

interface TriangularAttrs {
  readonly upper: boolean;
  readonly diagonal: number;
}

const triangularOp: Op<TriangularAttrs> = defineOp<TriangularAttrs>({
  name: ({ upper }) => (upper ? 'triu' : 'tril'),
  infer([x], { upper, diagonal }) {
    const name = upper ? 'triu' : 'tril';
    if (x!.shape.length < 2) throw new ShapeError(`${name}: needs a matrix [..., rows, cols], got ${show(x!.shape)}`);
    if (!Number.isInteger(diagonal))
      throw new ShapeError(`${name}: the diagonal must be a whole number, got ${diagonal}`);
    return [{ shape: x!.shape, dtype: x!.dtype }];
  },
  lower({ emit, contiguous }, [x], [y], attrs) {
    const source = contiguous(x!);
    const [rows, cols] = [x!.shape.at(-2)!, x!.shape.at(-1)!];
    emit(triangular({ size: x!.size, rows, cols, dtype: x!.dtype, offset: source.offset, ...attrs }), [source, y!]);
  },
  blocks({ name, target, contiguous, part }, [x], [y], attrs) {
    const placed = [contiguous(x!), y!].map((tensor) => ({ tensor, axes: tensor.shape.map((_, axis) => axis) }));
    const [rows, cols] = [x!.ndim - 2, x!.ndim - 1];
    for (const { starts, tensors } of partsOf(name, target, x!.shape, placed)) {
      const diagonal = attrs.diagonal + starts[rows]! - starts[cols]!;
      part([tensors[0]!], [tensors[1]!], { ...attrs, diagonal });
    }
  },
  vjp: ({ g, attrs }) => apply(triangularOp, [g], attrs),
});

/**
 * The lower triangles of matrices [..., rows, cols]: zeros above a diagonal (0 the main one, negative below
 * it).
 */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return apply(triangularOp, [x], { upper: false, diagonal })[0]!;
}

/**
 * The upper triangles of matrices [..., rows, cols]: zeros below a diagonal (0 the main one, positive above
 * it).
 */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return apply(triangularOp, [x], { upper: true, diagonal })[0]!;
}
