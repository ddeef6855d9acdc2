import type { Storage } from './storage.ts';
import type { Entry } from './tape.ts';
import type { Tensor } from './tensor.ts';

/**
 * What `compile` sees of a function while it captures one call of it. Nothing is executed meanwhile: ops
 * append to the recorder instead.
 */
export interface Recorder {
  append(entry: Entry): void;
  /** A storage was freed: its memory may still be needed by what was recorded. */
  release(storage: Storage): void;
  /** A gradient was read (which decides what happens next) or set. */
  readGrad(leaf: Tensor, value: Tensor | undefined): void;
  wroteGrad(leaf: Tensor, before: Tensor | undefined): void;
  /**
   * What must hold of the smallest and largest element of x where the host knows them: asked again with each
   * call's argument.
   */
  check(x: Tensor, check: RangeCheck): void;
  /** A value outside of the tape that the function's course depends on; asked again before every replay. */
  guard(read: () => unknown, what: string): void;
}

/** The smallest and the largest element, then one that is no whole number, where there is one. */
export type NumberRange = readonly [low: number, high: number, fraction?: number];

/** Throws where the elements are not as they must be. */
export type RangeCheck = (range: NumberRange) => void;

let recorder: Recorder | undefined;

/** The capture that is going on, if any. */
export function recording(): Recorder | undefined {
  return recorder;
}

/** Runs fn with its ops recorded instead of executed. */
export function record<T>(into: Recorder, fn: () => T): T {
  const before = recorder;
  recorder = into;
  try {
    return fn();
  } finally {
    recorder = before;
  }
}

/**
 * A value that decides what a function does, such as a mode or an option. A compiled function asks for it
 * before every call, and captures anew when it has changed.
 */
export function guarded<T extends string | number | boolean | undefined>(what: string, read: () => T): T {
  recorder?.guard(read, what);
  return read();
}

/** Refuses what a compiled function cannot do, naming the line that asked for it. */
export function refuseWhileCapturing(op: string, why: string): void {
  if (!recorder) return;
  const at = callerOutside();
  throw new Error(`${op}: ${why}${at ? ` (at ${at})` : ''}`);
}

let region = 0;
let regions = 0;

/**
 * Part of the tape inside which equal computations may be shared; a checkpoint's second run is one of its
 * own, or sharing would undo it.
 */
export function currentRegion(): number {
  return region;
}

export function inOwnRegion<T>(fn: () => T): T {
  const before = region;
  region = ++regions;
  try {
    return fn();
  } finally {
    region = before;
  }
}

/** This room's folder as stack traces spell it. */
const here = decodeURIComponent(new URL('.', import.meta.url).pathname);

/** The first caller outside of this room, from the stack; empty where there is none. */
export function callerOutside(): string {
  const outside = (line: string): boolean =>
    /^\s+at /.test(line) && !line.includes(here) && !line.includes('node:internal');
  const caller = (new Error().stack ?? '').split('\n').find(outside);
  return caller?.trim().replace(/^at /, '') ?? '';
}
