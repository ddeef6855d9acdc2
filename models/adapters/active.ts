import { guarded, isCapturing } from '../../autograd/index.ts';
import type { AdapterRows } from './by-row.ts';

/** Names of the adapters that take part, inside of a scope. */
export interface Scope {
  readonly names: readonly string[];
  /** It began inside of a function that was being compiled, and is a part of it. */
  readonly captured: boolean;
  /** Which adapter each row of the batch has, where each has its own; `names` is then empty. */
  readonly rows?: AdapterRows;
}

/** Which of a model's adapters take part: those that were set, and inside of a scope its own. */
export class ActiveAdapters {
  #set: readonly string[] = [];
  #scope: Scope | undefined;
  #switched = 0;

  /** Those that were set. */
  get set(): readonly string[] {
    return this.#set;
  }

  set set(names: readonly string[]) {
    this.#set = names;
    this.#switched = nextNumber();
  }

  /** Those that take part now. */
  get names(): readonly string[] {
    return this.#scope?.names ?? this.#set;
  }

  /** Which adapter each row has, where each has its own. */
  get rows(): AdapterRows | undefined {
    return this.#scope?.rows;
  }

  /** The number of the last switch of adapters, among those of all models. */
  get switched(): number {
    return this.#switched;
  }

  /** The names for a layer that runs: a compiled function is captured anew when they have changed. */
  current(): readonly string[] {
    // A scope that is a part of the compiled function decides by itself.
    const state = (): string => (this.rows ? 'of each row' : this.names.join());
    if (!this.#scope?.captured) guarded('the active adapters', state);
    return this.names;
  }

  /** Runs fn inside of a scope, which lasts as long as a promise that it returns. */
  within<T>(scope: Scope, fn: () => T): T {
    const before = this.#scope;
    this.#scope = scope;
    this.#switched = nextNumber();
    const restore = (): void => {
      this.#scope = before;
      this.#switched = nextNumber();
    };
    let waits = false;
    try {
      const result = fn();
      if (!(result instanceof Promise)) return result;
      waits = true;
      return result.finally(restore) as T;
    } finally {
      if (!waits) restore();
    }
  }
}

let number = 0;

/** Counts switches and attachments of adapters of all models. */
export const nextNumber = (): number => ++number;

/** Switching adapters is no op of a compiled function: it would happen once, at its capture. */
export function refuseCapture(what: string): void {
  if (isCapturing()) throw new Error(`${what}: call it outside of the compiled function, or use withAdapters inside`);
}
