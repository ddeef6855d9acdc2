/** Arrays of float64 for references: written out in plain loops, with none of the code under test. */
export interface Nd {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: Float64Array;
}

export function count(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/**
 * Where an element lies; an axis of length 1 answers to every index (broadcasting), leading axes may be
 * missing.
 */
export function get({ shape, data }: Nd, index: readonly number[]): number {
  const missing = index.length - shape.length;
  let at = 0;
  for (let axis = 0; axis < shape.length; axis++) {
    at = at * shape[axis]! + (shape[axis] === 1 ? 0 : index[axis + missing]!);
  }
  return data[at]!;
}

/** An array from its elements' indices. The index array is reused: copy it to keep it. */
export function build(shape: readonly number[], element: (index: number[]) => number): Nd {
  const data = new Float64Array(count(shape));
  const index = shape.map(() => 0);
  for (let at = 0; at < data.length; at++) {
    data[at] = element(index);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
  return { shape, data };
}

/** NumPy's broadcast shape; the caller knows that they fit. */
export function broadcast(...shapes: (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map(({ length }) => length));
  return Array.from({ length: rank }, (_, axis) => {
    const lengths = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return lengths.find((length) => length !== 1) ?? 1;
  });
}

/** f of each element, with broadcasting. */
export function elementwise(f: (...x: number[]) => number, ...arrays: readonly Nd[]): Nd {
  return build(broadcast(...arrays.map(({ shape }) => shape)), (index) => f(...arrays.map((x) => get(x, index))));
}

/** f of the list of elements along `axes` (in row-major order), for each place along the others. */
export function along(x: Nd, axes: readonly number[], f: (values: number[]) => number): Nd {
  const kept = x.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const inner = axes.map((axis) => x.shape[axis]!);
  return build(
    kept.map((axis) => x.shape[axis]!),
    (outer) => {
      const full = x.shape.map(() => 0);
      kept.forEach((axis, i) => (full[axis] = outer[i]!));
      const values: number[] = [];
      build(inner, (at) => {
        axes.forEach((axis, i) => (full[axis] = at[i]!));
        return values.push(get(x, full));
      });
      return f(values);
    },
  );
}

/** f of each line along one axis, which keeps its length or takes the result's. */
export function lines(x: Nd, axis: number, f: (values: number[]) => readonly number[], length = x.shape[axis]!): Nd {
  const shape = x.shape.map((own, i) => (i === axis ? length : own));
  const results = new Map<string, readonly number[]>();
  return build(shape, (index) => {
    const key = index.filter((_, i) => i !== axis).join();
    let line = results.get(key);
    if (!line) {
      line = f(
        Array.from({ length: x.shape[axis]! }, (_, k) =>
          get(
            x,
            index.map((own, i) => (i === axis ? k : own)),
          ),
        ),
      );
      results.set(key, line);
    }
    return line[index[axis]!]!;
  });
}

export function total(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** The same elements under another shape. */
export function shaped({ data }: Nd, shape: readonly number[]): Nd {
  return { shape, data };
}
