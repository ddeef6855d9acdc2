import { add, input } from '../../kernels/map/expr.ts';
import type { Expr } from '../../kernels/map/expr.ts';
import { broadcastLayout } from '../../kernels/layout.ts';
import { emitMap } from '../blocks/emit-map.ts';
import { broadcastShapes, sameShape, show } from '../dtypes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

interface AssignAttrs {
  readonly name: string;
  /** Input 0 is the target's old value where `reads` is set, the last input is the new value. */
  readonly expr: Expr;
  readonly reads: boolean;
}

/** Overwrites its first input with a function of it and the second. State changes are not differentiated. */
const assignOp = defineOp<AssignAttrs>({
  name: ({ name }) => name,
  infer([target, value], { name }) {
    if (!sameShape(broadcastShapes(name, target!.shape, value!.shape), target!.shape)) {
      throw new ShapeError(`${name}: ${show(value!.shape)} does not broadcast to the target's ${show(target!.shape)}`);
    }
    return [];
  },
  lower(lowering, [target, value], _, { name, expr, reads }) {
    const { shape, dtype } = target!;
    // A buffer cannot be bound to read and to write in one dispatch.
    const source = value!.storage === target!.storage ? lowering.copy(value!) : value!;
    const operand = { dtype: source.dtype, kind: 'v' as const, layout: broadcastLayout(source, shape) };
    const own = { dtype, kind: 'v' as const, layout: target!, output: 0 };
    const operands = reads ? [own, operand] : [operand];
    const outputs = [{ expr, dtype, layout: target! }];
    emitMap(lowering, { name, shape, operands, outputs, scalars: [], compute: dtype }, [source, target!]);
  },
  mutates: ([target]) => [target!],
  vjp: 'none',
});

/** Overwrites target (a view works too) with value, broadcast and converted to its type. Returns target. */
export function assign(target: Tensor, value: Tensor): Tensor {
  apply(assignOp, [target, value], { name: 'assign', expr: input(0), reads: false });
  return target;
}

/** target += value, in place. Returns target. */
export function addAssign(target: Tensor, value: Tensor): Tensor {
  apply(assignOp, [target, value], { name: 'addAssign', expr: add(input(0), input(1)), reads: true });
  return target;
}
