import type { Dispatch } from '../../gpu/dispatch.ts';
import { f32, kernel, read, u32, write } from '../kernel.ts';
import type { Param } from '../kernel.ts';
import { isNanFunction } from '../nan.ts';
import type { Operand } from '../layout.ts';
import { numbered } from './collect.ts';
import { hyperAt, hyperSize, resultAt, slotsAt } from './update.ts';
import type { ControlLayout, UpdateRule } from './update.ts';

/** How a loss scale follows what the gradients did. */
export interface ScalerParams {
  readonly growth: number;
  readonly backoff: number;
  readonly interval: number;
}

/** Words of the parameters that say which parameters a step updates. */
const words = 24;
/** Parameters, and groups, that one dispatch can take. */
export const slotsPerDispatch = 32 * words;
export const groupsPerDispatch = 32;

export interface PrepareOperands {
  /** [quads, 4], see ControlLayout. */
  readonly control: Operand;
  /** The gradients' partial sums, as `collect` left them. */
  readonly partials?: Operand;
  /** A factor of the gradients that lies on the device. */
  readonly gradScale?: Operand;
  /** Scale, good steps in a row, whether the last step was skipped, steps skipped in all. */
  readonly scaler?: Operand;
}

export interface PrepareAttrs {
  readonly rule: UpdateRule;
  readonly layout: ControlLayout;
  /**
   * Parameters whose numbers of updates this dispatch advances: from `first`, one entry each, whether it has
   * a gradient.
   */
  readonly first: number;
  readonly active: readonly boolean[];
  /** Groups these parameters belong to: number, and the parameter after its last. */
  readonly groups: readonly { readonly group: number; readonly end: number }[];
  /**
   * Comes first: the gradients' partial sums (see `collect`), and how they decide the step. Undefined in all
   * dispatches of a step but its first.
   */
  readonly result?: {
    readonly partials?: { readonly at: number; readonly count: number };
    readonly maxNorm?: number;
    /**
     * Leave all parameters as they are where a gradient is infinite or NaN, as a scaler does; 'onwards': in
     * all later steps, too, unless there is a scaler. Needs partials.
     */
    readonly skipNonFinite?: boolean | 'onwards';
    readonly scaler?: ScalerParams;
    /** Leave the scale as it is, for `moveScale`. */
    readonly keepScale?: boolean;
  };
}

const workgroup = 256;

/**
 * All decisions of a step, by one workgroup: the global norm, the factor of the gradients (unscaled, clipped
 * to maxNorm as PyTorch's clip_grad_norm_ does), whether to skip the step, the next loss scale, and each
 * parameter's number of updates with what the rule derives from it.
 */
export function prepare(
  operands: PrepareOperands,
  { rule, layout, first, active, groups, result }: PrepareAttrs,
): Dispatch {
  const { partials, maxNorm, scaler, keepScale = false, skipNonFinite } = result ?? {};
  const gradScale = operands.gradScale?.offset;
  const all = active.every(Boolean);
  const bits = Array.from({ length: Math.ceil(active.length / 32) }, (_, w) =>
    active.slice(32 * w, 32 * w + 32).reduce((word, on, k) => (on ? (word | (1 << k)) >>> 0 : word), 0),
  );
  const activeIn = bits.map((_, w) => `case ${w}u: { return ((p.bits${w} >> (k % 32u)) & 1u) == 1u; }`);
  const clipping = `
  let clip = p.maxNorm / (norm + 1e-6);
  factor *= select(min(clip, 1.0), clip, isNan(clip));`;
  const groupOf = groups.slice(0, -1).map((_, k) => `select(0u, 1u, slot >= p.end${k})`);
  return kernel({
    name: `prepare.${rule.name}`,
    bindings: [
      write('control', 'vec4<f32>'),
      ...(partials ? [read('partials', 'vec4<f32>')] : []),
      ...(gradScale === undefined ? [] : [read('gradScale', 'f32')]),
      ...(scaler ? [write('scaler', 'f32')] : []),
    ],
    params: {
      result: u32(resultAt(layout)),
      hyper: u32(hyperAt(groups[0]?.group ?? 0)),
      slots: u32(slotsAt(layout)),
      first: u32(first),
      last: u32(first + active.length),
      ...numbered(
        'end',
        groups.slice(0, -1).map(({ end }) => end),
      ),
      ...(all ? {} : numbered('bits', bits)),
      ...(partials && { at: u32(partials.at), count: u32(partials.count) }),
      ...(gradScale === undefined ? {} : { gradScaleAt: u32(gradScale) }),
      ...(maxNorm === undefined ? {} : { maxNorm: f32(maxNorm) }),
      ...(scaler && !keepScale && scalerParams(scaler)),
    },
    workgroup,
    groups: 1,
    cost: { flops: 20 * active.length, bytes: 16 * ((partials?.count ?? 0) + 2 * active.length) },
    declarations: `
var<workgroup> sums: array<f32, ${workgroup}>;
var<workgroup> marks: array<u32, ${workgroup}>;
var<workgroup> outcome: vec4<f32>;
${isNanFunction('isNan', 'f32', 1)}
${rule.derive}
fn isActive(k: u32) -> bool {
  ${all ? 'return true;' : `switch (k / 32u) { ${activeIn.join(' ')} default: { return false; } }`}
}`,
    body: `
${
  result
    ? `
${partials ? sumPartials : ''}
if (lane == 0u) {
  var norm = ${partials ? 'sqrt(sums[0])' : '0.0'};
  var factor = ${gradScale === undefined ? '1.0' : 'gradScale[p.gradScaleAt]'};
  let skip = ${scaler || skipNonFinite ? 'marks[0] != 0u' : 'false'}${
    skipNonFinite === 'onwards' && !scaler ? ' || control[p.result].y != 0.0' : ''
  };
  ${scaler ? `factor /= scaler[0];${keepScale ? noteForScale : nextScale}` : ''}
  norm *= abs(factor);
  ${maxNorm === undefined ? '' : clipping}
  outcome = vec4<f32>(norm, select(0.0, 1.0, skip), factor, 0.0);
  control[p.result] = outcome;
}`
    : 'if (lane == 0u) { outcome = control[p.result]; }'
}
let skipped = workgroupUniformLoad(&outcome).y != 0.0;
for (var slot = p.first + lane; slot < p.last; slot += ${workgroup}u) {
  let h = p.hyper + ${hyperSize / 4}u * (${['0u', ...groupOf].join(' + ')});
  let on = isActive(slot - p.first) && !skipped;
  let t = control[p.slots + slot].x + select(0.0, 1.0, on);
  let ab = derive(h, max(t, 1.0));
  control[p.slots + slot] = vec4<f32>(t, ab, select(0.0, 1.0, on));
}`,
  });
}

/** Leaves the total in sums[0], and in marks[0] whether an element was not finite. */
const sumPartials = `
var total = 0.0;
var found = 0u;
for (var k = lane; k < p.count; k += ${workgroup}u) {
  let part = partials[p.at + k];
  total += part.x;
  found |= u32(part.y);
}
sums[lane] = total;
marks[lane] = found;
workgroupBarrier();
if (lane < 16u) {
  for (var k = 1u; k < 16u; k++) { sums[lane] += sums[lane + 16u * k]; marks[lane] |= marks[lane + 16u * k]; }
}
workgroupBarrier();
if (lane == 0u) {
  for (var k = 1u; k < 16u; k++) { sums[0] += sums[k]; marks[0] |= marks[k]; }
}`;

const scalerParams = ({ growth, backoff, interval }: ScalerParams): Record<string, Param> => ({
  growth: f32(growth),
  backoff: f32(backoff),
  interval: f32(interval),
});

/**
 * PyTorch's GradScaler: halve after an overflow, double after `interval` steps without one unless that would
 * overflow itself.
 */
const nextScale = `
  let scale = scaler[0];
  let good = scaler[1] + 1.0;
  if (skip) {
    scaler[0] = scale * p.backoff;
    scaler[1] = 0.0;
    scaler[3] += 1.0;
  } else if (good >= p.interval) {
    let next = scale * p.growth;
    if ((bitcast<u32>(next) & 0x7f800000u) != 0x7f800000u) { scaler[0] = next; }
    scaler[1] = 0.0;
  } else {
    scaler[1] = good;
  }
  scaler[2] = select(0.0, 1.0, skip);`;

/** Until the scale moves, scaler[1] is -1 less the good steps in a row: negative. */
const noteForScale = `
  let noted = scaler[1] < 0.0;
  scaler[2] = select(0.0, 1.0, skip || (noted && scaler[2] != 0.0));
  if (!noted) { scaler[1] = -1.0 - scaler[1]; }`;

/** Moves a loss scale by what steps noted since the last time. */
export function moveScale(_: Pick<PrepareOperands, 'scaler'>, params: ScalerParams): Dispatch {
  return kernel({
    name: 'updateScale',
    bindings: [write('scaler', 'f32')],
    params: scalerParams(params),
    workgroup: 1,
    groups: 1,
    cost: { flops: 4, bytes: 32 },
    body: `
if (id == 0u && scaler[1] < 0.0) {
  scaler[1] = -1.0 - scaler[1];
  let skip = scaler[2] != 0.0;
  ${nextScale}
}`,
  });
}
