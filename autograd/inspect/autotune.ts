import { watchMatmul } from '../../kernels/matmul/matmul.ts';
import type { Product } from '../../kernels/matmul/product.ts';
import { tuneMatmul } from '../../kernels/matmul/tune.ts';
import type { TunedPlan } from '../../kernels/matmul/tune.ts';
import { ready, synchronize } from '../runtime.ts';

/**
 * Runs fn once and times, for each kind of matrix product that it computed and that has no choice yet, every
 * kernel that could; the fastest are used from now on, here and in later processes. Returns the path of the
 * file that keeps them, which may be deleted; undefined where nothing was new. Programs compiled before keep
 * their kernels.
 */
export async function autotune(
  fn: () => unknown,
  report?: (work: string, plans: readonly TunedPlan[]) => void,
): Promise<string | undefined> {
  const gpu = await ready();
  const products: Product[] = [];
  const stop = watchMatmul((params) => products.push(params));
  try {
    await fn();
    await synchronize();
  } finally {
    stop();
  }
  return tuneMatmul(gpu, products, report);
}
