import { callerOutside, noGrad, observe } from '../context.ts';
import { isFinite } from '../ops/comparison.ts';
import { cast, sum } from '../ops/broadcast.ts';
import type { Entry } from '../op.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';

/** The first application whose result held a NaN or an infinity. */
export interface Anomaly {
  readonly op: string;
  readonly shape: readonly number[];
  /** Where it was called, `module path` first where a module set one. */
  readonly where: string;
  /** Elements that are not finite. */
  readonly count: number;
}

let label: (() => string) | undefined;

/** Lets modules say where in the model an op is applied. */
export function setAnomalyLabel(current: () => string): void {
  label = current;
}

/**
 * Runs fn, forward and backward, and reports the first op on the tape that produced a NaN or an infinity;
 * undefined if none did. Every result is checked: slow, for finding out why a loss became NaN.
 *
 * @example
 * const found = await detectAnomaly(() => tensor([1, -1]).log().exp());
 * found?.op; // 'log'
 * found?.count; // 1
 */
export async function detectAnomaly(fn: () => unknown): Promise<Anomaly | undefined> {
  const checks: { op: string; shape: readonly number[]; where: string; bad: Tensor }[] = [];
  let checking = false;
  const stop = observe(({ name, outputs }: Entry) => {
    if (checking) return;
    checking = true;
    for (const y of outputs) {
      if (!isFloat(y.dtype) || y.size === 0) continue;
      const bad = noGrad(() => sum(cast(isFinite(y), 'i32'))).keep();
      checks.push({ op: name, shape: y.shape, where: describe(), bad });
    }
    checking = false;
  });
  try {
    await fn();
  } finally {
    stop();
  }
  for (const { op, shape, where, bad } of checks) {
    const size = shape.reduce((a, b) => a * b, 1);
    const count = size - Number((await bad.data())[0]);
    if (count > 0) return { op, shape, where, count };
  }
  return undefined;
}

/** The module path, and the first caller outside of this room. */
function describe(): string {
  return [label?.(), callerOutside()].filter(Boolean).join(', ');
}
