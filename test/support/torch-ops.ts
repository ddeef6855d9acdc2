import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/** How each op of test/golden/torch-ops.json, with PyTorch's arguments, is called here. */
export type Attrs = Readonly<Record<string, unknown>>;
type Call = (x: readonly Tensor[], attrs: Attrs) => Tensor | readonly Tensor[];

const axesOf = (attrs: Attrs): number | readonly number[] | undefined =>
  (attrs.dim ?? undefined) as number | readonly number[] | undefined;
const axisOf = (attrs: Attrs): number => attrs.dim as number;
const keep = (attrs: Attrs) => ({ keepDims: attrs.keepdim === true });
/** The inputs that were left out are null in the file and missing here. */
const optional = (x: readonly (Tensor | undefined)[], i: number): Tensor | undefined => x[i];

/**
 * torch.max and min along an axis also give indices, and their gradient goes to one of equals: amax and amin
 * are what max and min are here.
 */
const extreme =
  (kind: 'max' | 'min'): Call =>
  ([x], attrs) => {
    const y = tf[kind](x!, axesOf(attrs), keep(attrs));
    if (attrs.dim === null) return y;
    const at = kind === 'max' ? tf.argmax : tf.argmin;
    return [y.detach(), at(x!, axisOf(attrs), keep(attrs))];
  };

/** torch.nn.functional.pad lists the last axis first. */
function pad(x: Tensor, attrs: Attrs): Tensor {
  const flat = attrs.pad as readonly number[];
  const pairs = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!] as const).reverse();
  return tf.pad(x, pairs, attrs.value as number);
}

function roll(x: Tensor, attrs: Attrs): Tensor {
  if (attrs.dims === null) return tf.reshape(tf.roll(tf.flatten(x), attrs.shifts as number), x.shape);
  const shifts = attrs.shifts as readonly number[];
  return (attrs.dims as readonly number[]).reduce((y, axis, i) => tf.roll(y, shifts[i]!, axis), x);
}

/** Norms over several axes are norms over one of their product. */
function overLast(x: readonly Tensor[], attrs: Attrs, norm: (x: Tensor, w?: Tensor, b?: Tensor) => Tensor): Tensor {
  const axes = (attrs.normalizedShape as readonly number[]).length;
  const flat = tf.reshape(x[0]!, [
    ...x[0]!.shape.slice(0, -axes),
    (attrs.normalizedShape as number[]).reduce((a, b) => a * b, 1),
  ]);
  const [w, b] = [optional(x, 1), optional(x, 2)].map((p) => p && tf.flatten(p));
  return tf.reshape(norm(flat, w, b), x[0]!.shape);
}

const one =
  (fn: (x: Tensor) => Tensor): Call =>
  ([x]) =>
    fn(x!);
const two =
  (fn: (a: Tensor, b: Tensor, attrs: never) => Tensor): Call =>
  ([a, b], attrs) =>
    fn(a!, b!, attrs as never);
const conv =
  (fn: typeof tf.conv1d): Call =>
  (x, attrs) =>
    fn(x[0]!, x[1]!, optional(x, 2), attrs as tf.ConvOptions);

export const calls: Readonly<Record<string, Call>> = {
  crossEntropy: (x, attrs) => tf.crossEntropy(x[0]!, x[1]!, { ...attrs, weight: optional(x, 2) }),
  bceWithLogits: (x, attrs) =>
    tf.bceWithLogits(x[0]!, x[1]!, { ...attrs, weight: optional(x, 2), posWeight: optional(x, 3) }),
  klDiv: ([x, t], { reduction, ...attrs }) =>
    tf.klDiv(x!, t!, { ...attrs, reduction: reduction === 'batchmean' ? 'batchMean' : (reduction as 'mean') }),
  mse: two(tf.mse),
  l1: two(tf.l1),
  huber: two(tf.huber),
  smoothL1: two(tf.smoothL1),
  cosineSimilarity: ([a, b], attrs) => tf.cosineSimilarity(a!, b!, { axis: axisOf(attrs), eps: attrs.eps as number }),
  layerNorm: (x, attrs) => overLast(x, attrs, (y, w, b) => tf.layerNorm(y, w, b, attrs.eps as number)),
  rmsNorm: (x, attrs) => overLast(x, attrs, (y, w) => tf.rmsNorm(y, w, attrs.eps as number)),
  gelu: ([x], attrs) => tf.gelu(x!, attrs),
  silu: one(tf.silu),
  sigmoid: one(tf.sigmoid),
  tanh: one(tf.tanh),
  relu: one(tf.relu),
  abs: one(tf.abs),
  sign: one(tf.sign),
  erf: one(tf.erf),
  exp: one(tf.exp),
  log1p: one(tf.log1p),
  sqrt: one(tf.sqrt),
  rsqrt: one(tf.rsqrt),
  log: one(tf.log),
  pow: ([x, y], attrs) => tf.pow(x!, y ?? (attrs.exponent as number)),
  clamp: ([x], attrs) => tf.clamp(x!, attrs.min as number | undefined, attrs.max as number | undefined),
  maximum: two(tf.maximum),
  minimum: two(tf.minimum),
  where: ([c, a, b]) => tf.where(c!, a!, b!),
  div: two(tf.div),
  max: extreme('max'),
  min: extreme('min'),
  amax: ([x], attrs) => tf.max(x!, axesOf(attrs)),
  amin: ([x], attrs) => tf.min(x!, axesOf(attrs)),
  argmax: ([x], attrs) => tf.argmax(x!, attrs.dim === null ? undefined : axisOf(attrs)),
  argmin: ([x], attrs) => tf.argmin(x!, attrs.dim === null ? undefined : axisOf(attrs)),
  sum: ([x], attrs) => tf.sum(x!, axesOf(attrs), keep(attrs)),
  mean: ([x], attrs) => tf.mean(x!, axesOf(attrs), keep(attrs)),
  cumsum: ([x], attrs) => tf.cumsum(x!, axisOf(attrs)),
  var: ([x], attrs) => tf.variance(x!, axesOf(attrs), { ...keep(attrs), correction: attrs.correction as number }),
  logsumexp: ([x], attrs) => tf.logsumexp(x!, axesOf(attrs)),
  softmax: ([x], attrs) => tf.softmax(x!, axisOf(attrs)),
  logSoftmax: ([x], attrs) => tf.logSoftmax(x!, axisOf(attrs)),
  gather: ([x, i], attrs) => tf.gather(x!, axisOf(attrs), i!),
  indexSelect: ([x, i], attrs) => tf.indexSelect(x!, axisOf(attrs), i!),
  scatterAdd: ([x, i, s], attrs) => tf.scatterAdd(x!, axisOf(attrs), i!, s!),
  embedding: ([w, i], attrs) => tf.embedding(w!, i!, attrs),
  oneHot: ([i], attrs) => tf.oneHot(i!, attrs.numClasses as number),
  tril: ([x], attrs) => tf.tril(x!, attrs.diagonal as number),
  triu: ([x], attrs) => tf.triu(x!, attrs.diagonal as number),
  roll: ([x], attrs) => roll(x!, attrs),
  flip: ([x], attrs) => tf.flip(x!, attrs.dims as readonly number[]),
  pad: ([x], attrs) => pad(x!, attrs),
  einsum: (x, attrs) => tf.einsum(attrs.equation as string, ...x),
  matmul: two(tf.matmul),
  scaledDotProductAttention: (x, { isCausal, scale }) =>
    tf.scaledDotProductAttention(x[0]!, x[1]!, x[2]!, {
      mask: optional(x, 3),
      causal: isCausal === true,
      scale: scale as number | undefined,
    }),
  conv1d: conv(tf.conv1d),
  conv2d: conv(tf.conv2d),
};
