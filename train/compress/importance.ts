/** How much a model's loss hangs on each of its heads and units. */
import { abs, mul, noGrad, ones, reshape, sum } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { evalMode, withHooks } from '../../models/index.ts';
import type { Module, ModuleHooks } from '../../models/index.ts';
import { headsOf, readersOf } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/** By layer: how much each head and each unit of the feed-forward part counts. */
export interface Importance {
  readonly heads: Float32Array[];
  readonly units: Float32Array[];
}

/** A gate on what a linear layer reads: `groups` equal parts of its input are each multiplied by a number. */
interface Gate {
  readonly module: Module;
  readonly groups: number;
}

/**
 * The mean over examples of |dL/dg| for a gate g = 1 on each head's or unit's output (Michel et al. 2019): to
 * first order, what its loss changes by without it (Molchanov et al. 2017). `rows` says how many examples a
 * batch has; `loss` is the mean loss of one.
 *
 * Each layer's scores are divided by their norm, since scores of different layers differ in size; where
 * `normalise` is false they are left as they are.
 */
export async function importanceOf<Batch>(
  model: Shrinkable,
  batches: readonly Batch[],
  {
    rows,
    loss,
    normalise = true,
  }: {
    readonly rows: (batch: Batch) => number;
    readonly loss: (batch: Batch) => Tensor;
    readonly normalise?: boolean;
  },
): Promise<Importance> {
  if (batches.length === 0) throw new Error('importanceOf: there are no batches; give some of the texts to train on');
  const heads = headsOf(model);
  const { attention, feedForward, units } = readersOf('importanceOf', model);
  const gates: Gate[] = [
    ...attention.map((module, layer) => ({ module, groups: heads[layer]!.length })),
    ...feedForward.map((module) => ({ module, groups: units })),
  ];
  const totals = gates.map(({ groups }) => new Float64Array(groups));
  using _mode = evalMode(model);
  let examples = 0;
  for (const batch of batches) {
    const count = rows(batch);
    const given = gates.map(({ groups }) => gate(count, groups));
    const hooks = gates.map(({ module }, i): ModuleHooks => ({
      module,
      before: (_, [x]) => [gated(x as Tensor, given[i]!)],
    }));
    // The sum of the examples' losses: each gate then has its own example's derivative.
    withHooks(hooks, () => mul(loss(batch), count).backward(), 'importance');
    for (const [i, g] of given.entries()) {
      const each = noGrad(() => sum(abs(g.grad!), 0)); // (groups)
      const values = await each.data();
      totals[i]!.forEach((_, group, all) => (all[group]! += Number(values[group]!)));
    }
    for (const parameter of model.parameters()) parameter.grad = undefined;
    examples += count;
  }
  const scores = totals.map((values) => {
    const norm = normalise ? Math.hypot(...values) || 1 : examples;
    return Float32Array.from(values, (value) => value / norm);
  });
  return { heads: scores.slice(0, attention.length), units: scores.slice(attention.length) };
}

/** Ones, one for each example and group (B, G), whose gradient is wanted. */
function gate(rows: number, groups: number): Tensor {
  const g = ones([rows, groups]);
  g.requiresGrad = true;
  return g;
}

/** x (B, T, G D) with each group of D numbers multiplied by its example's gate (B, G). */
function gated(x: Tensor, g: Tensor): Tensor {
  const [batch, length, width] = x.shape as [number, number, number];
  const groups = g.shape[1]!;
  const parts = reshape(x, [batch, length, groups, width / groups]); // (B, T, G, D)
  return reshape(mul(parts, reshape(g, [batch, 1, groups, 1])), [batch, length, width]);
}

/**
 * What to take out for a model to keep a share of heads or units: the numbers of those that count least, by
 * layer. Of heads each layer keeps one at least, whatever the others have; of units each layer keeps as many.
 *
 * @example
 * leastImportant([Float32Array.of(0.1, 0.9), Float32Array.of(0.8, 0.2)], 0.5, 'layer'); // [[0], [1]]
 */
export function leastImportant(scores: readonly Float32Array[], share: number, within: 'layer' | 'model'): number[][] {
  if (!(share >= 0 && share < 1)) throw new Error(`leastImportant: a share of ${share} is to go; give 0 up to below 1`);
  const gone = scores.map((): number[] => []);
  const order = scores.flatMap((layer, i) => Array.from(layer, (score, at) => ({ layer: i, at, score })));
  order.sort((a, b) => a.score - b.score);
  const most = (layer: number): number =>
    within === 'layer' ? Math.round(share * scores[layer]!.length) : scores[layer]!.length - 1;
  let left = within === 'layer' ? Infinity : Math.round(share * order.length);
  for (const { layer, at } of order) {
    if (left === 0) break;
    if (gone[layer]!.length >= Math.min(most(layer), scores[layer]!.length - 1)) continue;
    gone[layer]!.push(at);
    left--;
  }
  return gone.map((list) => list.sort((a, b) => a - b));
}

/** The numbers that are not among others, 0 up to `count`. */
export const others = (gone: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => i).filter((i) => !gone.includes(i));
