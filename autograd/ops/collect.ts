import {
  collect,
  elementsPerSum,
  packedQuads,
  partialsFor,
  tensorsToCollect,
} from '../../kernels/multi-tensor/collect.ts';
import { sizeOf } from '../../kernels/layout.ts';
import { chooseLanes } from '../../kernels/rows.ts';
import { runsOf } from '../lower/quads.ts';
import { show } from '../shapes.ts';
import { fill } from '../lower/elementwise.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Lowering, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import { Tensor } from '../tensor.ts';
import { sumOp } from './broadcast.ts';
import { sqrt } from './arithmetic.ts';

interface CollectAttrs {
  /** Where each tensor is copied to, in quads; undefined: nowhere. */
  readonly places: readonly (number | undefined)[];
  /** Take partial sums of squares. */
  readonly sums: boolean;
}

/** Quads of the copies, which come first, and of the partial sums. */
function collectedQuads(tensors: readonly Spec[], { places, sums }: CollectAttrs): { copies: number; sums: number } {
  const sizes = tensors.map(({ shape }) => sizeOf(shape));
  const ends = sizes.map((size, k) => (places[k] === undefined ? 0 : places[k] + packedQuads(size)));
  return {
    copies: ends.reduce((a, b) => Math.max(a, b), 0),
    sums: sums ? sizes.reduce((total, size) => total + partialsFor(size), 0) : 0,
  };
}

type Lists = { tensors: readonly Tensor[] };

const collectOp = defineOp<Lists, { collected: Tensor }, CollectAttrs>({
  name: 'collect',
  infer({ tensors }, attrs) {
    for (const x of tensors) requireF32('collect', x);
    const quads = collectedQuads(tensors, attrs);
    return { collected: { shape: [quads.copies + quads.sums, 4], dtype: 'f32' } };
  },
  lower: (lowering, { tensors }, { collected }, attrs) => lowerCollect(lowering, tensors, collected, attrs),
  vjp: 'none',
});

export function requireF32(name: string, { dtype, shape }: Spec): void {
  if (dtype !== 'f32') throw new ShapeError(`${name}: tensors must be f32, got ${dtype} ${show(shape)}`);
}

function lowerCollect(
  lowering: Lowering<Lists>,
  tensors: readonly Tensor[],
  collected: Tensor,
  attrs: CollectAttrs,
): void {
  const kept = tensors.flatMap((x, k) => {
    if (x.size === 0) return [];
    const [row, place] = [rowMajor(lowering, x), attrs.places[k]];
    // What goes nowhere may be looked at in runs.
    const runs = place === undefined ? runsOf('collect', lowering.target, row, elementsPerSum) : [row];
    return runs.map((run) => ({ x: run, place }));
  });
  const per = tensorsToCollect(lowering.target.maxStorageBuffers);
  const lanes = chooseLanes(lowering.target, 1);
  let at = collectedQuads(tensors, attrs).copies;
  for (let from = 0; from < kept.length; from += per) {
    const group = kept.slice(from, from + per);
    const sizes = group.map(({ x }) => x.size);
    lowering.dispatch(
      collect({ sizes, places: group.map(({ place }) => place), partials: attrs.sums ? at : undefined, lanes }),
      [collected, ...group.map(({ x }) => x)],
    );
    at += sizes.reduce((total, size) => total + partialsFor(size), 0);
  }
}

/** Multi-tensor kernels take tensors in row-major order from the beginning of a buffer. */
export function rowMajor({ contiguous, copy }: Pick<Lowering, 'contiguous' | 'copy'>, x: Tensor): Tensor {
  const row = contiguous(x);
  return row.offset === 0 ? row : copy(row);
}

/** What `collectGradients` found. */
export interface Collected {
  /** [quads, 4]: copies of the tensors that have a place, then partial sums. */
  readonly tensor: Tensor;
  readonly partials: { readonly at: number; readonly count: number } | undefined;
}

/**
 * Copies f32 tensors to their places (in quads, multiples of 64) in one new tensor, and takes sums of squares
 * of all of them. Looks at each once.
 */
export function collectGradients(tensors: readonly Tensor[], attrs: CollectAttrs): Collected {
  const quads = collectedQuads(tensors, attrs);
  const { collected: tensor } = apply(collectOp, { tensors }, attrs);
  return { tensor, partials: attrs.sums ? { at: quads.copies, count: quads.sums } : undefined };
}

const sumSquaresOp = defineOp<Lists, { y: Tensor }, null>({
  name: 'globalNorm',
  infer({ tensors }) {
    for (const x of tensors) requireF32('globalNorm', x);
    return { y: { shape: [], dtype: 'f32' } };
  },
  lower(lowering, { tensors }, { y }) {
    const attrs = { places: [], sums: true };
    const { sums } = collectedQuads(tensors, attrs);
    if (sums === 0) return fill(lowering, y, 0);
    const partials = lowering.temporary([sums, 4], 'f32');
    lowerCollect(lowering, tensors, partials, attrs);
    const first = new Tensor(partials.storage, 'f32', { shape: [sums], strides: [4], offset: 0 });
    lowering.run(sumOp, { x: first }, { y }, { axes: [0] });
  },
  vjp: 'none',
});

/**
 * Euclidean norm of all elements of all tensors (f32), a scalar that stays on the device. No gradient flows.
 */
export function globalNorm(tensors: readonly Tensor[]): Tensor {
  return sqrt(apply(sumSquaresOp, { tensors }, null).y);
}
