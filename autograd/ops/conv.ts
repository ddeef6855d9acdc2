import { sizeOf } from '../../kernels/layout.ts';
import { requireFloat, show } from '../shapes.ts';
import { ShapeError } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { matmul } from './matmul.ts';
import { permute } from './movement.ts';
import { reshape, squeeze, unsqueeze } from './reshape.ts';
import { pad } from './slice.ts';
import { perAxis, windowsOf } from './windows.ts';
import type { PerAxis } from './windows.ts';

export interface ConvOptions {
  /** Distance between neighbouring windows, default 1. */
  readonly stride?: PerAxis;
  /** Zeros on both sides of each axis, default 0; 'same' keeps the lengths (stride 1 only), 'valid' is 0. */
  readonly padding?: PerAxis | 'same' | 'valid';
  /** Distance between neighbouring elements of the kernel, default 1. */
  readonly dilation?: PerAxis;
  /** Input and output channels are split into this many independent groups, default 1. */
  readonly groups?: number;
}

/**
 * Convolves sequences (a cross-correlation, torch.nn.functional.conv1d). x [N, C, L] or [C, L], weight
 * [O, C / groups, K] and bias [O] give [N, O, L'] or [O, L'],
 * L' = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1.
 *
 * @example
 * conv1d(tensor([[1, 2, 3, 4]]), tensor([[[1, 1]]])); // [[3, 5, 7]]
 */
export function conv1d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  return conv('conv1d', 1, x, weight, bias, options);
}

/**
 * Convolves images (torch.nn.functional.conv2d): x [N, C, H, W] or [C, H, W], weight [O, C / groups, KH, KW]
 * and bias [O] give [N, O, H', W'] or [O, H', W'].
 *
 * @example
 * conv2d(tensor([[[1, 2], [3, 4]]]), ones(1, 1, 2, 2)); // [[[10]]]
 */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  return conv('conv2d', 2, x, weight, bias, options);
}

/**
 * Multiplies windows of the padded input, a view, by the weights as matrices (im2col; Chellapilla et al.
 * 2006).
 */
function conv(
  name: string,
  axes: number,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  options: ConvOptions,
): Tensor {
  const groups = options.groups ?? 1;
  check(name, axes, x, weight, bias, groups);
  if (x.ndim === axes + 1) return squeeze(conv(name, axes, unsqueeze(x, 0), weight, bias, options), 0);
  const kernel = weight.shape.slice(2);
  const stride = perAxis(name, 'stride', options.stride ?? 1, axes, 1);
  const dilation = perAxis(name, 'dilation', options.dilation ?? 1, axes, 1);
  const sides = padding(name, options.padding ?? 0, kernel, stride, dilation);

  const windows = windowsOf(name, pad(x, sides), kernel, stride, dilation); // (N, C, L', K)

  const [batch, channels] = [x.shape[0]!, x.shape[1]!];
  const places = windows.shape.slice(2, 2 + axes);
  const order = [0, 1, ...kernel.map((_, i) => 2 + axes + i), ...kernel.map((_, i) => 2 + i)];
  const depth = (channels / groups) * sizeOf(kernel);
  const columns = reshape(permute(windows, order), [batch, groups, depth, sizeOf(places)]); // (N, G, C/G * K, L')
  const outputs = weight.shape[0]!;
  const rows = reshape(weight, [groups, outputs / groups, depth]); // (G, O/G, C/G * K)
  const y = reshape(matmul(rows, columns), [batch, outputs, ...places]); // (N, O, L')
  return bias ? add(y, reshape(bias, [outputs, ...kernel.map(() => 1)])) : y;
}

function check(name: string, axes: number, x: Tensor, weight: Tensor, bias: Tensor | undefined, groups: number): void {
  requireFloat(name, x);
  requireFloat(name, weight);
  if (!(Number.isInteger(groups) && groups > 0))
    throw new ShapeError(`${name}: groups must be a positive integer, got ${groups}`);
  const channels = x.shape.at(-axes - 1);
  const [outputs, own] = weight.shape;
  const fits = (x.ndim === axes + 1 || x.ndim === axes + 2) && weight.ndim === axes + 2 && own! * groups === channels;
  if (!fits) {
    const form = axes === 1 ? ['[N, C, L]', '[O, C / groups, K]'] : ['[N, C, H, W]', '[O, C / groups, KH, KW]'];
    throw new ShapeError(
      `${name}: input ${show(x.shape)} and weight ${show(weight.shape)} with ${groups} groups ` +
        `must be ${form[0]} and ${form[1]}`,
    );
  }
  if (outputs! % groups !== 0)
    throw new ShapeError(`${name}: ${outputs} output channels do not divide into ${groups} groups`);
  if (weight.shape.slice(2).includes(0))
    throw new ShapeError(`${name}: the kernel of weight ${show(weight.shape)} is empty`);
  if (bias && (bias.ndim !== 1 || bias.shape[0] !== outputs)) {
    throw new ShapeError(
      `${name}: bias ${show(bias.shape)} must have one element for each of the ${outputs} output channels`,
    );
  }
}

/** Returns the number of zeros before and after each spatial axis. */
function padding(
  name: string,
  value: PerAxis | 'same' | 'valid',
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
): (readonly [number, number])[] {
  if (value === 'same') {
    if (stride.some((s) => s !== 1))
      throw new ShapeError(`${name}: padding 'same' needs stride 1, got ${show(stride)}`);
    // Of an odd number of zeros the extra one comes after, as in PyTorch.
    return kernel.map((size, i) => {
      const all = dilation[i]! * (size - 1);
      return [Math.floor(all / 2), all - Math.floor(all / 2)];
    });
  }
  return perAxis(name, 'padding', value === 'valid' ? 0 : value, kernel.length, 0).map((side) => [side, side]);
}
