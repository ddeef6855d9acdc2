// UMAP (McInnes, Healy and Melville 2018): a map in the plane on which near points stay near.
import { Random } from '../../common/random.ts';
import type { Points } from './points.ts';

/** How far two points are: 1 - cosine, or the length of their difference. */
export type MapMetric = 'cosine' | 'euclidean';

export interface NeighbourOptions {
  /** Points of a neighbourhood, the point itself among them; default 15. */
  readonly neighbours?: number;
  readonly metric?: MapMetric;
}

export interface UmapOptions extends NeighbourOptions {
  /** How near points may come on the map; default 0.1. */
  readonly minDist?: number;
  /** Default 500. */
  readonly epochs?: number;
  /** Default 0. */
  readonly seed?: number;
}

/** The nearest of each point, itself first, nearest first: [count][neighbours]. */
interface Neighbours {
  readonly ids: Int32Array;
  readonly distances: Float64Array;
}

/** Distances of a point to all points. */
function distancesFrom({ count, width, values }: Points, i: number, metric: MapMetric, norms: Float64Array) {
  const distances = new Float64Array(count);
  for (let j = 0; j < count; j++) {
    let sum = 0;
    for (let d = 0; d < width; d++) {
      const [x, y] = [values[i * width + d]!, values[j * width + d]!];
      sum += metric === 'cosine' ? x * y : (x - y) ** 2;
    }
    const norm = norms[i]! * norms[j]!;
    // Of vectors of zeros as umap-learn has it.
    const cosine = norm > 0 ? sum / norm : Number(norms[i] === norms[j]);
    distances[j] = metric === 'cosine' ? Math.max(0, 1 - cosine) : Math.sqrt(sum);
  }
  distances[i] = 0;
  return distances;
}

function normsOf({ count, width, values }: Points): Float64Array {
  const norms = new Float64Array(count);
  for (let i = 0; i < count * width; i++) norms[Math.floor(i / width)]! += values[i]! ** 2;
  return norms.map(Math.sqrt);
}

/** All points in the order of their distance, the point itself first. */
const nearestFirst = (distances: Float64Array, i: number): Int32Array =>
  Int32Array.from(distances.keys()).sort((a, b) =>
    a === i ? -1 : b === i ? 1 : distances[a]! - distances[b]! || a - b,
  );

function nearest(points: Points, k: number, metric: MapMetric): Neighbours {
  const norms = normsOf(points);
  const [ids, distances] = [new Int32Array(points.count * k), new Float64Array(points.count * k)];
  for (let i = 0; i < points.count; i++) {
    const all = distancesFrom(points, i, metric, norms);
    for (const [rank, j] of nearestFirst(all, i).subarray(0, k).entries()) {
      ids[i * k + rank] = j;
      distances[i * k + rank] = all[j]!;
    }
  }
  return { ids, distances };
}

/** What umap-learn calls rhos and sigmas: the distance to the nearest, and the scale beyond it. */
function scalesOf({ distances }: Neighbours, count: number, k: number): { rho: Float64Array; sigma: Float64Array } {
  const [rho, sigma] = [new Float64Array(count), new Float64Array(count)];
  const target = Math.log2(k);
  const mean = distances.reduce((sum, x) => sum + x, 0) / distances.length;
  for (let i = 0; i < count; i++) {
    const own = distances.subarray(i * k, (i + 1) * k);
    rho[i] = own.find((x) => x > 0) ?? 0;
    let [low, high, middle] = [0, Infinity, 1];
    for (let round = 0; round < 64; round++) {
      let sum = 0;
      for (let j = 1; j < k; j++) sum += Math.exp(-Math.max(0, own[j]! - rho[i]!) / middle);
      if (Math.abs(sum - target) < 1e-5) break;
      if (sum > target) high = middle;
      else low = middle;
      middle = high === Infinity ? 2 * middle : (low + high) / 2;
    }
    const least = 1e-3 * (rho[i]! > 0 ? own.reduce((sum, x) => sum + x, 0) / k : mean);
    sigma[i] = Math.max(middle, least);
  }
  return { rho, sigma };
}

/** Edges of a fuzzy graph, each in both directions, with weights above 0 to 1. */
export interface FuzzyGraph {
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly weights: Float64Array;
}

/**
 * The fuzzy neighbourhood graph of points, as umap-learn's `fuzzy_simplicial_set` makes it by exact
 * neighbours. Error, one line: numbers that are not finite.
 */
export function fuzzyGraph(points: Points, { neighbours = 15, metric = 'cosine' }: NeighbourOptions = {}): FuzzyGraph {
  const { count } = points;
  const bad = Array.from({ length: count * points.width }, (_, i) => i).find((i) => !Number.isFinite(points.values[i]));
  if (bad !== undefined)
    throw new Error(`umap: the numbers of point ${Math.floor(bad / points.width)} are not finite; leave it out`);
  const k = Math.min(neighbours, count);
  if (!(k >= 2))
    throw new Error(`umap: ${count} points with ${neighbours} neighbours make no map; 2 or more are needed`);
  const near = nearest(points, k, metric);
  const { rho, sigma } = scalesOf(near, count, k);
  const directed = new Map<number, number>();
  for (let at = 0; at < count * k; at++) {
    const [i, j] = [Math.floor(at / k), near.ids[at]!];
    if (i === j) continue;
    const beyond = near.distances[at]! - rho[i]!;
    directed.set(i * count + j, beyond <= 0 ? 1 : Math.exp(-beyond / sigma[i]!));
  }
  const both = new Map<number, number>();
  for (const [edge, weight] of directed) {
    const [i, j] = [Math.floor(edge / count), edge % count];
    const back = directed.get(j * count + i) ?? 0;
    const union = weight + back - weight * back;
    both.set(edge, union).set(j * count + i, union);
  }
  const edges = [...both].filter(([, weight]) => weight > 0).sort(([a], [b]) => a - b);
  return {
    from: Int32Array.from(edges, ([edge]) => Math.floor(edge / count)),
    to: Int32Array.from(edges, ([edge]) => edge % count),
    weights: Float64Array.from(edges, ([, weight]) => weight),
  };
}

/**
 * a and b of 1 / (1 + a x^(2 b)), the closest to 1 up to `minDist` and exp(-(x - minDist)) beyond, by
 * Gauss-Newton steps.
 */
export function curveOf(minDist: number): { readonly a: number; readonly b: number } {
  const xs = Array.from({ length: 300 }, (_, i) => (3 * i) / 299);
  const wanted = xs.map((x) => (x < minDist ? 1 : Math.exp(-(x - minDist))));
  let [a, b] = [1, 1];
  const lossOf = (p: number, q: number): number =>
    xs.reduce((sum, x, i) => sum + (1 / (1 + p * x ** (2 * q)) - wanted[i]!) ** 2, 0);
  for (let round = 0; round < 100; round++) {
    let [aa, ab, bb, ga, gb] = [0, 0, 0, 0, 0];
    for (const [i, x] of xs.entries()) {
      if (x === 0) continue;
      const power = x ** (2 * b);
      const value = 1 / (1 + a * power);
      const da = -power * value ** 2;
      const db = 2 * Math.log(x) * a * da;
      const residual = value - wanted[i]!;
      [aa, ab, bb] = [aa + da * da, ab + da * db, bb + db * db];
      [ga, gb] = [ga + da * residual, gb + db * residual];
    }
    const determinant = aa * bb - ab * ab;
    const [stepA, stepB] = [(bb * ga - ab * gb) / determinant, (aa * gb - ab * ga) / determinant];
    let size = 1;
    while (size > 1e-9 && !(a - size * stepA > 0 && lossOf(a - size * stepA, b - size * stepB) <= lossOf(a, b)))
      size /= 2;
    [a, b] = [a - size * stepA, b - size * stepB];
    if (Math.abs(size * stepA) + Math.abs(size * stepB) < 1e-12) break;
  }
  return { a, b };
}

/**
 * Points in the plane, [x, y] each, that keep neighbours together: from where `start` puts them, such as the
 * main directions (PCA), edges of `fuzzyGraph` attract and random other points repel, as in umap-learn. Equal
 * seeds give equal maps. Distances between groups, and how dense they look, mean little.
 *
 * @example
 * const points = { count: 20, width: 2, values: Float32Array.from({ length: 40 }, (_, i) => Math.sin(i)) };
 * umap(points, principalMap(points).points, { neighbours: 5, epochs: 10 }).length; // 20
 */
export function umap(
  points: Points,
  start: readonly (readonly [x: number, y: number])[],
  { minDist = 0.1, epochs = 500, seed = 0, ...options }: UmapOptions = {},
): [x: number, y: number][] {
  const { from, to, weights } = fuzzyGraph(points, options);
  const { a, b } = curveOf(minDist);
  const random = new Random(seed);
  const at = scaled(start, random);
  const strongest = weights.reduce((most, weight) => Math.max(most, weight), 0);
  const every = weights.map((weight) => strongest / weight);
  const next = every.slice();
  const nextRepelled = every.map((each) => each / 5);
  const clip = (x: number): number => Math.max(-4, Math.min(4, x));
  for (let epoch = 0; epoch < epochs; epoch++) {
    const rate = 1 - epoch / epochs;
    for (let e = 0; e < weights.length; e++) {
      // An edge so weak is drawn in no epoch.
      if (every[e]! > epochs || next[e]! > epoch) continue;
      const [i, j] = [2 * from[e]!, 2 * to[e]!];
      const square = (at[i]! - at[j]!) ** 2 + (at[i + 1]! - at[j + 1]!) ** 2;
      if (square > 0) {
        const pull = (-2 * a * b * square ** (b - 1)) / (a * square ** b + 1);
        for (const side of [0, 1]) {
          const step = rate * clip(pull * (at[i + side]! - at[j + side]!));
          at[i + side]! += step;
          at[j + side]! -= step;
        }
      }
      next[e]! += every[e]!;
      const repelled = Math.floor((epoch - nextRepelled[e]!) / (every[e]! / 5));
      for (let n = 0; n < repelled; n++) {
        const other = 2 * random.int(points.count);
        if (other === i) continue;
        const apart = (at[i]! - at[other]!) ** 2 + (at[i + 1]! - at[other + 1]!) ** 2;
        if (!(apart > 0)) continue;
        const push = (2 * b) / ((0.001 + apart) * (a * apart ** b + 1));
        for (const side of [0, 1]) at[i + side]! += rate * clip(push * (at[i + side]! - at[other + side]!));
      }
      nextRepelled[e]! += (repelled * every[e]!) / 5;
    }
  }
  return Array.from({ length: points.count }, (_, i) => [at[2 * i]!, at[2 * i + 1]!]);
}

/** Coordinates from 0 to 10 on each side, points that lie together a little apart. */
function scaled(start: readonly (readonly [number, number])[], random: Random): Float64Array {
  const at = new Float64Array(2 * start.length);
  for (const side of [0, 1] as const) {
    const values = start.map((point) => point[side]);
    const [low, high] = values.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
    values.forEach((x, i) => (at[2 * i + side] = (10 * (x - low)) / (high - low || 1) + 1e-4 * random.normal()));
  }
  return at;
}

/**
 * How true a map is: 1 less a penalty for each neighbour on the map that is none among the points, by its
 * rank there (Venna and Kaski 2001). 1: none; about 0.5 for a map at random. `neighbours`: without the point
 * itself, fewer than half of the points.
 *
 * @example
 * const values = Float32Array.from({ length: 20 }, (_, i) => i);
 * const map = Array.from({ length: 20 }, (_, i) => [i, 0] as const);
 * trustworthiness({ count: 20, width: 1, values }, map, { neighbours: 3, metric: 'euclidean' }); // 1
 */
export function trustworthiness(
  points: Points,
  map: readonly (readonly [x: number, y: number])[],
  { neighbours = 15, metric = 'cosine' }: NeighbourOptions = {},
): number {
  const { count } = points;
  const k = Math.min(neighbours, Math.ceil(count / 2) - 1);
  const flat: Points = { count, width: 2, values: map.flat() };
  const norms = normsOf(points);
  let penalty = 0;
  for (let i = 0; i < count; i++) {
    const ranks = new Int32Array(count);
    nearestFirst(distancesFrom(points, i, metric, norms), i).forEach((j, rank) => (ranks[j] = rank));
    const onMap = nearestFirst(distancesFrom(flat, i, 'euclidean', norms), i);
    for (const j of onMap.subarray(1, k + 1)) penalty += Math.max(0, ranks[j]! - k);
  }
  return k < 1 ? NaN : 1 - (2 * penalty) / (count * k * (2 * count - 3 * k - 1));
}
