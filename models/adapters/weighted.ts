import { largestSingular } from '../../common/largest-singular.ts';
import { noGrad, tensor, uniform } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { LoraSettings } from './config.ts';
import type { LoraLayer, LowRank } from './lora.ts';

/** One adapter's matrices of a layer, and how much they count. */
export interface WeightedPart {
  readonly layer: LoraLayer;
  readonly weight: number;
}

/** Ways to make one adapter of several: PEFT's combination types. */
export const combinationTypes = [
  'cat',
  'linear',
  'svd',
  'ties',
  'ties_svd',
  'dare_linear',
  'dare_linear_svd',
  'dare_ties',
  'dare_ties_svd',
  'magnitude_prune',
  'magnitude_prune_svd',
] as const;
export type CombinationType = (typeof combinationTypes)[number];

/** How several adapters are made one. Names and defaults are PEFT's. */
export interface CombinationOptions {
  /**
   * 'cat' (default, where PEFT takes 'svd'): the matrices side by side, exactly the weighed sum of what the
   * adapters compute, of the sum of their ranks. 'svd': the nearest to that of a rank, `svdRank`.
   *
   * Others add up A and B, each times the root of its weight, which keeps the rank and is another function.
   * 'linear': as they are. 'magnitude_prune': of each the largest elements. 'ties' (Yadav et al. 2023): of
   * these, those with the sign of most, and their mean. 'dare_linear', 'dare_ties' (Yu et al. 2024): elements
   * drawn by `manualSeed`, over their share. With '_svd': of the products B A in the place of A and B.
   */
  readonly type?: CombinationType;
  /** The share of elements that pruning leaves, in (0, 1]. */
  readonly density?: number;
  /** Of 'ties': the sign of the sum (total), or that of most elements (frequency). */
  readonly majoritySignMethod?: 'total' | 'frequency';
  /** Of 'svd' and its kin: the rank, default the largest of the adapters'. */
  readonly svdRank?: number;
}

/** Numbers that are added up, and how much they count. */
interface Weighed {
  readonly values: Float64Array;
  readonly weight: number;
}

/** Error, one line: options that are wrong, or of another type. */
export function checkCombination({ type = 'cat', density, svdRank }: CombinationOptions): void {
  if (!combinationTypes.includes(type))
    throw new Error(
      `addWeighted: there is no type ${JSON.stringify(type)}; take one of ${combinationTypes.join(', ')}`,
    );
  const isPruned = /ties|dare|prune/.test(type);
  if (isPruned && !(density !== undefined && density > 0 && density <= 1))
    throw new Error(`addWeighted: '${type}' leaves a share of the elements; give density in (0, 1], not ${density}`);
  if (!isPruned && density !== undefined)
    throw new Error(`addWeighted: density is for types that prune, and '${type}' takes all; leave it out`);
  if (svdRank !== undefined && !(type.endsWith('svd') && Number.isInteger(svdRank) && svdRank > 0))
    throw new Error(
      `addWeighted: svdRank is a whole number from 1 for 'svd' and its kin, not ${svdRank} for '${type}'`,
    );
}

/** The matrices that stand for several of each layer, by its name, and the settings of their adapter. */
export async function combined(
  parts: ReadonlyMap<string, readonly WeightedPart[]>,
  options: CombinationOptions,
): Promise<{ readonly config: LoraSettings; readonly matrices: ReadonlyMap<string, LowRank> }> {
  const { type = 'cat' } = options;
  const most = Math.max(...[...parts.values()].flat().map(({ layer }) => layer.a.shape[0]!));
  const rank = options.svdRank ?? most;
  const matrices = new Map<string, LowRank>();
  for (const [path, list] of parts) {
    const read = await Promise.all(list.map(readPart));
    if (type === 'cat') matrices.set(path, sideBySide(read));
    else if (type.endsWith('svd')) matrices.set(path, await nearest(read, rank, options));
    else matrices.set(path, await addedUp(path, read, options));
  }
  const ranks = Object.fromEntries([...matrices].map(([path, { a }]) => [path, a.shape[0]!]));
  const r = Math.max(...Object.values(ranks));
  const others = Object.fromEntries(Object.entries(ranks).filter(([, other]) => other !== r));
  // With alpha like the rank the matrices count as they are.
  return {
    config: { r, loraAlpha: r, targetModules: [...parts.keys()].sort(), rankPattern: others, alphaPattern: others },
    matrices,
  };
}

/** A [r, into] and B [out, r] on the host; their product counts `scaling` times in its adapter. */
interface ReadPart {
  readonly a: Float64Array;
  readonly b: Float64Array;
  readonly weight: number;
  readonly scaling: number;
  readonly r: number;
  readonly into: number;
  readonly out: number;
}

async function readPart({ layer, weight }: WeightedPart): Promise<ReadPart> {
  const { a, b } = noGrad(() => ({ a: layer.a, b: layer.b }));
  const [first, second] = await Promise.all([a.data(), b.data()]);
  const [r, into, out] = [a.shape[0]!, a.shape[1]!, b.shape[0]!];
  const numbers = { a: Float64Array.from(first, Number), b: Float64Array.from(second, Number) };
  return { ...numbers, weight, scaling: layer.scaling, r, into, out };
}

function sideBySide(parts: readonly ReadPart[]): LowRank {
  const [{ into, out }] = parts as [ReadPart];
  const r = parts.reduce((sum, part) => sum + part.r, 0);
  const b = Array.from({ length: out }, (_, i) =>
    parts.flatMap((part) => [...part.b.subarray(i * part.r, (i + 1) * part.r)]),
  );
  return {
    a: matrix(
      Float64Array.from(parts.flatMap(({ a, weight, scaling }) => Array.from(a, (x) => weight * scaling * x))),
      [r, into],
    ),
    b: matrix(Float64Array.from(b.flat()), [out, r]),
  };
}

async function addedUp(path: string, parts: readonly ReadPart[], options: CombinationOptions): Promise<LowRank> {
  const ranks = new Set(parts.map(({ r }) => r));
  if (ranks.size > 1)
    throw new Error(
      `addWeighted: '${options.type}' needs one rank, ${path} has ${[...ranks].join(' and ')}; use 'cat' or 'svd'`,
    );
  const [{ r, into, out }] = parts as [ReadPart];
  const root = ({ weight, scaling }: ReadPart): number => Math.sqrt(Math.abs(weight * scaling));
  // The sign of a weight is on one side alone.
  const a = parts.map((part) => ({ values: part.a, weight: Math.sign(part.weight) * root(part) }));
  const b = parts.map((part) => ({ values: part.b, weight: root(part) }));
  return { a: matrix(await merged(a, options), [r, into]), b: matrix(await merged(b, options), [out, r]) };
}

/** The nearest matrices of a rank to the adapters' products, added up. */
async function nearest(parts: readonly ReadPart[], rank: number, options: CombinationOptions): Promise<LowRank> {
  const [{ into, out }] = parts as [ReadPart];
  const products = parts.map(({ a, b, r, scaling, weight }) => {
    const values = new Float64Array(out * into);
    for (let i = 0; i < out; i++)
      for (let k = 0; k < r; k++)
        for (let j = 0; j < into; j++) values[i * into + j]! += scaling * b[i * r + k]! * a[k * into + j]!;
    return { values, weight };
  });
  const sum = await merged(products, { ...options, type: options.type!.replace(/_?svd$/, '') as CombinationType });
  const { values, left, right } = largestSingular(sum, out, into, rank);
  const r = values.length;
  const b = new Float64Array(out * r);
  for (let i = 0; i < out; i++) for (let k = 0; k < r; k++) b[i * r + k] = left[k]![i]! * values[k]!;
  return { a: matrix(Float64Array.from(right.flatMap((x) => [...x])), [r, into]), b: matrix(b, [out, r]) };
}

/** Numbers pruned and added up, as a type does it. */
async function merged(parts: readonly Weighed[], options: CombinationOptions): Promise<Float64Array> {
  const { type = 'cat', density = 1, majoritySignMethod = 'total' } = options;
  const pruned: Weighed[] = [];
  for (const { values, weight } of parts)
    pruned.push({ weight, values: type.startsWith('dare') ? await drawn(values, density) : largest(values, density) });
  const sum = new Float64Array(parts[0]!.values.length);
  for (let i = 0; i < sum.length; i++) {
    const each = pruned.map(({ values }) => values[i]!);
    const isTies = type.includes('ties');
    const signs = majoritySignMethod === 'total' ? each : each.map(Math.sign);
    const sign = signs.reduce((x, y) => x + y, 0) >= 0 ? 1 : -1;
    const agree = each.map((x) => !isTies || Math.sign(x) === sign);
    const count = isTies ? Math.max(1, agree.filter(Boolean).length) : 1;
    sum[i] = pruned.reduce((x, { weight }, k) => x + (agree[k] ? weight * each[k]! : 0), 0) / count;
  }
  return sum;
}

/** The largest elements, a share of them; 0 in the place of others. */
function largest(values: Float64Array, density: number): Float64Array {
  if (density >= 1) return values;
  const order = Array.from(values.keys()).sort((i, j) => Math.abs(values[j]!) - Math.abs(values[i]!));
  const kept = new Float64Array(values.length);
  for (const i of order.slice(0, Math.floor(density * values.length))) kept[i] = values[i]!;
  return kept;
}

/** Elements drawn with probability `density`, over it; 0 in the place of others. */
async function drawn(values: Float64Array, density: number): Promise<Float64Array> {
  if (density >= 1) return values;
  const draws = await noGrad(() => uniform([values.length])).data();
  return values.map((x, i) => (Number(draws[i]) < density ? x / density : 0));
}

const matrix = (values: Float64Array, shape: readonly number[]): Tensor => tensor(Float32Array.from(values), { shape });
