import type { Entry, Saver } from './op.ts';
import type { Storage } from './storage.ts';
import type { Tensor } from './tensor.ts';

/**
 * The state that decides how ops are applied. One value holds all of it, and only `within` changes it:
 *
 *     within({ grad: false }, () => x.mul(2)); // records no derivative
 */
export interface Context {
  /** Whether ops record how to differentiate them. */
  readonly grad: boolean;
  /** Converts the types of inputs (autocast.ts); undefined outside of `autocast`. */
  readonly autocast: Autocast | undefined;
  /** Receives ops instead of their execution while `compile` captures a function. */
  readonly recorder: Recorder | undefined;
  /** Keeps the tensors that derivatives read. Default: hold them; a checkpoint forgets them. */
  readonly saver: Saver | undefined;
  /**
   * Part of the tape inside which equal computations may be shared. The second run of a checkpoint has a
   * region of its own: results shared with the first run would have to stay in memory.
   */
  readonly region: number;
}

let current: Context = { grad: true, autocast: undefined, recorder: undefined, saver: undefined, region: 0 };

/** Returns the context that ops are applied in now. */
export function context(): Context {
  return current;
}

/** Runs fn, which must be synchronous, with parts of the context changed. */
export function within<T>(changes: Partial<Context>, fn: () => T): T {
  const before = current;
  current = { ...before, ...changes };
  try {
    return fn();
  } finally {
    current = before;
  }
}

/**
 * `within` for users' functions. Throws for an async one, which would go on after the context has changed
 * back.
 */
export function withinSync<T>(name: string, changes: Partial<Context>, fn: () => T): T {
  const result = within(changes, fn);
  if (result instanceof Promise) throw new Error(`${name}: takes a synchronous function; await outside of it`);
  return result;
}

// Gradients

/**
 * Whether ops record how to differentiate them.
 *
 * @example
 * isGradEnabled(); // true
 */
export function isGradEnabled(): boolean {
  return current.grad;
}

/**
 * Runs fn without recording: its results require no gradient, and nothing is kept for backward.
 *
 * @example
 * const x = tensor([3], { requiresGrad: true });
 * noGrad(() => x.mul(2)).requiresGrad; // false
 */
export function noGrad<T>(fn: () => T): T {
  return withinSync('noGrad', { grad: false }, fn);
}

/**
 * Runs fn with recording on, inside noGrad.
 *
 * @example
 * noGrad(() => enableGrad(() => isGradEnabled())); // true
 */
export function enableGrad<T>(fn: () => T): T {
  return withinSync('enableGrad', { grad: true }, fn);
}

// Products of f32

const precisions = ['highest', 'high', 'medium'] as const;
export type Float32MatmulPrecision = (typeof precisions)[number];

let precision: Float32MatmulPrecision = 'highest';

/**
 * Says how products of f32 matrices are computed from now on (torch.set_float32_matmul_precision), forwards
 * and backwards: linear, matmul, convolutions, loss heads; attention stays in f32.
 *
 * - 'highest' (default): in f32.
 * - 'high': each number as two of f16, 22 of its 24 bits, and their products on tensor cores, added up in
 *   f32. Errors are at most 2^-20 of the sum of the products' sizes, beside those of the f32 sum. No range is
 *   lost: results that the range of f16 does not hold, infinities and NaN among them, are computed in f32.
 *   Where there are no tensor cores that take f16 and sum in f32, for small products, and on software
 *   drivers, 'high' is 'highest'.
 * - 'medium': as 'high'; PyTorch has bf16, which WebGPU lacks, and does the same where it is not fast.
 *
 * @example
 * setFloat32MatmulPrecision('high');
 * getFloat32MatmulPrecision(); // 'high'
 */
export function setFloat32MatmulPrecision(value: Float32MatmulPrecision): void {
  if (!precisions.includes(value))
    throw new Error(`setFloat32MatmulPrecision: ${String(value)} is none of ${precisions.join(', ')}`);
  precision = value;
}

/**
 * How products of f32 matrices are computed.
 *
 * @example
 * getFloat32MatmulPrecision(); // 'highest'
 */
export function getFloat32MatmulPrecision(): Float32MatmulPrecision {
  return precision;
}

/** Attribute of ops that multiply: whether f32 may be computed by products of halves. */
export type Precision = 'high' | null;

export const productPrecision = (): Precision => (precision === 'highest' ? null : 'high');

// Autocast

/** Changes the inputs of an application before it goes onto the tape. */
export interface Autocast {
  /** Returns the inputs, as a flat list, in the types that the op takes. */
  cast(rule: 'f32' | readonly boolean[], inputs: readonly Tensor[]): readonly Tensor[];
  /** Type that norms store their results in. */
  readonly store: 'f16';
  /** Returns an autocast for the second run of a function by a checkpoint. */
  again(): Autocast;
}

// Capture

/** Receives one call of a function while `compile` captures it. Nothing is executed meanwhile. */
export interface Recorder {
  append(entry: Entry): void;
  /** Called when a storage is freed, whose memory recorded entries may still need. */
  release(storage: Storage): void;
  /** Called when a gradient is read, which may decide what the function does next. */
  readGrad(leaf: Tensor, value: Tensor | undefined): void;
  /** Called when a gradient is set. */
  wroteGrad(leaf: Tensor, before: Tensor | undefined): void;
  /** Adds a condition on the elements of x, checked in every call where the host knows them. */
  check(x: Tensor, check: RangeCheck): void;
  /** Adds a value from outside of the tape that the function depends on, read again before every replay. */
  guard(read: () => unknown, what: string): void;
}

/** The smallest element, the largest, and one that is not whole, if there is any. */
export type NumberRange = readonly [low: number, high: number, fraction?: number];

/** Throws for elements that an op does not take. */
export type RangeCheck = (range: NumberRange) => void;

/**
 * Reads a value that decides what a function does, such as a mode or an option. A compiled function reads it
 * again before every call, and captures anew when it has changed.
 *
 * @example
 * const gate = { open: true };
 * const run = compile((x: Tensor) => (guarded('gate', () => gate.open) ? x : x.neg()));
 * run(tensor([1])); // [1]
 * gate.open = false;
 * run(tensor([1])); // [-1]
 */
export function guarded<T extends string | number | boolean | undefined>(what: string, read: () => T): T {
  current.recorder?.guard(read, what);
  return read();
}

/**
 * Whether `compile` is capturing a call: what runs now decides what later calls do.
 *
 * @example
 * const captured: boolean[] = [];
 * compile((x: Tensor) => (captured.push(isCapturing()), x.neg()))(tensor([1])); // [-1]
 * captured; // [true]
 */
export function isCapturing(): boolean {
  return current.recorder !== undefined;
}

/** Throws, naming the caller's line, for what a compiled function cannot do. */
export function refuseWhileCapturing(op: string, why: string): void {
  if (!current.recorder) return;
  const at = callerOutside();
  throw new Error(`${op}: ${why}${at ? ` (at ${at})` : ''}`);
}

let regions = 0;

/** Returns the number of a new region of the tape. */
export function newRegion(): number {
  return ++regions;
}

// Observers

/** Called for every application after it was appended: by anomaly detection and op counts. */
export type Observer = (entry: Entry) => void;

const observers = new Set<Observer>();

/** Calls `observer` for each entry appended until the returned function is called. */
export function observe(observer: Observer): () => void {
  observers.add(observer);
  return () => observers.delete(observer);
}

/** Shows an entry to all observers. */
export function announce(entry: Entry): void {
  for (const observer of observers) observer(entry);
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
