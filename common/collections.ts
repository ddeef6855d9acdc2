/** How many elements two lists begin with alike. */
export function sharedLength<T>(a: ArrayLike<T>, b: ArrayLike<T>): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}

/** So many are found sooner without sorting all. */
const fewest = 32;

/** Places of the highest values, the highest first; of equal ones the earlier place. */
export function highest(values: ArrayLike<number>, count: number): number[] {
  if (count > fewest) {
    const order = Array.from(values, (_, i) => i).sort((a, b) => values[b]! - values[a]!);
    return order.slice(0, count);
  }
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === count && !(values[i]! > (values[best[count - 1]!] ?? Infinity))) continue;
    let at = best.length;
    while (at > 0 && values[i]! > values[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}

/** A binary heap: `pop` gives the element that comes before all others. */
export class Heap<T> {
  private readonly items: T[] = [];
  private readonly before: (a: T, b: T) => boolean;

  constructor(before: (a: T, b: T) => boolean) {
    this.before = before;
  }

  get size(): number {
    return this.items.length;
  }

  push(item: T): void {
    const { items, before } = this;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const { items, before } = this;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child++;
      if (!before(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}

/**
 * A Map of strings that holds at most `limit` entries, so that endless corpora do not fill the memory: those
 * asked for last, at least half of them.
 */
export class BoundedCache<T> {
  private recent = new Map<string, T>();
  private older = new Map<string, T>();
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.recent.size + this.older.size;
  }

  get(key: string): T | undefined {
    const found = this.recent.get(key);
    if (found !== undefined || !this.older.has(key)) return found;
    const again = this.older.get(key)!;
    this.set(key, again);
    return again;
  }

  set(key: string, value: T): void {
    if (this.recent.size >= this.limit / 2) [this.older, this.recent] = [this.recent, new Map<string, T>()];
    this.older.delete(key);
    this.recent.set(ownCopy(key), value);
  }
}

/**
 * The same string in memory of its own. V8 keeps a part of 13 units or more as a reference into the whole
 * text, which a long-lived Map of words would hold for ever; joining and cutting writes it anew.
 */
export function ownCopy(text: string): string {
  return text.length < 13 ? text : ` ${text}`.slice(1);
}

/** Ids of a text of unknown length. */
export class IdList {
  private ids = new Int32Array(256);
  private length = 0;

  push(id: number): void {
    if (this.length === this.ids.length) this.grow();
    this.ids[this.length++] = id;
  }

  pushAll(ids: ArrayLike<number>): void {
    while (this.length + ids.length > this.ids.length) this.grow();
    for (let i = 0; i < ids.length; i++) this.ids[this.length++] = ids[i]!;
  }

  toArray(): Int32Array {
    return this.ids.slice(0, this.length);
  }

  private grow(): void {
    const grown = new Int32Array(2 * this.ids.length);
    grown.set(this.ids);
    this.ids = grown;
  }
}
