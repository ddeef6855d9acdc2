import { mean } from '../../common/statistics.ts';

/** Groups of samples that are left out in turn. */
const groups = 10;

/**
 * A solution over all `count` samples, and the standard error of each of its numbers: those behind the first
 * `fixed`, which are no draw of chance, are left out in ten groups in turn (the delete-group jackknife, Kott
 * 2001). Neighbours, which were drawn in pairs, stay together. Errors are 0 where nothing was drawn.
 */
export function jackknife(
  count: number,
  fixed: number,
  solve: (rows: readonly number[]) => Float64Array,
): { readonly scores: Float64Array; readonly errors: Float64Array } {
  const all = Array.from({ length: count }, (_, i) => i);
  const scores = solve(all);
  if (count === fixed) return { scores, errors: new Float64Array(scores.length) };
  if (count - fixed < 2 * groups) return { scores, errors: new Float64Array(scores.length).fill(Infinity) };
  const parts = Array.from({ length: groups }, (_, group) =>
    solve(all.filter((i) => i < fixed || ((i - fixed) >> 1) % groups !== group)),
  );
  const errors = scores.map((_, i) => {
    const middle = mean(parts.map((part) => part[i]!));
    const spread = parts.reduce((sum, part) => sum + (part[i]! - middle) ** 2, 0);
    return Math.sqrt(((groups - 1) / groups) * spread);
  });
  return { scores, errors };
}
