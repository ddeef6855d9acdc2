import { norm, normBackward, normParameters, normParts, sumNormParts } from '../../kernels/norm.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { sizeOf } from '../../kernels/layout.ts';
import { context } from '../context.ts';
import { fill, sourceOf } from '../lower/elementwise.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op, Spec } from '../op.ts';
import { requireFloat, show } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { add, mul, rsqrt, sub } from './arithmetic.ts';
import { cast, sumTo } from './broadcast.ts';
import { compositeVjp } from './composite.ts';
import { mean } from './reduce.ts';
import { reshape } from './reshape.ts';

interface NormAttrs {
  readonly centre: boolean;
  readonly epsilon: number;
  /** Type that the result is stored in, default the input's. Norms are computed in f32. */
  readonly output?: Dtype;
}

type NormInputs = { x: Tensor; weight?: Tensor; bias?: Tensor };
type NormOutputs = { y: Tensor; stats: Tensor };

/**
 * y = rows of x [..., cols], normalised, times weight [cols], plus bias [cols]; stats f32 [..., 2] holds the
 * mean and 1 / sqrt(variance + epsilon) of each row.
 */
const normOp: Op<NormInputs, NormOutputs, NormAttrs> = defineOp<NormInputs, NormOutputs, NormAttrs>({
  name: ({ centre }) => (centre ? 'layerNorm' : 'rmsNorm'),
  infer({ x, weight, bias }, { centre, output }) {
    const name = centre ? 'layerNorm' : 'rmsNorm';
    requireFloat(name, x);
    if (x.shape.length === 0) throw new ShapeError(`${name}: needs at least one axis to normalise, got a scalar`);
    for (const parameter of [weight, bias]) checkParameter(name, x, parameter);
    return {
      y: { shape: x.shape, dtype: output ?? x.dtype },
      stats: { shape: [...x.shape.slice(0, -1), 2], dtype: 'f32' },
    };
  },
  lower({ emit, source, sink }, { x, weight, bias }, { stats }, attrs) {
    const parameter = (p: Tensor | undefined) => p && sourceOf(p, x.shape);
    emit(norm, { x: source('x'), weight: parameter(weight), bias: parameter(bias), y: sink(), stats }, attrs);
  },
  fuses: { epilogue: true, prologues: ['x'], repeats: true },
  axes: () => ({ of: { x: '...C', weight: 'C', bias: 'C', y: '...C', stats: '...S' } }),
  saves: { inputs: ['x', 'weight'], outputs: ['stats'] },
  vjp({ g, input, output, specs, attrs, needs }) {
    const [x, weight, stats] = [input('x'), input('weight'), output('stats')];
    const dx = needs('x') ? apply(normBackwardOp, { g, x, stats, weight }, attrs).dx : null;
    if (!needs('weight') && !needs('bias')) return { x: dx };
    const types = [specs.weight!.dtype, ...(specs.bias ? [specs.bias.dtype] : [])];
    const { weight: dw, bias: db } = apply(normParametersOp, { g, x, stats }, { ...attrs, types });
    return { x: dx, weight: dw, bias: db };
  },
});

type ParameterGradients = { weight: Tensor; bias?: Tensor };
type ParameterAttrs = NormAttrs & { readonly types: readonly Dtype[] };

/** Cotangents of weight and, for layer norm, bias. */
const normParametersOp = defineOp<{ g: Tensor; x: Tensor; stats: Tensor }, ParameterGradients, ParameterAttrs>({
  name: ({ centre }) => (centre ? 'layerNormParameters' : 'rmsNormParameters'),
  infer({ x }, { types: [weight, bias] }) {
    const shape = [x.shape.at(-1)!];
    return { weight: { shape, dtype: weight! }, ...(bias ? { bias: { shape, dtype: bias } } : {}) };
  },
  lower(lowering, { x, stats }, { weight, bias }) {
    if (x.size === 0) return [weight, bias].forEach((y) => y && fill(lowering, y, 0));
    const operands = { g: lowering.source('g'), x: lowering.source('x'), stats };
    const parts = normParts(x.shape, lowering.target);
    if (parts === 1) return lowering.emit(normParameters, { ...operands, dw: weight, db: bias }, { parts });
    const [wParts, bParts] = [weight, bias].map((y) => y && lowering.temporary([parts, x.shape.at(-1)!], 'f32'));
    lowering.emit(normParameters, { ...operands, dw: wParts!, db: bParts }, { parts });
    lowering.emit(sumNormParts, { wParts: wParts!, bParts, dw: weight, db: bias }, null);
  },
  fuses: { prologues: ['g'] },
  axes: () => ({ of: { g: '...C', x: '...C', stats: '...S', weight: 'C', bias: 'C' } }),
  saves: { inputs: ['g', 'x', 'stats'] },
  vjp: compositeVjp(({ g, x }, attrs) => {
    const to = (full: Tensor, i: number): Tensor => sumTo(full, [x.shape.at(-1)!], attrs.types[i]!);
    return {
      weight: to(mul(g, standardise(x, attrs).xhat), 0),
      ...(attrs.types.length > 1 ? { bias: to(g, 1) } : {}),
    };
  }),
});

type BackwardInputs = { g: Tensor; x: Tensor; stats: Tensor; weight?: Tensor };

/** Cotangent of x. Stats depend on x too: the composite computes them from x, to be differentiated again. */
const normBackwardOp = defineOp<BackwardInputs, { dx: Tensor }, NormAttrs>({
  name: ({ centre }) => (centre ? 'layerNormBackward' : 'rmsNormBackward'),
  infer: ({ x }) => ({ dx: { shape: x.shape, dtype: x.dtype } }),
  lower({ emit, source, sink }, { x, stats, weight }, _, attrs) {
    const scale = weight && sourceOf(weight, x.shape);
    emit(normBackward, { g: source('g'), x: source('x'), weight: scale, stats, y: sink() }, attrs);
  },
  fuses: { epilogue: true, prologues: ['g'], repeats: true },
  axes: () => ({ of: { g: '...C', x: '...C', stats: '...S', weight: 'C', dx: '...C' } }),
  saves: { inputs: ['g', 'x', 'stats', 'weight'] },
  vjp: compositeVjp(({ g, x, weight }, attrs) => {
    const h = weight ? mul(g, weight) : g;
    const { rstd, xhat } = standardise(x, attrs);
    const along = mul(xhat, mean(mul(h, xhat), -1, { keepDims: true }));
    const centred = attrs.centre ? sub(h, mean(h, -1, { keepDims: true })) : h;
    return { dx: cast(mul(rstd, sub(centred, along)), x.dtype) };
  }),
});

function checkParameter(name: string, x: Spec, parameter: Spec | undefined): void {
  if (!parameter) return;
  const cols = x.shape.at(-1);
  if (parameter.shape.length !== 1 || parameter.shape[0] !== cols) {
    throw new ShapeError(
      `${name}: weight and bias of ${show(x.shape)} must be [${cols ?? ''}], got ${show(parameter.shape)}`,
    );
  }
  requireFloat(name, parameter);
}

/** Computes the normalised rows and 1 / sqrt(variance + epsilon) of each, in ops on x. */
function standardise(x: Tensor, { centre, epsilon }: NormAttrs): { xhat: Tensor; rstd: Tensor } {
  const centred = centre ? sub(x, mean(x, -1, { keepDims: true })) : x;
  const rstd = rsqrt(add(mean(mul(centred, centred), -1, { keepDims: true }), epsilon));
  return { xhat: mul(centred, rstd), rstd };
}

/**
 * Computes (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis: layer normalisation (Ba
 * et al. 2016). x is [..., cols], weight and bias [cols].
 *
 * @example
 * layerNorm(tensor([[1, 2, 3]])); // [[-1.2247, 0, 1.2247]]
 */
export function layerNorm(x: Tensor, weight?: Tensor, bias?: Tensor, epsilon = 1e-5): Tensor {
  if (bias && !weight) throw new ShapeError('layerNorm: a bias needs a weight');
  return apply(normOp, { x, weight, bias }, { centre: true, epsilon, output: context().autocast?.store }).y;
}

/**
 * Computes x / sqrt(mean(x^2) + epsilon) * weight over the last axis: root-mean-square normalisation (Zhang
 * and Sennrich 2019). x is [..., cols], weight [cols].
 *
 * @example
 * rmsNorm(tensor([[3, 4]])); // [[0.8485, 1.1314]]
 */
export function rmsNorm(x: Tensor, weight?: Tensor, epsilon = 1e-6): Tensor {
  return apply(normOp, { x, weight }, { centre: false, epsilon, output: context().autocast?.store }).y;
}

/**
 * Normalises each of `groups` groups of neighbouring channels over its channels and places (Wu and He 2018;
 * torch.nn.functional.group_norm): x is [N, C, ...], weight and bias [C].
 *
 * @example
 * groupNorm(tensor([[1, 3, 5, 9]]), 2); // [[-1.000, 1.000, -1.000, 1.000]]
 */
export function groupNorm(x: Tensor, groups: number, weight?: Tensor, bias?: Tensor, epsilon = 1e-5): Tensor {
  const channels = x.shape[1] ?? 0;
  if (x.ndim < 2 || !(Number.isInteger(groups) && groups > 0) || channels % groups !== 0)
    throw new ShapeError(
      `groupNorm: ${groups} groups must divide the channels of an input [N, C, ...], got ${show(x.shape)}`,
    );
  for (const own of [weight, bias]) {
    if (own && (own.ndim !== 1 || own.shape[0] !== channels))
      throw new ShapeError(
        `groupNorm: weight and bias of ${show(x.shape)} must be [${channels}], got ${show(own.shape)}`,
      );
  }
  const rows = [x.shape[0]!, groups, (channels / groups) * sizeOf(x.shape.slice(2))];
  const y = reshape(layerNorm(reshape(x, rows), undefined, undefined, epsilon), x.shape);
  const perChannel = (own: Tensor): Tensor => reshape(own, [channels, ...x.shape.slice(2).map(() => 1)]);
  const scaled = weight ? mul(y, perChannel(weight)) : y;
  return bias ? add(scaled, perChannel(bias)) : scaled;
}
