import { guarded, isCapturing, isGradEnabled } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { HookHandle, Module } from '../module.ts';
import { nextNumber } from './active.ts';
import type { ActiveAdapters } from './active.ts';
import type { Adapter } from './adapter.ts';
import { chooseByRow, lowRankByRow, stackOf } from './by-row.ts';
import type { LowRankStack } from './by-row.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import { isLowRank } from './lora.ts';
import type { BaseModel } from './targets.ts';
import { attachVirtualTokens } from './virtual-tokens.ts';
import type { WholeModule } from './whole-module.ts';

/** A layer with hooks on it, and what each adapter does to it. */
interface HookedLayer {
  readonly adapters: Map<string, LayerAdapter[]>;
  readonly handles: HookHandle[];
}

const hookName = 'adapters';

/** What makes a model compute with its active adapters: hooks on layers, copies in the place of modules. */
export class Attached {
  readonly #base: BaseModel;
  readonly #adapters: ReadonlyMap<string, Adapter>;
  readonly #active: ActiveAdapters;
  readonly #hooked = new Map<Module, HookedLayer>();
  /** What takes the copies of modules out of their places again. */
  readonly #replaced = new Map<Module, () => void>();
  #detachVirtual: (() => void) | undefined;
  /** Matrices of all adapters of a layer, for rows that have their own; made of weights of this version. */
  readonly #stacks = new Map<Module, LowRankStack>();
  #stacked = -1;
  /** The number of the last attachment of adapters, among those of all models. */
  #number = 0;

  constructor(base: BaseModel, adapters: ReadonlyMap<string, Adapter>, active: ActiveAdapters) {
    this.#base = base;
    this.#adapters = adapters;
    this.#active = active;
  }

  /** The layers with hooks, and what the adapters of these names do to each. */
  *layersOf(names: readonly string[]): Iterable<readonly [layer: Module, parts: readonly LayerAdapter[]]> {
    for (const [layer, { adapters }] of this.#hooked) yield [layer, names.flatMap((name) => adapters.get(name) ?? [])];
  }

  /** Another number whenever the adapters' weights were written to, or are others. */
  get written(): number {
    const all = [...this.#adapters.values()].flatMap(({ layers, virtual }) => [
      ...layers.flatMap(({ parameters }) => parameters.map(([, x]) => x)),
      ...(virtual ? [virtual.table] : []),
    ]);
    return all.reduce((sum, { storage }) => sum + storage.version, this.#number * 2 ** 24);
  }

  /** Forgets matrices for rows that were made of weights that have changed since. */
  dropOldStacks(): void {
    const written = (): number => this.written;
    const version = isCapturing() ? guarded('the weights of adapters', written) : written();
    if (version === this.#stacked) return;
    for (const { a, b } of this.#stacks.values()) for (const x of [a, b]) x.storage.free();
    this.#stacks.clear();
    this.#stacked = version;
  }

  /** Puts hooks on the layers of all adapters, and copies in the place of modules that are trained whole. */
  attach(): void {
    this.detach();
    this.#number = nextNumber();
    for (const [name, { layers, wholes }] of this.#adapters) {
      for (const part of layers) {
        const hooked = this.#hooked.get(part.layer) ?? { adapters: new Map<string, LayerAdapter[]>(), handles: [] };
        this.#hooked.set(part.layer, hooked);
        hooked.adapters.set(name, [...(hooked.adapters.get(name) ?? []), part]);
      }
      for (const { original } of wholes) this.#replace(original);
    }
    for (const [layer, hooked] of this.#hooked) this.#hook(layer, hooked);
    if ([...this.#adapters.values()].some(({ virtual }) => virtual)) {
      const virtual = () => this.#current().find((adapter) => adapter.virtual)?.virtual;
      this.#detachVirtual = attachVirtualTokens(this.#base, virtual);
    }
  }

  detach(): void {
    for (const { handles } of this.#hooked.values()) for (const handle of handles) handle.remove();
    this.#hooked.clear();
    for (const restore of this.#replaced.values()) restore();
    this.#replaced.clear();
    this.#detachVirtual?.();
    this.#detachVirtual = undefined;
  }

  #hook(layer: Module, { adapters, handles }: HookedLayer): void {
    const parts = (): LayerAdapter[] => this.#active.current().flatMap((name) => adapters.get(name) ?? []);
    const all = [...adapters.values()].flat();
    const isAnyLowRank = all.some(isLowRank);
    if (all.some(({ before }) => before))
      handles.push(
        layer.registerForwardPreHook(
          (_, [x, ...rest]) => [parts().reduce((y, { before }) => before?.(y) ?? y, x as Tensor), ...rest],
          { name: hookName },
        ),
      );
    handles.push(
      layer.registerForwardHook(
        (_, [x], output) => {
          const changed = parts().reduce((y, { after }) => after?.(y, x as Tensor) ?? y, output as Tensor);
          const { rows } = this.#active;
          if (!rows || !isAnyLowRank) return changed;
          return lowRankByRow(changed, x as Tensor, this.#stackOf(layer, adapters), rows, layer);
        },
        { name: hookName },
      ),
    );
  }

  /** The adapters that take part where a layer runs. */
  #current(): Adapter[] {
    return this.#active.current().flatMap((name) => this.#adapters.get(name) ?? []);
  }

  /** The adapters' matrices of a layer. Where no gradients are asked for, they are made once. */
  #stackOf(layer: Module, adapters: ReadonlyMap<string, readonly LayerAdapter[]>): LowRankStack {
    const kept = isGradEnabled() ? undefined : this.#stacks.get(layer);
    if (kept) return kept;
    const made = stackOf([...this.#adapters.keys()].map((name) => adapters.get(name)?.find(isLowRank)));
    if (isGradEnabled() || isCapturing()) return made;
    this.#stacks.set(layer, { a: made.a.keep(), b: made.b.keep() });
    return made;
  }

  /** Lets the active adapter's copy run in the place of a module. */
  #replace(original: Module): void {
    if (this.#replaced.has(original)) return;
    const call = original.forward as (...args: unknown[]) => unknown;
    const set = (value: unknown): void =>
      void Object.defineProperty(original, 'forward', { value, writable: true, configurable: true });
    const copyIn = ({ wholes }: Adapter): WholeModule | undefined =>
      wholes.find((whole) => whole.original === original);
    set((...args: unknown[]): unknown => {
      const run = ({ copy }: WholeModule): unknown => (copy.forward as (...args: unknown[]) => unknown)(...args);
      const active = this.#current();
      const { rows } = this.#active;
      if (rows) {
        const copies = [...this.#adapters.values()].map(copyIn);
        return chooseByRow(
          call(...args),
          copies.map((whole) => whole && run(whole)),
          rows,
        );
      }
      const whole = active.map(copyIn).find((found) => found !== undefined);
      return whole ? run(whole) : call(...args);
    });
    this.#replaced.set(original, () => set(call));
  }
}
