import { sizeOf } from '../../kernels/layout.ts';
import { show } from '../shapes.ts';
import { ShapeError } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { mul } from './arithmetic.ts';
import { sum } from './broadcast.ts';
import { matmul } from './matmul.ts';
import { permute } from './movement.ts';
import { reshape, squeeze } from './reshape.ts';
import { slice } from './slice.ts';

/** A tensor and the name of each of its axes. */
interface Term {
  readonly tensor: Tensor;
  readonly axes: readonly string[];
}

/**
 * Multiplies operands along axes of the same letter and sums over the letters that the output lacks:
 * `einsum('bij,bjk->bik', a, b)` (torch.einsum). A letter that occurs twice in an operand takes its diagonal;
 * `...` stands for axes that broadcast; without `->` the output is the letters that occur once, in
 * alphabetical order. Operands are taken in pairs from the left, each pair one batched matrix product of f32
 * or f16.
 *
 * @example
 * einsum('i,i->', tensor([1, 2]), tensor([3, 4])); // 11
 * einsum('bij,bjk->bik', zeros(5, 2, 3), zeros(5, 3, 4)).shape; // [5, 2, 4]
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  const { inputs, output } = parse(equation, operands);
  const lengths = new Map<string, number>();
  inputs.forEach((axes, i) => {
    axes.forEach((axis, at) => {
      const [own, known] = [operands[i]!.shape[at]!, lengths.get(axis) ?? 1];
      if (own !== known && own !== 1 && known !== 1) {
        throw new ShapeError(
          `einsum: '${axis}' of '${equation}' is ${known} long in one place and ${own} in another; ` +
            `shapes ${operands.map((x) => show(x.shape)).join(', ')}`,
        );
      }
      lengths.set(axis, known === 1 ? own : known);
    });
  });
  for (const axis of output) {
    if (!lengths.has(axis))
      throw new ShapeError(`einsum: the output of '${equation}' names '${axis}', which no operand has`);
  }

  const terms = operands.map((x, i) => dropRepeats(diagonals(x, inputs[i]!, equation), lengths));
  let result = terms[0]!;
  for (let i = 1; i < terms.length; i++) {
    const needed = new Set([...output, ...terms.slice(i + 1).flatMap(({ axes }) => axes)]);
    result = multiply(result, terms[i]!, needed);
  }
  result = sumOut(result, new Set(output));
  return arrange(result, output, lengths);
}

interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/**
 * Returns the axis names of each operand and of the output. Those of `...` are `.1`, `.2`, ... from the last.
 */
function parse(equation: string, operands: readonly Tensor[]): Equation {
  const fail = (why: string): never => {
    throw new ShapeError(`einsum: '${equation}' ${why}`);
  };
  const text = equation.replace(/\s/g, '');
  const [left, right, ...rest] = text.split('->');
  if (rest.length > 0 || !/^[a-zA-Z.,]*$/.test(left!) || !/^[a-zA-Z.]*$/.test(right ?? '')) {
    fail("must be letters and '...' for each operand, separated by commas, then '->' and the output's");
  }
  const parts = left!.split(',');
  if (parts.length !== operands.length) fail(`describes ${parts.length} operands, got ${operands.length}`);
  let widest = 0;
  const inputs = parts.map((part, i) => {
    const { ndim, shape } = operands[i]!;
    const letters = part.replace('...', '');
    if (letters.includes('.')) fail("has dots that are no '...'");
    const hidden = ndim - letters.length;
    if (hidden < 0 || (hidden > 0 && !part.includes('...')))
      fail(`gives operand ${i} ${letters.length} axes, its shape is ${show(shape)}`);
    widest = Math.max(widest, hidden);
    return named(part, hidden);
  });
  if (right === undefined) {
    const counts = new Map<string, number>();
    for (const axis of inputs.flat()) counts.set(axis, (counts.get(axis) ?? 0) + 1);
    const once = [...counts].flatMap(([axis, n]) => (n === 1 && !axis.startsWith('.') ? [axis] : []));
    return { inputs, output: [...named('...', widest), ...once.sort()] };
  }
  const output = named(right, right.includes('...') ? widest : 0);
  if (right.replace('...', '').includes('.')) fail("has dots that are no '...'");
  if (new Set(output).size !== output.length) fail('names an axis twice in its output');
  return { inputs, output };
}

function named(part: string, hidden: number): string[] {
  const at = part.indexOf('...');
  const dots = Array.from({ length: hidden }, (_, i) => `.${hidden - i}`);
  return at < 0 ? [...part] : [...part.slice(0, at), ...dots, ...part.slice(at + 3)];
}

/** Merges two axes that share a letter into their diagonal: every n + 1-th of n * n elements. */
function diagonals(tensor: Tensor, axes: readonly string[], equation: string): Term {
  const first = axes.findIndex((axis, i) => axes.indexOf(axis, i + 1) >= 0);
  if (first < 0) return { tensor, axes };
  const second = axes.indexOf(axes[first]!, first + 1);
  const n = tensor.shape[first]!;
  if (n !== tensor.shape[second]) {
    throw new ShapeError(
      `einsum: '${axes[first]}' twice in one operand of '${equation}' needs equal axes, ` +
        `its shape is ${show(tensor.shape)}`,
    );
  }
  const others = axes.flatMap((_, i) => (i === first || i === second ? [] : [i]));
  const moved = permute(tensor, [...others, first, second]);
  const flat = reshape(moved, [...moved.shape.slice(0, -2), n * n]);
  const diagonal = slice(flat, ...others.map(() => null), [0, n * n, n + 1]);
  return diagonals(diagonal, [...others.map((i) => axes[i]!), axes[first]!], equation);
}

/** Drops axes of length 1 that other operands have longer: without them the product broadcasts as well. */
function dropRepeats({ tensor, axes }: Term, lengths: ReadonlyMap<string, number>): Term {
  const at = axes.findIndex((axis, i) => tensor.shape[i] === 1 && lengths.get(axis) !== 1);
  if (at < 0) return { tensor, axes };
  return dropRepeats({ tensor: squeeze(tensor, at), axes: axes.filter((_, i) => i !== at) }, lengths);
}

function sumOut({ tensor, axes }: Term, needed: ReadonlySet<string>): Term {
  const list = axes.flatMap((axis, i) => (needed.has(axis) ? [] : [i]));
  return list.length === 0
    ? { tensor, axes }
    : { tensor: sum(tensor, list), axes: axes.filter((axis) => needed.has(axis)) };
}

/** Multiplies two terms and sums over the axes that neither the output nor a later operand has. */
function multiply(left: Term, right: Term, needed: ReadonlySet<string>): Term {
  const a = sumOut(left, new Set([...needed, ...right.axes]));
  const b = sumOut(right, new Set([...needed, ...left.axes]));
  const both = a.axes.filter((axis) => b.axes.includes(axis));
  const batch = both.filter((axis) => needed.has(axis));
  const inner = both.filter((axis) => !needed.has(axis));
  const rows = a.axes.filter((axis) => !both.includes(axis));
  const cols = b.axes.filter((axis) => !both.includes(axis));
  const length = (axis: string): number =>
    a.axes.includes(axis) ? a.tensor.shape[a.axes.indexOf(axis)]! : b.tensor.shape[b.axes.indexOf(axis)]!;
  const size = (list: readonly string[]): number => sizeOf(list.map(length));
  const as = ({ tensor, axes }: Term, ...groups: readonly (readonly string[])[]): Tensor =>
    reshape(
      permute(
        tensor,
        groups.flat().map((axis) => axes.indexOf(axis)),
      ),
      groups.map(size),
    );
  const [x, y] = [as(a, batch, rows, inner), as(b, batch, inner, cols)];
  const product = inner.length === 0 ? mul(x, y) : matmul(x, y); // (batch, rows, cols)
  const axes = [...batch, ...rows, ...cols];
  return { tensor: reshape(product, axes.map(length)), axes };
}

/** Puts the axes in the order of the output; those that `dropRepeats` dropped come back with length 1. */
function arrange({ tensor, axes }: Term, output: readonly string[], lengths: ReadonlyMap<string, number>): Tensor {
  const present = output.filter((axis) => axes.includes(axis));
  const ordered = permute(
    tensor,
    present.map((axis) => axes.indexOf(axis)),
  );
  return reshape(
    ordered,
    output.map((axis) => lengths.get(axis)!),
  );
}
