import { writtenBy } from './dependencies.ts';
import { addOnto } from './onto.ts';
import type { Storage } from '../storage.ts';
import type { Entry } from '../op.ts';
import { Tensor } from '../tensor.ts';

export interface Simplified {
  readonly entries: readonly Entry[];
  /** For each storage that was merged into another, the one that holds its values now. */
  readonly moved: ReadonlyMap<Storage, Storage>;
  readonly dead: number;
  readonly shared: number;
}

/**
 * Removes work that nothing needs, and does equal work once. `wanted` are storages read after the program
 * ran.
 */
export function simplify(entries: readonly Entry[], wanted: ReadonlySet<Storage>): Simplified {
  const { entries: distinct, moved } = share(entries, wanted);
  const live = addOnto(withoutDead(distinct, wanted), wanted);
  return { entries: live, moved, shared: entries.length - distinct.length, dead: distinct.length - live.length };
}

/**
 * Eliminates common subexpressions: the same op with equal attributes on the same values. Ops that write in
 * place, and results that are written to, are never shared.
 */
function share(
  entries: readonly Entry[],
  wanted: ReadonlySet<Storage>,
): { entries: Entry[]; moved: Map<Storage, Storage> } {
  const written = writtenBy(entries);
  const ids = new Ids();
  const versions = new Map<Storage, number>();
  const known = new Map<string, Entry>();
  const moved = new Map<Storage, Storage>();
  const kept: Entry[] = [];
  for (const original of entries) {
    const entry = redirect(original, moved);
    const { op, attrs, inputs, outputs, mutates, region } = entry;
    const sharable =
      mutates.length === 0 &&
      outputs.length > 0 &&
      outputs.every(({ storage }) => !written.has(storage) && !wanted.has(storage));
    if (sharable) {
      const values = inputs.map(
        ({ storage, dtype, shape, strides, offset }) =>
          `${ids.of(storage)}.${versions.get(storage) ?? 0}:${dtype}:${shape.join()}:${strides.join()}:${offset}`,
      );
      const attributes = JSON.stringify(attrs, (_, value: unknown) => ids.replace(value));
      const key = `${ids.of(op)}|${region}|${values.join('|')}|${attributes}`;
      const twin = known.get(key);
      if (twin) {
        outputs.forEach((y, i) => moved.set(y.storage, twin.outputs[i]!.storage));
        continue;
      }
      known.set(key, entry);
    }
    for (const { storage } of mutates) versions.set(storage, (versions.get(storage) ?? 0) + 1);
    kept.push(entry);
  }
  return { entries: kept, moved };
}

/** Makes an entry read its inputs from where their values are now. */
export function redirect(entry: Entry, moved: ReadonlyMap<Storage, Storage>): Entry {
  if (!entry.inputs.some(({ storage }) => moved.has(storage))) return entry;
  const inputs = entry.inputs.map((x) => {
    const storage = moved.get(x.storage);
    return storage ? new Tensor(storage, x.dtype, x) : x;
  });
  return { ...entry, inputs };
}

function withoutDead(entries: readonly Entry[], wanted: ReadonlySet<Storage>): Entry[] {
  const made = new Set(entries.flatMap(({ outputs }) => outputs.map(({ storage }) => storage)));
  const needed = new Set(wanted);
  const kept: Entry[] = [];
  for (const entry of [...entries].reverse()) {
    const { inputs, outputs, mutates } = entry;
    // A storage from outside of the program is state: writes to it always matter.
    const matters = (storage: Storage): boolean => needed.has(storage) || !made.has(storage);
    if (!outputs.some(({ storage }) => needed.has(storage)) && !mutates.some(({ storage }) => matters(storage)))
      continue;
    for (const { storage } of inputs) needed.add(storage);
    kept.push(entry);
  }
  return kept.reverse();
}

/** Numbers objects by identity. */
class Ids {
  private readonly ids = new Map<object, number>();

  of(object: object): number {
    let id = this.ids.get(object);
    if (id === undefined) this.ids.set(object, (id = this.ids.size));
    return id;
  }

  /** Replaces functions and records with expressions by their numbers, for JSON. */
  replace(value: unknown): unknown {
    const isRecord = typeof value === 'object' && value !== null && 'expr' in value;
    if (isRecord || typeof value === 'function') return `#${this.of(value as object)}`;
    return value;
  }
}
