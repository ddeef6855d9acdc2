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

/** One step of an optimizer over many parameters, in place. Inputs: state arrays..., (scale,) parameters..., gradients... . */
export type Step = ({ readonly kind: 'adamw' } & AdamWScalars) | ({ readonly kind: 'sgd' } & SgdScalars);

interface StepAttrs {
  readonly step: Step;
  /** Where each parameter's elements begin in the state arrays, in quads. */
  readonly starts: readonly number[];
  /** Of state arrays, and of parameters. */
  readonly arrays: number;
  readonly count: number;
  readonly scaled: boolean;
}

const stepOp = defineOp<StepAttrs>({
  name: ({ step }) => step.kind,
  infer(inputs, { step, arrays, count, scaled }) {
    const parameters = inputs.slice(arrays + Number(scaled));
    for (let i = 0; i < count; i++) checkPair(step.kind, parameters[i]!, parameters[count + i]!);
    return [];
  },
  lower({ emit, contiguous, copy, target }, inputs, _, { step, starts, arrays, count, scaled }) {
    const shared = inputs.slice(0, arrays + Number(scaled));
    const tensors = inputs.slice(shared.length);
    const per = tensorsPerDispatch(target.maxStorageBuffers, shared.length);
    for (let from = 0; from < count; from += per) {
      const parameters = tensors.slice(from, Math.min(from + per, count));
      const pairs = parameters.flatMap((x, i) => {
        const g = contiguous(tensors[count + from + i]!);
        return [x, g.offset === 0 ? g : copy(g)];
      });
      const sizes = parameters.map(({ size }) => size);
      const params = { sizes, stateStarts: starts.slice(from, from + sizes.length), scaled };
      emit(step.kind === 'adamw' ? adamw({ ...params, ...step }) : sgd({ ...params, ...step }), [...shared, ...pairs]);
    }
  },
  mutates: (inputs, { arrays, count, scaled }) => {
    const first = arrays + Number(scaled);
    return [...inputs.slice(0, arrays), ...inputs.slice(first, first + count)];
  },
  vjp: 'none',
});

function checkPair(op: string, x: Spec, g: Spec): void {
  if (x.dtype !== 'f32' || g.dtype !== 'f32' || !sameShape(x.shape, g.shape)) {
    throw new ShapeError(
      `${op}: parameter ${x.dtype} ${show(x.shape)} and gradient ${g.dtype} ${show(g.shape)} must be f32 of one shape`,
    );
  }
}

/** Parameters whose state lies in the same tensors. */
interface Chunk {
  readonly parameters: readonly Tensor[];
  /** Where each parameter's elements begin, in quads. */
  readonly starts: readonly number[];
  /** One tensor for each state array. */
  readonly arrays: readonly Tensor[];
}

/** A state array spans parameters up to this size: well below the smallest limit of a binding, 128 MiB. */
const chunkBytes = 32 * 2 ** 20;

/** What an optimizer remembers: `arrays` numbers for each element of the parameters. */
export class OptimizerState {
  readonly parameters: readonly Tensor[];
  private readonly chunks: readonly Chunk[];

  constructor(parameters: readonly Tensor[], arrays: number) {
    this.parameters = parameters;
    const runs: Tensor[][] = [];
    let used = Infinity;
    for (const x of parameters) {
      const bytes = 16 * quads(x.size);
      if (used + bytes > chunkBytes) {
        runs.push([]);
        used = 0;
      }
      runs.at(-1)!.push(x);
      used += bytes;
    }
    this.chunks = runs.map((run) => {
      let total = 0;
      const starts = run.map(({ size }) => (total += quads(size)) - quads(size));
      return { parameters: run, starts, arrays: Array.from({ length: arrays }, () => zeros([total * 4]).keep()) };
    });
  }

  /** The state's tensors, in an order that depends on the parameters alone. */
  get tensors(): readonly Tensor[] {
    return this.chunks.flatMap((chunk) => chunk.arrays);
  }

  /**
   * Updates the parameters that have a gradient in `gradients`, and their state, in place. Parameters are row-major f32 with memory of their own. `scale`: a
   * scalar on the device that the gradients are multiplied by, such as a clipping coefficient.
   */
  apply(step: Step, gradients: ReadonlyMap<Tensor, Tensor>, scale?: Tensor): void {
    for (const { parameters, starts, arrays } of this.chunks) {
      const moved = parameters.filter((x) => gradients.has(x));
      const view = moved.find((x) => !x.isContiguous || x.offset !== 0);
      if (view)
        throw new ShapeError(
          `${step.kind}: a parameter of shape ${show(view.shape)} is a view; optimize the tensor it views`,
        );
      if (moved.length === 0) continue;
      const attrs = {
        step,
        starts: moved.map((x) => starts[parameters.indexOf(x)]!),
        arrays: arrays.length,
        count: moved.length,
        scaled: scale !== undefined,
      };
      apply(stepOp, [...arrays, ...(scale ? [scale] : []), ...moved, ...moved.map((x) => gradients.get(x)!)], attrs);
    }
  }
}

const sumSquaresOp = defineOp<null>({
  name: 'globalNorm',
  infer: () => [{ shape: [], dtype: 'f32' }],
  lower(lowering, inputs, [y]) {
    const tensors = inputs
      .filter(({ size }) => size > 0)
      .map((x) => {
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
