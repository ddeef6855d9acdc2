import type { Dispatch } from '../../gpu/dispatch.ts';
import type { Target } from '../../gpu/device.ts';
import { roundUp } from '../layout.ts';
import { matmulLanes } from './lanes.ts';
import type { LanesRows } from './lanes.ts';
import { productOf } from './product.ts';
import type { MatrixOperand, Product, ProductOperands } from './product.ts';
import { matmulPanel, panelFits } from './panel.ts';
import { matmulPlain } from './plain.ts';
import { canSplit, splitProduct } from './split.ts';
import { matmulSubgroup, subgroupFits, subgroupMatrices, subgroupTile } from './subgroup.ts';
import type { SubgroupTile } from './subgroup.ts';
import { matmulTiled } from './tiled.ts';
import type { Tile } from './tiled.ts';
import { matmulVector, vectorTile } from './vector.ts';
import type { VectorTile } from './vector.ts';

/**
 * A way to compute a product, as plain data: a variant, its tile, and the parts that k is split into
 * (split.ts).
 */
export type MatmulPlan =
  | { readonly variant: 'plain' | 'panel'; readonly splits?: number }
  | ({ readonly variant: 'vector'; readonly splits?: number } & VectorTile)
  | { readonly variant: 'lanes'; readonly rows: LanesRows; readonly splits?: number }
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
 * A subgroup of 64 x 64 outputs reads 4 bytes of workgroup memory for 128 operations, one of 32 x 32 twice
 * that. All have as many invocations, so that products run abreast (kernels/abreast.ts).
 */
const subgroupShapes = [
  { subgroups: [4, 2], outputs: [32, 32], k: 32 },
  { subgroups: [4, 2], outputs: [32, 64], k: 16 },
  { subgroups: [4, 2], outputs: [64, 64], k: 16 },
] as const;

/** For software drivers, which compile larger ones for long and prefer other variants, but for tests. */
const smallShape = { subgroups: [2, 1], outputs: [8, 16], k: 8 } as const;

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
    case 'vector':
      return `vector.${plan.threads}x${plan.columns}`;
    case 'lanes':
      return plan.rows === 16 ? 'lanes' : `lanes.${plan.rows}`;
    default:
      return plan.variant;
  }
}

const tileName = ({ m, n, k }: Pick<Tile, 'm' | 'n' | 'k'>): string => `${m}x${n}x${k}`;

/** Whether a product can be split into parts that one binding holds. */
function splitFits({ bindingLimit }: Target, params: Product, plan: MatmulPlan): boolean {
  const { m, n, batch } = params;
  return canSplit(params, plan) && 4 * (plan.splits ?? 1) * batch[0] * batch[1] * m * n <= bindingLimit;
}

const lanesPlan = ({ gathers }: Target): MatmulPlan => ({ variant: 'lanes', rows: gathers ? 16 : 4 });

/** Returns every plan that computes this product on this device, the plain one first. */
export function matmulPlans(target: Target, params: Product): readonly MatmulPlan[] {
  // Software drivers compile the large tiles for minutes, and have no use for them.
  const some = target.software ? 1 : undefined;
  const whole: MatmulPlan[] = [
    { variant: 'plain' },
    lanesPlan(target),
    { variant: 'panel' },
    ...tiles.slice(0, some).map((tile): MatmulPlan => ({ variant: 'tiled', tile })),
    ...subgroupTiles(target, params)
      .slice(0, some)
      .map((tile): MatmulPlan => ({ variant: 'subgroup', tile })),
  ];
  const split = whole.slice(1).flatMap((plan) => [2, 4, 8, 16].map((splits): MatmulPlan => ({ ...plan, splits })));
  const all = [...whole, ...split.filter((plan) => splitFits(target, params, plan))];
  const parts = (plan: MatmulPlan): Product => (plan.splits ? splitProduct(params, plan) : params);
  const vector = vectorTile(target, params);
  return [
    ...all.filter((plan) => plan.variant !== 'panel' || panelFits(target, parts(plan))),
    ...(vector ? [{ variant: 'vector', ...vector } as const] : []),
  ];
}

/** Returns the tiles for tensor cores that sum in f32, of the best matrix of the device, smallest first. */
function subgroupTiles(target: Target, params: Product): SubgroupTile[] {
  const matrix = subgroupMatrices(target, params).find(({ result }) => result === 'f32');
  if (!matrix) return [];
  return (target.software ? [smallShape] : subgroupShapes)
    .map(({ subgroups, outputs, k }) => subgroupTile(target, matrix, subgroups, outputs, k))
    .filter((tile) => subgroupFits(target, tile));
}

/**
 * Chooses the plan of a product: the tuned one, else a default. Small products take one thread an output,
 * those of one row `vector`. Software devices take `panel` for the others, or `lanes` where it does not fit.
 * GPUs take tensor cores for f16 and register tiles for the rest, in the tile and the parts of k that fill
 * all units of the device for the shortest time.
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
  const right = b.quantized ? (b.quantized.codebook ?? `int${b.quantized.bits}`) : b.dtype;
  return [
    `matmul ${size(batch[0] * batch[1])}x${size(m)}x${size(n)}x${size(k)}`,
    `${a.dtype}${order(a)} ${right}${order(b)}`,
    ...(sums ? [`sums ${sums.of}`] : []),
  ].join(' ');
}

/**
 * What a device does in the time of one multiply-add of its units together: products on tensor cores are an
 * H100's (214 tera multiply-adds and 2.8 TB a second, 2.5 us a dispatch), others its f32's.
 */
const prices = {
  subgroup: { byte: 75, dispatch: 5e8, output: 75 },
  tiled: { byte: 10, dispatch: 7e7, output: 10 },
} as const;

/**
 * Time of a plan, in multiply-adds of one of the device's units: the unit with most workgroups decides, each
 * of which multiplies whole slabs and stores its outputs. Parts of k are written, read and added up.
 */
function timeOf({ units }: Target, { m, n, k, batch }: Product, plan: TilePlan): number {
  const { variant, tile, splits = 1 } = plan;
  const price = prices[variant];
  const outputs = batch[0] * batch[1] * m * n;
  const groups = Math.ceil(m / tile.m) * Math.ceil(n / tile.n) * batch[0] * batch[1] * splits;
  const part = Math.ceil(k / splits / tile.k) * tile.k;
  // Small tiles wait for workgroup memory, in the share of the reads to the products of a step along k.
  const reads =
    variant === 'subgroup' ? 1 / tile.subgroupM + 1 / tile.subgroupN : 1 / (2 * tile.threadM) + 1 / (2 * tile.threadN);
  const work = tile.m * tile.n * (part * Math.max(1, (variant === 'subgroup' ? 28 : 6) * reads) + price.output);
  const adding = splits > 1 ? 8 * splits * outputs * price.byte + price.dispatch : 0;
  return Math.ceil(groups / units) * work + adding / units;
}

type TilePlan = Extract<MatmulPlan, { readonly variant: 'tiled' | 'subgroup' }>;

function defaultPlan(target: Target, params: Product): MatmulPlan {
  const { m, n, k } = params;
  if (m * n * k <= 4096) return { variant: 'plain' };
  const vector = vectorTile(target, params);
  if (vector) return { variant: 'vector', ...vector };
  if (target.software) return panelFits(target, params) ? { variant: 'panel' } : lanesPlan(target);
  const matrices = subgroupTiles(target, params).map((tile): TilePlan => ({ variant: 'subgroup', tile }));
  const whole = matrices.length > 0 ? matrices : tiles.map((tile): TilePlan => ({ variant: 'tiled', tile }));
  const split = whole.flatMap((plan) => Array.from({ length: 15 }, (_, i): TilePlan => ({ ...plan, splits: i + 2 })));
  // Parts stay long.
  const plans = [...whole, ...split.filter((plan) => k / plan.splits! >= 256 && splitFits(target, params, plan))].map(
    (plan) => ({ plan, time: timeOf(target, params, plan) }),
  );
  return plans.reduce((best, each) => (each.time < best.time ? each : best)).plan;
}

/**
 * Chooses the plan of a product of f32 by three of f16 (halves.ts), which is that of one three times as deep;
 * undefined where f32 is faster, or there are no tensor cores that sum in f32. On an H100 the halves of a
 * number cost as much as 80 products of it save.
 */
export function chooseHalves(target: Target, params: Product): SubgroupPlan | undefined {
  const { m, n, k, batch, a, b, bias, sink } = params;
  const count = batch[0] * batch[1];
  if (a.dtype !== 'f32' || b.dtype !== 'f32' || b.quantized || k === 0) return undefined;
  const pays = m * n > 80 * (m + n) && count * m * n * k > 1e8;
  const bindings = 6 + (bias ? 1 : 0) + sink.operands.length + sink.outputs.length;
  if ((!pays && !target.software) || bindings > target.maxStorageBuffers) return undefined;
  const [left, right] = [a, b].map((x) => ({ ...x, dtype: 'f16' as const })) as [MatrixOperand, MatrixOperand];
  const plan = chooseMatmul(target, { ...params, k: 3 * k, a: left, b: right, sums: undefined });
  if (plan.variant !== 'subgroup') return undefined;
  const bytes = 4 * count * roundUp(Math.max(m, n), 8) * (plan.splits ?? 1) * halfDepth(k, plan);
  return bytes <= target.bindingLimit ? plan : undefined;
}

/** Length of a part of k in halves: whole slabs. */
export const halfDepth = (k: number, { splits = 1, tile }: SubgroupPlan): number => roundUp(k / splits, tile.k);

type SubgroupPlan = Extract<MatmulPlan, { readonly variant: 'subgroup' }>;

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
  return matmulDispatch(plan, plan.splits ? splitProduct(product, plan) : product);
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
      return matmulLanes(params, plan.rows);
    case 'panel':
      return matmulPanel(params);
    case 'vector':
      return matmulVector(params, plan);
    case 'tiled':
      return matmulTiled(params, plan.tile);
    case 'subgroup':
      return matmulSubgroup(params, plan.tile);
  }
}
