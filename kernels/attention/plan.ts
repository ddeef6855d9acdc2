import type { Target } from '../../gpu/device.ts';
import type { Operand } from '../layout.ts';
import { matrixTiles, tileName } from './matrix-tile.ts';
import type { MatrixTile } from './matrix-tile.ts';
import { sizesOf } from './operands.ts';
import type { AttentionAttrs, AttentionOperands, AttentionTarget } from './operands.ts';
import { walkName, walksOf } from './walk.ts';
import type { Walk } from './walk.ts';

/** A way to compute attention, as plain data: on tensor cores, or row by row. */
export type AttentionPlan = { readonly tile: MatrixTile } | { readonly walk: Walk };

/** A pass over scores that flash attention makes, with the cotangent g of a backward pass. */
export interface AttentionWork {
  readonly pass: 'forward' | 'backward';
  readonly operands: AttentionOperands & { readonly g?: Operand };
  readonly attrs: AttentionAttrs;
}

/** Rows of D numbers that a thread holds at once. */
const held = { forward: 2, backward: 4 } as const;

/** Returns every plan of a pass on this device, the default first. */
export function attentionPlans(
  target: AttentionTarget,
  { pass, operands }: Pick<AttentionWork, 'pass' | 'operands'>,
): AttentionPlan[] {
  return [
    ...matrixTiles(target, operands, pass).map((tile) => ({ tile })),
    ...walksOf(target, held[pass], sizesOf(operands).width).map((walk) => ({ walk })),
  ];
}

/** Returns the name of a plan in the file of tuned choices. */
export function attentionPlanName(plan: AttentionPlan): string {
  if ('tile' in plan) return tileName(plan.tile);
  const { lanes, rows, share, tile } = plan.walk;
  return `${walkName(plan.walk)}.${lanes}x${rows}x${share}.${tile}`;
}

/** Names the class of passes that share a tuned plan: sizes rounded up to a power of two, and flags. */
export function attentionClass({ pass, operands, attrs }: AttentionWork): string {
  const { batch, heads, group, queries, keys, width } = sizesOf(operands);
  const { q, k, mask, lengths, ranges } = operands;
  const size = (length: number): number => 2 ** Math.ceil(Math.log2(Math.max(length, 1)));
  const { causal, slidingWindow: window, softCap: cap, dropout } = attrs;
  const asked = {
    bytes: k.dtype === 'u32',
    shared: group > 1,
    causal,
    window,
    cap,
    dropout,
    mask,
    lengths,
    documents: ranges,
  };
  const names = Object.entries(asked).flatMap(([name, value]) => (value ? [name] : []));
  const sizes = [size(batch * heads), size(queries), size(keys), width].join('x');
  return [`attention ${pass} ${sizes}`, q.dtype, ...names].join(' ');
}

const watchers = new Set<(work: AttentionWork) => void>();

/** Calls `watcher` with each pass for which a plan is chosen, until the returned function is called. */
export function watchAttention(watcher: (work: AttentionWork) => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** Returns the plan that was timed fastest on this device, if there is one and it fits; else none. */
export function tunedAttention(target: Target, work: AttentionWork): AttentionPlan | undefined {
  for (const watcher of watchers) watcher(work);
  const name = target.choices.size > 0 ? target.choices.get(attentionClass(work)) : undefined;
  return name === undefined ? undefined : attentionPlans(target, work).find((plan) => attentionPlanName(plan) === name);
}
