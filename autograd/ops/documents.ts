import { documentRanges as rangesKernel } from '../../kernels/attention/documents.ts';
import { arange } from '../create.ts';
import { defineOp } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { ge, logicalAnd, lt } from './comparison.ts';
import { reshape } from './reshape.ts';
import { select } from './slice.ts';

const documentRangesOp = defineOp<{ ids: Tensor }, { ranges: Tensor }, null>({
  name: 'documentRanges',
  infer: ({ ids }) => ({ ranges: { shape: [...ids.shape, 2], dtype: 'i32' } }),
  lower: (lowering, { ids }, { ranges }) =>
    lowering.emit(rangesKernel, { ids: lowering.contiguous(ids), ranges }, null),
  vjp: 'none',
});

/** Documents i32 [B, T] -> i32 [B, T, 2]: where that of each token begins in its row, and where it ends. */
export const documentRanges = (documents: Tensor): Tensor => apply(documentRangesOp, { ids: documents }, null).ranges;

/** Which tokens are of one document, of ranges [B, T, 2]: bool (B, 1, T, T). */
export function documentMask(ranges: Tensor): Tensor {
  const [batch, tokens] = ranges.shape as [number, number, number];
  const places = arange(0, tokens, 1, { dtype: 'i32' });
  const end = (which: 0 | 1): Tensor => reshape(select(ranges, 2, which), [batch, 1, tokens, 1]);
  return logicalAnd(ge(places, end(0)), lt(places, end(1)));
}
