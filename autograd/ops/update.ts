import type { ControlLayout } from '../../kernels/multi-tensor/prepare.ts';
import type { UpdateRule } from '../../kernels/multi-tensor/rule.ts';
import { quads } from '../../kernels/multi-tensor/segments.ts';
import { pairsPerDispatch, update, updatePacked } from '../../kernels/multi-tensor/update.ts';
import { quadParts } from '../lower/quads.ts';
import { sameShape, show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { isBindable } from '../lower/window.ts';
import type { Lowering, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { rowMajor } from './collect.ts';

/**
 * Optimizer steps over many tensors, in three parts: `collectGradients` looks at all gradients once,
 * `prepareStep` decides on the device what to do with them, `updateParameters` and `updatePackedParameters`
 * do it in place. Nothing in their attributes changes from step to step.
 */

interface UpdateAttrs {
  readonly rule: UpdateRule;
  readonly layout: ControlLayout;
  readonly group: number;
  /** Whether f16 copies are written. */
  readonly half: boolean;
}

interface SeparateAttrs extends UpdateAttrs {
  /** Where each parameter's elements begin in the state, in quads of one array. */
  readonly starts: readonly number[];
  /** Each parameter's number in the control buffer. */
  readonly slots: readonly number[];
}

type Shared = { control: Tensor; state: Tensor; half?: Tensor };
type Separate = Shared & { parameters: readonly Tensor[]; gradients: readonly Tensor[] };

const sharedOf = ({ control, state, half }: Shared): Tensor[] => [control, state, ...(half ? [half] : [])];

const updateOp = defineOp<Separate, Record<string, never>, SeparateAttrs>({
  name: ({ rule }) => rule.name,
  infer({ parameters, gradients }, { rule }) {
    parameters.forEach((x, i) => checkPair(rule.name, x, gradients[i]!));
    return {};
  },
  lower(lowering, inputs, _, attrs) {
    const { parameters, gradients } = inputs;
    const { target } = lowering;
    if (![...sharedOf(inputs), ...parameters, ...gradients].every((x) => isBindable(x, target)))
      return lowerInRuns(lowering, inputs, attrs);
    const { starts, slots, ...common } = attrs;
    const per = pairsPerDispatch(target.maxStorageBuffers, common.half);
    for (let from = 0; from < slots.length; from += per) {
      const to = Math.min(from + per, slots.length);
      const pairs = parameters.slice(from, to).flatMap((x, i) => [x, rowMajor(lowering, gradients[from + i]!)]);
      lowering.dispatch(
        update({
          ...common,
          sizes: parameters.slice(from, to).map(({ size }) => size),
          starts: starts.slice(from, to),
          slots: slots.slice(from, to),
        }),
        [...sharedOf(inputs), ...pairs],
      );
    }
  },
  mutates: ['state', 'half', 'parameters'],
  vjp: 'none',
});

/** A parameter at a time, in runs of quads: where a tensor exceeds one binding. */
function lowerInRuns(
  lowering: Lowering<Separate>,
  inputs: Separate,
  { starts, slots, ...common }: SeparateAttrs,
): void {
  const { parameters, gradients } = inputs;
  const [control, ...kept] = sharedOf(inputs) as [Tensor, ...Tensor[]];
  slots.forEach((slot, i) => {
    const [x, g] = [parameters[i]!, lowering.contiguous(gradients[i]!)];
    const shared = { tensors: kept, start: starts[i]! };
    for (const run of quadParts(lowering.name, lowering.target, quads(x.size), [x, g], shared)) {
      lowering.dispatch(update({ ...common, sizes: [run.own[0]!.size], starts: [run.start], slots: [slot] }), [
        control,
        ...run.kept,
        ...run.own,
      ]);
    }
  });
}

/** Throws unless a parameter and its gradient are f32 of one shape. */
export function checkPair(op: string, x: Spec, g: Spec): void {
  if (x.dtype !== 'f32' || g.dtype !== 'f32' || !sameShape(x.shape, g.shape)) {
    throw new ShapeError(
      `${op}: parameter ${x.dtype} ${show(x.shape)} and gradient ${g.dtype} ${show(g.shape)} must be f32 of one shape`,
    );
  }
}

export interface UpdateOptions extends Omit<UpdateAttrs, 'half'> {
  readonly control: Tensor;
  readonly state: Tensor;
  /** f16 copies of the parameters, laid out as one array of the state. */
  readonly copies: Tensor | undefined;
}

const shared = ({ control, state, copies }: UpdateOptions): Shared => ({ control, state, half: copies });
const common = ({ rule, layout, group, copies }: UpdateOptions): UpdateAttrs => ({
  rule,
  layout,
  group,
  half: copies !== undefined,
});

/** Updates parameters that have buffers of their own, in place. */
export function updateParameters(
  options: UpdateOptions,
  parameters: readonly { readonly x: Tensor; readonly g: Tensor; readonly start: number; readonly slot: number }[],
): void {
  const view = parameters.find(({ x }) => !x.isContiguous || x.offset !== 0)?.x;
  if (view)
    throw new ShapeError(
      `${options.rule.name}: a parameter of shape ${show(view.shape)} is a view; optimize the tensor it views`,
    );
  const tensors = { parameters: parameters.map(({ x }) => x), gradients: parameters.map(({ g }) => g) };
  const attrs = { starts: parameters.map(({ start }) => start), slots: parameters.map(({ slot }) => slot) };
  apply(updateOp, { ...shared(options), ...tensors }, { ...common(options), ...attrs });
}

type Packed = Shared & { packed: Tensor; collected: Tensor; owners: Tensor };

const updatePackedOp = defineOp<Packed, Record<string, never>, UpdateAttrs & { readonly gradients: number }>({
  name: ({ rule }) => `${rule.name}.packed`,
  infer: () => ({}),
  lower(lowering, { packed, collected, owners, ...shared }, _, attrs) {
    const tensors = [...sharedOf(shared), packed, collected, owners];
    lowering.dispatch(updatePacked({ ...attrs, quads: packed.shape[0]! }), tensors);
  },
  mutates: ['state', 'half', 'packed'],
  vjp: 'none',
});

/**
 * Updates parameters that share one buffer [quads, 4], in place; their gradients lie the same way in
 * `collected` from quad `gradients` on, and `owners` [quads / 64] (i32) names the parameter of each 64 quads
 * by its number in the control buffer.
 */
export function updatePackedParameters(
  options: UpdateOptions,
  { packed, owners }: { readonly packed: Tensor; readonly owners: Tensor },
  collected: Tensor,
  gradients: number,
): void {
  apply(updatePackedOp, { ...shared(options), packed, collected, owners }, { ...common(options), gradients });
}
