import type { ForwardHook, ForwardPreHook, HookHandle, Module } from '../module.ts';

/** Hooks to put on one module. */
export interface ModuleHooks {
  readonly module: Module;
  readonly before?: ForwardPreHook;
  readonly after?: ForwardHook;
}

/**
 * Runs a synchronous function with hooks on modules, and takes them off again, whatever happens. `name`
 * appears in errors that they throw. Inside of a compiled function they become part of its program.
 *
 * @example
 * const layer = new Linear(2, 1);
 * const seen: unknown[] = [];
 * const after = (): void => void seen.push(layer);
 * withHooks([{ module: layer, after }], () => layer.forward(ones(1, 2)));
 * seen.length; // 1
 */
export function withHooks<T>(hooks: Iterable<ModuleHooks>, run: () => T, name?: string): T {
  const handles: HookHandle[] = [];
  const options = { temporary: true, ...(name === undefined ? {} : { name }) };
  try {
    for (const { module, before, after } of hooks) {
      if (before) handles.push(module.registerForwardPreHook(before, options));
      if (after) handles.push(module.registerForwardHook(after, options));
    }
    const result = run();
    if (result instanceof Promise)
      throw new Error('withHooks: takes a synchronous function, for the hooks end with it; await outside of it');
    return result;
  } finally {
    for (const handle of handles) handle.remove();
  }
}
