import { largestSingular } from '../../common/largest-singular.ts';
import { assign, noGrad, slice, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { PackedParameter } from '../nn/packed-parameter.ts';
import type { Parameter } from '../parameter.ts';
import type { Adapter } from './adapter.ts';
import { isPissa } from './config.ts';
import type { AdapterConfig, LoraConfig } from './config.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import type { LoraLayer, LowRank } from './lora.ts';

/**
 * PiSSA (Meng et al. 2024): A and B begin as A0 and B0, made of the largest singular values and vectors of
 * the weight W, and W counts without them: y = (W - s B0 A0) x + s B A x. PEFT writes W - s B0 A0 into the
 * base. Here W stays as it is, and the layer computes with A0 and B0 beside A and B: so W may be packed, or
 * tied to another layer's, other adapters and the base alone are what they were, and the files are those of
 * a plain adapter of rank 2 r, [A; A0] and [B, -B0], on the untouched base.
 */
export type PissaLayer = LoraLayer & { readonly began: LowRank };

const isPissaLayer = (layer: LayerAdapter): layer is PissaLayer => 'began' in layer;

/**
 * Gives an adapter's matrices their first values from the weights that they are put on. Error, one line: a
 * weight with fewer singular values than the rank.
 */
export async function beginPissa({ layers, config }: Adapter): Promise<void> {
  const rounds = Number(/_niter_(\d+)$/.exec(String((config as LoraConfig).initLoraWeights))?.[1] ?? Infinity);
  for (const layer of layers.filter(isPissaLayer)) {
    const [a, b] = layer.parameters.map(([, x]) => x) as [Parameter, Parameter];
    const [r, into, out] = [a.shape[0]!, a.shape[1]!, b.shape[0]!];
    if (r > Math.min(into, out))
      throw new Error(
        `adapter: ${layer.path} [${out}, ${into}] has ${Math.min(into, out)} singular values, and PiSSA takes the ` +
          `${r} largest; give a rank of at most so many`,
      );
    const { weight } = layer.layer as unknown as { readonly weight: Parameter };
    const values = (await (weight instanceof PackedParameter ? weight.elements() : weight).data()) as ArrayLike<number>;
    const [rows, columns] = weight.shape as [number, number];
    const isTransposed = layer.layer instanceof Conv1D; // [in, out]
    const { values: sizes, left, right } = largestSingular(values, rows, columns, r, { rounds });
    const [outer, inner] = isTransposed ? [right, left] : [left, right];
    const root = Array.from(sizes, (size) => Math.sqrt(size / layer.scaling));
    const first: LowRank = {
      a: tensor(
        Float32Array.from(
          { length: r * into },
          (_, i) => root[Math.floor(i / into)]! * inner[Math.floor(i / into)]![i % into]!,
        ),
        { shape: [r, into] },
      ),
      b: tensor(
        Float32Array.from({ length: out * r }, (_, i) => root[i % r]! * outer[i % r]![Math.floor(i / r)]!),
        { shape: [out, r] },
      ),
    };
    noGrad(() => {
      for (const [to, from] of [
        [a, first.a],
        [b, first.b],
        [layer.began.a, first.a],
        [layer.began.b, first.b],
      ] as const)
        assign(to, from);
    });
    for (const x of [first.a, first.b]) x.storage.free();
  }
}

/** The settings of an adapter as its file has them: those of a plain one. */
export function plainConfig(adapter: Adapter): AdapterConfig {
  const { config } = adapter;
  if (!isPissa(config)) return config;
  const twice = (values: Readonly<Record<string, number>>, factor = 2): Record<string, number> =>
    Object.fromEntries(Object.entries(values).map(([key, value]) => [key, factor * value]));
  // The scale, alpha / r or alpha / sqrt(r), stays what it was.
  const factor = config.useRslora ? Math.SQRT2 : 2;
  // Tables of embeddings begin as with `true`, and keep their rank.
  const others = adapter.layers.filter((layer): layer is LoraLayer => 'scaling' in layer && !isPissaLayer(layer));
  const ranks = Object.fromEntries(others.map(({ path, a }) => [path, a.shape[0]!]));
  const alphas = others.map(({ path, a, scaling }) => [
    path,
    scaling * (config.useRslora ? Math.sqrt(a.shape[0]!) : a.shape[0]!),
  ]);
  return {
    ...config,
    initLoraWeights: true,
    r: 2 * config.r,
    loraAlpha: factor * config.loraAlpha,
    rankPattern: { ...ranks, ...twice(config.rankPattern) },
    alphaPattern: { ...(Object.fromEntries(alphas) as Record<string, number>), ...twice(config.alphaPattern, factor) },
  };
}

/** An adapter's tensors as its file has them, those of a plain one. */
export function plainTensors(adapter: Adapter, tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const whole = new Map(
    adapter.layers.filter(isPissaLayer).flatMap((layer) => {
      const [a, b] = layer.parameters.map(([, x]): Tensor => x);
      return noGrad(() => [[a!, layer.a] as const, [b!, layer.b] as const]);
    }),
  );
  return new Map([...tensors].map(([key, x]) => [key, whole.get(x) ?? x]));
}

/** Takes what was read into `plainTensors` apart again. */
export function takeApart(adapter: Adapter, own: ReadonlyMap<string, Tensor>, read: ReadonlyMap<string, Tensor>): void {
  const keys = new Map([...own].map(([key, x]) => [x, key]));
  noGrad(() => {
    for (const { parameters, began } of adapter.layers.filter(isPissaLayer)) {
      const [a, b] = parameters.map(([, x]) => x) as [Parameter, Parameter];
      const [bothA, bothB] = [read.get(keys.get(a)!)!, read.get(keys.get(b)!)!];
      const r = a.shape[0]!;
      assign(a, slice(bothA, [0, r]));
      assign(began.a, slice(bothA, [r, 2 * r]));
      assign(b, slice(bothB, [], [0, r]));
      assign(began.b, slice(bothB, [], [r, 2 * r]).neg());
    }
  });
}
