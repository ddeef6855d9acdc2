/**
 * Weights whose inputs are large are rounded more finely: activation-aware scales (AWQ, Lin et al. 2023),
 * which go into what comes before.
 */
import { assign, mul, noGrad, tensor } from '../../autograd/index.ts';
import { Conv1D, LayerNorm, Linear, RMSNorm } from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import type { InputProducts } from './gptq.ts';
import { blockValues, diagonalOf, roundBlocks, size } from './rounding.ts';
import type { Precision } from './rounding.ts';
import { layerModules } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/** What linear layers of a layer read, and the module that gives it, by their names within the layer. */
interface Scaled {
  readonly from: string;
  readonly into: readonly string[];
}

/** By family; a linear layer whose output is multiplied by others' may be scaled as a norm is. */
const families: readonly (readonly [Scaled, ...Scaled[]])[] = [
  [
    { from: 'ln_1', into: ['attn.c_attn'] },
    { from: 'ln_2', into: ['mlp.c_fc'] },
  ],
  [
    { from: 'input_layernorm', into: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'] },
    { from: 'self_attn.v_proj', into: ['self_attn.o_proj'] },
    { from: 'post_attention_layernorm', into: ['mlp.gate_proj', 'mlp.up_proj'] },
    { from: 'mlp.up_proj', into: ['mlp.down_proj'] },
  ],
];

/** Exponents of the inputs' size that are tried: 0 leaves the weights as they are. */
const exponents = Array.from({ length: 20 }, (_, i) => i / 20);
/** Rows of each weight that a choice is judged by, at most. */
const judged = 128;

type Layer = Linear | Conv1D;

interface Group {
  readonly from: LayerNorm | RMSNorm | Linear;
  readonly into: readonly (readonly [name: string, layer: Layer])[];
}

const isNorm = (module: Module): boolean => [LayerNorm, RMSNorm].some((kind) => module.constructor === kind);
const inputsOf = ({ weight, constructor }: Layer): number => weight.shape[constructor === Conv1D ? 0 : 1]!;

/** Error: the family's norms do not stand right before its linear layers, as far as is known here. */
function groupsOf(model: Shrinkable): Group[] {
  const modules = layerModules('awq', model);
  const fail = (): Error =>
    new Error(`awq: ${model.constructor.name} is none of GPT-2's or Llama's kind; use gptq for it`);
  if (modules.some(([name]) => name.endsWith('.post_feedforward_layernorm'))) throw fail();
  const byName = new Map(modules);
  const family = families.find(([{ from }]) => modules.some(([name]) => name.endsWith(`.${from}`)));
  if (!family) throw fail();
  const [{ from: first }] = family;
  const prefixes = modules.flatMap(([name]) => (name.endsWith(`.${first}`) ? [name.slice(0, -first.length)] : []));
  return prefixes.flatMap((prefix) =>
    family.flatMap(({ from, into }): Group[] => {
      const before = byName.get(prefix + from);
      const after = into.map((name) => [prefix + name, byName.get(prefix + name)] as const);
      const isLayer = (module: Module | undefined): module is Layer =>
        module?.constructor === Linear || module?.constructor === Conv1D;
      if (!before || !(isNorm(before) || isLayer(before)) || !after.every(([, module]) => isLayer(module)))
        throw fail();
      const layers = after as unknown as readonly (readonly [string, Layer])[];
      // Where heads share keys and values an output goes to several inputs.
      const fits = isNorm(before) || (before as Linear).weight.shape[0] === inputsOf(layers[0]![1]);
      return fits ? [{ from: before as Group['from'], into: layers }] : [];
    }),
  );
}

/** Rows [out, in] of a layer's weight. */
async function rowsOf(layer: Layer): Promise<Float32Array> {
  const values = Float32Array.from(await layer.weight.data(), Number);
  if (!(layer instanceof Conv1D)) return values;
  const [into, out] = layer.weight.shape as [number, number];
  return Float32Array.from(values, (_, i) => values[(i % into) * out + Math.floor(i / into)]!);
}

/** Some rows, evenly spaced. */
function someRows(rows: Float32Array, width: number): Float32Array {
  const count = rows.length / width;
  const every = Math.ceil(count / judged);
  const kept = Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every);
  const some = new Float32Array(kept.length * width);
  kept.forEach((row, i) => some.set(rows.subarray(row * width, (row + 1) * width), i * width));
  return some;
}

/** The squared error of what weights compute, d H d^T summed over the rows d of what they are off by. */
function outputError(off: Float64Array, hessian: Float64Array): number {
  const n = Math.sqrt(hessian.length);
  let error = 0;
  for (let row = 0; row < off.length; row += n)
    for (let i = 0; i < n; i++) {
      const d = off[row + i]!;
      if (d === 0) continue;
      let sum = 0;
      for (let j = 0; j < n; j++) sum += hessian[i * n + j]! * off[row + j]!;
      error += d * sum;
    }
  return error;
}

/** The error of weights rounded where each input's are multiplied by a scale, and its input divided. */
export function errorOfScaled(
  type: Precision,
  rows: Float32Array,
  hessian: Float64Array,
  scales: ArrayLike<number>,
): number {
  const n = scales.length;
  const large = rows.map((w, i) => w * scales[i % n]!);
  const importance = diagonalOf(hessian).map((square, i) => square / scales[i]! ** 2);
  const rounded = blockValues(type, roundBlocks(type, large, importance));
  return outputError(
    Float64Array.from(rows, (w, i) => w - rounded[i]! / scales[i % n]!),
    hessian,
  );
}

/** size^exponent, with the root of the largest times the smallest taken out. */
export function scalesFor(sizes: readonly number[], exponent: number): number[] {
  const raw = sizes.map((x) => Math.max(x ** exponent, 1e-4));
  const middle = Math.sqrt(Math.max(...raw) * Math.min(...raw));
  return raw.map((x) => x / middle);
}

/**
 * Multiplies the weights of inputs by scales, and divides by them what gives those inputs, so that the model
 * computes what it did. Of an input's size to the power of 0 to 0.95 (its root mean square over the texts of
 * `products`), layers that read the same get the one by which rounding to `type` changes their outputs least.
 * Returns the importance of each input by the name of its weight, for `roundBlocks`.
 *
 * Errors, each one line: another family than GPT-2's and Llama's; packed weights.
 */
export async function scaleForActivations(
  model: Shrinkable,
  type: Precision,
  products: InputProducts,
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<Map<string, Float64Array>> {
  const importance = new Map<string, Float64Array>();
  const groups = groupsOf(model);
  for (const [done, { from, into }] of groups.entries()) {
    const n = inputsOf(into[0]![1]);
    const hessian = products.of(`${into[0]![0]}.weight`);
    if (into.some(([, { weight }]) => weight.quantized) || from.weight.quantized)
      throw new Error(`awq: ${into[0]![0]} is quantised already; give a model of whole weights`);
    if (!hessian || n % size !== 0) continue;
    const squares = diagonalOf(hessian);
    const sizes = Array.from(squares, Math.sqrt);
    const samples = await Promise.all(into.map(async ([, layer]) => someRows(await rowsOf(layer), n)));
    let [best, least] = [new Array<number>(n).fill(1), Infinity];
    for (const exponent of exponents) {
      const scales = scalesFor(sizes, exponent);
      const error = samples.reduce((sum, rows) => sum + errorOfScaled(type, rows, hessian, scales), 0);
      if (error < least) [best, least] = [scales, error];
    }
    const [up, down] = [best, best.map((s) => 1 / s)].map((list) => tensor(Float32Array.from(list))) as [
      ReturnType<typeof tensor>,
      ReturnType<typeof tensor>,
    ];
    noGrad(() => {
      for (const [, layer] of into)
        assign(layer.weight, mul(layer.weight, layer instanceof Conv1D ? up.reshape(n, 1) : up));
      assign(from.weight, mul(from.weight, from instanceof Linear ? down.reshape(n, 1) : down));
      const bias = 'bias' in from ? from.bias : undefined;
      if (bias) assign(bias, mul(bias, down));
    });
    const counts = squares.map((square, i) => square / best[i]! ** 2);
    for (const [name] of into) importance.set(`${name}.weight`, counts);
    onProgress(done + 1, groups.length);
  }
  return importance;
}
