import type { Dispatch } from '../gpu/dispatch.ts';
import { f32, kernel, read, u32, write } from './kernel.ts';
import type { Param } from './kernel.ts';

/**
 * Kernels over many tensors at once: a model has hundreds of parameters, most of them tiny, and a dispatch each would cost more than the arithmetic.
 */

/** Tensors that one dispatch can take: two bindings each, beside `others` shared ones. */
export function tensorsPerDispatch(maxStorageBuffers: number, others: number): number {
  return Math.max(1, Math.floor((maxStorageBuffers - others) / 2));
}

/** Elements of a tensor in units of vec4; buffers are padded to whole ones. */
export const quads = (size: number): number => Math.ceil(size / 4);

const workgroup = 64;

/** `if (id < end of tensor 0) {...} else if ...`, with `i` the index inside the tensor. */
function bySegment(count: number, body: (k: number) => string): string {
  const branch = (k: number): string =>
    `if (id < p.end${k}) { let i = id - ${k === 0 ? '0u' : `p.end${k - 1}`}; ${body(k)} }`;
  return Array.from({ length: count }, (_, k) => branch(k)).join(' else ');
}

function segmentParams(lengths: readonly number[]): { params: Record<string, Param>; total: number } {
  const params: Record<string, Param> = {};
  let total = 0;
  lengths.forEach((length, k) => {
    total += length;
    params[`end${k}`] = u32(total);
  });
  return { params, total };
}

interface UpdateParams {
  readonly name: string;
  /** Elements of each parameter. Parameters and gradients are row-major f32 from offset 0. */
  readonly sizes: readonly number[];
  /** State arrays, a buffer each. */
  readonly arrays: number;
  /** Where each parameter's elements begin in the state arrays, in quads. */
  readonly stateStarts: readonly number[];
  readonly scalars: Readonly<Record<string, number>>;
  /** The gradients are multiplied by a scalar that lies on the device. */
  readonly scaled: boolean;
  /** WGSL statements from x (parameter), g (gradient) and state0[s], state1[s], ... to `return` the new parameter. */
  readonly body: string;
}

/** One optimizer step. Bindings state arrays, (scale,) then parameter and gradient of each tensor. */
function update({ name, sizes, arrays, stateStarts, scalars, scaled, body }: UpdateParams): Dispatch {
  const { params, total } = segmentParams(sizes.map(quads));
  const bindings = sizes.flatMap((_, k) => [write(`x${k}`, 'vec4<f32>'), read(`g${k}`, 'vec4<f32>')]);
  const states = Array.from({ length: arrays }, (_, k) => write(`state${k}`, 'vec4<f32>'));
  const starts = Object.fromEntries(stateStarts.map((start, k) => [`start${k}`, u32(start)]));
  const scalarParams = Object.fromEntries(Object.entries(scalars).map(([key, value]) => [key, f32(value)]));
  return kernel({
    name,
    bindings: [...states, ...(scaled ? [read('scale', 'f32')] : []), ...bindings],
    params: { ...params, ...starts, ...scalarParams },
    workgroup,
    groups: Math.ceil(total / workgroup),
    cost: { flops: total * 4 * 12, bytes: total * 16 * 7 },
    declarations: `fn update(x: vec4<f32>, g: vec4<f32>, s: u32) -> vec4<f32> {\n${body}\n}`,
    body: bySegment(
      sizes.length,
      (k) => `x${k}[i] = update(x${k}[i], g${k}[i]${scaled ? ' * scale[0]' : ''}, p.start${k} + i);`,
    ),
  });
}

type StepParams = Omit<UpdateParams, 'name' | 'arrays' | 'scalars' | 'body'>;

export interface AdamWScalars {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Number of this step, from 1. */
  readonly step: number;
}

/**
 * AdamW (Loshchilov and Hutter 2019) in PyTorch's order: decay, moments, bias correction. Bindings as in `update`; the states are the first and the
 * second moments.
 */
export function adamw(params: StepParams & AdamWScalars): Dispatch {
  const { lr, beta1, beta2, eps, weightDecay, step } = params;
  const scalars = {
    beta1,
    beta2,
    eps,
    keep: 1 - lr * weightDecay,
    rate: lr / (1 - beta1 ** step),
    correction: 1 / Math.sqrt(1 - beta2 ** step),
  };
  return update({
    ...params,
    name: 'adamw',
    arrays: 2,
    scalars,
    body: `
let m = p.beta1 * state0[s] + (1.0 - p.beta1) * g;
let v = p.beta2 * state1[s] + (1.0 - p.beta2) * g * g;
state0[s] = m;
state1[s] = v;
return p.keep * x - p.rate * m / (sqrt(v) * p.correction + p.eps);`,
  });
}

export interface SgdScalars {
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  readonly step: number;
}

/** Stochastic gradient descent with momentum as PyTorch defines it: the first step's velocity is the gradient itself. The state holds velocities. */
export function sgd(params: StepParams & SgdScalars): Dispatch {
  const { lr, momentum, dampening, weightDecay, nesterov, step } = params;
  const blend = step === 1 ? 1 : 1 - dampening;
  return update({
    ...params,
    arrays: 1,
    name: nesterov ? 'sgd.nesterov' : 'sgd',
    scalars: { lr, momentum, weightDecay, blend, memory: step === 1 ? 0 : momentum },
    body: `
let d = g + p.weightDecay * x;
let v = p.memory * state0[s] + p.blend * d;
state0[s] = v;
return x - p.lr * ${nesterov ? '(d + p.momentum * v)' : 'v'};`,
  });
}

/** Quads that one thread of sumSquares adds up. */
const run = 256;

/** Partial sums that sumSquares writes for tensors of these sizes. */
export function partialsFor(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + Math.ceil(quads(size) / run), 0);
}

/**
 * Sums of squares of runs of each tensor; their total is the square of the global norm. Bindings partials, then the tensors (row-major f32 from
 * offset 0); partials are written from `start` on.
 */
export function sumSquares({ sizes, start }: { sizes: readonly number[]; start: number }): Dispatch {
  const { params, total } = segmentParams(sizes.map((size) => Math.ceil(quads(size) / run)));
  const lengths = Object.fromEntries(sizes.map((size, k) => [`size${k}`, u32(size)]));
  return kernel({
    name: 'sumSquares',
    bindings: [write('partials', 'f32'), ...sizes.map((_, k) => read(`x${k}`, 'vec4<f32>'))],
    params: { start: u32(start), ...params, ...lengths },
    workgroup,
    groups: Math.ceil(total / workgroup),
    cost: { flops: 2 * sizes.reduce((a, b) => a + b, 0), bytes: 4 * sizes.reduce((a, b) => a + b, 0) },
    // The last quad of a tensor may hold padding, whose contents are undefined.
    body: bySegment(
      sizes.length,
      (k) => `
let begin = i * ${run}u; let whole = min(begin + ${run}u, p.size${k} / 4u);
var total = vec4<f32>();
for (var q = begin; q < whole; q++) { total += x${k}[q] * x${k}[q]; }
var sum = (total.x + total.y) + (total.z + total.w);
if (begin + ${run}u >= (p.size${k} + 3u) / 4u) {
  for (var e = p.size${k} / 4u * 4u; e < p.size${k}; e++) { let v = x${k}[e / 4u][e % 4u]; sum += v * v; }
}
partials[p.start + id] = sum;`,
    ),
  });
}
