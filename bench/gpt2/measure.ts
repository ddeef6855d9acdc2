import { median } from '../../common/statistics.ts';
import { matmul, memory, normal, noGrad, resetPeakMemory, scope, synchronize } from '../../autograd/index.ts';

export interface Measured {
  /** Milliseconds until the device is done. */
  readonly milliseconds: number;
  /** Those after which the host was, at the least: other work on the processor only adds. */
  readonly host: number;
  /** Most bytes in use at once, with what was there before. */
  readonly peakBytes: number;
}

/** Medians of some runs, after one that compiles. */
export async function measure(run: () => void, repeats: number): Promise<Measured> {
  const [times, host]: [number[], number[]] = [[], []];
  run();
  await synchronize();
  resetPeakMemory();
  for (let i = 0; i < repeats; i++) {
    const started = performance.now();
    run();
    host.push(performance.now() - started);
    await synchronize();
    times.push(performance.now() - started);
  }
  return { milliseconds: median(times), host: Math.min(...host), peakBytes: memory().peak };
}

/**
 * The best rate of matrix products [m, k] @ [k, n] among some shapes, in flops a second: what the model's
 * rate is compared with.
 */
export async function bestMatmul(
  shapes: readonly (readonly [m: number, k: number, n: number])[],
  repeats: number,
  dtype: 'f32' | 'f16',
): Promise<{ readonly rate: number; readonly shape: string }> {
  let best = { rate: 0, shape: '' };
  for (const [m, k, n] of shapes) {
    using _ = scope();
    const [a, b] = [normal([m, k], { dtype }), normal([k, n], { dtype })];
    const product = (): void => {
      using _ = scope();
      noGrad(() => void matmul(a, b));
    };
    const { milliseconds } = await measure(product, repeats);
    const rate = (2 * m * k * n) / (milliseconds / 1e3);
    if (rate > best.rate) best = { rate, shape: `${m}x${k}x${n}` };
  }
  return best;
}
