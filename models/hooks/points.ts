// Activations that are no module's output, such as the attention weights, under TransformerLens' names: the
// layers show them here, and get back what they go on with.
import { permute } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/** Sees the activations at hook points while a model runs, and may replace them. */
export interface PointWatcher {
  /** Whether `show` is to be called: some activations are made only where they are wanted. */
  wants(name: string): boolean;
  show(name: string, x: Tensor): Tensor;
}

let watcher: PointWatcher | undefined;
/** Where the running layer is, `blocks.3.`; empty outside of the layers. */
let place = '';

/** Runs a synchronous function whose hook points `by` sees; nobody: undefined. */
export function watchPoints<T>(by: PointWatcher | undefined, run: () => T): T {
  const before = [watcher, place] as const;
  [watcher, place] = [by, ''];
  try {
    return run();
  } finally {
    [watcher, place] = before;
  }
}

/** Runs a layer: the names of its hook points begin with its own, `blocks.3` or `decoder.0`. */
export function inBlock<T>(name: string, run: () => T): T {
  if (!watcher) return run();
  const before = place;
  place = `${name}.`;
  try {
    return run();
  } finally {
    place = before;
  }
}

/** Whether any of these hook points of the running layer is wanted. */
export function isPointWanted(...names: readonly string[]): boolean {
  // All are asked, so that the watcher knows which there are.
  return watcher ? names.filter((name) => watcher!.wants(place + name)).length > 0 : false;
}

/** Shows an activation of the running layer to whoever watches; returns what the model goes on with. */
export function hookPoint(name: string, x: Tensor): Tensor {
  return isPointWanted(name) ? watcher!.show(place + name, x) : x;
}

/** The same of numbers by head (B, H, T, D), which are shown as TransformerLens has them, (B, T, H, D). */
export function hookHeads(name: string, x: Tensor): Tensor {
  const swap = (y: Tensor): Tensor => permute(y, [0, 2, 1, 3]);
  return isPointWanted(name) ? swap(watcher!.show(place + name, swap(x))) : x;
}
