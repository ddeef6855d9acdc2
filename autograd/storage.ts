import type { Allocation, Gpu } from '../gpu/index.ts';
import { collector } from '../common/collector.ts';
import { context } from './context.ts';
import { isRunning, onDevice } from './runtime.ts';

/** Held by the finalizer in place of the storage, which it would keep alive. */
interface Cell {
  allocation: Allocation | undefined;
  /** Counted in `held`; 0 once the memory is given back. */
  bytes: number;
  /** The storage, where a loop that never awaits may have to find out that nobody refers to it. */
  watched: WeakRef<Storage> | undefined;
}

/** The bytes behind a tensor and its views, allocated on the device when first written. */
export class Storage {
  readonly bytes: number;
  /** Name of the op that made it. */
  readonly label: string;
  /** Counts in-place writes, so that backward can refuse a saved tensor that has changed. */
  version = 0;
  /** Counts the tensors that have moved out, so that a capture that reads them here can be told. */
  departures = 0;
  /**
   * The elements as the host made them, where there are few and nothing has overwritten them on the device.
   */
  host: ArrayLike<number> | undefined;
  private readonly cell: Cell;
  private freed = false;
  private failure: unknown;

  constructor(bytes: number, label: string) {
    this.bytes = bytes;
    this.label = label;
    this.cell = { allocation: undefined, bytes, watched: undefined };
    held += bytes;
    finalizer.register(this, this.cell, this);
    if (current) current.add(this);
    else if (held > idle / 4) watch(this, this.cell);
  }

  get isFreed(): boolean {
    return this.freed;
  }

  /**
   * Device memory; `allocate` makes it on the first call. Work that waits for the device may come after
   * `free`, in its order.
   */
  on(allocate: (bytes: number, label: string) => Allocation): Allocation {
    if (this.failure !== undefined) throw this.failure;
    this.cell.allocation ??= allocate(this.bytes, this.label);
    return this.cell.allocation;
  }

  /** Device memory, made of the device's own where there is none yet. */
  memoryOn(gpu: Gpu): Allocation {
    return this.on((bytes, label) => gpu.allocate(bytes, label));
  }

  /** The op that should have written this failed: whoever uses it gets the op's error. */
  fail(error: unknown): void {
    this.failure ??= error;
  }

  /** Gives the memory back now. Work recorded before still sees it. */
  free(): void {
    if (this.freed) return;
    this.freed = true;
    const recorder = context().recorder;
    if (recorder) recorder.release(this);
    else this.release();
  }

  /** The second half of `free`, which a capture puts off. */
  release(): void {
    finalizer.unregister(this);
    release(this.cell);
  }
}

function release(cell: Cell): void {
  held -= cell.bytes;
  cell.bytes = 0;
  if (cell.watched) watched.delete(cell);
  onDevice(
    (gpu) => {
      if (cell.allocation) gpu.release(cell.allocation);
      cell.allocation = undefined;
    },
    () => undefined,
  );
}

/** Backstop: tensors that no scope frees are freed when JavaScript collects them. */
const finalizer = new FinalizationRegistry<Cell>((cell) => {
  try {
    release(cell);
    threshold = Math.max(idle, 2 * held);
  } catch {
    // The device is gone, and the memory with it.
  }
});

let current: Scope | undefined;

/** Frees what was made while it was open, except what was kept. See `scope`. */
class Scope implements Disposable {
  private readonly outer = current;
  private readonly owned = new Set<Storage>();

  add(storage: Storage): void {
    this.owned.add(storage);
  }

  /** Whether a storage was made in this scope and is still its to free. */
  owns(storage: Storage): boolean {
    return this.owned.has(storage);
  }

  /** Excludes a storage from this scope and the ones around it. */
  keep(storage: Storage): void {
    this.owned.delete(storage);
    this.outer?.keep(storage);
  }

  /** Leaves a storage to the scope around this one. */
  hand(storage: Storage): void {
    if (this.owned.delete(storage)) this.outer?.add(storage);
  }

  /** Closes the scope without freeing anything: its storages are left to whoever refers to them. */
  leave(): void {
    this.owned.clear();
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const storage of this.owned) storage.free();
    this.owned.clear();
    if (current === this) current = this.outer;
  }
}

export type { Scope };

/**
 * Opens a scope: `using _ = scope();` in a loop body frees at its end every tensor made in it, except
 * parameters' gradients, optimizer state and what `keep()` was called on. Without one, tensors are freed when
 * JavaScript collects them.
 *
 * @example
 * {
 *   using _ = scope();
 *   rand(1000, 1000).mul(2); // both are freed at the end of the block
 * }
 */
export function scope(): Scope {
  current = new Scope();
  return current;
}

/** Takes a storage out of all open scopes, so that it outlives them. Returns it. */
export function keepStorage(storage: Storage): Storage {
  current?.keep(storage);
  return storage;
}

/**
 * JavaScript does not see device memory, so a program without scopes could fill it long before a collection
 * is due. When what is held is above `idle` and has doubled since the last one, ask for a collection, and
 * give back what nobody refers to: no more is held than the larger of 320 MiB and twice what is referred to.
 */
const idle = 256 * 2 ** 20;
let threshold = idle;
/** Bytes of storages that are not given back yet, whether or not they lie on the device already. */
let held = 0;

/**
 * Storages outside of scopes. Finalizers run at the next await only, which a loop may never reach; below a
 * quarter of `idle` they are enough.
 */
const watched = new Set<Cell>();

function watch(storage: Storage, cell: Cell): void {
  cell.watched = new WeakRef(storage);
  watched.add(cell);
}

/**
 * Called between ops: while one runs, it may hold on to memory without the tensors. Work that waits for the
 * device refers to its tensors, so then it is put off to where that work has been done.
 */
export function relieve(): void {
  if (held <= threshold) return;
  if (isRunning()) return giveBack();
  onDevice(giveBack, () => undefined);
  threshold = held + idle;
}

function giveBack(): void {
  const collect = collector();
  if (collect) {
    collect();
    for (const cell of watched) if (!cell.watched!.deref()) release(cell);
  } else if (!warned) {
    warned = true;
    console.warn(
      `tapeform: tensors hold ${Math.round(held / 2 ** 20)} MiB, and this runtime collects none before the next ` +
        'await; write `using _ = scope();` in the body of the loop that makes them, or await in it',
    );
  }
  threshold = Math.max(idle, 2 * held);
}

let warned = false;
