import type { Dispatch } from '../../gpu/dispatch.ts';
import type { Target } from '../../gpu/device.ts';
import { matmulLanes } from './lanes.ts';
import { productOf } from './product.ts';
import type { Product, ProductOperands } from './product.ts';
import { matmulPanel, panelFits } from './panel.ts';
import { matmulPlain } from './plain.ts';
import { canSplit, splitProduct } from './split.ts';
import { matmulSubgroup, subgroupFits, subgroupMatrices, subgroupTile } from './subgroup.ts';
import type { SubgroupTile } from './subgroup.ts';
import { matmulTiled } from './tiled.ts';
import type { Tile } from './tiled.ts';

/**
 * A way to compute a product, as plain data: a variant, its tile, and the parts that k is split into
 * (split.ts).
 */
export type MatmulPlan =
  | { readonly variant: 'plain' | 'lanes' | 'panel'; readonly splits?: number }
  | { readonly variant: 'tiled'; readonly tile: Tile; readonly splits?: number }
  | { readonly variant: 'subgroup'; readonly tile: SubgroupTile; readonly splits?: number };

/** Smallest first. */
const tiles: readonly Tile[] = [
  { m: 64, n: 64, k: 16, threadM: 4, threadN: 4 },
  { m: 128, n: 64, k: 16, threadM: 8, threadN: 4 },
  { m: 128, n: 128, k: 16, threadM: 8, threadN: 8 },
];

/**
 * Subgroups of a workgroup along m and n, outputs of a subgroup along both, length of a slab. Smallest first.
 */
const subgroupShapes = [
  { subgroups: [2, 2], outputs: [32, 32], k: 32 },
  { subgroups: [2, 2], outputs: [64, 64], k: 32 },
  { subgroups: [4, 2], outputs: [64, 64], k: 32 },
] as const;

/** Returns the name of a plan in timings and in the file of tuned choices: `tiled.64x64x16/2`. */
export function planName(plan: MatmulPlan): string {
  return `${variantName(plan)}${plan.splits ? `/${plan.splits}` : ''}`;
}

function variantName(plan: MatmulPlan): string {
  switch (plan.variant) {
    case 'tiled':
      return `tiled.${tileName(plan.tile)}`;
    case 'subgroup': {
      const { M, N, K, result } = plan.tile.matrix;
      return `subgroup.${M}x${N}x${K}.${result}.${tileName(plan.tile)}`;
    }
    default:
      return plan.variant;
  }
}

const tileName = ({ m, n, k }: Pick<Tile, 'm' | 'n' | 'k'>): string => `${m}x${n}x${k}`;

/** Whether a product can be split into parts that one binding holds. */
function splitFits({ bindingLimit }: Target, params: Product, splits: number): boolean {
  const { m, n, batch } = params;
  return canSplit(params, splits) && 4 * splits * batch[0] * batch[1] * m * n <= bindingLimit;
}

/** Returns every plan that computes this product on this device, the plain one first. */
export function matmulPlans(target: Target, params: Product): readonly MatmulPlan[] {
  // Software drivers compile the large tiles for minutes, and have no use for them.
  const some = target.software ? 1 : undefined;
  const whole: MatmulPlan[] = [
    { variant: 'plain' },
    { variant: 'lanes' },
    { variant: 'panel' },
    ...tiles.slice(0, some).map((tile): MatmulPlan => ({ variant: 'tiled', tile })),
    ...subgroupTiles(target, params)
      .slice(0, some)
      .map((tile): MatmulPlan => ({ variant: 'subgroup', tile })),
  ];
  const split = [2, 4, 8, 16].filter((splits) => splitFits(target, params, splits));
  const all = [...whole, ...whole.slice(1).flatMap((plan) => split.map((splits) => ({ ...plan, splits })))];
  const parts = (splits?: number): Product => (splits ? splitProduct(params, splits) : params);
  return all.filter(({ variant, splits }) => variant !== 'panel' || panelFits(target, parts(splits)));
}

/** Returns the tiles for tensor cores that sum in f32, of the best matrix of the device, smallest first. */
function subgroupTiles(target: Target, params: Product): SubgroupTile[] {
  const matrix = subgroupMatrices(target, params).find(({ result }) => result === 'f32');
  if (!matrix) return [];
  return subgroupShapes
    .map(({ subgroups, outputs, k }) => subgroupTile(target, matrix, subgroups, outputs, k))
    .filter((tile) => subgroupFits(target, tile));
}

/**
 * Chooses the plan of a product: the tuned one, else a default. Small products take one thread an output,
 * software devices `panel`, or `lanes` where it does not fit. GPUs take tensor cores for f16 and register
 * tiles for the rest, the largest tile of which there are enough to fill the device, and split k where
 * there are too few of any.
 */
export function chooseMatmul(target: Target, params: Product): MatmulPlan {
  for (const watcher of watchers) watcher(params);
  return tunedPlan(target, params) ?? defaultPlan(target, params);
}

/**
 * Returns the plan that was timed fastest on this device, if there is one and it can compute this product.
 */
function tunedPlan(target: Target, params: Product): MatmulPlan | undefined {
  if (target.choices.size === 0) return undefined;
  const name = target.choices.get(matmulClass(params));
  return name === undefined ? undefined : matmulPlans(target, params).find((plan) => planName(plan) === name);
}

const watchers = new Set<(params: Product) => void>();

/** Calls `watcher` with each product for which a plan is chosen, until the returned function is called. */
export function watchMatmul(watcher: (params: Product) => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/**
 * Names the class of products that share a tuned plan: sizes rounded up to a power of two, types, order in
 * memory (r: rows, c: columns, s: strides), sums.
 */
export function matmulClass({ m, n, k, batch, a, b, sums }: Product): string {
  const size = (length: number): number => 2 ** Math.ceil(Math.log2(Math.max(length, 1)));
  const order = (x: Product['a']): string => (x.col === 1 ? 'r' : x.row === 1 ? 'c' : 's');
  const right = b.quantized ? `int${b.quantized.bits}` : b.dtype;
  return [
    `matmul ${size(batch[0] * batch[1])}x${size(m)}x${size(n)}x${size(k)}`,
    `${a.dtype}${order(a)} ${right}${order(b)}`,
    ...(sums ? [`sums ${sums.of}`] : []),
  ].join(' ');
}

function defaultPlan(target: Target, params: Product): MatmulPlan {
  const { m, n, k, batch } = params;
  if (m * n * k <= 4096) return { variant: 'plain' };
  if (target.software) return { variant: panelFits(target, params) ? 'panel' : 'lanes' };
  const enough = target.kind === 'discrete' ? 128 : 16; // workgroups that keep the device busy
  const count = (tile: { readonly m: number; readonly n: number }): number =>
    Math.ceil(m / tile.m) * Math.ceil(n / tile.n) * batch[0] * batch[1];
  const largest = <T extends { readonly m: number; readonly n: number }>(list: readonly T[]): T =>
    list.findLast((tile) => count(tile) >= enough) ?? list[0]!;
  const matrices = subgroupTiles(target, params);
  const plan: MatmulPlan =
    matrices.length > 0 ? { variant: 'subgroup', tile: largest(matrices) } : { variant: 'tiled', tile: largest(tiles) };
  // Each part costs a write and a read of all outputs: parts stay long.
  const splits = [16, 8, 4, 2].find(
    (parts) => count(plan.tile) * parts <= 2 * enough && k / parts >= 256 && splitFits(target, params, parts),
  );
  return splits ? { ...plan, splits } : plan;
}

/**
 * Computes a @ b + bias by a plan. Where the plan splits k, y takes the parts [..., splits, m, n], which
 * `sumSplits` adds up. Throws where the batch axes need more than two strides.
 */
export function matmul(
  operands: ProductOperands,
  { plan, of }: { readonly plan: MatmulPlan; readonly of?: 'a' | 'b' },
): Dispatch {
  const product = productOf(operands, of);
  if (!product) throw new Error('matmul: the batch axes of a and b need more than two strides; copy one of them');
  return matmulDispatch(plan, plan.splits ? splitProduct(product, plan.splits) : product);
}

/**
 * Returns the dispatch of a plan. Where it splits k, `params` comes from `splitProduct`, and `sumSplits`
 * follows.
 */
export function matmulDispatch(plan: MatmulPlan, params: Product): Dispatch {
  switch (plan.variant) {
    case 'plain':
      return matmulPlain(params);
    case 'lanes':
      return matmulLanes(params);
    case 'panel':
      return matmulPanel(params);
    case 'tiled':
      return matmulTiled(params, plan.tile);
    case 'subgroup':
      return matmulSubgroup(params, plan.tile);
  }
}
