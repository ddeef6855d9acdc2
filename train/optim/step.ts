import { ShapeError, sqrt, Tensor } from '../../autograd/index.ts';
import { fill } from '../../autograd/lower/elementwise.ts';
import { quadParts, runsOf } from '../../autograd/lower/quads.ts';
import { isBindable } from '../../autograd/lower/window.ts';
import { defineOp } from '../../autograd/op.ts';
import type { Lowering, Spec } from '../../autograd/op.ts';
import { sumOp } from '../../autograd/ops/broadcast.ts';
import { sameShape, show } from '../../autograd/shapes.ts';
import { apply } from '../../autograd/tape.ts';
import { sizeOf } from '../../kernels/layout.ts';
import {
  collect,
  elementsPerSum,
  packedQuads,
  partialsFor,
  quads,
  tensorsToCollect,
} from '../../kernels/multi-tensor/collect.ts';
import { groupsPerDispatch, moveScale, prepare, slotsPerDispatch } from '../../kernels/multi-tensor/prepare.ts';
import type { ScalerParams } from '../../kernels/multi-tensor/prepare.ts';
import { controlQuads, pairsPerDispatch, update, updatePacked } from '../../kernels/multi-tensor/update.ts';
import type { ControlLayout, UpdateAttrs, UpdateRule } from '../../kernels/multi-tensor/update.ts';

/**
 * Optimizer steps over many tensors, in three parts: `collectGradients` looks at all gradients once,
 * `prepareStep` decides on the device what to do with them, `updateParameters` and `updatePackedParameters`
 * do it in place. Nothing in their attributes changes from step to step.
 */

// All gradients, looked at once

interface Looking {
  /** Where each tensor is copied to, in quads; undefined: nowhere. */
  readonly places: readonly (number | undefined)[];
  /** Take partial sums of squares. */
  readonly sums: boolean;
}

/** Quads of the copies, which come first, and of the partial sums. */
function collectedQuads(tensors: readonly Spec[], { places, sums }: Looking): { copies: number; sums: number } {
  const sizes = tensors.map(({ shape }) => sizeOf(shape));
  const ends = sizes.map((size, k) => (places[k] === undefined ? 0 : places[k] + packedQuads(size)));
  return {
    copies: ends.reduce((a, b) => Math.max(a, b), 0),
    sums: sums ? sizes.reduce((total, size) => total + partialsFor(size), 0) : 0,
  };
}

type Lists = { tensors: readonly Tensor[] };

const collectOp = defineOp<Lists, { collected: Tensor }, Looking>({
  name: 'collect',
  infer({ tensors }, attrs) {
    for (const x of tensors) requireF32('collect', x);
    const quads = collectedQuads(tensors, attrs);
    return { collected: { shape: [quads.copies + quads.sums, 4], dtype: 'f32' } };
  },
  lower: (lowering, { tensors }, { collected }, attrs) => lowerCollect(lowering, tensors, collected, attrs),
  vjp: 'none',
});

function requireF32(name: string, { dtype, shape }: Spec): void {
  if (dtype !== 'f32') throw new ShapeError(`${name}: tensors must be f32, got ${dtype} ${show(shape)}`);
}

function lowerCollect(lowering: Lowering<Lists>, tensors: readonly Tensor[], collected: Tensor, attrs: Looking): void {
  const kept = tensors.flatMap((x, k) => {
    if (x.size === 0) return [];
    const [row, place] = [rowMajor(lowering, x), attrs.places[k]];
    // Elements that go nowhere may be looked at in runs.
    const runs = place === undefined ? runsOf('collect', lowering.target, row, elementsPerSum) : [row];
    return runs.map((run) => ({ x: run, place }));
  });
  const per = tensorsToCollect(lowering.target.maxStorageBuffers);
  let at = collectedQuads(tensors, attrs).copies;
  for (let from = 0; from < kept.length; from += per) {
    const some = kept.slice(from, from + per);
    const places = some.map(({ place }) => place);
    lowering.emit(collect, { collected, x: some.map(({ x }) => x) }, { places, partials: attrs.sums ? at : undefined });
    at += some.reduce((total, { x }) => total + partialsFor(x.size), 0);
  }
}

/** Multi-tensor kernels take tensors in row-major order from the beginning of a buffer. */
function rowMajor({ contiguous, copy }: Pick<Lowering, 'contiguous' | 'copy'>, x: Tensor): Tensor {
  const row = contiguous(x);
  return row.offset === 0 ? row : copy(row);
}

/** The gradients as `collectGradients` left them. */
export interface Collected {
  /** [quads, 4]: copies of the tensors that have a place, then partial sums. */
  readonly tensor: Tensor;
  readonly partials: { readonly at: number; readonly count: number } | undefined;
}

/**
 * Copies f32 tensors to their places (in quads, multiples of 64) in one new tensor, and takes sums of squares
 * of all of them. Looks at each once.
 */
export function collectGradients(tensors: readonly Tensor[], attrs: Looking): Collected {
  const quads = collectedQuads(tensors, attrs);
  const { collected: tensor } = apply(collectOp, { tensors }, attrs);
  return { tensor, partials: attrs.sums ? { at: quads.copies, count: quads.sums } : undefined };
}

const sumSquaresOp = defineOp<Lists, { y: Tensor }, null>({
  name: 'globalNorm',
  infer({ tensors }) {
    for (const x of tensors) requireF32('globalNorm', x);
    return { y: { shape: [], dtype: 'f32' } };
  },
  lower(lowering, { tensors }, { y }) {
    const attrs = { places: [], sums: true };
    const { sums } = collectedQuads(tensors, attrs);
    if (sums === 0) return fill(lowering, y, 0);
    const partials = lowering.temporary([sums, 4], 'f32');
    lowerCollect(lowering, tensors, partials, attrs);
    const first = new Tensor(partials.storage, 'f32', { shape: [sums], strides: [4], offset: 0 });
    lowering.run(sumOp, { x: first }, { y }, { axes: [0] });
  },
  vjp: 'none',
});

/**
 * Euclidean norm of all elements of all tensors (f32), a scalar that stays on the device. No gradient flows.
 *
 * @example
 * globalNorm([tensor([3]), tensor([4])]); // 5
 */
export function globalNorm(tensors: readonly Tensor[]): Tensor {
  return sqrt(apply(sumSquaresOp, { tensors }, null).y);
}

// Decisions

interface Decisions {
  readonly rule: UpdateRule;
  readonly layout: ControlLayout;
  /** Parameters of each group; they are numbered through. */
  readonly counts: readonly number[];
  /** Whether each parameter has a gradient in this step. */
  readonly active: readonly boolean[];
  readonly partials: { readonly at: number; readonly count: number } | undefined;
  readonly maxNorm: number | undefined;
  /** Leave all parameters as they are where a gradient is infinite or NaN. */
  readonly skipNonFinite: boolean | 'onwards';
  readonly scaler: ScalerParams | undefined;
  /** Only note what the gradients are, for `updateScale`. */
  readonly keepScale: boolean;
  readonly gradScale: boolean;
}

type PrepareInputs = { control: Tensor; collected?: Tensor; gradScale?: Tensor; scaler?: Tensor };

const prepareOp = defineOp<PrepareInputs, Record<string, never>, Decisions>({
  name: 'prepareStep',
  infer({ control, gradScale, scaler }, { layout }) {
    requireF32('prepareStep', control);
    if (control.shape[0] !== controlQuads(layout))
      throw new ShapeError(`prepareStep: control ${show(control.shape)} must have ${controlQuads(layout)} rows`);
    if (gradScale && (gradScale.dtype !== 'f32' || !sameShape(gradScale.shape, [])))
      throw new ShapeError(
        `prepareStep: gradScale must be an f32 scalar, got ${gradScale.dtype} ${show(gradScale.shape)}`,
      );
    if (scaler && !sameShape(scaler.shape, [4]))
      throw new ShapeError(`prepareStep: the scaler's state must be [4], got ${show(scaler.shape)}`);
    return {};
  },
  lower({ emit }, { control, collected: partials, gradScale, scaler }, _, attrs) {
    const { rule, layout, counts, active, gradScale: _scaled, ...result } = attrs;
    let first = 0;
    let end = 0;
    const ranges = counts.map((count, group) => ({ group, from: end, end: (end += count) }));
    while (first < active.length) {
      const begun = ranges.filter((range) => range.end > first && range.from < first + slotsPerDispatch);
      const groups = begun.slice(0, groupsPerDispatch).map(({ group, end: last }) => ({ group, end: last }));
      const last = Math.min(first + slotsPerDispatch, groups.at(-1)!.end);
      const own = { rule, layout, first, active: active.slice(first, last), groups };
      // The first dispatch decides; all advance their parameters' numbers of updates.
      if (first === 0) emit(prepare, { control, partials, gradScale, scaler }, { ...own, result });
      else emit(prepare, { control }, own);
      first = last;
    }
  },
  mutates: ['control', 'scaler'],
  vjp: 'none',
});

/** State [4] of a loss scale, see `GradScaler`, and how it moves. */
export type LossScale = ScalerParams & { readonly state: Tensor };

export interface PrepareOptions extends Omit<Decisions, 'scaler' | 'gradScale' | 'partials'> {
  readonly collected: Collected;
  readonly scaler: LossScale | undefined;
  /** f32 scalar on the device that the gradients are multiplied by. */
  readonly gradScale: Tensor | undefined;
}

/** Decides a step on the device, see the kernel: `control` is [quads, 4]. */
export function prepareStep(control: Tensor, options: PrepareOptions): void {
  const { rule, layout, counts, active, maxNorm, skipNonFinite, collected, scaler, keepScale, gradScale } = options;
  const { partials, tensor } = collected;
  const inputs = { control, collected: partials && tensor, gradScale, scaler: scaler?.state };
  apply(prepareOp, inputs, {
    rule,
    layout,
    counts,
    active,
    maxNorm,
    skipNonFinite,
    partials,
    scaler: scaler && scalerParams(scaler),
    keepScale,
    gradScale: gradScale !== undefined,
  });
}

const scalerParams = ({ growth, backoff, interval }: ScalerParams): ScalerParams => ({ growth, backoff, interval });

const updateScaleOp = defineOp<{ scaler: Tensor }, Record<string, never>, ScalerParams>({
  name: 'updateScale',
  infer: () => ({}),
  lower: ({ emit }, { scaler }, _, attrs) => emit(moveScale, { scaler }, attrs),
  mutates: ['scaler'],
  vjp: 'none',
});

/** Moves a loss scale by what steps with `keepScale` found since the last update. */
export function updateScale(scaler: LossScale): void {
  apply(updateScaleOp, { scaler: scaler.state }, scalerParams(scaler));
}

// Updates

/** The part that all updates of a group have in common. */
interface Common {
  readonly rule: UpdateRule;
  readonly layout: ControlLayout;
  readonly group: number;
}

type Shared = { control: Tensor; state: Tensor; half?: Tensor };
type Separate = Shared & { parameters: readonly Tensor[]; gradients: readonly Tensor[] };

const sharedOf = ({ control, state, half }: Shared): Tensor[] => [control, state, ...(half ? [half] : [])];

const updateOp = defineOp<Separate, Record<string, never>, UpdateAttrs>({
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
    const { control, state, half } = inputs;
    const per = pairsPerDispatch(target.maxStorageBuffers, half !== undefined);
    for (let from = 0; from < parameters.length; from += per) {
      const some = <T>(list: readonly T[]): readonly T[] => list.slice(from, from + per);
      const g = some(gradients).map((own) => rowMajor(lowering, own));
      const own = { ...attrs, starts: some(attrs.starts), slots: some(attrs.slots) };
      lowering.emit(update, { control, state, half, x: some(parameters), g }, own);
    }
  },
  mutates: ['state', 'half', 'parameters'],
  vjp: 'none',
});

/** A parameter at a time, in runs of quads: where a tensor exceeds one binding. */
function lowerInRuns(lowering: Lowering<Separate>, inputs: Separate, { starts, slots, ...common }: UpdateAttrs): void {
  const { control, parameters, gradients } = inputs;
  const kept = sharedOf(inputs).slice(1);
  slots.forEach((slot, i) => {
    const [x, g] = [parameters[i]!, lowering.contiguous(gradients[i]!)];
    const shared = { tensors: kept, start: starts[i]! };
    for (const run of quadParts(lowering.name, lowering.target, quads(x.size), [x, g], shared)) {
      const [state, half] = run.kept as [Tensor, Tensor?];
      const operands = { control, state, half, x: [run.own[0]!], g: [run.own[1]!] };
      lowering.emit(update, operands, { ...common, starts: [run.start], slots: [slot] });
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

export interface UpdateOptions extends Common {
  readonly control: Tensor;
  readonly state: Tensor;
  /** f16 copies of the parameters, laid out as one array of the state. */
  readonly copies: Tensor | undefined;
}

const shared = ({ control, state, copies }: UpdateOptions): Shared => ({ control, state, half: copies });
const common = ({ rule, layout, group }: UpdateOptions): Common => ({ rule, layout, group });

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

type Packed = Shared & { x: Tensor; g: Tensor; owners: Tensor };

const updatePackedOp = defineOp<Packed, Record<string, never>, Common & { readonly gradients: number }>({
  name: ({ rule }) => `${rule.name}.packed`,
  infer: () => ({}),
  lower: ({ emit }, inputs, _, attrs) => emit(updatePacked, inputs, attrs),
  mutates: ['state', 'half', 'x'],
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
  apply(updatePackedOp, { ...shared(options), x: packed, g: collected, owners }, { ...common(options), gradients });
}
