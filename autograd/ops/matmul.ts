import { collapse, roundUp, rowMajor, sizeOf } from '../../kernels/layout.ts';
import { readingOfA, readingOfB } from '../../kernels/matmul/lanes.ts';
import { halvesLayout, splitHalves } from '../../kernels/matmul/halves.ts';
import { chooseHalves, chooseMatmul, halfDepth, matmul as matmulKernel } from '../../kernels/matmul/matmul.ts';
import { canPackRows, packedPitch, packRows } from '../../kernels/matmul/pack.ts';
import { panelFits } from '../../kernels/matmul/panel.ts';
import { batchShape, batchStrides, productOf } from '../../kernels/matmul/product.ts';
import type { MatrixOperand, Product } from '../../kernels/matmul/product.ts';
import { sumSplits } from '../../kernels/matmul/split.ts';
import { productPrecision } from '../context.ts';
import type { Precision } from '../context.ts';
import { copyInto, sinkOf } from '../lower/elementwise.ts';
import { transposed, viewOf } from '../lower/window.ts';
import { broadcastShapes, promote, requireFloat, sameShape, show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Lowering, Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { cast, sumOp, sumTo } from './broadcast.ts';
import { transpose } from './movement.ts';
import { reshape, unsqueeze } from './reshape.ts';

type Inputs = { a: Tensor; b: Tensor; bias?: Tensor };

/** a [..., m, k] @ b [..., k, n], batch axes broadcast, + bias [n]. */
export const matmulOp: Op<Inputs, { y: Tensor }, Precision> = defineOp<Inputs, { y: Tensor }, Precision>({
  name: 'matmul',
  infer({ a, b, bias }) {
    check(a, b, bias);
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    return { y: { shape: [...batch, a.shape.at(-2)!, b.shape.at(-1)!], dtype: promote(a.dtype, b.dtype) } };
  },
  lower: (lowering, inputs, outputs, precision) => lowerProduct(lowering, inputs, outputs, { precision }),
  axes: () => ({ of: { a: '...mk', b: '...kn', bias: 'n', y: '...mn' }, once: ['bias'], anywhere: true }),
  autocast: ['a', 'b'],
  fuses: { epilogue: true },
  saves: { inputs: ['a', 'b'] },
  vjp({ g, input, specs, needs }) {
    const [a, b] = [input('a'), input('b')];
    const to = (full: Tensor, { shape, dtype }: Spec): Tensor => sumTo(full, shape, dtype);
    const da = needs('a') ? to(productLike(a, g, transpose(b)), specs.a) : null;
    if (needs('b') && needs('bias') && g.ndim === 2) {
      const [db, sums] = productAndSums(a, g, liesTransposed(b));
      return { a: da, b: to(db, specs.b), bias: cast(sums, specs.bias!.dtype) };
    }
    const db = needs('b') ? to(productLike(b, transpose(a), g), specs.b) : null;
    return { a: da, b: db, bias: needs('bias') ? to(g, specs.bias!) : null };
  },
});

/** Whether the columns of a matrix are contiguous, as in a transposed view such as the weight of `linear`. */
function liesTransposed({ strides }: Tensor): boolean {
  return strides.at(-2) === 1 && strides.at(-1) !== 1;
}

/**
 * Computes left @ right in the order of `like` in memory. The cotangent of a transposed operand, such as the
 * weight of a linear layer, is then row-major where the operand is, and need not be copied.
 */
function productLike(like: Tensor, left: Tensor, right: Tensor): Tensor {
  return liesTransposed(like) ? transpose(matmul(transpose(right), transpose(left))) : matmul(left, right);
}

/**
 * Computes a^T @ g and the sums of the columns of g, the gradients of a weight and its bias, reading g once.
 */
function productAndSums(a: Tensor, g: Tensor, transposed: boolean): [Tensor, Tensor] {
  if (!transposed) return matmulSums(transpose(a), g, 'b');
  const [product, sums] = matmulSums(transpose(g), a, 'a');
  return [transpose(product), sums];
}

type Sums = { y: Tensor; sums: Tensor };

interface SumsAttrs {
  readonly of: 'a' | 'b';
  readonly precision: Precision;
}

/** a [m, k] @ b [k, n], and the sums over k of the rows of a, [m], or of the columns of b, [n], in f32. */
const matmulSumsOp: Op<Inputs, Sums, SumsAttrs> = defineOp<Inputs, Sums, SumsAttrs>({
  name: 'matmulSums',
  infer({ a, b }, { of }) {
    check(a, b, undefined);
    if (a.shape.length !== 2 || b.shape.length !== 2) {
      throw new ShapeError(`matmulSums: ${show(a.shape)} @ ${show(b.shape)}: both must be matrices; reshape them`);
    }
    const [m, n] = [a.shape[0]!, b.shape[1]!];
    return {
      y: { shape: [m, n], dtype: promote(a.dtype, b.dtype) },
      sums: { shape: [of === 'a' ? m : n], dtype: 'f32' },
    };
  },
  lower(lowering, { a, b }, { y, sums }, attrs) {
    // Without outputs there is no tile that would make the sums.
    if (y.size === 0) sumOverK(lowering, { a, b }, sums, attrs.of);
    else lowerProduct(lowering, { a, b }, { y, sums }, attrs);
  },
  axes: (_, { of }) => ({ of: { a: 'mk', b: 'kn', y: 'mn', sums: of === 'a' ? 'm' : 'n' }, anywhere: true }),
  fuses: { epilogue: true },
  saves: { inputs: ['a', 'b'] },
  vjp({ grads: { y: g, sums: gs }, input, specs, attrs: { of }, needs }) {
    const [a, b] = [input('a'), input('b')];
    const spread = unsqueeze(gs, of === 'a' ? 1 : 0);
    const to = (x: Tensor, name: 'a' | 'b'): Tensor => cast(of === name ? add(x, spread) : x, specs[name].dtype);
    return {
      a: needs('a') ? to(productLike(a, g, transpose(b)), 'a') : null,
      b: needs('b') ? to(productLike(b, transpose(a), g), 'b') : null,
    };
  },
});

/**
 * Computes a @ b of matrices, and the sums over k of the rows of a (`of` a) or of the columns of b (`of` b).
 */
export function matmulSums(a: Tensor, b: Tensor, of: 'a' | 'b'): [Tensor, Tensor] {
  const { y, sums } = apply(matmulSumsOp, { a, b }, { of, precision: productPrecision() });
  return [y, sums];
}

function check(a: Spec, b: Spec, bias: Spec | undefined): void {
  requireFloat('matmul', a);
  requireFloat('matmul', b);
  if (a.shape.length < 2 || b.shape.length < 2 || a.shape.at(-1) !== b.shape.at(-2)) {
    throw new ShapeError(
      `matmul: ${show(a.shape)} @ ${show(b.shape)}: ` +
        'the last axis of the first must equal the second-last of the second',
    );
  }
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== b.shape.at(-1))) {
    throw new ShapeError(
      `matmul: bias ${show(bias.shape)} must have one element for each of the ${b.shape.at(-1)} columns`,
    );
  }
}

/**
 * Multiplies a [..., m, k] by b [..., k, n] to [..., m, n] (torch.matmul). Batch axes broadcast; a vector on
 * the left is a row, on the right a column, and has no axis in the result.
 *
 * @example
 * matmul(tensor([[1, 2], [3, 4]]), tensor([[5], [6]])); // [[17], [39]]
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  if (a.ndim === 0 || b.ndim === 0)
    throw new ShapeError(`matmul: ${show(a.shape)} @ ${show(b.shape)}: scalars multiply with mul()`);
  if (a.ndim === 1) return dropAxis(matmul(reshape(a, [1, -1]), b), b.ndim === 1 ? -1 : -2);
  if (b.ndim === 1) return dropAxis(matmul(a, reshape(b, [-1, 1])), -1);
  if (b.ndim === 2 && a.ndim > 2) return affine(a, b);
  return apply(matmulOp, { a, b }, productPrecision()).y;
}

/** Multiplies all rows of a by one matrix b, in a single product. */
function affine(a: Tensor, b: Tensor, bias?: Tensor): Tensor {
  if (a.shape.at(-1) !== b.shape[0]) check(a, b, bias);
  const rows = a.ndim > 2 ? reshape(a, [sizeOf(a.shape.slice(0, -1)), a.shape.at(-1)!]) : a;
  const { y } = apply(matmulOp, { a: rows, b, bias }, productPrecision());
  return reshape(y, [...a.shape.slice(0, -1), b.shape[1]!]);
}

function dropAxis(x: Tensor, axis: number): Tensor {
  const at = axis + x.ndim;
  return reshape(
    x,
    x.shape.filter((_, i) => i !== at),
  );
}

/**
 * x @ weight^T + bias: x [..., in], weight [out, in], bias [out] give [..., out]
 * (torch.nn.functional.linear).
 *
 * @example
 * linear(tensor([1, 2]), tensor([[1, 1], [0, 1]]), tensor([0, 10])); // [3, 12]
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  if (x.ndim === 0 || weight.ndim !== 2 || x.shape.at(-1) !== weight.shape[1]) {
    throw new ShapeError(
      `linear: ${show(x.shape)} needs a weight [out, ${x.shape.at(-1) ?? 'in'}], got ${show(weight.shape)}`,
    );
  }
  if (x.ndim === 1) return reshape(affine(reshape(x, [1, -1]), transpose(weight), bias), [weight.shape[0]!]);
  return affine(x, transpose(weight), bias);
}

/**
 * Batched product of a [batch, m, k] and b [batch, k, n].
 *
 * @example
 * bmm(ones(2, 1, 3), ones(2, 3, 1)); // [[[3]], [[3]]]
 */
export function bmm(a: Tensor, b: Tensor): Tensor {
  if (a.ndim !== 3 || b.ndim !== 3 || a.shape[0] !== b.shape[0]) {
    throw new ShapeError(`bmm: ${show(a.shape)} and ${show(b.shape)} must be [batch, m, k] and [batch, k, n]`);
  }
  return matmul(a, b);
}

// Lowering

/** Emits the kernels of y = a @ b + bias, and of the sums over k of a's rows or b's columns. */
function lowerProduct(
  lowering: Lowering<Inputs>,
  inputs: Inputs,
  { sums }: { y: Tensor; sums?: Tensor },
  { of = 'a', precision }: Partial<SumsAttrs>,
): void {
  const { target, emit } = lowering;
  const { bias } = inputs;
  const sink = lowering.sink();
  let [a, b] = withFewAxes(lowering, inputs.a, inputs.b);
  let product = productOf({ a, b, bias, y: sink.elements, sums }, of)!;
  const split = precision ? halvesOf(lowering, a, b, product) : undefined;
  const usesPanels = !split && panelFits(target, { ...product, sums: undefined });
  if (split || usesPanels) {
    // Neither makes sums. Panels read a fastest by rows: the copy to rows makes those of a, else another op.
    const packs = usesPanels && canPackRows(product);
    if (sums && !(packs && of === 'a')) sumOverK(lowering, { a, b }, sums, of);
    if (packs) a = packedRows(lowering, a, of === 'a' ? sums : undefined);
    sums = undefined;
    product = productOf({ a, b, bias, y: sink.elements })!;
  }
  const plan = split?.plan ?? chooseMatmul(target, product);
  if (plan.variant === 'lanes') {
    // The kernels of `lanes` read vec4s: an operand that many tiles read is worth a copy that allows it.
    if (product.n >= 32 && readingOfA(product.a) === 'scalar') a = pack(lowering, a);
    if (product.m >= 8 && readingOfB(product.b) === 'scalar') b = pack(lowering, b);
  }
  const operands = { a, b, bias, y: sink, sums, ...split?.operands };
  if (!plan.splits) return emit(matmulKernel, operands, { plan, of });
  const parts = lowering.temporary([...product.batch, plan.splits, product.m, product.n], 'f32');
  const partSums = sums && lowering.temporary([plan.splits, ...sums.shape], 'f32');
  emit(matmulKernel, { ...operands, bias: undefined, y: sinkOf(parts), sums: partSums }, { plan, of });
  emit(sumSplits, { ...operands, parts, partSums }, null);
}

/** Adds up the rows of a, or the columns of b, by another op. */
const sumOverK = ({ run }: Lowering<Inputs>, { a, b }: Inputs, y: Tensor, of: 'a' | 'b'): void =>
  run(sumOp, { x: of === 'a' ? a : b }, { y }, { axes: [of === 'a' ? 1 : 0] });

/** Makes the halves of f32 operands, and returns how to multiply them; undefined where f32 is multiplied. */
function halvesOf(lowering: Lowering<Inputs>, a: Tensor, b: Tensor, product: Product) {
  const { target, emit, temporary } = lowering;
  const plan = chooseHalves(target, product);
  if (!plan) return undefined;
  const { m, n, k, batch } = product;
  const part = halfDepth(k, plan);
  const split = (x: Tensor, { row, col, batch: steps, offset }: MatrixOperand, lines: number, loFirst: boolean) => {
    const exact = viewOf(x, { shape: [...batch, lines, k], strides: [...steps, row, col], offset });
    const layout = halvesLayout(exact, part * (plan.splits ?? 1));
    const halves = viewOf(temporary([layout.strides[0]! * batch[0]], 'f16'), layout);
    const range = temporary([...batch, lines, 1], 'i32');
    emit(splitHalves, { a: exact, halves, range }, { part, loFirst });
    return [halves, exact, range] as const;
  };
  const [left, exactA, rangeA] = split(a, product.a, m, true);
  const { row, col } = product.b;
  const [right, exactB, rangeB] = split(b, { ...product.b, row: col, col: row }, n, false).map(transposed);
  return { plan, operands: { a: left, b: right!, exactA, exactB, rangeA, rangeB } };
}

/** Returns both operands, copied where their batch axes need more strides than kernels take. */
function withFewAxes(lowering: Lowering<Inputs>, a: Tensor, b: Tensor): [Tensor, Tensor] {
  const shape = batchShape(a, b);
  const merged = collapse(shape, [batchStrides(a, shape), batchStrides(b, shape)]);
  if (merged.shape.length <= 2) return [a, b];
  const [x, y] = [lowering.contiguous(a), lowering.contiguous(b)];
  if (x !== a || y !== b) return withFewAxes(lowering, x, y);
  // Broadcasting alternates over three or more axes: one operand is copied in full, and the other if needed.
  const full = sameShape(b.shape.slice(0, -2), shape) ? a : b;
  const out = lowering.temporary([...shape, ...full.shape.slice(-2)], full.dtype);
  const strides = [...batchStrides(full, shape), ...full.strides.slice(-2)];
  copyInto(lowering, full, { shape: out.shape, strides, offset: full.offset }, out, out);
  return full === b ? withFewAxes(lowering, a, out) : withFewAxes(lowering, out, b);
}

/** A matrix that lies by columns, copied into rows, which are added up into `sums`. */
function packedRows(lowering: Lowering<Inputs>, a: Tensor, sums?: Tensor): Tensor {
  const [m, k] = a.shape as [number, number];
  const pitch = packedPitch(k);
  const rows = lowering.temporary([m, pitch], 'f32');
  const packed = viewOf(rows, { shape: [m, k], strides: [pitch, 1], offset: 0 });
  lowering.emit(packRows, { a, packed, sums }, null);
  return packed;
}

/** Copies x into contiguous rows that start at multiples of four elements; broadcast axes stay broadcast. */
function pack(lowering: Lowering<Inputs>, x: Tensor): Tensor {
  const [rows, cols] = x.shape.slice(-2) as [number, number];
  const pitch = roundUp(cols, 4);
  const batch = x.shape.slice(0, -2).map((length, axis) => (x.strides[axis] === 0 ? 1 : length));
  const packed = lowering.temporary([sizeOf(batch) * rows * pitch], x.dtype);
  const steps = rowMajor([...batch, rows * pitch]);
  const strides = [...batch.map((length, axis) => (length === 1 ? 0 : steps[axis]!)), pitch, 1];
  const shape = [...batch, rows, cols];
  const source = { shape, strides: x.strides, offset: x.offset };
  copyInto(lowering, x, source, packed, { shape, strides, offset: 0 });
  return viewOf(packed, { shape: x.shape, strides, offset: 0 });
}
