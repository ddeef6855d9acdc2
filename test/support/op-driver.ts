import { compile, grad, manualSeed, scope, tensor } from '../../autograd/index.ts';
import type { DataArray } from '../../autograd/read.ts';
import { observe } from '../../autograd/context.ts';
import type { GradNode } from '../../autograd/op.ts';
import { isFloat } from '../../autograd/tensor.ts';
import type { Tensor } from '../../autograd/tensor.ts';
import type { Random } from '../../common/random.ts';
import { compare, compareBits } from './op-compare.ts';
import { directional, gradient, noise, sample, secondGradient } from './op-differences.ts';
import { elementsOf, place, randomOf, rounded } from './op-inputs.ts';
import type { Placement } from './op-inputs.ts';
import type { OpCase } from './op-case.ts';
import { count } from './nd.ts';
import type { Nd } from './nd.ts';

/** A case's name in reports. */
export function titleOf({ op, note, inputs }: OpCase): string {
  const shapes = inputs.map(({ shape, dtype }) => `${dtype === 'f32' ? '' : dtype}[${shape.join(',')}]`).join(' ');
  return [op, shapes, note].filter(Boolean).join(' ');
}

/**
 * What was put on the tape while a case ran: records and elementwise functions by identity, all of them by
 * name too.
 */
export class Applied {
  readonly records = new Map<unknown, string>();
  readonly names = new Set<string>();

  /** Watches until the returned function is called. */
  watch(): () => void {
    return observe(({ op, name, attrs }) => {
      this.records.set(op, name);
      this.names.add(name);
      const fn = (attrs as { fn?: unknown } | null)?.fn;
      if (fn !== undefined) this.records.set(fn, name);
    });
  }

  /** Views are not observed, but their derivatives are part of the graph. */
  addGraph(results: readonly Tensor[]): void {
    const seen = new Set<GradNode>();
    const stack = results.flatMap(({ node }) => (node ? [node] : []));
    for (let node = stack.pop(); node; node = stack.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      this.names.add(node.name);
      for (const edge of node.edges) if (edge && 'node' in edge) stack.push(edge.node);
    }
  }
}

interface Pass {
  readonly outputs: readonly Tensor[];
  /** One for each differentiable input; none where gradients are not compared. */
  readonly grads: readonly Tensor[];
}

const list = <T>(x: T | readonly T[]): readonly T[] => (Array.isArray(x) ? (x as readonly T[]) : [x as T]);

/**
 * Runs one case: forward and gradient with row-major and with strided inputs against the reference, a second
 * run bit against bit, and second derivatives where the case asks for them. Everything is recorded before
 * anything is read back.
 */
export async function runCase(c: OpCase, applied: Applied): Promise<void> {
  const open = scope();
  const stop = applied.watch();
  try {
    await check(c, applied);
  } finally {
    stop();
    open[Symbol.dispose]();
  }
}

async function check(c: OpCase, applied: Applied): Promise<void> {
  const random = randomOf(titleOf(c));
  const elements = c.inputs.map((spec) => elementsOf(spec, random));
  const reference = (x: readonly Nd[]): readonly Nd[] => list(c.ref(...x));
  const wanted = reference(elements);
  const varied = variedOf(c);

  const plain = pass(c, elements, varied, 'plain', wanted, randomOf('cotangent'));
  const again = pass(c, elements, varied, 'plain', wanted, randomOf('cotangent'));
  const strided = c.strided === false ? [] : (['reversed', 'inner'] as const);
  const passes = [
    plain,
    ...strided.map((placement) => pass(c, elements, varied, placement, wanted, randomOf('cotangent'))),
  ];
  if (c.compiled !== false) passes.push(compiledPass(c, elements, varied, plain, wanted));
  applied.addGraph(plain.outputs);
  const cotangents = cotangentsOf(c, plain.outputs, wanted, randomOf('cotangent'));
  const second =
    c.second && varied.length > 0 ? secondPass(c, elements, varied, cotangents, random, applied) : undefined;

  const read = await readAll([...passes, again]);
  const checked = varied.map((i) => sample(elements[i]!.data.length, random));
  const gradients = plain.grads.map((_, k) => {
    const i = varied[k]!;
    const closed = c.grads?.[i];
    return closed
      ? checked[k]!.map((at) => closed[at]!)
      : gradient(reference, elements, cotangents, i, checked[k]!, c.step);
  });
  passes.forEach(({ outputs, grads }, p) => {
    const where = ['', ...strided.map((placement) => ` of ${placement} inputs`), ' compiled'][p]!;
    if (outputs.length !== wanted.length)
      throw new Error(`${outputs.length} outputs, the reference has ${wanted.length}`);
    outputs.forEach((y, k) => {
      const want = wanted[k]!;
      if (y.shape.join() !== want.shape.join())
        throw new Error(`output${where} has shape [${y.shape.join(', ')}], want [${want.shape.join(', ')}]`);
      compare(`output${where}`, read.get(y)!, want, y.dtype, c.loose);
    });
    grads.forEach((g, k) => {
      const i = varied[k]!;
      const { shape, dtype } = c.inputs[i]!;
      if (g.shape.join() !== shape.join() || g.dtype !== dtype)
        throw new Error(`gradient of input ${i}${where} is ${g.dtype} [${g.shape.join(', ')}]`);
      compareAt(`gradient of input ${i}${where}`, read.get(g)!, checked[k]!, gradients[k]!, g, c.loose);
    });
  });
  [...plain.outputs, ...plain.grads].forEach((y, k) =>
    compareBits('result', read.get(y)!, read.get([...again.outputs, ...again.grads][k]!)!),
  );
  await second?.(reference);
}

/** Inputs of a case that have gradients. */
const variedOf = (c: OpCase): number[] =>
  c.grad === false ? [] : c.inputs.flatMap((spec, i) => ((spec.differentiable ?? isFloat(spec.dtype)) ? [i] : []));

/** Results and gradients of a case, of row-major inputs, unchecked. */
export async function resultsOf(c: OpCase): Promise<DataArray[]> {
  using _ = scope();
  const random = randomOf(titleOf(c));
  const elements = c.inputs.map((spec) => elementsOf(spec, random));
  const wanted = list(c.ref(...elements));
  return [...(await readAll([pass(c, elements, variedOf(c), 'plain', wanted, randomOf('cotangent'))])).values()];
}

function run(c: OpCase, inputs: readonly Tensor[]): Tensor | readonly Tensor[] {
  if (c.seed !== undefined) manualSeed(c.seed);
  return c.run(...inputs);
}

/**
 * Forward and backward in one compiled function, replayed once, with a product by a 1 that only the device
 * knows before every float input and behind every float result: fusion moves it into the op's kernels where
 * it can, and results stay what they are.
 */
function compiledPass(
  c: OpCase,
  elements: readonly Nd[],
  varied: readonly number[],
  plain: Pass,
  wanted: readonly Nd[],
): Pass {
  const inputs = elements.map((x, i) => place(x, c.inputs[i]!.dtype, 'plain'));
  const cotangents = cotangentsOf(c, plain.outputs, wanted, randomOf('cotangent'));
  const fed = plain.outputs.flatMap((y, k) => (cotangents[k] ? [upload(cotangents[k], y)] : []));
  const times = (x: Tensor, one: Tensor): Tensor => (isFloat(x.dtype) ? x.mul(one.to(x.dtype)) : x);
  const step = compile(
    (one: Tensor, given: readonly Tensor[], gradOutputs: readonly Tensor[]) => {
      for (const i of varied) given[i]!.requiresGrad = true;
      const outputs = list(c.run(...given.map((x) => times(x, one)))).map((y) => times(y, one));
      const roots = outputs.filter((y) => isFloat(y.dtype));
      const differentiable = roots.some((y) => y.requiresGrad);
      const sources = varied.map((i) => given[i]!);
      const grads = differentiable && sources.length > 0 ? grad(roots, sources, { gradOutputs }) : [];
      return { outputs, grads };
    },
    { name: titleOf(c) },
  );
  for (let replay = 0; replay < 2; replay++) {
    if (c.seed !== undefined) manualSeed(c.seed);
    const { outputs, grads } = step(1, inputs, fed);
    if (replay === 1) return { outputs, grads: plain.grads.length > 0 ? grads : [] };
  }
  throw new Error('unreachable');
}

/** Forward and backward once. */
function pass(
  c: OpCase,
  elements: readonly Nd[],
  varied: readonly number[],
  placement: Placement,
  wanted: readonly Nd[],
  random: Random,
): Pass {
  const inputs = elements.map((x, i) => {
    const placed = place(x, c.inputs[i]!.dtype, placement);
    if (varied.includes(i)) placed.requiresGrad = true;
    return placed;
  });
  const outputs = list(run(c, inputs));
  if (varied.length === 0) return { outputs, grads: [] };
  const cotangents = cotangentsOf(c, outputs, wanted, random);
  const roots = outputs.flatMap((y, k) => (cotangents[k] ? [{ y, cotangent: upload(cotangents[k], y) }] : []));
  if (roots.length === 0) return { outputs, grads: [] };
  const gradOutputs = roots.map(({ cotangent }) => cotangent);
  const grads = grad(
    roots.map(({ y }) => y),
    varied.map((i) => inputs[i]!),
    { gradOutputs, retainGraph: true },
  );
  return { outputs, grads };
}

function upload(x: Nd, { dtype }: Tensor): Tensor {
  return tensor(x.data, { shape: x.shape, dtype });
}

/** One cotangent for each float output; ones where the case states its gradients. */
function cotangentsOf(
  c: OpCase,
  outputs: readonly Tensor[],
  wanted: readonly Nd[],
  random: Random,
): (Nd | undefined)[] {
  return outputs.map((y, k) => {
    const { shape } = wanted[k]!;
    if (!isFloat(y.dtype)) return undefined;
    if (c.grads) return { shape, data: new Float64Array(count(shape)).fill(1) };
    const { data } = noise(shape, random);
    return { shape, data: data.map((value) => rounded(value, y.dtype)) };
  });
}

/** Records the gradient of sum(gradient * direction); the returned function reads it and compares. */
function secondPass(
  c: OpCase,
  elements: readonly Nd[],
  varied: readonly number[],
  cotangents: readonly (Nd | undefined)[],
  random: Random,
  applied: Applied,
): (reference: (x: readonly Nd[]) => readonly Nd[]) => Promise<void> {
  const inputs = elements.map((x, i) => {
    const placed = place(x, c.inputs[i]!.dtype, 'plain');
    if (varied.includes(i)) placed.requiresGrad = true;
    return placed;
  });
  const outputs = list(run(c, inputs));
  const floats = outputs.flatMap((_, k) => (cotangents[k] ? [k] : []));
  const gradOutputs = floats.map((k) => {
    const cotangent = upload(cotangents[k]!, outputs[k]!);
    cotangent.requiresGrad = true;
    return cotangent;
  });
  const sources = varied.map((i) => inputs[i]!);
  const first = grad(
    floats.map((k) => outputs[k]!),
    sources,
    { gradOutputs, createGraph: true },
  );
  const directions = elements.map((x, i) => (varied.includes(i) ? noise(x.shape, random) : undefined));
  const live = first.flatMap((g, k) => (g.requiresGrad ? [{ g, direction: directions[varied[k]!]! }] : []));
  const found = grad(
    live.map(({ g }) => g),
    [...sources, ...gradOutputs],
    { gradOutputs: live.map(({ g, direction }) => upload(direction, g)), createGraph: true },
  );
  applied.addGraph(found);

  return async (reference) => {
    const read = await Promise.all(found.map((g) => g.data()));
    varied.forEach((i, k) => {
      const at = sample(elements[i]!.data.length, random);
      const want = secondGradient(reference, elements, cotangents, directions, i, at);
      // Differences of differences of the reference are good to about 1e-7 of its size.
      compareAt(`second derivative by input ${i}`, read[k]!, at, want, found[k]!, 10 * (c.loose ?? 1));
    });
    const along = directional(reference, elements, directions);
    floats.forEach((k, j) => {
      const g = found[varied.length + j]!;
      compare(`second derivative by the cotangent`, read[varied.length + j]!, along[k]!, g.dtype, 10 * (c.loose ?? 1));
    });
  };
}

/** Compares some elements of a gradient. */
function compareAt(
  what: string,
  got: ArrayLike<number>,
  at: readonly number[],
  want: readonly number[],
  g: Tensor,
  loose?: number,
): void {
  const picked = at.map((i) => got[i]!);
  compare(what, picked, { shape: [at.length], data: Float64Array.from(want) }, g.dtype, loose);
}

async function readAll(passes: readonly Pass[]): Promise<Map<Tensor, DataArray>> {
  const tensors = passes.flatMap(({ outputs, grads }) => [...outputs, ...grads]);
  const read = await Promise.all(tensors.map((x) => x.data()));
  return new Map(tensors.map((x, i) => [x, read[i]!]));
}
