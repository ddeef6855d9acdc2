import { within } from '../context.ts';
import type { RangeCheck, Recorder } from '../context.ts';
import { randomState, setRandomState } from '../generator.ts';
import { scope } from '../storage.ts';
import type { Storage } from '../storage.ts';
import type { Entry } from '../op.ts';
import { emptyTensor } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { flatten, isTensor } from './tree.ts';
import type { Flat } from './tree.ts';

/** A condition under which a capture may be replayed. */
export interface Guard {
  readonly what: string;
  readonly holds: () => boolean;
}

export interface ArgumentCheck {
  readonly input: number;
  /** The view of the argument that is checked. */
  readonly layout: Tensor;
  readonly check: RangeCheck;
}

/** One call of a function, as a tape. */
export interface Captured {
  readonly entries: readonly Entry[];
  /** Placeholders of the arguments. */
  readonly inputs: readonly Tensor[];
  readonly result: Flat<Tensor>;
  /** Gradients that the call set, as they were at its end. */
  readonly grads: ReadonlyMap<Tensor, Tensor | undefined>;
  readonly guards: readonly Guard[];
  /** Conditions on the elements of arguments, checked before a run where the host knows them. */
  readonly checks: readonly ArgumentCheck[];
  /** Stream of the first random draw, and how many draws there are. */
  readonly draws: { readonly first: number; readonly count: number };
}

class Tape implements Recorder {
  readonly entries: Entry[] = [];
  readonly guards: Guard[] = [];
  /** The gradient of each leaf before the call read or set it. */
  readonly before = new Map<Tensor, Tensor | undefined>();
  readonly released: Storage[] = [];
  readonly checks: { readonly x: Tensor; readonly check: RangeCheck }[] = [];

  append(entry: Entry): void {
    this.entries.push(entry);
  }

  readGrad(leaf: Tensor, value: Tensor | undefined): void {
    if (this.before.has(leaf)) return; // its own doing
    this.before.set(leaf, value);
    const what = `a gradient of shape [${leaf.shape.join(', ')}] ${value ? 'was present' : 'was absent'}`;
    this.guards.push({ what, holds: () => leaf.grad === value });
  }

  wroteGrad(leaf: Tensor, before: Tensor | undefined): void {
    if (!this.before.has(leaf)) this.before.set(leaf, before);
  }

  guard(read: () => unknown, what: string): void {
    const value = read();
    this.guards.push({ what: `${what} was ${String(value)}`, holds: () => read() === value });
  }

  check(x: Tensor, check: RangeCheck): void {
    this.checks.push({ x, check });
  }

  release(storage: Storage): void {
    this.released.push(storage);
  }
}

/**
 * Records one call of fn on placeholders like the arguments. Gradients and random numbers are afterwards as
 * they were before. Throws for an async fn, writes to an argument, and results that are no tensors or plain
 * values.
 */
export function capture(fn: (inputs: readonly Tensor[]) => unknown, args: readonly Tensor[]): Captured {
  const tape = new Tape();
  const random = randomState();
  const inputs = args.map(({ shape, dtype, requiresGrad }) => {
    const input = emptyTensor(shape, dtype, 'argument');
    if (requiresGrad) input.requiresGrad = true;
    return input;
  });
  const grads = new Map<Tensor, Tensor | undefined>();
  // Constants that the call uploads live as long as the program: scopes around the call must not free them.
  const constants = scope();
  try {
    const value = within({ recorder: tape }, () => fn(inputs));
    if (value instanceof Promise)
      throw new Error('compile: the function must not be async; read results outside of it');
    for (const leaf of tape.before.keys()) grads.set(leaf, leaf.grad);
    const result = flatten(value, isTensor, (path, kind) => {
      return new Error(
        `compile: the result${path} is a ${kind}; return tensors, numbers and strings in arrays and plain objects`,
      );
    });
    checkInputs(inputs, tape.entries);
    const count = randomState().stream - random.stream;
    return {
      entries: tape.entries,
      inputs,
      result,
      grads,
      guards: [...tape.guards, inPlace(tape.entries, inputs)],
      checks: tape.checks.flatMap(({ x, check }) => {
        const input = inputs.findIndex(({ storage }) => storage === x.storage);
        return input < 0 ? [] : [{ input, layout: x, check }];
      }),
      draws: { first: random.stream, count },
    };
  } finally {
    for (const [leaf, before] of tape.before) leaf.grad = before;
    setRandomState(random);
    constants.leave();
    retire(tape, inputs);
  }
}

/**
 * Guards the places of tensors from outside, which a program reads where they were: once one is freed, or an
 * optimizer has moved it, the function must be captured anew.
 */
function inPlace(entries: readonly Entry[], inputs: readonly Tensor[]): Guard {
  const own = new Set([...entries.flatMap(({ outputs }) => outputs), ...inputs].map(({ storage }) => storage));
  const used = new Set(entries.flatMap((entry) => entry.inputs.map(({ storage }) => storage)));
  const outside = [...used].filter((storage) => !own.has(storage) && !storage.isFreed);
  const departures = outside.map((storage) => storage.departures);
  const holds = (): boolean => outside.every((x, i) => !x.isFreed && x.departures === departures[i]);
  return { what: 'a tensor from outside was in its place', holds };
}

function checkInputs(inputs: readonly Tensor[], entries: readonly Entry[]): void {
  const own = new Set(inputs.map(({ storage }) => storage));
  for (const { name, mutates } of entries) {
    if (mutates.some(({ storage }) => own.has(storage)))
      throw new Error(
        `${name}: writes to an argument of a compiled function, which is a copy; ` +
          'use the tensor from outside of the function instead',
      );
  }
  if (inputs.some((x) => x.grad))
    throw new Error(
      'compile: backward() reached an argument, whose gradient cannot leave the function; ' +
        'use grad(loss, [argument]) and return it',
    );
}

/**
 * Frees the tensors of the capture, which have no memory, so that whoever kept one gets a clear error.
 * Constants that the call uploaded belong to the program.
 */
function retire(tape: Tape, inputs: readonly Tensor[]): void {
  const used = new Set(tape.entries.flatMap((entry) => entry.inputs.map(({ storage }) => storage)));
  for (const storage of tape.released) if (!used.has(storage)) storage.release();
  for (const { outputs } of tape.entries) for (const { storage } of outputs) storage.free();
  for (const { storage } of inputs) storage.free();
}
