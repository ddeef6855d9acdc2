import type { ControlLayout } from '../../kernels/multi-tensor/prepare.ts';
import { rules } from '../../kernels/multi-tensor/rules.ts';
import type { RuleName } from '../../kernels/multi-tensor/rules.ts';
import { quads } from '../../kernels/multi-tensor/segments.ts';
import { pairsPerDispatch, update, updatePacked } from '../../kernels/multi-tensor/update.ts';
import { quadParts } from '../blocks/quads.ts';
import { sameShape, show } from '../dtypes.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { rowMajor } from './collect.ts';

/**
 * Optimizer steps over many tensors, in three parts: `collectGradients` looks at all gradients once,
 * `prepareStep` decides on the device what to do with them, `updateParameters` and `updatePackedParameters`
 * do it in place. Nothing in their attributes changes from step to step.
 */

interface UpdateAttrs {
  readonly rule: RuleName;
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

/** Inputs control, state, (half,) parameters..., gradients... . */
const updateOp = defineOp<SeparateAttrs>({
  name: ({ rule }) => rules[rule].name,
  infer(inputs, { rule, half, slots }) {
    const parameters = inputs.slice(2 + Number(half));
    for (let i = 0; i < slots.length; i++) checkPair(rules[rule].name, parameters[i]!, parameters[slots.length + i]!);
    return [];
  },
  lower(lowering, inputs, _, { starts, slots, ...common }) {
    const shared = inputs.slice(0, 2 + Number(common.half));
    const tensors = inputs.slice(shared.length);
    const count = slots.length;
    const per = pairsPerDispatch(lowering.target.maxStorageBuffers, common.half);
    for (let from = 0; from < count; from += per) {
      const to = Math.min(from + per, count);
      const parameters = tensors.slice(from, to);
      const pairs = parameters.flatMap((x, i) => [x, rowMajor(lowering, tensors[count + from + i]!)]);
      lowering.emit(
        update({
          ...common,
          sizes: parameters.map(({ size }) => size),
          starts: starts.slice(from, to),
          slots: slots.slice(from, to),
        }),
        [...shared, ...pairs],
      );
    }
  },
  // A parameter at a time, in runs of quads.
  blocks({ name, target, contiguous, part }, inputs, _, attrs) {
    const { starts, slots, half } = attrs;
    const [control, ...kept] = inputs.slice(0, 2 + Number(half)) as [Tensor, ...Tensor[]];
    const tensors = inputs.slice(2 + Number(half));
    slots.forEach((slot, i) => {
      const [x, g] = [tensors[i]!, contiguous(tensors[slots.length + i]!)];
      for (const run of quadParts(name, target, quads(x.size), [x, g], { tensors: kept, start: starts[i]! })) {
        part([control, ...run.kept, ...run.own], [], { ...attrs, starts: [run.start], slots: [slot] });
      }
    });
  },
  mutates: (inputs, { half, slots }) => inputs.slice(1, 2 + Number(half) + slots.length),
  vjp: 'none',
});

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

const shared = ({ control, state, copies }: UpdateOptions): Tensor[] => [control, state, ...(copies ? [copies] : [])];
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
      `${rules[options.rule].name}: a parameter of shape ${show(view.shape)} is a view; optimize the tensor it views`,
    );
  const tensors = [...parameters.map(({ x }) => x), ...parameters.map(({ g }) => g)];
  const attrs = { starts: parameters.map(({ start }) => start), slots: parameters.map(({ slot }) => slot) };
  apply(updateOp, [...shared(options), ...tensors], { ...common(options), ...attrs });
}

/** Inputs control, state, (half,) parameters, collected gradients, owners. */
const updatePackedOp = defineOp<UpdateAttrs & { readonly gradients: number }>({
  name: ({ rule }) => `${rules[rule].name}.packed`,
  infer: () => [],
  lower({ emit }, inputs, _, attrs) {
    emit(updatePacked({ ...attrs, quads: inputs.at(-3)!.shape[0]! }), inputs);
  },
  mutates: (inputs, { half }) => [...inputs.slice(1, 2 + Number(half)), inputs.at(-3)!],
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
  apply(updatePackedOp, [...shared(options), packed, collected, owners], { ...common(options), gradients });
}
