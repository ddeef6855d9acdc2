import { context, isGradEnabled, noGrad, productPrecision } from '../context.ts';
import { tensor } from '../create.ts';
import { clone } from '../ops/reshape.ts';
import { ready } from '../runtime.ts';
import type { Storage } from '../storage.ts';
import type { Tensor } from '../tensor.ts';
import { capture } from './capture.ts';
import { explainProgram } from './explain.ts';
import { Program } from './program.ts';
import { flatten, isInput } from './tree.ts';
import type { Flat } from './tree.ts';

export interface CompileOptions {
  /** Appears in messages; default the function's name. */
  readonly name?: string;
  /** Most programs that are kept, one for each set of shapes; the one unused for longest goes. Default 8. */
  readonly maxPrograms?: number;
  /** Called for each capture after the first, with its reason. Default: a line on standard error. */
  readonly log?: (message: string) => void;
}

/** Arguments as the caller may give them: a number may stand where the function takes a tensor. */
export type Given<T> = T extends Tensor
  ? Tensor | number
  : T extends number
    ? never
    : T extends readonly unknown[] | Record<string, unknown>
      ? { readonly [K in keyof T]: Given<T[K]> }
      : T;

export interface Compiled<Args extends readonly unknown[], Result> {
  (...args: { [K in keyof Args]: Given<Args[K]> }): Result;
  /** One for each set of shapes; the one used last comes last. */
  readonly programs: readonly Program[];
  /** Describes the programs: dispatches with kernel, shape, bytes and operations, fused ops, memory. */
  explain(): Promise<string>;
}

/**
 * Returns a function that is captured when first called (forward, backward, optimizer step: all that it
 * applies to tensors) and from then on replayed as one list of dispatches, with dead and repeated work
 * removed, elementwise work moved into neighbouring kernels, and memory planned (as torch.compile with CUDA
 * graphs).
 *
 *     const step = compile((x: Tensor, y: Tensor) => {
 *       const loss = crossEntropy(model.forward(x), y);
 *       loss.backward();
 *       optimizer.step();
 *       optimizer.zeroGrad();
 *       return loss;
 *     });
 *
 * - Tensors and numbers among the arguments (in arrays and plain objects too) are inputs; a number arrives as
 *   a 0-d f32 tensor. Strings, booleans and undefined are fixed: other ones, or other shapes, are captured
 *   anew.
 * - Tensors from outside (parameters, optimizer state) are used in place; what ops write to them stays
 *   written. Everything else that the function does on the host (logging, counting, `tensor(...)` of host
 *   data) happens at the capture only.
 * - Results are tensors of their own and without history. A gradient that the call leaves on a parameter lies
 *   in memory of the program, which the next call overwrites.
 * - Random ops draw the numbers that they would draw without `compile`.
 * - What ops compute in f16 and only one kernel reads stays in f32; `to('f16')` rounds everywhere.
 * - Reading data back inside is an error that names the line.
 *
 * @example
 * const double = compile((x: Tensor) => x.mul(2).add(1));
 * double(tensor([1, 2])); // [3, 5]
 * double(tensor([3, 4])); // [7, 9]
 */
export function compile<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
  { name = fn.name || 'compiled function', maxPrograms = 8, log = console.warn }: CompileOptions = {},
): Compiled<Args, Result> {
  const cache: Cached[] = [];
  const shared: Storage[] = [];
  let captures = 0;

  const find = ({ structure, rebuild }: Flat<unknown>, inputs: readonly Tensor[]): Program => {
    const modes = [isGradEnabled(), context().autocast !== undefined, productPrecision()].join();
    const key = `${structure}|${modes}|${inputs.map(specOf).join('|')}`;
    const at = cache.findIndex((cached) => cached.key === key && broken(cached.program) === undefined);
    if (at >= 0) {
      const [found] = cache.splice(at, 1);
      cache.push(found!);
      return found!.program;
    }
    const last = cache.at(-1);
    if (last) log(`${name}: captured again (${captures + 1} times now): ${reason(last, key)}`);
    captures++;
    // A program whose guards are broken will not serve these arguments again.
    const stale = cache.findIndex((cached) => cached.key === key);
    if (stale >= 0) cache.splice(stale, 1);
    if (cache.length >= maxPrograms) cache.shift();
    const program = new Program(
      capture((leaves) => fn(...(rebuild(leaves) as Args)), inputs),
      shared,
    );
    cache.push({ key, program });
    return program;
  };

  const call = (...args: unknown[]): Result => {
    const flat = flattenArgs(name, args);
    const leaves = flat.leaves.map((leaf) => (typeof leaf === 'number' ? tensor(leaf) : leaf));
    if (context().recorder) return fn(...(flat.rebuild(leaves) as Args)); // part of an outer capture
    const inputs = leaves.map(packed);
    const program = find(flat, inputs);
    return program.captured.result.rebuild(program.run(inputs)) as Result;
  };
  const explain = async (): Promise<string> => {
    await ready();
    return cache.map(({ program }) => explainProgram(name, program)).join('\n\n') || `${name}: not called yet`;
  };
  return Object.defineProperties(Object.assign(call, { explain }), {
    programs: { get: () => cache.map(({ program }) => program) },
  }) as unknown as Compiled<Args, Result>;
}

interface Cached {
  /** Structure and shapes of the arguments, noGrad and autocast. */
  readonly key: string;
  readonly program: Program;
}

const specOf = ({ dtype, shape, requiresGrad }: Tensor): string =>
  `${dtype} [${shape.join(', ')}]${requiresGrad ? ' requiring a gradient' : ''}`;

/** Names a condition that a program was captured under and that no longer holds. */
function broken({ captured }: Program): string | undefined {
  return captured.guards.find(({ holds }) => !holds())?.what;
}

function reason({ key, program }: Cached, now: string): string {
  if (key === now) return `${broken(program)!}, and is not any more`;
  const [before, after] = [key.split('|'), now.split('|')];
  const at = before.findIndex((part, i) => part !== after[i]);
  if (before.length !== after.length || at < 1) return 'the arguments have another structure';
  return at === 1
    ? 'noGrad, autocast or the precision of products was switched'
    : `input ${at - 2} is ${after[at]} instead of ${before[at]}`;
}

/** Returns x, or a copy, in row-major order from offset 0, as programs read their arguments. */
function packed(x: Tensor): Tensor {
  if (x.storage.isFreed)
    throw new Error(
      `compile: an argument of shape [${x.shape.join(', ')}] was freed when its scope ended; ` +
        'call keep() on it inside the scope',
    );
  return x.isContiguous && x.offset === 0 ? x : noGrad(() => clone(x));
}

function flattenArgs(name: string, args: unknown[]): Flat<Tensor | number> {
  return flatten(args, isInput, (path, kind) => {
    return new Error(
      `${name}: argument${path} is a ${kind}; pass tensors, numbers, strings and booleans in arrays and plain objects`,
    );
  });
}
