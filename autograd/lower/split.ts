import type { Target } from '../../gpu/index.ts';
import { bytesOf } from '../../kernels/kernel.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { contiguousLayout } from '../../kernels/layout.ts';
import type { Layout } from '../../kernels/layout.ts';
import { add, input, max, min } from '../../kernels/map/expr.ts';
import type { ReduceKind } from '../../kernels/reduce.ts';
import type { Axes, Bound, Form, Lowering, Spec } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { cut } from './cut.ts';
import type { Block } from './cut.ts';
import { copyInto, copyTo, emitElements, sinkInto, sinkOnto } from './elementwise.ts';
import { isBindable, tooLarge, viewOf, windowed } from './window.ts';

/**
 * A tensor of a computation over an index space: the space's axis that each of the tensor's axes follows,
 * undefined for those that stay whole.
 */
export interface Placed {
  readonly tensor: Tensor;
  readonly axes: readonly (number | undefined)[];
}

/** A block of the index space, and the tensors' parts in it. */
export interface Part extends Block {
  readonly tensors: readonly Tensor[];
}

/**
 * Cuts tensors over an index space into parts that one binding holds. Throws, naming the op, where no cut
 * fits. With `anywhere` kernels read inputs from any element on; else every part begins where a window
 * begins.
 */
export function partsOf(
  op: string,
  target: Target,
  shape: readonly number[],
  placed: readonly Placed[],
  anywhere = false,
): Part[] {
  // Axes that stay whole count into what a part spans: they are further axes of the space.
  const whole = placed.flatMap(({ tensor, axes }, k) =>
    axes.flatMap((axis, own) => (axis === undefined ? [{ k, own, length: tensor.shape[own]! }] : [])),
  );
  const operands = placed.map(({ tensor, axes }, k) => ({
    offset: tensor.offset,
    bytes: bytesOf(tensor.dtype),
    strides: [
      ...shape.map((_, axis) => tensor.strides[axes.indexOf(axis)] ?? 0),
      ...whole.map((w) => (w.k === k ? tensor.strides[w.own]! : 0)),
    ],
  }));
  const space = {
    shape: [...shape, ...whole.map(({ length }) => length)],
    operands,
    whole: whole.map((_, i) => shape.length + i),
    anywhere,
  };
  const blocks = cut(space, target);
  if (!blocks) throw tooLarge(op, largest(placed), target);
  return blocks.map((block) => ({ ...block, tensors: placed.map((one) => partOf(one, block)) }));
}

function partOf({ tensor, axes }: Placed, { starts, lengths }: Block): Tensor {
  const shape = tensor.shape.map((length, own) => (axes[own] === undefined ? length : lengths[axes[own]]!));
  const offset = axes.reduce<number>(
    (at, axis, own) => (axis === undefined ? at : at + starts[axis]! * tensor.strides[own]!),
    tensor.offset,
  );
  const layout: Layout = { shape, strides: tensor.strides, offset };
  return viewOf(tensor, layout);
}

function largest(placed: readonly Placed[]): Tensor {
  return placed.map(({ tensor }) => tensor).reduce((a, b) => (b.storage.bytes > a.storage.bytes ? b : a));
}

// Ops whose tensors exceed one binding

/** An application to be lowered in parts: its tensors as lists, with their names. */
export interface Whole {
  readonly axes: Axes;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly inputForm: Form;
  readonly outputForm: Form;
  /** Whether the op's kernels store their first output through a sink. */
  readonly takesSink: boolean;
  /** Adds to what the first output holds. */
  readonly accumulate: boolean;
}

/** One part of an application. */
export interface PartOfOp {
  /** undefined: an input that counts only once. */
  readonly inputs: readonly (Tensor | undefined)[];
  readonly outputs: readonly Tensor[];
  /** Where the part begins along each axis. */
  readonly starts: ReadonlyMap<string, { readonly start: number; readonly whole: number }>;
  /** How the first output is stored, where not simply from the beginning of its window. */
  readonly sink: Bound | undefined;
}

const combined = {
  sum: add(input(0), input(1)),
  max: max(input(0), input(1)),
  min: min(input(0), input(1)),
};

/** Returns a sink that combines a kernel's results with the elements of y. */
export const onto = (kind: ReduceKind, y: Tensor) => sinkOnto(y, combined[kind]);

/**
 * Cuts an application along the axes that its op declares, and lowers it part by part. Where an axis that is
 * reduced over is cut, the results of its parts are combined in order; sums of f16 stay f32 until the last
 * part.
 */
export function lowerInParts(lowering: Lowering, whole: Whole, lower: (part: PartOfOp) => void): void {
  const { axes, outputs, accumulate, takesSink } = whole;
  const { name, target, temporary } = lowering;
  const { combine = 'sum', once = [], anywhere = false } = axes;
  const kind = combine === 'fill' ? 'sum' : combine;
  // Kernels that want row-major inputs copy them: at once, not part by part.
  const inputs = anywhere ? whole.inputs : whole.inputs.map((x) => (windowed(x, target) ? x : lowering.contiguous(x)));
  const place = (x: Tensor, letters: string): Lettered => lettered(x, letters);
  const named = (form: Form, list: readonly Tensor[]): Lettered[] =>
    namesOf(form).map((own, i) => place(list[i]!, axes.of[own]!));
  const read = named(whole.inputForm, inputs);
  const letters = [...new Set([...named(whole.outputForm, outputs), ...read].flatMap((x) => x.letters))].filter(cuts);
  const lengthOf = (letter: string): number =>
    Math.max(...[...read, ...named(whole.outputForm, outputs)].map((x) => x.lengthOf(letter) ?? 1));
  const shape = letters.map(lengthOf);
  const partsInto = (into: readonly Tensor[]): Part[] => {
    const placed = [...read, ...named(whole.outputForm, into)].map((x) => ({
      tensor: x.tensor,
      axes: x.letters.map((letter, own) => {
        const axis = letters.indexOf(letter);
        // An axis of length 1 serves all of a longer one.
        return axis < 0 || (x.tensor.shape[own] === 1 && shape[axis] !== 1) ? undefined : axis;
      }),
    }));
    return partsOf(name, target, shape, placed, anywhere);
  };
  const written = named(whole.outputForm, outputs);
  const reduced = letters.filter((letter) => !written[0]!.letters.includes(letter));
  const startsAt = ({ starts }: Part, letter: string): number => starts[letters.indexOf(letter)]!;

  let totals = outputs;
  let parts = partsInto(totals);
  const adds = combine !== 'fill' && parts.some((part) => reduced.some((letter) => startsAt(part, letter) > 0));
  if (adds && !accumulate && outputs.some(({ dtype }) => dtype === 'f16')) {
    totals = outputs.map((y) => (y.dtype === 'f16' ? temporary(y.shape, 'f32') : y));
    parts = partsInto(totals);
  }
  const scratch = scratchOf(lowering);
  for (const part of parts) {
    const first = combine === 'fill' || reduced.every((letter) => startsAt(part, letter) === 0);
    const into = part.tensors.slice(inputs.length);
    // Each part makes all outputs. An output without one of the axes is the same for all parts along it.
    const counts = written.map((y) =>
      letters.every((letter) => reduced.includes(letter) || y.letters.includes(letter) || startsAt(part, letter) === 0),
    );
    const adding = !first || accumulate;
    let sink: Bound | undefined;
    const results = into.map((y, i) => {
      // Kernels write row-major from offset 0; a sink or a copy moves other results to their places.
      const own = y.isContiguous ? windowed(y, target) : undefined;
      if (!adding && counts[i] && own?.offset === 0) return own;
      if (i > 0 || !takesSink) return scratch(y.shape, y.dtype, i);
      const place = fit(lowering, y);
      sink = adding ? onto(kind, place) : sinkInto(place);
      return place;
    });
    const names = namesOf(whole.inputForm);
    lower({
      inputs: part.tensors
        .slice(0, inputs.length)
        .map((x, i) => (!first && once.includes(names[i]!) ? undefined : fit(lowering, x))),
      outputs: results,
      starts: new Map(letters.map((letter, i) => [letter, { start: part.starts[i]!, whole: shape[i]! }])),
      sink,
    });
    into.forEach((y, i) => {
      const result = results[i]!;
      if (!counts[i] || result.storage === y.storage) return;
      if (adding) addTo(lowering, kind, y, result);
      else copyInto(lowering, result, result, y, y);
    });
  }
  totals.forEach((y, i) => y !== outputs[i] && copyTo(lowering, y, outputs[i]!));
}

/** A tensor and the letter of each of its axes. */
interface Lettered {
  readonly tensor: Tensor;
  readonly letters: readonly string[];
  lengthOf(letter: string): number | undefined;
}

/** Names the axes of x by letters; those of `...` by numbers from the last, as broadcasting matches them. */
function lettered(x: Tensor, letters: string): Lettered {
  if (letters === '*') {
    const flat = viewOf(x, contiguousLayout([x.size], x.offset));
    return { tensor: flat, letters: ['*'], lengthOf: () => x.size };
  }
  const named = letters.replace('...', '').length;
  const list = letters.startsWith('...')
    ? [...Array.from({ length: x.ndim - named }, (_, i) => `${x.ndim - named - i}`), ...letters.slice(3)]
    : [...letters];
  return { tensor: x, letters: list, lengthOf: (letter) => x.shape[list.indexOf(letter)] };
}

const cuts = (letter: string): boolean => letter === letter.toLowerCase();

/** The name of each place of a list. */
function namesOf(form: Form): string[] {
  return form.flatMap(([name, count]) => new Array<string>(count ?? 1).fill(name));
}

function fit({ name, target }: Lowering, x: Tensor): Tensor {
  const y = x.offset === 0 && isBindable(x, target) ? x : windowed(x, target);
  if (!y) throw tooLarge(name, x, target);
  return y;
}

/** Returns scratch memory for the results of a part; the next part of the same shape gets the same memory. */
function scratchOf({ temporary }: Lowering): (shape: readonly number[], dtype: Dtype, purpose: number) => Tensor {
  const known = new Map<string, Tensor>();
  return (shape, dtype, purpose) => {
    const key = `${purpose} ${dtype}[${shape.join()}]`;
    const made = known.get(key) ?? temporary(shape, dtype);
    known.set(key, made);
    return made;
  };
}

/** Combines x into y, in place. */
function addTo(lowering: Lowering, kind: ReduceKind, y: Tensor, x: Tensor): void {
  const { elements } = onto(kind, y);
  const own = elements.operands[0]!;
  const operand = { dtype: x.dtype, kind: 'v' as const, layout: x };
  // Input 0 of the combination is the result of the part, input 1 what was there.
  const both = { ...elements, operands: [operand, own], compute: y.dtype };
  emitElements(lowering, `accumulate.${kind}`, { elements: both, operands: [x, y], outputs: [y] });
}

/** Returns letters for operands that share their first `count` axes; their other axes stay whole. */
export function leadingAxes(count: number, operands: Readonly<Record<string, Spec>>): Axes {
  const of = Object.entries(operands).map(([name, { shape }]) => {
    const rest = shape.slice(count).map((_, i) => String.fromCharCode(65 + i));
    return [name, `${letters.slice(0, count)}${rest.join('')}`] as const;
  });
  return { of: Object.fromEntries(of) };
}

const letters = 'abcdefghijklmnopqrstuvwxyz';
