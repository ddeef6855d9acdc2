import {
  controlQuads,
  groupsPerDispatch,
  moveScale,
  prepare,
  slotsPerDispatch,
} from '../../kernels/multi-tensor/prepare.ts';
import type { ControlLayout, ScalerParams } from '../../kernels/multi-tensor/prepare.ts';
import type { UpdateRule } from '../../kernels/multi-tensor/rule.ts';
import { sameShape, show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { requireF32 } from './collect.ts';
import type { Collected } from './collect.ts';

interface PrepareAttrs {
  readonly rule: UpdateRule;
  readonly layout: ControlLayout;
  /** Parameters of each group; they are numbered through. */
  readonly counts: readonly number[];
  /** Whether each parameter has a gradient in this step. */
  readonly active: readonly boolean[];
  readonly partials: { readonly at: number; readonly count: number } | undefined;
  readonly maxNorm: number | undefined;
  /** Leave all parameters as they are where a gradient is infinite or NaN. */
  readonly skipNonFinite: boolean;
  readonly scaler: ScalerParams | undefined;
  /** Only note what the gradients are, for `updateScale`. */
  readonly keepScale: boolean;
  readonly gradScale: boolean;
}

type Inputs = { control: Tensor; collected?: Tensor; gradScale?: Tensor; scaler?: Tensor };

const prepareOp = defineOp<Inputs, Record<string, never>, PrepareAttrs>({
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
  lower({ dispatch }, { control, collected, gradScale, scaler }, _, attrs) {
    const { rule, layout, counts, active, partials, gradScale: _scaled, ...decisions } = attrs;
    const read = [collected, gradScale, scaler].flatMap((x) => x ?? []);
    let first = 0;
    let end = 0;
    const ranges = counts.map((count, group) => ({ group, from: end, end: (end += count) }));
    let result: Parameters<typeof prepare>[0]['result'] = { partials, gradScale: gradScale?.offset, ...decisions };
    while (first < active.length) {
      const begun = ranges.filter((range) => range.end > first && range.from < first + slotsPerDispatch);
      const groups = begun.slice(0, groupsPerDispatch);
      const last = Math.min(first + slotsPerDispatch, groups.at(-1)!.end);
      const kernel = prepare({ rule, layout, first, active: active.slice(first, last), groups, result });
      dispatch(kernel, result ? [control, ...read] : [control]);
      result = undefined;
      first = last;
    }
  },
  mutates: ['control', 'scaler'],
  vjp: 'none',
});

/** State [4] of a loss scale, see `GradScaler`, and how it moves. */
export type LossScale = ScalerParams & { readonly state: Tensor };

export interface PrepareOptions extends Omit<PrepareAttrs, 'scaler' | 'gradScale' | 'partials'> {
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
  lower: ({ dispatch }, { scaler }, _, attrs) => dispatch(moveScale(attrs), [scaler]),
  mutates: ['scaler'],
  vjp: 'none',
});

/** Moves a loss scale by what steps with `keepScale` found since the last update. */
export function updateScale(scaler: LossScale): void {
  apply(updateScaleOp, { scaler: scaler.state }, scalerParams(scaler));
}
