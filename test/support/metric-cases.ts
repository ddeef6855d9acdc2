import { readFileSync } from 'node:fs';
import * as metrics from '../../train/metrics/index.ts';
import { goldenFile } from './golden.ts';

/** A call of a metric and what the reference implementation gave; `refused`: it must throw. */
export interface MetricCase {
  readonly op: string;
  readonly args: readonly unknown[];
  readonly want?: unknown;
  readonly refused?: boolean;
}

/** The cases of a golden file. */
export const metricCases = (name: string): readonly MetricCase[] =>
  JSON.parse(readFileSync(goldenFile(name), 'utf8')) as readonly MetricCase[];

const special: Readonly<Record<string, number>> = { NaN, Infinity, '-Infinity': -Infinity };

/** What JSON lacks: numbers from their names; { map: pairs } and { set: members }. */
function revive(value: unknown): unknown {
  if (typeof value === 'string') return special[value] ?? value;
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== 'object') return value;
  if ('map' in value) return new Map(revive(value.map) as [unknown, unknown][]);
  if ('set' in value) return new Set(value.set as unknown[]);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]));
}

/** What differs between two results, or undefined; numbers may differ by 1e-9, or 1e-9 of the wanted one. */
function difference(got: unknown, want: unknown, tolerance: number, where = 'result'): string | undefined {
  if (typeof want === 'number' && typeof got === 'number') {
    const isSame = Object.is(got, want) || got === want;
    const isNear = isSame || Math.abs(got - want) <= tolerance * Math.max(1, Math.abs(want));
    return isNear ? undefined : `${where} is ${got}, want ${want}`;
  }
  if (want === null || got === null || typeof want !== 'object' || typeof got !== 'object')
    return got === want ? undefined : `${where} is ${JSON.stringify(got)}, want ${JSON.stringify(want)}`;
  if (Array.isArray(want) && (got as ArrayLike<unknown>).length !== want.length)
    return `${where} has ${(got as ArrayLike<unknown>).length} elements, want ${want.length}`;
  for (const key of Object.keys(want)) {
    const found = difference(
      (got as Record<string, unknown>)[key],
      (want as Record<string, unknown>)[key],
      tolerance,
      `${where}.${key}`,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Metrics of pairs of numbers, by their names in the cases. */
const rowMetrics: Readonly<Record<string, (pairs: readonly (readonly number[])[]) => number>> = {
  mean: (pairs) => pairs.reduce((sum, [x]) => sum + x!, 0) / pairs.length,
  ratio: (pairs) => pairs.reduce((sum, [x]) => sum + x!, 0) / pairs.reduce((sum, [, y]) => sum + y!, 0),
  median: (pairs) => pairs.map(([x]) => x!).sort((a, b) => a - b)[(pairs.length - 1) >> 1]!,
};

/** The arguments of `bootstrap` and `pairedSignificance`, from pairs, a metric's name and options. */
function withRowMetric(op: string, [pairs, name, options]: readonly unknown[]): unknown[] {
  const all = pairs as readonly (readonly number[])[];
  const metric: metrics.RowMetric = (rows) => rowMetrics[name as string]!(metrics.takeRows(all, rows));
  return [op === 'bootstrap' ? all.length : all.length / 2, metric, options];
}

/** Runs a case; returns what is wrong with it, or undefined. */
export function failureOf({ op, args, want, refused = false }: MetricCase): string | undefined {
  const metric = (metrics as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>)[op];
  if (!metric) return `there is no ${op}`;
  const call = `${op}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`;
  let result: unknown;
  try {
    result = metric(...(typeof args[1] === 'string' ? withRowMetric(op, args) : args.map(revive)));
  } catch (error) {
    if (refused && error instanceof Error && /^\w+: [^\n]+$/.test(error.message)) return undefined;
    return `${call} threw ${String(error)}`;
  }
  if (refused) return `${call} gave ${JSON.stringify(result)}, but must throw`;
  // torchmetrics adds up in float32.
  const wrong = difference(result, revive(want), op === 'calibrationError' ? 1e-6 : 1e-9);
  return wrong && `${call}: ${wrong}`;
}
