import { Tensor } from '../tensor.ts';

/** Arguments and results: tensors inside arrays and plain objects to any depth. */
export interface Flat<Leaf> {
  readonly leaves: Leaf[];
  /** Text of all but the leaves: two values of equal structure differ in their leaves only. */
  readonly structure: string;
  /** Puts other leaves into the same nesting. */
  readonly rebuild: (leaves: readonly unknown[]) => unknown;
}

/**
 * Takes a value apart into leaves and structure. Throws the error of `refuse` for anything but leaves and
 * plain values.
 */
export function flatten<Leaf>(
  value: unknown,
  isLeaf: (value: unknown) => value is Leaf,
  refuse: (path: string, kind: string) => Error,
): Flat<Leaf> {
  const leaves: Leaf[] = [];
  const walk = (v: unknown, path: string): { text: string; build: (leaves: readonly unknown[]) => unknown } => {
    if (isLeaf(v)) {
      const at = leaves.push(v) - 1;
      return { text: '#', build: (list) => list[at] };
    }
    if (v === null || ['undefined', 'boolean', 'string', 'number'].includes(typeof v))
      return { text: v === undefined ? 'undefined' : JSON.stringify(v), build: () => v };
    const isList = Array.isArray(v);
    if (!isList && Object.getPrototypeOf(v) !== Object.prototype)
      throw refuse(path, typeof v === 'object' ? ((v as object).constructor?.name ?? 'object') : typeof v);
    const parts = Object.entries(v as object).map(([key, inner]) => [key, walk(inner, `${path}.${key}`)] as const);
    const text = parts.map(([key, part]) => (isList ? part.text : `${key}:${part.text}`)).join();
    return {
      text: isList ? `[${text}]` : `{${text}}`,
      build: (list) =>
        isList
          ? parts.map(([, part]) => part.build(list))
          : Object.fromEntries(parts.map(([key, part]) => [key, part.build(list)])),
    };
  };
  const { text, build } = walk(value, '');
  return { leaves, structure: text, rebuild: build };
}

export const isTensor = (value: unknown): value is Tensor => value instanceof Tensor;
export const isInput = (value: unknown): value is Tensor | number =>
  typeof value === 'number' || value instanceof Tensor;
