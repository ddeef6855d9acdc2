/** Points [count, width], row-major. */
export interface Points {
  readonly count: number;
  readonly width: number;
  readonly values: ArrayLike<number>;
}

/** Their mean, [width]. */
export function meanOf({ count, width, values }: Points): Float64Array {
  const mean = new Float64Array(width);
  for (let i = 0; i < count * width; i++) mean[i % width]! += values[i]! / count;
  return mean;
}
