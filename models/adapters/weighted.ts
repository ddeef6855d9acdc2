import { add, concat, mul } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { LoraSettings } from './config.ts';
import type { LoraLayer } from './lora.ts';

/** One adapter's matrices of a layer, and how much they count. */
export interface WeightedPart {
  readonly layer: LoraLayer;
  readonly weight: number;
}

/** The matrices that stand for several of each layer, by its name, and the settings of their adapter. */
export function combined(
  parts: ReadonlyMap<string, readonly WeightedPart[]>,
  type: 'cat' | 'linear',
): {
  readonly config: LoraSettings;
  readonly matrices: ReadonlyMap<string, { readonly a: Tensor; readonly b: Tensor }>;
} {
  const join = type === 'cat' ? sideBySide : addedUp;
  const matrices = new Map([...parts].map(([path, list]) => [path, join(path, list)]));
  const ranks = Object.fromEntries([...matrices].map(([path, { a }]) => [path, a.shape[0]!]));
  const r = Math.max(...Object.values(ranks));
  const others = Object.fromEntries(Object.entries(ranks).filter(([, rank]) => rank !== r));
  // With alpha like the rank the matrices count as they are.
  return {
    config: { r, loraAlpha: r, targetModules: [...parts.keys()].sort(), rankPattern: others, alphaPattern: others },
    matrices,
  };
}

function sideBySide(_path: string, list: readonly WeightedPart[]): { a: Tensor; b: Tensor } {
  const a = list.map(({ layer, weight }) => mul(layer.a, weight * layer.scaling));
  return {
    a: concat(a, 0),
    b: concat(
      list.map(({ layer }) => layer.b),
      1,
    ),
  };
}

function addedUp(path: string, list: readonly WeightedPart[]): { a: Tensor; b: Tensor } {
  const ranks = new Set(list.map(({ layer }) => layer.a.shape[0]!));
  if (ranks.size > 1)
    throw new Error(`addWeighted: 'linear' needs one rank, ${path} has ${[...ranks].join(' and ')}; use 'cat'`);
  const sum = (of: 'a' | 'b'): Tensor =>
    list.map(({ layer, weight }) => mul(layer[of], Math.sqrt(weight * layer.scaling))).reduce((x, y) => add(x, y));
  return { a: sum('a'), b: sum('b') };
}
