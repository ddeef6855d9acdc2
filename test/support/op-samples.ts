import { readFileSync } from 'node:fs';
import { clone, compile, grad, tensor } from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import * as tf from '../../autograd/index.ts';
import { isFloat, Tensor as TensorClass } from '../../autograd/tensor.ts';
import { compare } from './op-compare.ts';
import { count } from './nd.ts';
import type { Nd } from './nd.ts';
import { uniform } from './philox.ts';

/**
 * Samples of every op with what PyTorch makes of them: test/golden/op-samples.json, which
 * golden_op_samples.py describes and makes.
 */

type Json = number | string | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type Values = readonly (number | string)[];
/** "dtype shape range", or that with values. */
type InputText = string | readonly [text: string, values: Values];

type Row = readonly [
  inputs: readonly InputText[],
  args: readonly Json[] | 0,
  outputs: readonly (readonly [text: string, values: Values])[],
  grads?: readonly (Values | 0)[],
];

/** An output's type: `int` is i32 or u32, whose numbers PyTorch holds in int64. */
type Kind = Dtype | 'int';

export interface Sample {
  readonly op: string;
  readonly title: string;
  readonly args: readonly Json[];
  readonly inputs: readonly { readonly dtype: Dtype; readonly values: Nd }[];
  readonly outputs: readonly { readonly dtype: Kind; readonly values: Nd }[];
  /** By the inputs; undefined where PyTorch has none. */
  readonly grads: readonly (Nd | undefined)[];
  readonly cotangents: readonly Nd[];
}

/** What a sample gave. */
export interface Given {
  readonly outputs: readonly Tensor[];
  readonly grads: readonly (Tensor | undefined)[];
}

/** By op. */
export function readSamples(): Map<string, Sample[]> {
  const text = readFileSync(new URL('../golden/op-samples.json', import.meta.url), 'utf8');
  const rows = Object.entries(JSON.parse(text) as Readonly<Record<string, readonly Row[]>>);
  return new Map(rows.map(([op, own]) => [op, own.map((row, i) => sampleOf(op, row, `${op}/${i}`))]));
}

function sampleOf(op: string, [given, written, out, grads = []]: Row, name: string): Sample {
  const args = written === 0 ? given.map((_, i) => `$${i}`) : written;
  const inputs = given.map((text, i) => inputOf(text, `${name}/${i}`));
  const outputs = out.map(([text, values]) => {
    const { dtype, shape } = text === '' ? { ...inputs[0]!, ...inputs[0]!.values } : parse<Kind>(text);
    return { dtype, values: { shape, data: numbers(values) } };
  });
  const shapes = given.map((text) => (typeof text === 'string' ? text : `${text[0]} ${JSON.stringify(text[1])}`));
  return {
    op,
    title: `${name} of ${shapes.join('; ')} as ${op}(${JSON.stringify(args).slice(1, -1)})`,
    args,
    inputs,
    outputs,
    grads: inputs.map(({ values: { shape } }, i) => (grads[i] ? { shape, data: numbers(grads[i]) } : undefined)),
    cotangents: outputs.map(({ values: { shape } }, i) => ({
      shape,
      data: drawn(shape, `${name}/g${i}`).map((u) => Math.floor(17 * u) / 4 - 2),
    })),
  };
}

function parse<Type>(text: string): { dtype: Type; shape: number[]; range: readonly [number, number] | undefined } {
  const { dtype, shape, low, high } =
    /^(?<dtype>\w+)(?: (?<shape>[\d,]+))?(?: (?<low>-?[\d.]+?)\.\.(?<high>-?[\d.]+))?$/.exec(text)!.groups!;
  return {
    dtype: dtype as Type,
    shape: shape ? shape.split(',').map(Number) : [],
    range: low === undefined ? undefined : [Number(low), Number(high)],
  };
}

function inputOf(text: InputText, name: string): Sample['inputs'][number] {
  const { dtype, shape, range } = parse<Dtype>(typeof text === 'string' ? text : text[0]);
  if (typeof text !== 'string') return { dtype, values: { shape, data: numbers(text[1]) } };
  const natural = { bool: [0, 1], u32: [0, 5], i32: [-3, 3], f32: [-2, 2], f16: [-2, 2] } as const;
  const [low, high] = range ?? natural[dtype];
  const steps = isFloat(dtype) ? 16 : 1;
  const data = drawn(shape, name).map((u) => low + Math.floor(u * (steps * (high - low) + 1)) / steps);
  return { dtype, values: { shape, data } };
}

/** Uniform numbers of the stream that a name stands for. */
function drawn(shape: readonly number[], name: string): Float64Array {
  let stream = 2166136261; // FNV-1a
  for (let i = 0; i < name.length; i++) stream = Math.imul(stream ^ name.charCodeAt(i), 16777619) >>> 0;
  return Float64Array.from({ length: count(shape) }, (_, i) => uniform(i, BigInt(stream)));
}

const words: Readonly<Record<string, number>> = { nan: NaN, inf: Infinity, '-inf': -Infinity };
const numbers = (values: Values): Float64Array =>
  Float64Array.from(values, (value) => (typeof value === 'string' ? words[value]! : value));

/** Ops that write into their first argument: it is a copy, so that the inputs stay. */
const writes = (op: string): boolean => op.endsWith('_') || ['addAssign', 'assign', 'writeCache'].includes(op);

/** Calls the op on the inputs. Error: an op that writes in place returns something else than its target. */
export function callSample({ op, args }: Sample, inputs: readonly Tensor[]): Tensor[] {
  const own = writes(op) ? inputs.map((x, i) => (i === 0 ? clone(x) : x)) : inputs;
  const fill = (value: Json): unknown => {
    if (typeof value === 'string') return value.startsWith('$') ? own[Number(value.slice(1))] : (words[value] ?? value);
    if (Array.isArray(value)) return (value as readonly Json[]).map(fill);
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fill(inner)]));
    return value ?? undefined;
  };
  const given = args.map(fill);
  const fn = (tf as unknown as Record<string, (...args: unknown[]) => Tensor | Tensor[]>)[op];
  if (!fn) throw new Error(`there is no op ${op}`);
  const results = [fn(...given)].flat();
  if (writes(op) && results[0] !== own[0]) throw new Error(`${op} does not return its target`);
  if (!results.every((y) => y instanceof TensorClass)) throw new Error(`${op} gives no tensor`);
  return results;
}

/** Uploads the inputs; those whose gradients the sample has are leaves. */
export function placeSample({ inputs, grads }: Sample): Tensor[] {
  return inputs.map(({ dtype, values: { shape, data } }, i) =>
    tensor(data, { shape, dtype, requiresGrad: grads[i] !== undefined }),
  );
}

/** Forward and backward. */
export function runSample(sample: Sample, inputs: readonly Tensor[]): Given {
  const outputs = callSample(sample, inputs);
  const roots = outputs.flatMap((y, k) => (isFloat(y.dtype) && y.requiresGrad ? [k] : []));
  const varied = sample.grads.flatMap((own, i) => (own ? [i] : []));
  if (varied.length === 0) return { outputs, grads: [] };
  if (roots.length === 0) throw new Error('no output requires a gradient');
  const found = grad(
    roots.map((k) => outputs[k]!),
    varied.map((i) => inputs[i]!),
    {
      gradOutputs: roots.map((k) =>
        tensor(sample.cotangents[k]!.data, { shape: outputs[k]!.shape, dtype: outputs[k]!.dtype }),
      ),
    },
  );
  return { outputs, grads: sample.grads.map((own, i) => (own ? found[varied.indexOf(i)] : undefined)) };
}

/** All samples of an op in one compiled function, the second call of it, which replays. */
export function runCompiled(samples: readonly Sample[]): Given[] {
  const all = samples.map((sample) => placeSample(sample));
  const step = compile(
    (given: readonly (readonly Tensor[])[]) =>
      samples.map((sample, i) => {
        sample.grads.forEach((own, k) => own && (given[i]![k]!.requiresGrad = true));
        return runSample(sample, given[i]!);
      }),
    { name: samples[0]!.op },
  );
  step(all);
  return step(all);
}

/** Factor on the tolerance of test/support/op-compare.ts, by the type of the inputs. */
const loose: Readonly<Record<'f32' | 'f16', number>> = { f32: 1, f16: 2 };

/** What of a sample differs from PyTorch on purpose. */
export interface Exception {
  readonly skipGradients?: boolean;
  /** The type of the outputs here. */
  readonly output?: Dtype;
}

/** Throws where shapes, types or values differ from PyTorch's. */
export async function compareSample(
  sample: Sample,
  { outputs, grads }: Given,
  { skipGradients = false, output }: Exception = {},
): Promise<void> {
  const isHalf = sample.inputs.some(({ dtype }) => dtype === 'f16');
  const factor = loose[isHalf ? 'f16' : 'f32'];
  if (outputs.length !== sample.outputs.length)
    throw new Error(`${outputs.length} outputs, PyTorch has ${sample.outputs.length}`);
  for (const [k, y] of outputs.entries()) {
    const { values } = sample.outputs[k]!;
    const dtype = output ?? sample.outputs[k]!.dtype;
    const fits = dtype === 'int' ? y.dtype === 'i32' || y.dtype === 'u32' : y.dtype === dtype;
    if (!fits || y.shape.join() !== values.shape.join())
      throw new Error(`output ${k} is ${y.dtype} [${y.shape.join()}], PyTorch's ${dtype} [${values.shape.join()}]`);
    compare(`output ${k}`, await y.data(), values, output && isHalf ? 'f16' : y.dtype, factor);
  }
  for (const [i, g] of grads.entries()) {
    const { dtype, values } = sample.inputs[i]!;
    if (!g || skipGradients) continue;
    if (g.dtype !== dtype || g.shape.join() !== values.shape.join())
      throw new Error(`gradient ${i} is ${g.dtype} [${g.shape.join()}] for ${dtype} [${values.shape.join()}]`);
    compare(`gradient ${i}`, await g.data(), sample.grads[i]!, dtype, factor);
  }
}
