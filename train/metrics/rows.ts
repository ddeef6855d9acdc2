/** What metrics take and check: one value a row, several values a row, weights of rows. */

/** Rows of several values: scores of each class, or 0 and 1 for each label. All of one length. */
export type Matrix = ArrayLike<ArrayLike<number>>;

export interface WeightOptions {
  /** How much each row counts, from 0 up, not all 0. Default: every row 1. */
  readonly sampleWeight?: ArrayLike<number>;
}

/** Refuses lengths that differ, and no rows at all; returns how many there are. */
export function checkLengths(op: string, lengths: Readonly<Record<string, ArrayLike<unknown>>>): number {
  const [[first, { length }], ...others] = Object.entries(lengths) as [
    [string, ArrayLike<unknown>],
    ...[string, ArrayLike<unknown>][],
  ];
  for (const [name, values] of others) {
    if (values.length !== length)
      throw new Error(`${op}: ${first} has ${length} rows but ${name} has ${values.length}; pass one of each a row`);
  }
  if (length === 0) throw new Error(`${op}: ${first} is empty; pass at least one row`);
  return length;
}

/** Refuses NaN and infinities, as scikit-learn does. `name` is how the caller calls the values. */
export function checkFinite(op: string, name: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]))
      throw new Error(`${op}: ${name}[${i}] is ${values[i]}; scores must be finite numbers`);
  }
}

/** Refuses numbers that are no probabilities. */
export function checkProbabilities(op: string, name: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    if (!(values[i]! >= 0 && values[i]! <= 1))
      throw new Error(`${op}: ${name}[${i}] is ${values[i]}; pass probabilities from 0 to 1, not logits`);
  }
}

/** Refuses rows of other lengths than the first; returns that length. */
export function checkColumns(op: string, name: string, rows: Matrix): number {
  const columns = rows[0]!.length;
  if (columns === 0) throw new Error(`${op}: ${name}[0] is empty; pass at least one value a row`);
  for (let i = 0; i < rows.length; i++) {
    if (rows[i]!.length !== columns)
      throw new Error(`${op}: ${name}[${i}] has ${rows[i]!.length} values but ${name}[0] has ${columns}`);
  }
  return columns;
}

/** Refuses rows with NaN or infinities. */
export function checkFiniteRows(op: string, name: string, rows: Matrix): number {
  const columns = checkColumns(op, name, rows);
  for (let i = 0; i < rows.length; i++) checkFinite(op, `${name}[${i}]`, rows[i]!);
  return columns;
}

/**
 * Refuses rows that are no probabilities of classes: outside of [0, 1], or with a sum further from 1 than
 * 1e-3, which half precision stays within. scikit-learn only warns of the sums where it can go on.
 */
export function checkDistributions(op: string, name: string, rows: Matrix): number {
  const columns = checkColumns(op, name, rows);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    checkProbabilities(op, `${name}[${i}]`, row);
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += row[j]!;
    if (Math.abs(sum - 1) > 1e-3)
      throw new Error(`${op}: ${name}[${i}] sums to ${sum}; pass the probabilities of all classes, which sum to 1`);
  }
  return columns;
}

/** Refuses class indices other than 0 to columns - 1. */
export function checkClasses(op: string, yTrue: ArrayLike<number>, columns: number): void {
  for (let i = 0; i < yTrue.length; i++) {
    const label = yTrue[i]!;
    if (!Number.isInteger(label) || label < 0 || label >= columns)
      throw new Error(`${op}: yTrue[${i}] is ${label}; with ${columns} columns, labels are 0 to ${columns - 1}`);
  }
}

/** Refuses other values than 0 and 1, and rows of other lengths than the first; returns that length. */
export function checkIndicators(op: string, name: string, rows: Matrix): number {
  const columns = checkColumns(op, name, rows);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    for (let j = 0; j < columns; j++) {
      if (row[j] !== 0 && row[j] !== 1)
        throw new Error(`${op}: ${name}[${i}][${j}] is ${row[j]}; give 1 where a label holds and 0 elsewhere`);
    }
  }
  return columns;
}

/** Refuses weights of another number than rows, below 0, not finite, or all 0. */
export function checkWeights(op: string, sampleWeight: ArrayLike<number> | undefined, rows: number): void {
  if (!sampleWeight) return;
  if (sampleWeight.length !== rows)
    throw new Error(`${op}: sampleWeight has ${sampleWeight.length} weights for ${rows} rows; pass one a row`);
  let isZero = true;
  for (let i = 0; i < rows; i++) {
    const weight = sampleWeight[i]!;
    if (!(weight >= 0 && weight < Infinity))
      throw new Error(`${op}: sampleWeight[${i}] is ${weight}; weights must be finite and from 0 up`);
    if (weight > 0) isZero = false;
  }
  if (isZero) throw new Error(`${op}: all weights are 0; give some row a weight above 0`);
}

/** A column of rows, as numbers of double precision. */
export function columnOf(rows: Matrix, column: number): Float64Array {
  return eachRow(rows.length, (i) => rows[i]![column]!);
}

/**
 * The rows of a flat array [rows, columns], such as logits read from the device; they share its memory.
 * Error: the length is no multiple of `columns`.
 *
 * @example
 * rowsOf(Float32Array.of(1, 2, 3, 4), 2); // [[1, 2], [3, 4]]
 */
export function rowsOf<T extends Float32Array | Float64Array | Int32Array | Uint8Array>(
  values: T,
  columns: number,
): T[] {
  if (!Number.isInteger(columns) || columns < 1 || values.length % columns !== 0)
    throw new Error(`rowsOf: ${values.length} values do not make rows of ${columns}`);
  return Array.from(
    { length: values.length / columns },
    (_, i) => values.subarray(i * columns, (i + 1) * columns) as T,
  );
}

/**
 * Class indices as rows of 0 and 1: binarize([2, 0], 3) is [[0, 0, 1], [1, 0, 0]].
 *
 * @example
 * binarize([2, 0], 3); // [[0, 0, 1], [1, 0, 0]]
 */
export function binarize(yTrue: ArrayLike<number>, numLabels: number): Uint8Array[] {
  checkClasses('binarize', yTrue, numLabels);
  const rows = rowsOf(new Uint8Array(yTrue.length * numLabels), numLabels);
  rows.forEach((row, i) => (row[yTrue[i]!] = 1));
  return rows;
}

/**
 * The elements at these places, in their order; places may occur more than once.
 *
 * @example
 * takeRows(['a', 'b', 'c'], [2, 0]); // ['c', 'a']
 */
export function takeRows<T>(values: ArrayLike<T>, rows: ArrayLike<number>): T[] {
  return Array.from(rows, (row) => values[row]!);
}

/** A number for each of so many rows. */
export function eachRow(rows: number, of: (row: number) => number): Float64Array {
  const values = new Float64Array(rows); // several times as fast as Float64Array.from with a function
  for (let row = 0; row < rows; row++) values[row] = of(row);
  return values;
}

/** The places of the keys in rising order, equal ones in the order they stand in. */
export function orderOf(keys: Float64Array): Uint32Array {
  const order = new Uint32Array(keys.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  return order.sort((a, b) => keys[a]! - keys[b]!);
}

/** Three arrays of zeros, for counts that go together. */
export function threeOf(length: number): [Float64Array, Float64Array, Float64Array] {
  return [new Float64Array(length), new Float64Array(length), new Float64Array(length)];
}

/** The sum in the order in which NumPy adds, so that the last digit is its too. */
export function pairwiseSum(values: ArrayLike<number>, start = 0, end = values.length): number {
  const length = end - start;
  if (length < 8) {
    let sum = 0;
    for (let i = start; i < end; i++) sum += values[i]!;
    return sum;
  }
  if (length > 128) {
    const half = Math.floor(length / 2);
    const middle = start + half - (half % 8);
    return pairwiseSum(values, start, middle) + pairwiseSum(values, middle, end);
  }
  const at = (i: number): number => values[start + i]!;
  let [a, b, c, d, e, f, g, h] = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)];
  const whole = length - (length % 8);
  for (let i = 8; i < whole; i += 8) {
    a += at(i);
    b += at(i + 1);
    c += at(i + 2);
    d += at(i + 3);
    e += at(i + 4);
    f += at(i + 5);
    g += at(i + 6);
    h += at(i + 7);
  }
  let sum = a + b + (c + d) + (e + f + (g + h));
  for (let i = whole; i < length; i++) sum += at(i);
  return sum;
}

/** sum of w x / sum of w over the rows; the mean without weights. */
export function weightedMean(values: ArrayLike<number>, sampleWeight?: ArrayLike<number>): number {
  if (!sampleWeight) return pairwiseSum(values) / values.length;
  const products = eachRow(values.length, (i) => values[i]! * sampleWeight[i]!);
  return pairwiseSum(products) / pairwiseSum(sampleWeight);
}
