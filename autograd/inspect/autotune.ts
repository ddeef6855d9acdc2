import { attentionClass, watchAttention } from '../../kernels/attention/plan.ts';
import { timeAttention } from '../../kernels/attention/tune.ts';
import { matmulClass, watchMatmul } from '../../kernels/matmul/matmul.ts';
import { timePlans } from '../../kernels/matmul/tune.ts';
import { tune } from '../../kernels/tune.ts';
import type { Tunable, TuneOptions } from '../../kernels/tune.ts';
import { ready, synchronize } from '../runtime.ts';

/**
 * Runs fn once, then times every kernel for each class of matrix products and of attention that fn computed
 * and that was not tuned before. The fastest are used from now on, here and in later processes; programs
 * compiled before keep theirs. Returns the path of the file that keeps the choices, which may be deleted;
 * undefined where nothing was new.
 */
export async function autotune(fn: () => unknown, options: TuneOptions = {}): Promise<string | undefined> {
  const gpu = await ready();
  const seen: Tunable[] = [];
  const stops = [
    watchMatmul((params) => seen.push({ work: matmulClass(params), time: (on) => timePlans(on, params) })),
    watchAttention((work) => seen.push({ work: attentionClass(work), time: (on) => timeAttention(on, work) })),
  ];
  try {
    await fn();
    await synchronize();
  } finally {
    for (const stop of stops) stop();
  }
  return tune(gpu, seen, options);
}
