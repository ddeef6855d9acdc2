import { add, input } from '../../kernels/map/expr.ts';
import type { Expr } from '../../kernels/map/expr.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { broadcastLayout, overlaps } from '../../kernels/layout.ts';
import { isGradEnabled } from '../context.ts';
import { emitElements } from '../lower/elementwise.ts';
import { broadcastShapes, sameShape, show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { cast } from './broadcast.ts';

interface AssignAttrs {
  readonly name: string;
  /** New value of the target. Its last input is `value`; where `reads` is set, input 0 is the old value. */
  readonly expr: Expr;
  readonly reads: boolean;
}

const replaced = input(0);
const added = add(input(0), input(1));

/** Overwrites `target` by an expression of it and of `value`. Writes in place are not differentiated. */
const assignOp = defineOp<{ target: Tensor; value: Tensor }, Record<string, never>, AssignAttrs>({
  name: ({ name }) => name,
  infer({ target, value }, { name }) {
    if (!sameShape(broadcastShapes(name, target.shape, value.shape), target.shape))
      throw new ShapeError(`${name}: ${show(value.shape)} does not broadcast to the target's ${show(target.shape)}`);
    return {};
  },
  lower(lowering, { target, value }, _, { name, expr, reads }) {
    const { shape, dtype } = target;
    // A buffer cannot be bound to read and to write in one dispatch.
    const source = value.storage === target.storage ? lowering.copy(value) : value;
    const operand = { dtype: source.dtype, kind: 'v' as const, layout: broadcastLayout(source, shape) };
    const own = { dtype, kind: 'v' as const, layout: target, output: 0 };
    const operands = reads ? [own, operand] : [operand];
    const outputs = [{ expr, dtype, layout: target }];
    const elements = { shape, operands, outputs, scalars: [], compute: dtype };
    emitElements(lowering, name, { elements, operands: reads ? [target, source] : [source], outputs: [target] });
  },
  mutates: ['target'],
  vjp: 'none',
});

/**
 * Throws for a target that gradients flow through or to, since writes in place are not differentiated (as
 * PyTorch does), and for a view whose elements share memory, such as an expanded one.
 */
export function checkWritable(op: string, target: Tensor): void {
  if (isGradEnabled() && target.requiresGrad) {
    const why = target.node
      ? 'was computed from (or is a view of) tensors that require gradients, and writes in place are not differentiated'
      : 'is a leaf that requires a gradient, which writes in place would falsify';
    const mend = target.node ? 'to a detach()ed or cloned tensor' : 'set requiresGrad to false first';
    throw new Error(`${op}: the target ${show(target.shape)} ${why}; write inside noGrad(), or ${mend}`);
  }
  if (overlaps(target))
    throw new ShapeError(
      `${op}: elements of the target ${show(target.shape)} share memory (it was expanded or unfolded); ` +
        'write to clone() of it',
    );
}

/**
 * Overwrites target, which may be a view, with value, broadcast and converted to its type: floats truncate to
 * integers, bool takes whether they are not 0. Returns target.
 *
 * @example
 * const x = zeros(2, 2);
 * assign(x.select(0, 1), tensor([3, 4]));
 * x; // [[0, 0], [3, 4]]
 */
export function assign(target: Tensor, value: Tensor): Tensor {
  checkWritable('assign', target);
  const stored = target.dtype === 'bool' ? cast(value, 'bool') : value;
  apply(assignOp, { target, value: stored }, { name: 'assign', expr: replaced, reads: false });
  return target;
}

/**
 * Throws for arithmetic in place whose result the target cannot hold, as PyTorch does: 1.5 added to i32, or 1
 * to bool.
 */
export function checkHolds(op: string, target: Tensor, dtype: Dtype): void {
  const rank = (type: Dtype): number => (isFloat(type) ? 2 : type === 'bool' ? 0 : 1);
  if (rank(dtype) <= rank(target.dtype)) return;
  throw new ShapeError(
    `${op}: the result is ${dtype}, which the target ${target.dtype} ${show(target.shape)} cannot hold; ` +
      `convert the target with to('${dtype}')`,
  );
}

/**
 * target += value, in place. Returns target.
 *
 * @example
 * const x = tensor([1, 2]);
 * addAssign(x, tensor([10, 20]));
 * x; // [11, 22]
 */
export function addAssign(target: Tensor, value: Tensor): Tensor {
  checkWritable('addAssign', target);
  checkHolds('addAssign', target, value.dtype);
  apply(assignOp, { target, value }, { name: 'addAssign', expr: added, reads: true });
  return target;
}
