import { ready } from '../../../autograd/index.ts';
import { emit } from '../shared.ts';
import type { Half } from '../shared.ts';
import { probeAttention } from './attention.ts';
import { probeLoss } from './loss.ts';
import { probePlans, probeProducts } from './products.ts';
import { probeRows } from './rows.ts';

/**
 * Compares results at the sizes of production with float64 on the host. Each is computed twice and must be
 * equal to the bit. Groups:
 *   products-f32, products-f16    matrix products, as the project plans them
 *   plans-f32, plans-f16[-nn]     every plan of the device; those of one layout (nn, nt, tn)
 *   attention-f32, attention-f16  forward and backward
 *   rows                          norms, softmax, sums, embeddings, an optimizer's steps
 *   loss                          the loss that overwrites its logits, 200 times
 */
export async function run([group = 'products-f32']: readonly string[]): Promise<void> {
  const { f16 } = (await ready()).target;
  const [family, type = 'f32', layout] = group.split('-') as [string, Half | undefined, string | undefined];
  if (type === 'f16' && !f16) return emit({ key: `probe ${group}`, skipped: 'this device has no f16 now' });
  const types: readonly Half[] = f16 ? ['f32', 'f16'] : ['f32'];
  if (family === 'products') return probeProducts(type);
  if (family === 'plans') return probePlans(type, layout);
  if (family === 'attention') return probeAttention(type);
  if (family === 'rows') return probeRows(types);
  if (family === 'loss') return probeLoss(types);
  throw new Error(`probe: there is no group ${group}; there are products, plans, attention, rows, loss`);
}
