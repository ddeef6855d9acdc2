import type { Tensor } from '../autograd/index.ts';
import { listNames, showShape } from './names.ts';

/** What did not fit when a state was loaded. */
export interface LoadReport {
  /** Keys of the module that the state lacks. */
  readonly missing: readonly string[];
  /** Keys of the state that the module lacks. */
  readonly unexpected: readonly string[];
  readonly mismatched: readonly Mismatch[];
}

export interface Mismatch {
  readonly key: string;
  /** Shape in the module. */
  readonly expected: readonly number[];
  /** Shape in the state. */
  readonly found: readonly number[];
}

/** A tensor of the module, its first key, and the key of the state that holds its values. */
export interface Match {
  readonly target: Tensor;
  readonly key: string;
  readonly source: string;
}

/**
 * Pairs the tensors of a module with those of a state by key. A tied tensor has several keys and may be given
 * under any of them; the first that the module lists wins.
 */
export function matchState(
  targets: ReadonlyMap<string, Tensor>,
  given: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): { matches: Match[]; report: LoadReport } {
  const keysOf = new Map<Tensor, string[]>();
  for (const [key, target] of targets) keysOf.set(target, [...(keysOf.get(target) ?? []), key]);
  const matches: Match[] = [];
  const missing: string[] = [];
  const mismatched: Mismatch[] = [];
  for (const [target, keys] of keysOf) {
    const key = keys[0]!;
    const source = keys.find((name) => given.has(name));
    if (source === undefined) {
      missing.push(key);
      continue;
    }
    const found = given.get(source)!.shape;
    if (found.join() === target.shape.join()) matches.push({ target, key, source });
    else mismatched.push({ key, expected: target.shape, found });
  }
  const unexpected = [...given.keys()].filter((key) => !targets.has(key));
  return { matches, report: { missing, unexpected, mismatched } };
}

/** One line for each kind of misfit; empty where all fits. */
export function describeReport({ missing, unexpected, mismatched }: LoadReport): string[] {
  const shapes = mismatched.map(
    ({ key, expected, found }) => `${key} (here ${showShape(expected)}, given ${showShape(found)})`,
  );
  return [
    ...(missing.length > 0 ? [`missing keys: ${listNames(missing)}`] : []),
    ...(unexpected.length > 0 ? [`unexpected keys: ${listNames(unexpected)}`] : []),
    ...(shapes.length > 0 ? [`mismatched shapes: ${listNames(shapes, 4)}`] : []),
  ];
}
