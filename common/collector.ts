/** Collects garbage now, as a loop that never awaits must: JavaScript does not see device memory. */
import type * as V8 from 'node:v8';
import type * as Vm from 'node:vm';

let collect: (() => void) | undefined;

/**
 * Returns a function that collects garbage, after which weak references tell what nobody refers to.
 * Undefined where the runtime has none, and before `prepareCollector` is done.
 */
export function collector(): (() => void) | undefined {
  return collect;
}

/**
 * Prepares `collector`: asynchronous, hence called when the device opens. Until then nothing is collected.
 */
export async function prepareCollector(): Promise<void> {
  const { Bun: bun } = globalThis as { Bun?: { gc(now: boolean): void } };
  if (bun) collect = () => bun.gc(true);
  else if (typeof process !== 'undefined' && process.versions?.node) collect = await nodeCollector();
}

async function nodeCollector(): Promise<(() => void) | undefined> {
  try {
    const [v8, vm] = await Promise.all([import('node:v8'), import('node:vm')]);
    let run: (() => void) | undefined;
    return () => (run ??= exposed(v8, vm))();
  } catch {
    return undefined; // another runtime that calls itself Node
  }
}

/** Takes the collector out of V8, which has no name for it without a flag, set here for a moment. */
function exposed(v8: typeof V8, vm: typeof Vm): () => void {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc') as () => void;
  v8.setFlagsFromString('--no-expose-gc');
  // Targets of new weak references are kept until a queue of microtasks has run: one of its own will do.
  const queue = vm.createContext({}, { microtaskMode: 'afterEvaluate' });
  const script = new vm.Script('0');
  return () => {
    script.runInContext(queue);
    gc();
  };
}
