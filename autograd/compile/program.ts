import type { Gpu } from '../../gpu/index.ts';
import { bytesOf } from '../../kernels/kernel.ts';
import { knownRange } from '../ops/known-range.ts';
import { randomState, setRandomState } from '../generator.ts';
import { onDevice, pauseFor } from '../runtime.ts';
import { keepStorage, Storage } from '../storage.ts';
import type { Entry } from '../op.ts';
import { Tensor } from '../tensor.ts';
import { assemble } from './assemble.ts';
import type { Assembled } from './assemble.ts';
import type { Captured } from './capture.ts';
import { redirect } from './simplify.ts';

/** A captured call, ready to run again and again. */
export class Program {
  readonly captured: Captured;
  /** Undefined until the device has it. */
  assembled: Assembled | undefined;
  /** Why the device does not have it: thrown by each run. */
  private failure: unknown;
  /**
   * Captured storages whose values outlive a run: gradients, in memory of the program's own that each run
   * overwrites.
   */
  private readonly homes = new Map<Storage, Storage>();
  private readonly grads: ReadonlyMap<Tensor, Tensor | undefined>;
  /** Storages that a run makes or gets as arguments, as opposed to those of tensors from outside. */
  private readonly own: ReadonlySet<Storage>;
  private readonly mutated: readonly Storage[];

  /** `shared`: buffers of the function's other programs, which run at other times. */
  constructor(captured: Captured, shared: Storage[]) {
    this.captured = captured;
    const { entries, inputs, result, draws } = captured;
    const made = entries.flatMap(({ outputs }) => outputs.map(({ storage }) => storage));
    this.own = new Set([...made, ...inputs.map(({ storage }) => storage)]);
    this.grads = new Map([...captured.grads].map(([leaf, g]) => [leaf, g && this.rehome(g)]));
    this.mutated = entries
      .flatMap(({ mutates }) => mutates.map(({ storage }) => storage))
      .filter((s) => !this.own.has(s));
    const values = [...result.leaves, ...[...this.grads.values()].flatMap((g) => g ?? [])];
    const source = {
      entries: entries.map((entry) => relocate(entry, this.homes)),
      inputs,
      wanted: new Set(values.map(({ storage }) => this.homes.get(storage) ?? storage)),
      firstDraw: draws.first,
      shared,
    };
    pauseFor(
      async (gpu) => {
        this.assembled = await assemble(source, gpu);
      },
      (error) => (this.failure = error),
    );
  }

  /** Runs on row-major arguments like the captured ones. Returns the leaves of the result. */
  run(args: readonly Tensor[]): Tensor[] {
    const { draws, inputs, result, checks } = this.captured;
    for (const { input, layout, check } of checks) {
      const range = knownRange(new Tensor(args[input]!.storage, layout.dtype, layout));
      if (range) check(range);
    }
    const { seed, stream } = randomState();
    if (draws.count > 0) setRandomState({ seed, stream: stream + draws.count });
    const copies = new Map<Storage, Storage>();
    const leaves = result.leaves.map((leaf) => this.fresh(leaf, copies));
    onDevice(
      (gpu) => {
        if (!this.assembled) throw this.failure;
        const { recording, memory } = this.assembled;
        gpu.forget(() => [...memory.values()].map((storage) => storage.memoryOn(gpu)));
        inputs.forEach((input, i) => {
          const target = memory.get(input.storage);
          if (target) copy(gpu, args[i]!.storage, target, input.size * bytesOf(input.dtype));
        });
        recording.draw([seed >>> 0, Math.floor(seed / 2 ** 32)], stream);
        gpu.replay(recording);
        for (const [from, to] of copies) copy(gpu, memory.get(from)!, to, from.bytes);
      },
      (error) => {
        for (const storage of [...copies.values(), ...this.mutated, ...this.homes.values()]) storage.fail(error);
      },
    );
    for (const storage of this.mutated) {
      storage.version++;
      storage.host = undefined;
    }
    for (const [leaf, g] of this.grads) leaf.grad = g;
    return leaves;
  }

  private rehome(g: Tensor): Tensor {
    if (!this.own.has(g.storage)) return g;
    let home = this.homes.get(g.storage);
    if (!home) this.homes.set(g.storage, (home = keepStorage(new Storage(g.storage.bytes, 'gradient'))));
    return new Tensor(home, g.dtype, g);
  }

  /** A result of one run: a copy of what the program made, or a tensor from outside as it is. */
  private fresh(leaf: Tensor, copies: Map<Storage, Storage>): Tensor {
    const { storage } = leaf;
    if (!this.own.has(storage)) return leaf.detach();
    const home = this.homes.get(storage);
    if (home) return new Tensor(home, leaf.dtype, leaf);
    let target = copies.get(storage);
    if (!target) copies.set(storage, (target = new Storage(storage.bytes, 'compiled')));
    return new Tensor(target, leaf.dtype, leaf);
  }
}

function copy(gpu: Gpu, from: Storage, to: Storage, bytes: number): void {
  if (bytes === 0) return;
  gpu.copy(from.memoryOn(gpu), to.memoryOn(gpu), bytes);
}

/** The entry with its tensors in the homes that outlive the run. */
function relocate(entry: Entry, homes: ReadonlyMap<Storage, Storage>): Entry {
  const move = (x: Tensor): Tensor => {
    const home = homes.get(x.storage);
    return home ? new Tensor(home, x.dtype, x) : x;
  };
  return { ...redirect(entry, homes), outputs: entry.outputs.map(move), mutates: entry.mutates.map(move) };
}
