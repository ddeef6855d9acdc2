/**
 * A Map of strings that begins anew when it holds `limit` entries, so that endless corpora do not fill the
 * memory.
 */
export class BoundedCache<T> {
  private readonly map = new Map<string, T>();
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  get(key: string): T | undefined {
    return this.map.get(key);
  }

  set(key: string, value: T): void {
    if (this.map.size >= this.limit) this.map.clear();
    this.map.set(ownCopy(key), value);
  }
}

/**
 * The same string in memory of its own. V8 keeps a part of 13 units or more as a reference into the whole
 * text, which a long-lived Map of words would hold for ever; joining and cutting writes it anew.
 */
export function ownCopy(text: string): string {
  return text.length < 13 ? text : ` ${text}`.slice(1);
}
