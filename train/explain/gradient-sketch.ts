// Gradients of single examples for all linear layers, small enough to keep: both sides projected at random.
import {
  add,
  compile,
  concat,
  crossEntropy,
  enableGrad,
  grad,
  matmul,
  reshape,
  sum,
  tensor,
  transpose,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { Linear, rowLimits, withHooks } from '../../models/index.ts';
import type { Module, ModuleHooks, SequenceClassificationModel, TextEncoder } from '../../models/index.ts';
import { paddingOf } from '../../models/pipelines/encoder.ts';
import { forEachBatch, inputsOf, padRows } from '../../models/pipelines/rows.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';

export interface SketchOptions {
  /**
   * Numbers that each side of a weight's gradient is projected to, so that it has the square of it; a side
   * that has no more is kept as it is. Default 16.
   */
  readonly size?: number;
  /** Of the projections; default 0. */
  readonly seed?: number;
  readonly batchSize?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

const logitsOf = (model: SequenceClassificationModel, batch: object): Tensor =>
  (model.forward(batch as never) as { readonly logits: Tensor }).logits;

/** A normal matrix [width, size] that keeps products in the mean; undefined where nothing is gained. */
function projection(width: number, size: number, random: Random): Tensor | undefined {
  if (width <= size) return undefined;
  const values = Float32Array.from({ length: width * size }, () => random.normal() / Math.sqrt(size));
  return tensor(values, { shape: [width, size] });
}

interface Sides {
  readonly into: Tensor | undefined;
  readonly out: Tensor | undefined;
}

const projected = (x: Tensor, by: Tensor | undefined): Tensor => (by ? matmul(x, by) : x);

/**
 * The gradient of each row's loss for the weights and biases of all linear layers of a classifier, projected:
 * the gradient of a weight is a sum over tokens of errors by inputs, and with both projected at random the
 * product of two of them is that of the whole gradients in the mean (as TRAK, Park et al. 2023, and LoGra,
 * Choe et al. 2024, do). `labels`: the class of each row. Error, one line: packed weights.
 *
 * @example
 * const classifier = await pipeline('text-classification');
 * const rows = tokenise(classifier.tokenizer, [{ text: 'Win a prize', label: 1 }], 64);
 * (await gradientSketches(classifier, rows, [1])).length; // 1
 */
export async function gradientSketches(
  { model, tokenizer }: TextEncoder<SequenceClassificationModel>,
  rows: readonly TokenRow[],
  labels: readonly number[],
  { size = 16, seed = 0, batchSize = 16, onProgress }: SketchOptions = {},
): Promise<Float32Array[]> {
  const layers = model.modules().filter((module): module is Linear => module instanceof Linear);
  if (layers.some(({ weight }) => weight.quantized))
    throw new Error(
      `influence: a ${model.constructor.name} has packed weights, whose gradients are not known; give a classifier ` +
        'of whole weights',
    );
  const sides = new Map<Module, Sides>();
  for (const [i, layer] of layers.entries()) {
    const random = new Random(seed, i);
    const [out, into] = layer.weight.shape as [number, number];
    sides.set(layer, { into: projection(into, size, random), out: projection(out, size, random) });
  }
  const sketch = compile(
    (batch: ReturnType<typeof inputsOf>, wanted: Tensor) => {
      const seen: { readonly layer: Module; readonly x: Tensor; readonly probe: Tensor }[] = [];
      const hooks = layers.map((module): ModuleHooks => ({
        module,
        // What is added to an output has the gradient of the output.
        after: (layer, [x], y: unknown) => {
          const probe = zeros([...(y as Tensor).shape]);
          probe.requiresGrad = true;
          seen.push({ layer, x: (x as Tensor).detach(), probe });
          return add(y as Tensor, probe);
        },
      }));
      const loss = enableGrad(() =>
        withHooks(hooks, () => crossEntropy(logitsOf(model, batch), wanted, { reduction: 'sum' }), 'influence'),
      );
      const errors = grad(
        loss,
        seen.map(({ probe }) => probe),
      );
      const count = wanted.shape[0]!;
      const found = new Map<Module, Tensor>();
      for (const [i, { layer, x }] of seen.entries()) {
        const { into, out } = sides.get(layer)!;
        const byToken = (t: Tensor): Tensor => reshape(t, [count, -1, t.shape.at(-1)!]); // (B, T, ...)
        const error = projected(byToken(errors[i]!), out);
        const weight = matmul(transpose(error, 1, 2), projected(byToken(x), into)); // (B, out, in), projected
        const own = concat([reshape(weight, [count, -1]), sum(error, 1)], 1);
        // A layer that runs more than once has the sum of its gradients.
        found.set(layer, found.has(layer) ? add(found.get(layer)!, own) : own);
      }
      return concat([...found.values()], 1);
    },
    { name: 'gradient sketches', maxPrograms: 32, log: () => undefined },
  );
  const sketches = new Array<Float32Array>(rows.length);
  let done = 0;
  await forEachBatch(model, rows, batchSize, async (indices) => {
    const chosen = indices.map((i) => rows[i]!);
    const inputs = inputsOf(padRows(chosen, paddingOf({ model, tokenizer }), rowLimits(model)));
    const wanted = tensor(Int32Array.from(indices, (i) => labels[i]!));
    const data = await sketch(inputs, wanted).data();
    const width = data.length / indices.length;
    for (const [at, i] of indices.entries()) sketches[i] = Float32Array.from(data.slice(at * width, (at + 1) * width));
    onProgress?.((done += indices.length), rows.length);
  });
  return sketches;
}
