import { watchMatmul } from '../../kernels/matmul/matmul.ts';
import type { Product } from '../../kernels/matmul/product.ts';
import { tuneMatmul } from '../../kernels/matmul/tune.ts';
import type { TuneOptions } from '../../kernels/matmul/tune.ts';
import { ready, synchronize } from '../runtime.ts';

/**
 * Runs fn once, then times every kernel for each class of matrix products that fn computed and that was not
 * tuned before. The fastest are used from now on, here and in later processes; programs compiled before keep
 * theirs. Returns the path of the file that keeps the choices, which may be deleted; undefined where nothing
 * was new.
 */
export async function autotune(fn: () => unknown, options: TuneOptions = {}): Promise<string | undefined> {
  const gpu = await ready();
  const products: Product[] = [];
  const stop = watchMatmul((params) => products.push(params));
  try {
    await fn();
    await synchronize();
  } finally {
    stop();
  }
  return tuneMatmul(gpu, products, options);
}
