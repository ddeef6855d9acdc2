import type { Target } from '../../gpu/index.ts';
import { sizeOf } from '../../kernels/layout.ts';
import { loadElements } from '../../kernels/map/elements.ts';
import { isBindable } from '../lower/window.ts';
import type { Storage } from '../storage.ts';
import { inputNamed } from '../tape.ts';
import type { Entry } from '../op.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { compose, composes, isWhole, layoutOver } from './compose.ts';
import type { Constants } from './compose.ts';
import { dependencies, writtenBy } from './dependencies.ts';
import { Group, loadedShape } from './group.ts';
import type { Grouping } from './group.ts';

/**
 * Most results and operands of a kernel beside its anchor's: their parameters fit the limits of every device.
 */
const maxOutputs = 3;
const maxOperands = 8;
/** Most elementwise members of a kernel. */
const maxMembers = 32;
/** Most operations an element that a row op repeats in each of its passes over the row. */
const maxRepeated = 16;

export interface FuseOptions {
  readonly target: Target;
  /** Storages read after the program has run. */
  readonly wanted: ReadonlySet<Storage>;
  readonly constants: Constants;
}

/**
 * Decides which applications share a kernel. Elementwise work joins the kernel that makes one of its
 * operands: an op that takes an epilogue, or other elementwise work over the same elements. Elementwise work
 * that is left, and that only one reduction or row op reads, moves into the loads of that op. Nothing joins
 * where a kernel would have to wait for itself.
 */
export function fuse(entries: readonly Entry[], options: FuseOptions): Grouping {
  const fuser = new Fuser(entries, options);
  entries.forEach((entry, at) => fuser.place(entry, at));
  fuser.moveIntoLoads();
  return fuser.finish();
}

class Fuser {
  private readonly entries: readonly Entry[];
  private readonly options: FuseOptions;
  private readonly before: readonly (readonly number[])[];
  private readonly composing: readonly boolean[];
  /** Group of each entry, by position; entries that are not placed yet have none. */
  private readonly groupAt: Group[] = [];
  private readonly members = new Map<Group, number[]>();
  private readonly makers = new Map<Storage, number>();
  private readonly readers = new Map<Storage, number[]>();
  private readonly written: ReadonlySet<Storage>;

  constructor(entries: readonly Entry[], options: FuseOptions) {
    this.entries = entries;
    this.options = options;
    this.composing = entries.map(composes);
    this.written = writtenBy(entries);
    entries.forEach(({ inputs, outputs }, at) => {
      for (const { storage } of outputs) this.makers.set(storage, at);
      for (const { storage } of inputs) {
        // A constant is part of the expression: nothing waits for it.
        if (this.composing[at] && options.constants.has(storage)) continue;
        const list = this.readers.get(storage);
        if (list) list.push(at);
        else this.readers.set(storage, [at]);
      }
    });
    const constantMaker = (at: number): boolean =>
      entries[at]!.outputs.some(({ storage }) => options.constants.has(storage));
    this.before = dependencies(entries).of.map((list, at) =>
      this.composing[at] ? list.filter((d) => !constantMaker(d)) : list,
    );
  }

  /** Puts an entry into the group of one of its operands, or into one of its own. */
  place(entry: Entry, at: number): void {
    const group = new Group(entry, this.composing[at]!);
    this.groupAt[at] = group;
    this.members.set(group, [at]);
    if (!this.composing[at]) return;
    // The latest maker first: the others are done by then.
    const makers = entry.inputs.flatMap(({ storage }) => this.makers.get(storage) ?? []);
    for (const maker of [...new Set(makers)].sort((a, b) => b - a)) {
      const [theirs, ours] = [this.groupAt[maker]!, this.groupAt[at]!];
      if (theirs === ours) continue;
      if (!ours.anchor) this.join(theirs, ours);
      else if (!theirs.anchor) this.join(ours, theirs);
    }
  }

  /** Moves elementwise work that one op alone reads, through one of its inputs, into that op's loads. */
  moveIntoLoads(): void {
    for (const [group, members] of [...this.members]) {
      const { anchor } = group;
      for (const name of anchor?.op.fuses?.prologues ?? []) {
        const x = inputNamed(anchor!, name);
        const maker = x && this.makers.get(x.storage);
        if (!x || maker === undefined || !this.composing[maker] || !isFloat(x.dtype)) continue;
        const from = this.groupAt[maker]!;
        const through = anchor!.inputs.filter(({ storage }) => storage === x.storage).length;
        if (from.anchor || from === group || through !== 1 || !isWhole(x, sizeOf(from.shape))) continue;
        if ([anchor!, ...from.maps].some((entry) => this.isLarge(entry))) continue;
        const at = members.find((m) => this.entries[m] === anchor)!;
        const others = this.storedOf(from.maps, from).some(({ storage }) => storage !== x.storage);
        const readers = this.readers.get(x.storage) ?? [];
        if (others || readers.length !== 1 || readers[0] !== at || this.options.wanted.has(x.storage)) continue;
        const inside = new Set(from.maps.map((e) => e.outputs[0]!.storage));
        if (!this.fits(from.maps, loadedShape(anchor!, x, from.maps), inside)) continue;
        if (anchor!.op.fuses?.repeats && this.work(from, x) > maxRepeated)
          group.notes.push(`${from.name} stays apart: every pass would redo it`);
        else if (this.boundWith(group, from, x) > this.options.target.maxStorageBuffers)
          group.notes.push(`${from.name} stays apart: too many operands for one kernel`);
        else if (!this.cyclic(group, from)) this.absorb(group, name, from);
      }
    }
  }

  finish(): Grouping {
    const groups = [...this.members.keys()];
    const stored = new Set<Storage>();
    for (const group of groups) {
      const carried = group.carried ? [group.carried.storage] : [];
      for (const { storage } of this.storedOf(group.maps, group)) stored.add(storage);
      for (const storage of carried) if (this.isStored(storage, group)) stored.add(storage);
    }
    return { groups: this.inOrder(groups), stored };
  }

  /** Merges elementwise work (`from`) into another group, if that is allowed and pays. */
  private join(into: Group, from: Group): void {
    const { anchor } = into;
    if (anchor && !(anchor.op.fuses?.epilogue && isFloat(anchor.outputs[0]!.dtype))) return;
    // An op over nothing fills its result instead of running its kernel.
    if (anchor?.inputs.some(({ size }) => size === 0)) return;
    if (anchor && [anchor, ...into.maps, ...from.maps].some((entry) => this.isLarge(entry))) {
      into.notes.push(`${from.name} stays apart: a tensor exceeds one binding, the op is computed in blocks`);
      return;
    }
    if (sizeOf(into.shape) !== sizeOf(from.shape) || (anchor && this.waitsFor(anchor, from))) return;
    const maps = this.sorted([...into.maps, ...from.maps]);
    const { shape } = (anchor ?? maps[0]!).outputs[0]!;
    const inside = new Set(maps.map((e) => e.outputs[0]!.storage));
    if (into.carried) inside.add(into.carried.storage);
    // The other results of the op are complete only when its kernel has ended.
    const later = new Set(anchor?.outputs.slice(1).map(({ storage }) => storage));
    if (maps.length > maxMembers || !this.fits(maps, shape, inside, later)) return;
    const stored = maps.map((e) => e.outputs[0]!).filter(({ storage }) => this.isStored(storage, into, from));
    const composed = compose(maps, shape, into.carried, stored, this.options.constants);
    const bindings =
      composed.operands.length + stored.length + (anchor ? anchor.inputs.length + anchor.outputs.length : 0);
    if (
      stored.length > maxOutputs ||
      composed.operands.length > maxOperands ||
      bindings > this.options.target.maxStorageBuffers
    ) {
      into.notes.push(`${from.name} stays apart: too many operands or results for one kernel`);
      return;
    }
    if (this.cyclic(into, from)) {
      into.notes.push(`${from.name} stays apart: it waits for what follows`);
      return;
    }
    into.maps = maps;
    this.take(into, from);
  }

  /** Counts the buffers that a group's kernel binds, at most, if `from` makes its input x as it is loaded. */
  private boundWith(group: Group, from: Group, x: Tensor): number {
    const { anchor, maps, prologues, shape, carried } = group;
    const { constants } = this.options;
    const loaded = [...prologues].map(([name, entries]) => [entries, inputNamed(anchor!, name)!] as const);
    const loads = [...loaded, [from.maps, x] as const].map(
      ([entries, y]) => compose(entries, loadedShape(anchor!, y, entries), undefined, [y], constants).operands.length,
    );
    const results = this.storedOf(maps, group);
    const behind = maps.length > 0 ? compose(maps, shape, carried, results, constants).operands.length : 0;
    const own = anchor!.inputs.length - loads.length + anchor!.outputs.length;
    return own + behind + results.length + loads.reduce((sum, count) => sum + count, 0);
  }

  private absorb(group: Group, input: string, from: Group): void {
    group.prologues.set(input, from.maps);
    this.take(group, from);
  }

  private take(group: Group, from: Group): void {
    const moved = this.members.get(from)!;
    this.members.set(group, [...this.members.get(group)!, ...moved]);
    this.members.delete(from);
    for (const at of moved) this.groupAt[at] = group;
    group.notes.push(...from.notes);
  }

  /** Counts the operations an element of the elementwise members that make x. */
  private work({ maps }: Group, x: Tensor): number {
    const { elements } = compose(maps, x.shape, undefined, [x], this.options.constants);
    return loadElements('load', elements, { width: 1 }).flops;
  }

  /**
   * Whether every operand can be read over `shape`: results of `inside` element by element, others by
   * strides.
   */
  private fits(
    maps: readonly Entry[],
    shape: readonly number[],
    inside: ReadonlySet<Storage>,
    never: ReadonlySet<Storage> = new Set(),
  ): boolean {
    const size = sizeOf(shape);
    return maps.every((entry) =>
      entry.inputs.every((x) => {
        if (never.has(x.storage)) return false;
        if (this.options.constants.has(x.storage)) return true;
        if (inside.has(x.storage)) return isWhole(x, size) && !this.written.has(x.storage);
        return layoutOver(x, entry, shape) !== undefined;
      }),
    );
  }

  /** Returns the results of elementwise members that something outside of the group reads. */
  private storedOf(maps: readonly Entry[], group: Group): Tensor[] {
    return maps.map((e) => e.outputs[0]!).filter(({ storage }) => this.isStored(storage, group));
  }

  private isStored(storage: Storage, ...inside: readonly Group[]): boolean {
    if (this.options.wanted.has(storage) || this.written.has(storage)) return true;
    // Readers that are not placed yet count as outside.
    return (this.readers.get(storage) ?? []).some((at) => !this.groupAt[at] || !inside.includes(this.groupAt[at]));
  }

  /**
   * Whether a tensor exceeds one binding: then an op with kernels of its own is lowered in parts
   * (lower/split.ts).
   */
  private isLarge({ inputs, outputs }: Entry): boolean {
    return [...inputs, ...outputs].some((x) => !isBindable(x, this.options.target));
  }

  private sorted(maps: readonly Entry[]): Entry[] {
    return [...maps].sort((a, b) => a.position - b.position);
  }

  /** Whether an op reads a result of a group. */
  private waitsFor(op: Entry, group: Group): boolean {
    const made = new Set(group.maps.map((e) => e.outputs[0]!.storage));
    return op.inputs.some(({ storage }) => made.has(storage));
  }

  private groupsBefore(group: Group): Group[] {
    return this.members.get(group)!.flatMap((at) => this.before[at]!.map((d) => this.groupAt[d]!));
  }

  /**
   * Whether two groups as one would wait for themselves: a third group waits for one and is awaited by the
   * other.
   */
  private cyclic(a: Group, b: Group): boolean {
    const seen = new Set<Group>([a, b]);
    const stack = [...this.groupsBefore(a), ...this.groupsBefore(b)].filter((group) => !seen.has(group));
    while (stack.length > 0) {
      const group = stack.pop()!;
      if (seen.has(group)) continue;
      seen.add(group);
      for (const earlier of this.groupsBefore(group)) {
        if (earlier === a || earlier === b) return true;
        if (!seen.has(earlier)) stack.push(earlier);
      }
    }
    return false;
  }

  /**
   * Puts every group after those it waits for, else in tape order. Drops constants that no group reads any
   * more.
   */
  private inOrder(groups: readonly Group[]): Group[] {
    const done = new Set<Group>();
    const order: Group[] = [];
    // By the last member: a group that waits for the end of the tape must not pull earlier work behind
    // others.
    const place = new Map(groups.map((group) => [group, Math.max(...this.members.get(group)!)]));
    const visit = (root: Group): void => {
      const stack: { group: Group; waits: Group[] }[] = [];
      const enter = (group: Group): void => {
        done.add(group);
        stack.push({
          group,
          waits: [...new Set(this.groupsBefore(group))].sort((a, b) => place.get(b)! - place.get(a)!),
        });
      };
      enter(root);
      while (stack.length > 0) {
        const top = stack[stack.length - 1]!;
        const next = top.waits.pop();
        if (next === undefined) {
          order.push(top.group);
          stack.pop();
        } else if (!done.has(next)) enter(next);
      }
    };
    for (const group of [...groups].sort((a, b) => place.get(a)! - place.get(b)!)) if (!done.has(group)) visit(group);
    return order.filter((group) => group.anchor || group.maps.some((e) => this.isStored(e.outputs[0]!.storage, group)));
  }
}
