import type { Pixels } from './pixels.ts';

/** Filters by the numbers that `resample` of a preprocessor_config.json has, which are Pillow's. */
export const filters = { 0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming' } as const;
export type Filter = (typeof filters)[keyof typeof filters];

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** How far filters reach, and the weight at a distance. */
const kernels: Readonly<Record<Exclude<Filter, 'nearest'>, readonly [reach: number, weight: (x: number) => number]>> = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)))],
  bicubic: [2, (x) => cubic(x)],
  lanczos: [3, (x) => (Math.abs(x) >= 3 ? 0 : sinc(x) * sinc(x / 3))],
};

/** The cubic weight at a distance (Keys 1981); Pillow's has a = -0.5. */
export function cubic(distance: number, a = -0.5): number {
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/** Weights are whole multiples of 2^-22, so that sums of products with 8 bits are exact. */
const one = 2 ** 22;

/** For each place of an axis: the first place of the source that counts, and the weights from there on. */
function weightsOf(from: number, to: number, filter: Exclude<Filter, 'nearest'>) {
  const [reach, weight] = kernels[filter];
  const scale = from / to;
  const stretch = Math.max(scale, 1); // a smaller picture averages what it leaves out
  const radius = reach * stretch;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - radius + 0.5));
    const end = Math.min(from, Math.trunc(centre + radius + 0.5));
    const values = Array.from({ length: end - first }, (_, k) => weight((k + first - centre + 0.5) / stretch));
    const sum = values.reduce((total, value) => total + value, 0);
    const whole = values.map((value) => Math.trunc((value / sum) * one + (value < 0 ? -0.5 : 0.5)));
    return { first, weights: Int32Array.from(whole) };
  });
}

const clamp = (value: number): number => (value < 0 ? 0 : value > 255 ? 255 : value);

/**
 * A picture in another size, to the bit as `Image.resize` of Pillow 11 and 12 makes it
 * (src/libImaging/Resample.c and Geometry.c): across, then down, rounded to 8 bits after each; smaller
 * pictures are averages (antialiased). Pillow 13 goes down first where a picture shrinks more in height,
 * which moves values by 1 at most or so.
 */
export function resample(
  { width, height, channels, data }: Pixels,
  columns: number,
  rows: number,
  filter: Filter,
): Pixels {
  if (!(Number.isInteger(columns) && columns > 0 && Number.isInteger(rows) && rows > 0))
    throw new Error(`resize: ${columns} x ${rows} is no size; give whole numbers above 0`);
  const size = { width: columns, height: rows, channels };
  if (filter === 'nearest') {
    const near = new Uint8Array(columns * rows * channels);
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++) {
        const row = Math.min(height - 1, Math.floor(((y + 0.5) * height) / rows));
        const from = (row * width + Math.min(width - 1, Math.floor(((x + 0.5) * width) / columns))) * channels;
        for (let c = 0; c < channels; c++) near[(y * columns + x) * channels + c] = data[from + c]!;
      }
    return { ...size, data: near };
  }
  const across = columns === width ? data : reduce(data, weightsOf(width, columns, filter), height, channels, width);
  const down =
    rows === height ? across : reduce(across, weightsOf(height, rows, filter), 1, columns * channels, height);
  return { ...size, data: down };
}

/** Along one axis of (outer, count, inner): (outer, weights.length, inner). */
function reduce(
  source: Uint8Array,
  places: readonly { readonly first: number; readonly weights: Int32Array }[],
  outer: number,
  inner: number,
  count: number,
): Uint8Array {
  const target = new Uint8Array(outer * places.length * inner);
  let at = 0;
  for (let o = 0; o < outer; o++)
    for (const { first, weights } of places)
      for (let i = 0; i < inner; i++) {
        let sum = one / 2;
        const from = (o * count + first) * inner + i;
        for (let k = 0; k < weights.length; k++) sum += source[from + k * inner]! * weights[k]!;
        target[at++] = clamp(Math.floor(sum / one));
      }
  return target;
}
