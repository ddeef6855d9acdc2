import {
  add,
  addAssign,
  assign,
  autocast,
  backward,
  cast,
  checkpoint,
  compile,
  concat,
  crossEntropy,
  cumsum,
  dropout,
  embedding,
  expand,
  flip,
  gelu,
  grad,
  gt,
  indexSelect,
  layerNorm,
  linear,
  linearCrossEntropy,
  logSoftmax,
  manualSeed,
  matmul,
  max,
  maximum,
  mean,
  mul,
  noGrad,
  permute,
  relu,
  reshape,
  rmsNorm,
  scaledDotProductAttention,
  scatterAdd,
  scope,
  sigmoid,
  silu,
  slice,
  softmax,
  sub,
  sum,
  tanh,
  tensor,
  transpose,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { broadcastShapes } from '../../autograd/shapes.ts';
import { Random } from '../../common/random.ts';
import { sizeOf } from '../../kernels/layout.ts';

/**
 * Programs of random ops, as data: the same list is run op by op and compiled, and both must give the same.
 * What a compiler may get wrong lies between ops (what shares a kernel, what is merged, what is written when,
 * whose memory is reused), where tests of single ops do not look.
 */
export interface RandomProgram {
  readonly inputs: readonly Shape[];
  readonly parameters: readonly Shape[];
  readonly state: readonly Shape[];
  readonly steps: readonly ProgramStep[];
  /** Values that the function returns. */
  readonly results: readonly number[];
  /** Values whose weighted means are the loss. */
  readonly losses: readonly number[];
  /** Streams of the generator, and of the numbers that it starts from. */
  readonly seed: number;
  /** Under `autocast`. */
  readonly half: boolean;
}

type Shape = readonly number[];

export interface ProgramStep {
  /** Such as `add 3 7`, for people. */
  readonly text: string;
  /** Places of the values that it reads: inputs, parameters, state, then the results of earlier steps. */
  readonly reads: readonly number[];
  readonly shape: Shape;
  run(...values: Tensor[]): Tensor;
}

const lengths = [1, 2, 3, 4, 5, 8, 12];
const rows = 11; // of tables
type Unary = readonly [name: string, run: (x: Tensor) => Tensor];

/** Smooth and bounded, or slopes of 1: numbers stay small, and rounding is not enlarged. */
const unaries: readonly Unary[] = [
  ['tanh', tanh],
  ['sigmoid', sigmoid],
  ['relu', relu],
  ['gelu', (x) => gelu(x)],
  ['silu', silu],
  ['half', (x) => mul(x, 0.5)],
  ['plus', (x) => add(x, 0.25)],
  ['one minus', (x) => sub(1, x)],
  ['detach', (x) => x.detach()],
  ['clone', (x) => x.clone()],
  ['through f16', (x) => cast(cast(x, 'f16'), 'f32')],
  ['checkpoint', (x) => checkpoint(() => tanh(mul(x, sigmoid(x))))],
];
const overRows: readonly Unary[] = [
  ['softmax', (x) => softmax(x)],
  ['logSoftmax', (x) => logSoftmax(tanh(x))],
  ['layerNorm', (x) => layerNorm(x)],
  ['rmsNorm', (x) => rmsNorm(x)],
  ['cumsum', (x) => mul(cumsum(x, -1), 1 / 8)],
  ['flip', (x) => flip(x, -1)],
];
const binaries = [
  { name: 'add', run: (a: Tensor, b: Tensor) => mul(add(a, b), 0.7) },
  { name: 'plain add', run: add },
  { name: 'sub', run: (a: Tensor, b: Tensor) => sub(a, b) },
  { name: 'mul', run: (a: Tensor, b: Tensor) => mul(tanh(a), b) },
  { name: 'maximum', run: (a: Tensor, b: Tensor) => maximum(a, b) },
  { name: 'where', run: (a: Tensor, b: Tensor) => where(gt(a, 0.1), a, b) },
] as const;

/** Steps with a kink, a jump, or a derivative that is cut on purpose: differences do not show their slope. */
const notSmooth = /^(relu|maximum|where|max \d|detach|through f16|write|assign|addAssign)/;

/**
 * Makes a program of `length` steps; a `smooth` one has a slope everywhere. Equal arguments make equal
 * programs.
 */
export function randomProgram(seed: number, length: number, smooth = false): RandomProgram {
  const random = new Random(seed);
  const pick = <T>(list: readonly T[]): T => list[random.int(list.length)]!;
  const width = pick([4, 5, 8, 12]);
  const shape = (): Shape => [...Array.from({ length: random.int(3) }, () => pick(lengths)), width];
  const inputs = [shape(), shape()];
  const parameters = [shape(), [width, width], [rows, width], [width]];
  const state = [shape(), [width]];
  const shapes = [...inputs, ...parameters, ...state];
  const [table, firstState] = [inputs.length + 2, inputs.length + parameters.length];
  const steps: ProgramStep[] = [];
  const push = (text: string, reads: readonly number[], of: Shape, run: ProgramStep['run']): void => {
    if (smooth && notSmooth.test(text)) return;
    steps.push({ text, reads, shape: of, run });
    shapes.push(of);
  };
  /** Prefers what was made last, so that chains grow. */
  const place = (): number => {
    const back = Math.floor(random.uniform() ** 2 * shapes.length);
    return shapes.length - 1 - back;
  };
  const indexOf = (places: number): number[] => Array.from({ length: places }, () => random.int(rows));

  const makers: (() => void)[] = [
    ...Array<() => void>(5).fill(() => {
      const x = place();
      const [name, run] = pick(unaries);
      push(name, [x], shapes[x]!, run);
    }),
    ...Array<() => void>(5).fill(() => {
      const [a, b] = [place(), place()];
      const of = broadcast(shapes[a]!, shapes[b]!);
      if (!of || sizeOf(of) > 4096) return;
      const { name, run } = pick(binaries);
      push(name, [a, b], of, run);
    }),
    ...Array<() => void>(2).fill(() => {
      const x = place();
      const [name, run] = pick(overRows);
      if (shapes[x]!.length > 0) push(name, [x], shapes[x]!, run);
    }),
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length === 0) return;
      const axis = random.int(own.length);
      const [name, run] = pick([
        ['mean', mean],
        ['sum', (y: Tensor, axes: number, o: { keepDims: true }) => mul(sum(y, axes, o), 0.3)],
        ['max', max],
      ] as const);
      push(`${name} ${axis}`, [x], own.with(axis, 1), (y) => run(y, axis, { keepDims: true }));
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length < 2) return;
      push('transpose', [x], [...own.slice(0, -2), own.at(-1)!, own.at(-2)!], (y) => transpose(y));
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      const order = own.map((_, i) => i).reverse();
      if (own.length > 1) push(`permute ${order.join()}`, [x], own.toReversed(), (y) => permute(y, order));
    },
    () => {
      const x = place();
      const flat = [sizeOf(shapes[x]!)];
      const half = flat[0]! % 2 === 0 ? [2, flat[0]! / 2] : flat;
      const of = pick([flat, half, [1, ...shapes[x]!]]);
      push(`reshape ${of.join('x')}`, [x], of, (y) => reshape(y, of));
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length === 0) return;
      const axis = random.int(own.length);
      const start = random.int(own[axis]!);
      const end = start + 1 + random.int(own[axis]! - start);
      const ranges = own.map((_, i): [number, number] | null => (i === axis ? [start, end] : null));
      push(`slice ${axis} ${start}:${end}`, [x], own.with(axis, end - start), (y) => slice(y, ...ranges));
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length === 0 || sizeOf(own) > 1024) return;
      const axis = random.int(own.length);
      push(`concat ${axis}`, [x, x], own.with(axis, 2 * own[axis]!), (a, b) => concat([a, b], axis));
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      if (sizeOf(own) <= 512) push('expand', [x], [3, ...own], (y) => expand(y, [3, ...own]));
    },
    ...Array<() => void>(3).fill(() => {
      const x = place();
      const own = shapes[x]!;
      if (own.at(-1) !== width || own.length < 2) return;
      const weight = inputs.length + 1;
      const bias = inputs.length + 3;
      if (random.int(2) === 0) push('matmul', [x, weight], own, (y, w) => mul(matmul(y, w), 0.5));
      else push('linear', [x, weight, bias], own, (y, w, b) => linear(y, w, b));
    }),
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length < 2 || sizeOf(own) > 1024) return;
      push('gram', [x], [...own.slice(0, -1), own.at(-2)!], (y) => mul(matmul(y, transpose(y)), 0.2));
    },
    () => {
      const index = indexOf(1 + random.int(6));
      const of = [index.length, width];
      push(`embedding ${index.join()}`, [table], of, (t) => embedding(t, tensor(index, { dtype: 'i32' })));
    },
    () => {
      // A head that is tied to the table of an embedding: its gradient has two parts.
      const x = place();
      const own = shapes[x]!;
      if (own.at(-1) !== width || own.length < 2) return;
      push('tied head', [x, table], [...own.slice(0, -1), rows], (y, t) => linear(y, t));
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length !== 2) return;
      const index = Array.from({ length: own[0]! }, () => indexOf(own[1]!));
      push('scatterAdd', [x, table], [rows, width], (y, t) =>
        own[1] === width ? scatterAdd(t, 0, tensor(index, { dtype: 'i32' }), y) : add(t, mean(y)),
      );
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length < 2 || sizeOf(own) > 1024) return;
      const causal = random.int(2) === 0;
      push(`attention${causal ? ', causal' : ''}`, [x], own, (y) =>
        scaledDotProductAttention(y, tanh(y), y, { isCausal: causal }),
      );
    },
    () => {
      const x = place();
      const own = shapes[x]!;
      if (own.length !== 2) return;
      const target = Array.from({ length: own[0]! }, () => random.int(Math.min(own[1]!, rows)));
      const places = (): Tensor => tensor(target, { dtype: 'i32' });
      if (own[1] !== width || random.int(2) === 0) push('cross entropy', [x], [], (y) => crossEntropy(y, places()));
      else push('linear cross entropy', [x, table], [], (y, t) => linearCrossEntropy(y, t, places()));
    },
    () => {
      const x = place();
      const weight = inputs.length + 3;
      if (shapes[x]!.at(-1) === width) push('affine', [x, weight], shapes[x]!, (y, w) => layerNorm(y, w, w));
    },
    () => {
      // The gradient has another shape than what it is added to.
      const x = place();
      const own = shapes[x]!;
      if (own.length < 3) return;
      const flat = [sizeOf(own.slice(0, -1)), own.at(-1)!];
      const index = Array.from({ length: 1 + random.int(5) }, () => random.int(flat[0]!));
      push(`rows ${index.join()}`, [x], [index.length, flat[1]!], (y) =>
        indexSelect(reshape(y, flat), 0, tensor(index, { dtype: 'i32' })),
      );
    },
    () => {
      // Writes in place, to a value of this call; through a view of it, if there are two rows.
      const [x, z] = [place(), place()];
      const own = shapes[x]!;
      if (broadcast(own, shapes[z]!)?.join() !== own.join()) return;
      const halves = own.length > 0 && shapes[z]!.length < own.length ? [0, Math.ceil(own[0]! / 2)] : undefined;
      push(`write${halves ? ' half' : ''}`, [x, z], own, (y, w) =>
        noGrad(() => {
          const made = tanh(y.detach());
          const read = halves ? add(made, 1) : made;
          addAssign(halves ? slice(made, [halves[0]!, halves[1]!]) : made, w.detach());
          return mul(add(made, read), 0.5);
        }),
      );
    },
    () => {
      const x = place();
      push('dropout', [x], shapes[x]!, (y) => dropout(y, 0.3));
    },
    () => {
      // Writes in place, to memory that outlives the call. What reads the state later sees the new values.
      const s = firstState + random.int(state.length);
      const x = place();
      const of = broadcast(shapes[x]!, shapes[s]!);
      if (!of || of.join() !== shapes[s]!.join()) return;
      const [name, write] = pick([
        ['assign', assign],
        ['addAssign', addAssign],
      ] as const);
      push(name, [s, x], shapes[s]!, (own, y) => noGrad(() => add(write(own, mul(tanh(y.detach()), 0.5)), 0)));
    },
  ];
  while (steps.length < length) pick(makers)();

  const made = shapes.map((_, i) => i).slice(firstState + state.length);
  const some = (count: number): number[] => Array.from({ length: count }, () => pick(made));
  return {
    inputs,
    parameters,
    state,
    steps,
    results: some(3),
    losses: [...some(3), made.at(-1)!],
    seed,
    half: !smooth && seed % 5 === 4,
  };
}

/** Runs the steps on given values; returns all values, and the loss. */
function lossOf({ steps, losses, half }: RandomProgram, given: readonly Tensor[]): { values: Tensor[]; loss: Tensor } {
  const values = [...given];
  const forward = (): void => {
    for (const { reads, run } of steps) values.push(run(...reads.map((at) => values[at]!)));
  };
  if (half) autocast(forward);
  else forward();
  const terms = losses.map((at, i) => mul(mean(values[at]!), 1 + i));
  return { values, loss: terms.reduce((total, term) => add(total, term)) };
}

/** What a call leaves: values and gradients, then all parameters and states after the last call. */
export type Found = readonly Float32Array[];

export type Mode = 'immediate' | 'compiled';

/** Runs a program three times, each with other inputs; parameters and states go on from call to call. */
export async function runProgram(program: RandomProgram, mode: Mode): Promise<Found> {
  const numbers = new Random(program.seed, 1);
  const make = (shape: Shape): Tensor =>
    tensor(
      Float32Array.from({ length: sizeOf(shape) }, () => numbers.normal() * 0.7),
      { shape },
    );
  using _ = scope();
  const parameters = program.parameters.map((shape) => {
    const p = make(shape);
    p.requiresGrad = true;
    return p;
  });
  const state = program.state.map(make);
  const call = (...inputs: Tensor[]): Tensor[] => {
    const { values, loss } = lossOf(program, [...inputs, ...parameters, ...state]);
    const gradients = gradientsOf(loss, parameters, program.seed % 2 === 0);
    noGrad(() => gradients.forEach((g, i) => addAssign(parameters[i]!, mul(g, -0.05))));
    return [...program.results.map((at) => values[at]!.detach().clone()), loss.detach(), ...gradients];
  };
  const step = mode === 'compiled' ? compile(call, { name: 'program' }) : call;
  manualSeed(program.seed);
  const found: Tensor[] = [];
  for (let turn = 0; turn < 3; turn++) found.push(...step(...program.inputs.map(make)));
  return Promise.all([...found, ...parameters, ...state].map(async (x) => Float32Array.from(await x.data())));
}

/**
 * Compares the gradient of a smooth program along random directions, a parameter at a time, with central
 * differences of the loss. Returns the first that differs.
 */
export async function gradientError(program: RandomProgram): Promise<string | undefined> {
  const numbers = new Random(program.seed, 1);
  const draw = (shape: Shape): Float32Array => Float32Array.from({ length: sizeOf(shape) }, () => numbers.normal());
  const make = (shape: Shape): Tensor => mul(tensor(draw(shape), { shape }), 0.7);
  using _ = scope();
  const given = program.inputs.map(make);
  const parameters = program.parameters.map(make);
  const state = program.state.map(make);
  const lossAt = (moved: readonly Tensor[]): Tensor => {
    manualSeed(program.seed);
    return lossOf(program, [...given, ...moved, ...state]).loss;
  };
  const leaves = parameters.map((p) => {
    const leaf = p.clone();
    leaf.requiresGrad = true;
    return leaf;
  });
  const loss = lossAt(leaves);
  if (!loss.requiresGrad) return undefined;
  const gradients = grad(loss, leaves);
  for (const [i, shape] of program.parameters.entries()) {
    const way = draw(shape);
    const length = Math.hypot(...way);
    const step = 0.03;
    const at = (sign: number): Promise<number> => {
      const by = tensor(
        way.map((value) => (sign * step * value) / length),
        { shape },
      );
      return noGrad(() => lossAt(parameters.with(i, add(parameters[i]!, by)))).item();
    };
    const slope = ((await at(1)) - (await at(-1))) / (2 * step);
    const g = Float32Array.from(await gradients[i]!.data());
    const expected = g.reduce((total, value, k) => total + (value * way[k]!) / length, 0);
    // A random direction sees a share of 1 / sqrt(n) of a gradient's length.
    const tolerance = 0.02 * (Math.abs(expected) + Math.hypot(...g) / Math.sqrt(g.length)) + 2e-4;
    if (!(Math.abs(slope - expected) <= tolerance))
      return `parameter ${i}: the gradient has ${expected} along a direction, differences ${slope}`;
  }
  return undefined;
}

/** By `backward`, which leaves them on the parameters, or by `grad`. */
function gradientsOf(loss: Tensor, parameters: readonly Tensor[], left: boolean): Tensor[] {
  if (!loss.requiresGrad) return [];
  if (!left) return grad(loss, parameters);
  backward(loss);
  return parameters.map((p) => {
    const g = p.grad?.clone() ?? mul(p.detach(), 0);
    p.grad = undefined;
    return g;
  });
}

/**
 * The first difference between two runs, or undefined where there is none. `tolerance` is a share of a
 * tensor's largest number, which counts as `least` at least: where terms cancel, their rounding is left.
 */
export function differenceOf(ours: Found, theirs: Found, tolerance: number, least: number): string | undefined {
  if (ours.length !== theirs.length) return `${ours.length} tensors in place of ${theirs.length}`;
  for (const [i, a] of ours.entries()) {
    const b = theirs[i]!;
    if (a.length !== b.length) return `tensor ${i} has ${a.length} elements in place of ${b.length}`;
    const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), least);
    const at = a.findIndex((value, k) => !(Math.abs(value - b[k]!) <= tolerance * largest));
    if (at >= 0) return `tensor ${i} of ${ours.length}, element ${at}: ${a[at]} in place of ${b[at]}`;
  }
  return undefined;
}

/** The text of a program: a line a step, with the places that it reads. */
export function describeProgram({ inputs, parameters, state, steps, results, losses }: RandomProgram): string {
  const given = [
    ...inputs.map((shape) => ['input', shape] as const),
    ...parameters.map((shape) => ['parameter', shape] as const),
    ...state.map((shape) => ['state', shape] as const),
  ].map(([kind, shape], i) => `${i} = ${kind} [${shape.join(', ')}]`);
  const lines = steps.map(
    ({ text, reads, shape }, i) => `${given.length + i} = ${text} (${reads.join(', ')}) [${shape.join(', ')}]`,
  );
  return [...given, ...lines, `results ${results.join()}, losses ${losses.join()}`].join('\n');
}

/** Without steps that a failure does not need: each is left out in turn, with all that reads it. */
export async function smallest(
  program: RandomProgram,
  fails: (program: RandomProgram) => Promise<boolean>,
): Promise<RandomProgram> {
  let best = program;
  for (let at = best.steps.length - 1; at >= 0; at--) {
    const smaller = without(best, at);
    if (smaller && (await fails(smaller))) best = smaller;
  }
  return best;
}

function without(program: RandomProgram, step: number): RandomProgram | undefined {
  const given = program.inputs.length + program.parameters.length + program.state.length;
  const gone = given + step;
  const { steps, results, losses } = program;
  if (steps.some(({ reads }) => reads.includes(gone))) return undefined;
  const moved = (places: readonly number[]): number[] =>
    places.filter((p) => p !== gone).map((p) => (p > gone ? p - 1 : p));
  const left = { results: moved(results), losses: moved(losses) };
  if (left.losses.length === 0) return undefined;
  return {
    ...program,
    ...left,
    steps: steps.toSpliced(step, 1).map((own) => ({ ...own, reads: moved(own.reads) })),
  };
}

/** The shape of a result of both; undefined where they do not fit. */
function broadcast(a: Shape, b: Shape): Shape | undefined {
  try {
    return broadcastShapes('program', a, b);
  } catch {
    return undefined;
  }
}
