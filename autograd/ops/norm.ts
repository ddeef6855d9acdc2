import { norm as normKernel, normBackward } from '../../kernels/norm.ts';
import { chooseColumnTile, normParameters } from '../../kernels/norm-parameters.ts';
import { sizeOf } from '../../kernels/layout.ts';
import { chooseLanes } from '../../kernels/rows.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { autocastStore } from '../casting.ts';
import { rowBlocks, rowSumBlocks } from '../blocks/leading.ts';
import { compositeVjp } from '../composite.ts';
import { requireFloat, show } from '../dtypes.ts';
import { sourceOf } from '../ports.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { add, mul, rsqrt, sub } from './arithmetic.ts';
import { cast, sumTo } from './broadcast.ts';
import { fillInto } from './fill.ts';
import { mean } from './reduce.ts';

interface NormAttrs {
  readonly centre: boolean;
  readonly epsilon: number;
  /** Type that the result is stored in, default the input's. Everything is computed in f32. */
  readonly output?: Dtype;
}

/**
 * Inputs x [..., cols], (weight [cols],) (bias [cols]); outputs y and stats [..., 2]: mean and reciprocal
 * deviation of each row.
 */
const normOp: Op<NormAttrs> = defineOp<NormAttrs>({
  name: ({ centre }) => (centre ? 'layerNorm' : 'rmsNorm'),
  infer([x, weight, bias], { centre, output }) {
    const name = centre ? 'layerNorm' : 'rmsNorm';
    requireFloat(name, x!);
    if (x!.shape.length === 0) throw new ShapeError(`${name}: needs at least one axis to normalise, got a scalar`);
    for (const parameter of [weight, bias]) checkParameter(name, x!, parameter);
    return [
      { shape: x!.shape, dtype: output ?? x!.dtype },
      { shape: [...x!.shape.slice(0, -1), 2], dtype: 'f32' },
    ];
  },
  lower({ emit, source, sink, target }, [x, ...parameters], [, stats], { centre, epsilon }) {
    const cols = x!.shape.at(-1)!;
    const [from, to] = [source(0), sink()];
    const [weight, bias] = parameters.map((parameter) => sourceOf(parameter, x!.shape));
    const dispatch = normKernel({
      rows: sizeOf(x!.shape.slice(0, -1)),
      cols,
      lanes: chooseLanes(target, cols),
      centre,
      epsilon,
      x: from.elements,
      weight: weight?.elements,
      bias: bias?.elements,
      y: to.elements,
    });
    emit(dispatch, [...from.tensors, ...parameters, ...to.tensors, stats!]);
  },
  fuses: { epilogue: true, prologues: [0], repeats: true },
  blocks: rowBlocks(() => [1, 2]),
  saves: { inputs: [0, 1], outputs: [1] },
  vjp({ g, input, output, specs, attrs, needs }) {
    const [x, stats] = [input(0), output(1)];
    const weight = specs.length > 1 ? input(1) : undefined;
    const [dx] = needs(0) ? apply(normBackwardOp, [g, x, stats, ...(weight ? [weight] : [])], attrs) : [null];
    if (!weight) return [dx!];
    const types = specs.slice(1).map(({ dtype }) => dtype);
    const [dw, db] = needs(1) || needs(2) ? apply(normParametersOp, [g, x, stats], { ...attrs, types }) : [null, null];
    return [dx!, dw!, ...(specs.length > 2 ? [db!] : [])];
  },
});

/** Inputs g, x, stats; outputs the cotangents of weight and, for layer norm, bias. */
const normParametersOp = defineOp<NormAttrs & { readonly types: readonly Dtype[] }>({
  name: ({ centre }) => (centre ? 'layerNormParameters' : 'rmsNormParameters'),
  infer: ([, x], { types }) => types.map((dtype) => ({ shape: [x!.shape.at(-1)!], dtype })),
  lower(lowering, [, x, stats], outputs) {
    const rows = sizeOf(x!.shape.slice(0, -1));
    if (rows === 0) return outputs.forEach((y) => fillInto(lowering, y, 0));
    const [g, from] = [lowering.source(0), lowering.source(1)];
    const [weight, bias] = outputs.map(({ dtype }) => dtype) as [Dtype, Dtype?];
    const tile = chooseColumnTile(lowering.target);
    const cols = x!.shape.at(-1)!;
    const dispatch = normParameters({ rows, cols, tile, g: g.elements, x: from.elements, weight, bias });
    lowering.emit(dispatch, [...g.tensors, ...from.tensors, stats!, ...outputs]);
  },
  fuses: { prologues: [0] },
  blocks: rowSumBlocks(),
  saves: { inputs: [0, 1, 2] },
  vjp: compositeVjp(([g, x], attrs) => {
    const sums = [mul(g!, standardise(x!, attrs).xhat), g!].slice(0, attrs.types.length);
    return sums.map((full, i) => sumTo(full, [x!.shape.at(-1)!], attrs.types[i]!));
  }),
});

/** Inputs g, x, stats, (weight). Stats depend on x: the composite derives them again. */
const normBackwardOp = defineOp<NormAttrs>({
  name: ({ centre }) => (centre ? 'layerNormBackward' : 'rmsNormBackward'),
  infer: ([, x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower({ emit, source, sink, target }, [, x, stats, weight], _, { centre }) {
    const cols = x!.shape.at(-1)!;
    const [g, from, to] = [source(0), source(1), sink()];
    const dispatch = normBackward({
      rows: sizeOf(x!.shape.slice(0, -1)),
      cols,
      lanes: chooseLanes(target, cols),
      centre,
      g: g.elements,
      x: from.elements,
      weight: weight && sourceOf(weight, x!.shape).elements,
      y: to.elements,
    });
    emit(dispatch, [...g.tensors, ...from.tensors, ...(weight ? [weight] : []), stats!, ...to.tensors]);
  },
  fuses: { epilogue: true, prologues: [0], repeats: true },
  blocks: rowBlocks(() => [3]),
  saves: { inputs: [0, 1, 2, 3] },
  vjp: compositeVjp(([g, x, , weight], attrs) => {
    const h = weight ? mul(g!, weight) : g!;
    const { rstd, xhat } = standardise(x!, attrs);
    const along = mul(xhat, mean(mul(h, xhat), -1, { keepDims: true }));
    const centred = attrs.centre ? sub(h, mean(h, -1, { keepDims: true })) : h;
    return [cast(mul(rstd, sub(centred, along)), x!.dtype)];
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

/** The normalised rows and their reciprocal deviation, in ops on x. */
function standardise(x: Tensor, { centre, epsilon }: NormAttrs): { xhat: Tensor; rstd: Tensor } {
  const centred = centre ? sub(x, mean(x, -1, { keepDims: true })) : x;
  const rstd = rsqrt(add(mean(mul(centred, centred), -1, { keepDims: true }), epsilon));
  return { xhat: mul(centred, rstd), rstd };
}

/**
 * Layer normalisation over the last axis (Ba et al. 2016): (x - mean) / sqrt(variance + epsilon) * weight +
 * bias.
 */
export function layerNorm(x: Tensor, weight?: Tensor, bias?: Tensor, epsilon = 1e-5): Tensor {
  if (bias && !weight) throw new ShapeError('layerNorm: a bias needs a weight');
  const inputs = [x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])];
  return apply(normOp, inputs, { centre: true, epsilon, output: autocastStore() })[0]!;
}

/**
 * Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019): x / sqrt(mean(x^2) + epsilon)
 * * weight.
 */
export function rmsNorm(x: Tensor, weight?: Tensor, epsilon = 1e-6): Tensor {
  return apply(normOp, [x, ...(weight ? [weight] : [])], { centre: false, epsilon, output: autocastStore() })[0]!;
}
