/**
 * Which bytes may come next in a text that has to follow a grammar. A term stands for a set of texts; its
 * derivative by a byte (Brzozowski 1964) stands for what may follow that byte, so a text is read by deriving
 * term after term. Equal terms are one object: what was found out about a place of the grammar is known
 * when it comes again. A grammar may contain itself (`rule`), as JSON does, but not at its own beginning.
 */

/** A set of texts in UTF-8. */
export interface Term {
  /** Whether the empty text is one of them. */
  readonly isDone: boolean;
  /** Whether no other text than the empty one is. */
  readonly isOver: boolean;
  /** What may follow a byte; undefined where nothing of the set begins with it. */
  after(byte: number): Term | undefined;
}

type Kind = 'never' | 'empty' | 'bytes' | 'sequence' | 'choice' | 'repeat' | 'rule';

class Node implements Term {
  readonly kind: Kind;
  readonly parts: readonly Node[];
  /** Of bytes: 256 bits. */
  readonly bytes: Uint32Array | undefined;
  /** Of a repetition. */
  readonly least: number;
  readonly most: number;
  readonly id: number;
  #body: (() => Node) | undefined;
  #known: Node | undefined;
  #next: (Node | undefined)[] | undefined;
  #isDone: boolean | undefined;
  #isBusy = false;

  constructor(id: number, kind: Kind, { parts = [], bytes, least = 0, most = 0, body }: Made = {}) {
    this.id = id;
    this.kind = kind;
    this.parts = parts;
    this.bytes = bytes;
    this.least = least;
    this.most = most;
    this.#body = body;
  }

  /** Of a rule. */
  get body(): Node {
    return (this.#known ??= this.#body!());
  }

  get isDone(): boolean {
    return (this.#isDone ??= this.#within(() => {
      switch (this.kind) {
        case 'empty':
          return true;
        case 'sequence':
          return this.parts.every((part) => part.isDone);
        case 'choice':
          return this.parts.some((part) => part.isDone);
        case 'repeat':
          return this.least === 0 || this.parts[0]!.isDone;
        case 'rule':
          return this.body.isDone;
        default:
          return false;
      }
    }));
  }

  get isOver(): boolean {
    return this.kind === 'empty';
  }

  after(byte: number): Node | undefined {
    const next = (this.#next ??= new Array<Node | undefined>(256));
    const known = (next[byte] ??= this.#within(() => this.#derive(byte)));
    return known.kind === 'never' ? undefined : known;
  }

  #derive(byte: number): Node {
    const derived = (part: Node): Node => part.after(byte) ?? never;
    switch (this.kind) {
      case 'bytes':
        return (this.bytes![byte >> 5]! >>> (byte & 31)) & 1 ? empty : never;
      case 'sequence': {
        const [first, rest] = this.parts as [Node, Node];
        const taken = sequence(derived(first), rest);
        return first.isDone ? choice(taken, derived(rest)) : taken;
      }
      case 'choice':
        return choice(...this.parts.map(derived));
      case 'repeat': {
        const part = this.parts[0]!;
        const least = part.isDone ? 0 : Math.max(this.least - 1, 0);
        return sequence(derived(part), repeat(part, least, this.most - 1));
      }
      case 'rule':
        return derived(this.body);
      default:
        return never;
    }
  }

  /** Throws where a rule asks about itself before anything was read. */
  #within<T>(ask: () => T): T {
    if (this.#isBusy) throw new Error('it contains itself at its own beginning');
    this.#isBusy = true;
    try {
      return ask();
    } finally {
      this.#isBusy = false;
    }
  }
}

interface Made {
  readonly parts?: readonly Node[];
  readonly bytes?: Uint32Array;
  readonly least?: number;
  readonly most?: number;
  readonly body?: () => Node;
}

let count = 0;
const made = new Map<string, WeakRef<Node>>();
const forgotten = new FinalizationRegistry<string>((key) => {
  if (!made.get(key)?.deref()) made.delete(key);
});

/** The one node of its kind and parts. */
function node(kind: Kind, parts: Made, key: string): Node {
  const name = `${kind} ${key}`;
  const known = made.get(name)?.deref();
  if (known) return known;
  const fresh = new Node(count++, kind, parts);
  made.set(name, new WeakRef(fresh));
  forgotten.register(fresh, name);
  return fresh;
}

const idsOf = (parts: readonly Node[]): string => parts.map(({ id }) => id).join();

/** No text at all. */
const never = new Node(count++, 'never');
/** The empty text. */
export const empty = new Node(count++, 'empty');

function byteSet(bytes: Uint32Array): Node {
  return bytes.every((word) => word === 0) ? never : node('bytes', { bytes }, bytes.join());
}

function byteRange(from: number, to: number): Node {
  const bytes = new Uint32Array(8);
  for (let byte = from; byte <= to; byte++) bytes[byte >> 5]! |= 1 << (byte & 31);
  return byteSet(bytes);
}

/** Texts of the first set, each followed by one of the next, and so on. */
export function sequence(...parts: readonly Node[]): Node {
  return parts.reduceRight((rest, first) => {
    if (first.kind === 'never' || rest.kind === 'never') return never;
    if (first.kind === 'empty') return rest;
    if (rest.kind === 'empty') return first;
    if (first.kind === 'sequence') return sequence(first.parts[0]!, sequence(first.parts[1]!, rest));
    return node('sequence', { parts: [first, rest] }, idsOf([first, rest]));
  }, empty);
}

/** Texts of any of the sets. */
export function choice(...parts: readonly Node[]): Node {
  const flat = parts.flatMap((part) => (part.kind === 'choice' ? part.parts : [part]));
  const others = flat.filter(({ kind }) => kind !== 'bytes' && kind !== 'never');
  const bytes = new Uint32Array(8);
  for (const part of flat) part.bytes?.forEach((word, i) => (bytes[i]! |= word));
  const single = byteSet(bytes);
  const all = [...new Set(single.kind === 'never' ? others : [...others, single])].sort((a, b) => a.id - b.id);
  if (all.length <= 1) return all[0] ?? never;
  return node('choice', { parts: all }, idsOf(all));
}

/** `least` to `most` texts of a set, one after the other; by default as many as there may be. */
export function repeat(part: Node, least = 0, most = Infinity): Node {
  if (most <= 0 || part.kind === 'empty') return empty;
  if (part.kind === 'never') return least === 0 ? empty : never;
  if (least === 1 && most === 1) return part;
  return node('repeat', { parts: [part], least, most }, `${part.id} ${least} ${most}`);
}

export const optional = (part: Node): Node => repeat(part, 0, 1);

/** A set that is only looked at when something of it has to be read: it may contain itself. */
export function rule(body: () => Node): Node {
  return new Node(count++, 'rule', { body });
}

/** One character whose code point lies in one of the ranges [from, to]; never half of a surrogate pair. */
export function characters(ranges: readonly (readonly [from: number, to: number])[]): Node {
  return choice(
    ...ranges.flatMap(([from, to]) =>
      blocks.flatMap(([first, last]) => {
        const [low, high] = [Math.max(from, first), Math.min(to, last)];
        return low > high ? [] : [encoded(utf8(low), utf8(high))];
      }),
    ),
  );
}

/** Code points by the number of their bytes in UTF-8, without surrogates. */
const blocks = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, 0x10ffff],
] as const;

const utf8 = (code: number): readonly number[] => [...new TextEncoder().encode(String.fromCodePoint(code))];

/** All characters between two that have as many bytes, these too. */
function encoded(low: readonly number[], high: readonly number[]): Node {
  const [[first, ...lows], [last, ...highs]] = [low as [number, ...number[]], high as [number, ...number[]]];
  if (lows.length === 0) return byteRange(first, last);
  if (first === last) return sequence(byteRange(first, last), encoded(lows, highs));
  const [least, most] = [lows.map(() => 0x80), lows.map(() => 0xbf)];
  return choice(
    sequence(byteRange(first, first), encoded(lows, most)),
    first + 1 < last ? sequence(byteRange(first + 1, last - 1), encoded(least, most)) : never,
    sequence(byteRange(last, last), encoded(least, highs)),
  );
}

/** One text. */
export function text(value: string): Node {
  return sequence(...Array.from(new TextEncoder().encode(value), (byte) => byteRange(byte, byte)));
}

/**
 * Whether a set has a text of some length: a rule that contains itself in each of its texts has none.
 */
export function hasText(term: Node, asked: ReadonlySet<Node> = new Set()): boolean {
  if (asked.has(term)) return false;
  const within = (part: Node): boolean => hasText(part, term.kind === 'rule' ? new Set([...asked, term]) : asked);
  switch (term.kind) {
    case 'never':
      return false;
    case 'sequence':
      return term.parts.every(within);
    case 'choice':
      return term.parts.some(within);
    case 'repeat':
      return term.least === 0 || within(term.parts[0]!);
    case 'rule':
      return within(term.body);
    default:
      return true;
  }
}

export type { Node as Grammar };
