import type { Dtype } from '../../kernels/kernel.ts';
import { sizeOf } from '../../kernels/layout.ts';
import type { Layout } from '../../kernels/layout.ts';

/** The facts of a tensor that `console.log` shows. */
export interface Shown extends Layout {
  readonly dtype: Dtype;
  readonly device: string;
  readonly requiresGrad: boolean;
  /** The elements of the storage, where the host has them. */
  readonly host: ArrayLike<number> | undefined;
}

/** Longer tensors, and in them longer axes, are shown by their ends, as PyTorch does. */
const longTensor = 1000;
const edge = 3;

/**
 * `Tensor([[1, 2], [3, 4]], shape: [2, 2], dtype: f32, device: webgpu)`; without values where only the device
 * has them, since reading them back would have to be awaited.
 */
export function describe({ shape, strides, offset, dtype, device, requiresGrad, host }: Shown): string {
  const facts = [`shape: [${shape.join(', ')}]`, `dtype: ${dtype}`, `device: ${device}`];
  if (requiresGrad) facts.push('requiresGrad');
  if (!host) return `Tensor(${facts.join(', ')}; values: await data())`;
  const long = sizeOf(shape) > longTensor;
  const list = (axis: number, at: number): string => {
    if (axis === shape.length) return number(host[at]!, dtype);
    const length = shape[axis]!;
    const cut = long && length > 2 * edge;
    const places = Array.from({ length }, (_, i) => i).filter((i) => !cut || i < edge || i >= length - edge);
    const items = places.map((i) => list(axis + 1, at + i * strides[axis]!));
    if (cut) items.splice(edge, 0, '...');
    const indent = ' '.repeat('Tensor('.length + axis + 1);
    return `[${items.join(axis === shape.length - 1 ? ', ' : `,\n${indent}`)}]`;
  };
  return `Tensor(${list(0, offset)}, ${facts.join(', ')})`;
}

function number(value: number, dtype: Dtype): string {
  if (dtype === 'bool') return String(value !== 0);
  return String(Number.isInteger(value) ? value : Number(value.toPrecision(5)));
}
