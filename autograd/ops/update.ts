import { adamw, partialsFor, quads, sgd, sumSquares, tensorsPerDispatch } from '../../kernels/multi-tensor.ts';
import type { AdamWScalars, SgdScalars } from '../../kernels/multi-tensor.ts';
import { sameShape, show } from '../dtypes.ts';
import { lowerReduce } from '../lower-reduce.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Spec } from '../op.ts';
import { apply } from '../tape.ts';
import { zeros } from '../create.ts';
import type { Tensor } from '../tensor.ts';
import { fillInto } from './fill.ts';
import { sqrt } from './arithmetic.ts';

/**
 * One step of an optimizer over all parameters, in place. Inputs: state, (scale,) parameters..., gradients... .
 */
export type Step = ({ readonly kind: 'adamw' } & AdamWScalars) | ({ readonly kind: 'sgd' } & SgdScalars);

interface StepAttrs {
  readonly step: Step;
  /** Where each parameter's elements begin in a state array, in quads; all arrays are `stateQuads` long. */
  readonly starts: readonly number[];
  readonly stateQuads: number;
  readonly count: number;
  readonly scaled: boolean;
}

const stepOp = defineOp<StepAttrs>({
  name: ({ step }) => step.kind,
  infer(inputs, { step, count, scaled }) {
    const parameters = inputs.slice(scaled ? 2 : 1);
    for (let i = 0; i < count; i++) checkPair(step.kind, parameters[i]!, parameters[count + i]!);
    return [];
  },
  lower({ emit, contiguous, copy, target }, inputs, _, { step, starts, stateQuads, count, scaled }) {
    const shared = inputs.slice(0, scaled ? 2 : 1);
    const tensors = inputs.slice(shared.length);
    const per = tensorsPerDispatch(target.maxStorageBuffers, shared.length);
    for (let from = 0; from < count; from += per) {
      const parameters = tensors.slice(from, Math.min(from + per, count));
      const pairs = parameters.flatMap((x, i) => {
        const g = contiguous(tensors[count + from + i]!);
        return [x, g.offset === 0 ? g : copy(g)];
      });
      const sizes = parameters.map(({ size }) => size);
      const params = { sizes, stateQuads, stateStarts: starts.slice(from, from + sizes.length), scaled };
      emit(step.kind === 'adamw' ? adamw({ ...params, ...step }) : sgd({ ...params, ...step }), [...shared, ...pairs]);
    }
  },
  mutates: (inputs, { count, scaled }) => {
    const first = scaled ? 2 : 1;
    return [inputs[0]!, ...inputs.slice(first, first + count)];
  },
  vjp: 'none',
});

function checkPair(op: string, x: Spec, g: Spec): void {
  if (x.dtype !== 'f32' || g.dtype !== 'f32' || !sameShape(x.shape, g.shape)) {
    throw new ShapeError(`${op}: parameter ${x.dtype} ${show(x.shape)} and gradient ${g.dtype} ${show(g.shape)} must be f32 of one shape`);
  }
}

/** Memory for what an optimizer remembers: `arrays` numbers for each element of the parameters. */
export class OptimizerState {
  readonly parameters: readonly Tensor[];
  /** f32 [arrays, elements], each parameter padded to whole quads. */
  readonly values: Tensor;
  private readonly starts = new Map<Tensor, number>();
  private readonly quads: number;

  constructor(parameters: readonly Tensor[], arrays: number) {
    this.parameters = parameters;
    let total = 0;
    for (const x of parameters) {
      this.starts.set(x, total);
      total += quads(x.size);
    }
    this.quads = total;
    this.values = zeros([arrays, this.quads * 4]).keep();
  }

  /**
   * Updates parameters (some or all of them) and their state in place. Parameters are row-major f32 with memory of their own. `scale`: a scalar on the device
   * that the gradients are multiplied by, such as a clipping coefficient.
   */
  apply(step: Step, parameters: readonly Tensor[], gradients: readonly Tensor[], scale?: Tensor): void {
    for (const x of parameters) {
      if (x.isContiguous && x.offset === 0) continue;
      throw new ShapeError(`${step.kind}: a parameter of shape ${show(x.shape)} is a view; optimize the tensor it views`);
    }
    const starts = parameters.map((x) => this.starts.get(x)!);
    const shared = scale ? [this.values, scale] : [this.values];
    const attrs = { step, starts, stateQuads: this.quads, count: parameters.length, scaled: scale !== undefined };
    apply(stepOp, [...shared, ...parameters, ...gradients], attrs);
  }
}

const sumSquaresOp = defineOp<null>({
  name: 'globalNorm',
  infer: () => [{ shape: [], dtype: 'f32' }],
  lower(lowering, inputs, [y]) {
    const tensors = inputs.filter(({ size }) => size > 0).map((x) => {
      const row = lowering.contiguous(x);
      return row.offset === 0 ? row : lowering.copy(row);
    });
    const sizes = tensors.map(({ size }) => size);
    if (sizes.length === 0) return fillInto(lowering, y!, 0);
    const partials = lowering.temporary([partialsFor(sizes)], 'f32');
    const per = lowering.target.maxStorageBuffers - 1;
    let start = 0;
    for (let from = 0; from < tensors.length; from += per) {
      const group = sizes.slice(from, from + per);
      lowering.emit(sumSquares({ sizes: group, start }), [partials, ...tensors.slice(from, from + per)]);
      start += partialsFor(group);
    }
    lowerReduce(lowering, 'sum', partials, [0], y!);
  },
  vjp: 'none',
});

/** Euclidean norm of all elements of all tensors (f32), a scalar that stays on the device. No gradient flows. */
export function globalNorm(tensors: readonly Tensor[]): Tensor {
  for (const { dtype, shape } of tensors) {
    if (dtype !== 'f32') throw new ShapeError(`globalNorm: tensors must be f32, got ${dtype} ${show(shape)}`);
  }
  return sqrt(apply(sumSquaresOp, tensors, null)[0]!);
}
