import {
  add,
  concat,
  div,
  dropout,
  embedding,
  linear,
  matmul,
  mul,
  noGrad,
  pow,
  reshape,
  sqrt,
  sub,
  sum,
  transpose,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Conv1D } from '../nn/conv1d.ts';
import { Embedding } from '../nn/embedding.ts';
import { normalInit, parameter, uniformInit, zerosInit } from '../parameter.ts';
import type { Initializer } from '../parameter.ts';
import { isPissa } from './config.ts';
import type { LoraConfig } from './config.ts';
import { as } from './layer-adapter.ts';
import type { LayerAdapter } from './layer-adapter.ts';
import { byPattern } from './targets.ts';
import type { Target } from './targets.ts';

/** One layer's low-rank matrices: A [r, in], B [out, r]; their product counts `scaling` times. */
export interface LoraLayer extends LayerAdapter {
  /** With PiSSA [2r, in] and [out, 2r], what is trained and behind it what it began as, subtracted. */
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scaling: number;
  /** Whether A and B are all that there is to it: no magnitudes. */
  readonly isPlain: boolean;
  /** Of PiSSA, what A and B began as: the base's weight counts without their product. */
  readonly began?: LowRank;
}

/** A [r, in], B [out, r]. */
export interface LowRank {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** Whether an adapter of a layer has low-rank matrices and nothing else. */
export const isLowRank = (layer: LayerAdapter): layer is LoraLayer => 'isPlain' in layer && layer.isPlain === true;

/** Low-rank matrices for a layer, see `LoraConfig`. Of a table of embeddings, in is its number of rows. */
export function loraLayer(target: Target, config: LoraConfig): LoraLayer {
  const { path, layer } = target;
  const r = byPattern(config.rankPattern, path, config.r);
  const alpha = byPattern(config.alphaPattern, path, config.loraAlpha);
  const scaling = alpha / (config.useRslora ? Math.sqrt(r) : r);
  const isTable = layer instanceof Embedding;
  const isTransposed = isTable || layer instanceof Conv1D; // weights [in, out]
  const [out, into] = isTransposed ? [layer.weight.shape[1]!, layer.weight.shape[0]!] : layer.weight.shape;
  const [aInit, bInit] = firstValues(config.initLoraWeights, r, into!, isTable);
  const a = parameter([r, into!], aInit);
  const b = parameter([out!, r], bInit);
  // Zeros until the base's weight was read, see pissa.ts.
  const began = isPissa(config) && !isTable ? beginning(r, into!, out!) : undefined;
  const whole = (): LowRank => (began ? sideBySide({ a, b }, began) : { a, b });
  /** scaling * B A, as the layer's weight lies. */
  const delta = (): Tensor => {
    const all = whole();
    const product = mul(matmul(all.b, all.a), scaling);
    return isTransposed ? transpose(product) : product;
  };
  const drop = (x: Tensor): Tensor => dropout(x, config.loraDropout, { training: layer.training });
  const magnitude = config.useDora
    ? parameter([out!], () => noGrad(() => rowLengths(add(layer.weight, delta()), isTransposed)))
    : undefined;
  /**
   * What W + scaling * B A is multiplied by, for each output, so that its rows get the lengths of
   * `magnitude`.
   */
  const factor = (): Tensor =>
    div(
      magnitude!,
      noGrad(() => rowLengths(add(layer.weight, as(layer.weight, delta())), isTransposed)),
    );
  const ofInput = (x: Tensor, of: LowRank): Tensor => as(x, linear(mul(linear(as(a, x), of.a), scaling), of.b));
  /** What the base gives, without what A and B began as. */
  const rest = (output: Tensor, x: Tensor): Tensor => (began ? sub(output, as(output, ofInput(x, began))) : output);
  const directed: LayerAdapter['after'] = (output, x) => {
    const { bias } = layer as Exclude<Target['layer'], Embedding>;
    const dropped = drop(x);
    const weight = isTransposed ? transpose(layer.weight) : layer.weight;
    const base = rest(output, x);
    const plain = dropped !== x ? rest(linear(dropped, weight), dropped) : bias ? sub(base, bias) : base;
    const times = factor(); // (out)
    return add(base, as(output, add(mul(plain, sub(times, 1)), mul(ofInput(dropped, { a, b }), times))));
  };
  const ofIndex: LayerAdapter['after'] = (output, index) => {
    const { paddingIdx } = layer as Embedding;
    const low = mul(linear(embedding(transpose(a), index, { paddingIdx }), b), scaling); // (..., out)
    if (!magnitude) return add(output, as(output, low));
    const times = factor();
    return add(mul(output, as(output, times)), as(output, mul(low, times)));
  };
  const low: LayerAdapter['after'] = (output, x) => add(rest(output, x), as(output, ofInput(drop(x), { a, b })));
  return {
    path,
    layer,
    get a() {
      return whole().a;
    },
    get b() {
      return whole().b;
    },
    ...(began && { began }),
    scaling,
    isPlain: magnitude === undefined,
    parameters: [
      [isTable ? 'lora_embedding_A' : 'lora_A.weight', a],
      [isTable ? 'lora_embedding_B' : 'lora_B.weight', b],
      ...(magnitude ? [['lora_magnitude_vector', magnitude] as const] : []),
    ],
    after: isTable ? ofIndex : magnitude ? directed : low,
    merged: (name, before) => {
      if (name === 'bias') return undefined;
      const changed = add(before, as(before, delta()));
      return magnitude ? mul(changed, as(changed, isTransposed ? factor() : reshape(factor(), [-1, 1]))) : changed;
    },
  };
}

/** A0 and B0 before the weight was read: zeros. */
const beginning = (r: number, into: number, out: number): LowRank =>
  noGrad(() => ({ a: zeros([r, into]).keep(), b: zeros([out, r]).keep() }));

/** [A; A0] and [B, -B0], which say the same in one adapter. */
const sideBySide = (now: LowRank, began: LowRank): LowRank => ({
  a: concat([now.a, began.a], 0),
  b: concat([now.b, began.b.neg()], 1),
});

/** The lengths of a weight's rows, one for each output; with `transposed` those of its columns. */
const rowLengths = (weight: Tensor, transposed: boolean): Tensor => sqrt(sum(pow(weight, 2), transposed ? 0 : 1));

/** How A and B begin, as in PEFT. */
function firstValues(
  init: LoraConfig['initLoraWeights'],
  r: number,
  into: number,
  isTable: boolean,
): [a: Initializer, b: Initializer] {
  const even = (count: number): Initializer => uniformInit(1 / Math.sqrt(count));
  if (init === false) return isTable ? [normalInit(1), normalInit(1)] : [even(into), even(r)];
  if (isTable) return [zerosInit, normalInit(1)];
  return [init === 'gaussian' ? normalInit(1 / r) : even(into), zerosInit];
}
