/** A curve; points with a value that is not finite leave a gap. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Thin and pale, for the raw values behind their smoothed curve; takes the colour of the next series. */
  readonly faint?: boolean;
  /** Dots at the points, for curves of few points. */
  readonly dots?: boolean;
  /** What the curve is uncertain by, drawn as a pale band: an interval at some x. */
  readonly band?: readonly (readonly [x: number, low: number, high: number])[];
}

export interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
  readonly xLabel?: string;
  readonly yLabel?: string;
  readonly yScale?: 'linear' | 'log';
  /** Bounds of the y axis; by default those of the data. */
  readonly yDomain?: readonly [number, number];
  /** Places along x with a word: an upright line. */
  readonly marks?: readonly { readonly x: number; readonly text: string }[];
}

const maxPoints = 2000;

export function isFinitePoint([x, y]: readonly [number, number]): boolean {
  return Number.isFinite(x) && Number.isFinite(y);
}

/** Whether a curve has anything to draw. */
export const isDrawn = ({ points }: Series): boolean => points.some(isFinitePoint);

/**
 * Keeps the lowest and the highest point of each of many stretches, so that long runs stay small files with
 * the same outline.
 */
export function thin(points: Series['points'], most = maxPoints): Series['points'] {
  if (points.length <= most) return points;
  const stretch = Math.ceil((2 * points.length) / most);
  const kept: (readonly [number, number])[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch).filter(isFinitePoint);
    if (part.length === 0) kept.push(points[start]!);
    else {
      const low = part.reduce((a, b) => (b[1] < a[1] ? b : a));
      const high = part.reduce((a, b) => (b[1] > a[1] ? b : a));
      kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
    }
  }
  return kept;
}
