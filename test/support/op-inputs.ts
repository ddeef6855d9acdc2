import { tensor } from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import { fromHalf, toHalf } from '../../common/half.ts';
import { Random } from '../../common/random.ts';
import { build, count, get } from './nd.ts';
import type { Nd } from './nd.ts';
import type { InputSpec } from './op-case.ts';

/**
 * How an input lies in memory: as made; its axes stored in reverse order; inside a larger array, after NaN in
 * every row.
 */
export type Placement = 'plain' | 'reversed' | 'inner';

/** The nearest number that the type can hold. */
export function rounded(value: number, dtype: Dtype): number {
  if (dtype === 'f16') return fromHalf(toHalf(value));
  return dtype === 'f32' ? Math.fround(value) : value;
}

/** A generator that gives a case the same numbers on every run. */
export function randomOf(name: string): Random {
  let hash = 2166136261; // FNV-1a
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619) >>> 0;
  return new Random(hash);
}

/** The elements of an input, exactly as its type stores them. */
export function elementsOf({ shape, dtype, range = [-2, 2], values }: InputSpec, random: Random): Nd {
  const [low, high] = range;
  const whole = dtype !== 'f32' && dtype !== 'f16';
  const draw = (): number => (whole ? low + random.int(high - low + 1) : low + (high - low) * random.uniform());
  const data = Float64Array.from({ length: count(shape) }, (_, i) => rounded(values ? values[i]! : draw(), dtype));
  return { shape, data };
}

/** Uploads an array so that its elements lie as asked. */
export function place(x: Nd, dtype: Dtype, placement: Placement): Tensor {
  const { shape } = x;
  if (placement === 'plain') return tensor(x.data, { shape, dtype });
  const filler = dtype === 'f32' || dtype === 'f16' ? NaN : 1;
  if (shape.length === 0) return tensor([filler, x.data[0]!], { dtype }).slice(1);
  if (placement === 'inner') {
    const last = shape.length - 1;
    const outer = build([...shape.slice(0, last), shape[last]! + 1], (index) => {
      if (index[last] === 0) return filler;
      return get(
        x,
        index.map((at, axis) => (axis === last ? at - 1 : at)),
      );
    });
    return tensor(outer.data, { shape: outer.shape, dtype }).slice(...shape.slice(0, last).map(() => null), [1]);
  }
  if (shape.length === 1) return tensor(x.data.slice().reverse(), { dtype }).flip(0);
  const axes = shape.map((_, axis) => shape.length - 1 - axis);
  const turned = build(
    axes.map((axis) => shape[axis]!),
    (index) =>
      get(
        x,
        axes.map((axis) => index[axis]!),
      ),
  );
  return tensor(turned.data, { shape: turned.shape, dtype }).permute(axes);
}
