import type { Storage } from '../storage.ts';
import type { Entry } from '../op.ts';

/** For each entry, by index, the earlier ones that it must come after. */
export interface Dependencies {
  /** Those whose results it reads, then those that must have read or written before it writes. */
  readonly of: readonly (readonly number[])[];
}

export function dependencies(entries: readonly Entry[]): Dependencies {
  const writer = new Map<Storage, number>();
  const readers = new Map<Storage, number[]>();
  const of = entries.map(({ inputs, outputs, mutates }, at) => {
    const before = new Set<number>();
    for (const { storage } of inputs) {
      const from = writer.get(storage);
      if (from !== undefined) before.add(from);
    }
    for (const { storage } of [...outputs, ...mutates]) {
      const from = writer.get(storage);
      if (from !== undefined) before.add(from);
      for (const reader of readers.get(storage) ?? []) before.add(reader);
      writer.set(storage, at);
      readers.set(storage, []);
    }
    for (const { storage } of inputs) {
      const list = readers.get(storage);
      if (list) list.push(at);
      else readers.set(storage, [at]);
    }
    before.delete(at);
    return [...before];
  });
  return { of };
}

/** Storages that some entry writes to in place. */
export function writtenBy(entries: readonly Entry[]): Set<Storage> {
  return new Set(entries.flatMap(({ mutates }) => mutates.map(({ storage }) => storage)));
}
