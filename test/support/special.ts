/** Functions that JavaScript's Math lacks, for references. */
export { erf } from '../../common/erf.ts';

/** Nearest whole number, halves to even. */
export function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  if (!Number.isFinite(x) || x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}
