import type { Target } from '../../gpu/device.ts';
import { memoise } from '../memoise.ts';
import { matmulLanes } from './lanes.ts';
import type { MatmulParams } from './params.ts';
import { matmulPlain } from './plain.ts';
import { matmulTiled } from './tiled.ts';

/** All variants: any of them computes any product. */
export const matmulVariants = {
  plain: memoise(matmulPlain),
  lanes: memoise(matmulLanes),
  tiled: memoise(matmulTiled),
};
export type MatmulVariant = keyof typeof matmulVariants;

/** The default choice. Products with few outputs are spread one thread an output; the rest by the kind of device. */
export function chooseMatmul({ software }: Target, { m, n, k }: MatmulParams): MatmulVariant {
  if (m * n * k <= 4096) return 'plain';
  return software ? 'lanes' : 'tiled';
}
