import { copyTo } from '../copy.ts';
import type { Blocks } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { partsOf } from './parts.ts';
import type { Placed } from './parts.ts';
import { accumulate } from './reduce.ts';

/**
 * Blocks of a product of inputs a [..., m, k], b [..., k, n] and, optionally, bias [n]: of m or the batch
 * where a or the output is too large, of n where b's columns can be cut (a transposed tied embedding), else
 * of k, whose products are added up in order. Products of f16 are kept in f32 until the last. `sums`: the
 * second output holds the sums over k of the rows of a, [m], or of the columns of b, [n].
 */
export function matmulBlocks<A>(sums?: (attrs: A) => 'a' | 'b'): Blocks<A> {
  return (lowering, [a, b, bias], outputs, attrs) => {
    const { name, target, temporary, scratch, part } = lowering;
    const y = outputs[0]!;
    const batch = y.ndim - 2;
    const [m, n, k] = [batch, batch + 1, batch + 2];
    const summed = sums?.(attrs) === 'a' ? m : n;
    const shape = [...y.shape, a!.shape.at(-1)!];
    const place = (tensor: Tensor, last: readonly number[]): Placed => {
      const missing = batch + last.length - tensor.ndim;
      const leading = tensor.shape.slice(0, tensor.ndim - last.length);
      // A batch axis of length 1 serves all batches.
      return { tensor, axes: [...leading.map((own, i) => (own === 1 ? undefined : i + missing)), ...last] };
    };
    const placed = [place(a!, [m, k]), place(b!, [k, n]), ...(bias ? [{ tensor: bias, axes: [n] }] : [])];
    const partsInto = (results: readonly Tensor[]) => {
      const into = results.map((tensor, i) => (i === 0 ? place(tensor, [m, n]) : { tensor, axes: [summed] }));
      return partsOf(name, target, shape, [...placed, ...into], true);
    };
    let totals = outputs;
    let parts = partsInto(totals);
    if (y.dtype === 'f16' && parts.some(({ starts }) => starts[k]! > 0)) {
      totals = outputs.map((x) => temporary(x.shape, 'f32'));
      parts = partsInto(totals);
    }
    for (const { starts, tensors } of parts) {
      const first = starts[k] === 0;
      const into = tensors.slice(placed.length);
      // Each part makes sums; those of one block of columns (or rows) count.
      const counts = into.map((_, i) => i === 0 || starts[summed === m ? n : m] === 0);
      const results = into.map((x, i) => (first && counts[i] ? x : scratch(x.shape, x.dtype)));
      part(tensors.slice(0, first ? placed.length : 2), results, attrs);
      if (!first) into.forEach((x, i) => counts[i] && accumulate(lowering, 'sum', x, results[i]!));
    }
    totals.forEach((x, i) => x !== outputs[i] && copyTo(lowering, x, outputs[i]!));
  };
}
