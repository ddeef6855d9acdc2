import { build, get } from './nd.ts';
import type { Nd } from './nd.ts';

/** x, at least 0, as the next bfloat16 that is not smaller. */
function bfloatAbove(x: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, x);
  view.setUint32(0, (view.getUint32(0) + 0xffff) & 0xffff0000);
  return view.getFloat32(0);
}

const roundHalfEven = (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** Keys or values (B, H, T, D) in 8 bits, by groups of 32 along D: whole numbers, and the step of each. */
function rounded(x: Nd, index: readonly number[]): { readonly q: number; readonly step: number } {
  const d = index.at(-1)!;
  const first = d - (d % 32);
  const group = Array.from({ length: Math.min(32, x.shape.at(-1)! - first) }, (_, i) =>
    Math.abs(get(x, [...index.slice(0, -1), first + i])),
  );
  const top = Math.max(...group);
  const step = top / 127 < 1e-30 ? 1 : bfloatAbove(top / 127);
  return { q: roundHalfEven(get(x, index) / step), step };
}

/** The numbers that a cache of 8 bits holds in the place of these. */
export const inEightBits = (x: Nd): Nd =>
  build(x.shape, (index) => {
    const { q, step } = rounded(x, index);
    return q * step;
  });

/** Words of D numbers: their bytes, and behind them the upper halves of their groups' steps. */
export const wordsOfTokens = (x: Nd): Nd => {
  const width = x.shape.at(-1)!;
  const words = Math.ceil(width / 64);
  const view = new DataView(new ArrayBuffer(4));
  return build([...x.shape.slice(0, -1), width / 4 + words], ([...index]) => {
    const word = index.pop()!;
    const isStep = word >= width / 4;
    for (let i = 0; i < (isStep ? 2 : 4); i++) {
      if (!isStep) view.setInt8(3 - i, rounded(x, [...index, 4 * word + i]).q);
      else {
        const first = 64 * (word - width / 4) + 32 * i;
        const step = new DataView(new ArrayBuffer(4));
        step.setFloat32(0, first < width ? rounded(x, [...index, first]).step : 1);
        view.setUint16(2 - 2 * i, step.getUint16(0));
      }
    }
    return view.getUint32(0);
  });
};
