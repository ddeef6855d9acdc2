// Pictures as rows of patches, and the positions of patches in pictures of another size.
import { add, concat, linear, matmul, permute, reshape, slice, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { cubic } from '../image/resample.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import { parameter, zerosInit } from '../parameter.ts';
import type { Initializer, Parameter } from '../parameter.ts';

/** Height and width, in pixels or in patches. */
export type ImageSize = readonly [height: number, width: number];

/** A size that may be given as one number: the sides of a square. */
export const bothSides = (size: number | ImageSize): ImageSize => (typeof size === 'number' ? [size, size] : size);

/** How many patches of a size go into a picture. */
export function patchGrid(imageSize: number | ImageSize, patchSize: number | ImageSize): ImageSize {
  const [[height, width], [rows, columns]] = [bothSides(imageSize), bothSides(patchSize)];
  return [Math.floor(height / rows), Math.floor(width / columns)];
}

export interface PatchProjectionOptions {
  readonly weightInit: Initializer;
  /** Default true; it begins with 0. */
  readonly bias?: boolean;
}

/**
 * Cuts pictures into patches that do not overlap and maps each to a vector (Dosovitskiy et al. 2021): pixels
 * (B, C, H, W) -> (B, H/P * W/P, D), row by row. Its weight is that of the convolution that Transformers has
 * in its place, [D, C, P, P] with stride P; one matrix product computes it here, without copies of the
 * output.
 *
 * @example
 * new PatchProjection(3, 8, 4, { weightInit: normalInit(0.02) }).forward(zeros(2, 3, 12, 8)).shape; // [2, 6,
 * 8]
 */
export class PatchProjection extends Module {
  weight: Parameter;
  bias: Parameter | undefined;

  constructor(
    channels: number,
    dim: number,
    patchSize: number | ImageSize,
    { weightInit, bias = true }: PatchProjectionOptions,
  ) {
    super();
    this.weight = parameter([dim, channels, ...bothSides(patchSize)], weightInit);
    this.bias = bias ? parameter([dim], zerosInit) : undefined;
  }

  override forward(pixels: Tensor): Tensor {
    const [dim, channels, height, width] = this.weight.shape as [number, number, number, number];
    if (pixels.ndim !== 4 || pixels.shape[1] !== channels)
      throw new Error(
        `pixelValues is ${showShape(pixels.shape)}; [batch, ${channels} channels, height, width] is needed`,
      );
    const [batch, , ...size] = pixels.shape as [number, number, number, number];
    const [rows, columns] = patchGrid(size, [height, width]);
    if (rows === 0 || columns === 0)
      throw new Error(`pixelValues is ${showShape(pixels.shape)}, smaller than a patch of ${height} x ${width}`);
    const whole = slice(pixels, null, null, [0, rows * height], [0, columns * width]);
    const cut = reshape(whole, [batch, channels, rows, height, columns, width]);
    const patches = reshape(permute(cut, [0, 2, 4, 1, 3, 5]), [batch, rows * columns, channels * height * width]);
    return linear(patches, reshape(this.weight, [dim, channels * height * width]), this.bias); // (B, N, D)
  }

  override extraRepr(): string {
    const [dim, channels, height, width] = this.weight.shape;
    return `${channels}, ${dim}, patches ${height} x ${width}${this.bias ? '' : ', bias: false'}`;
  }
}

/** The weights [to, from] that interpolate along one axis, as PyTorch has them, edges repeated. */
function cubicWeights(from: number, to: number): number[][] {
  return Array.from({ length: to }, (_, i) => {
    const row = new Array<number>(from).fill(0);
    const at = ((i + 0.5) * from) / to - 0.5;
    const first = Math.floor(at);
    for (let k = first - 1; k <= first + 2; k++) row[Math.min(Math.max(k, 0), from - 1)]! += cubic(at - k, -0.75);
    return row;
  });
}

/**
 * A table of positions (1 + rows * columns, D), that of a first token and those of patches, for pictures of
 * another grid of patches: bicubic, as `interpolate_pos_encoding` of Transformers. A product with a matrix of
 * the host's, so that gradients reach the table.
 *
 * @example
 * resizePositions(zeros(5, 8), [2, 2], [3, 4]).shape; // [13, 8]
 */
export function resizePositions(table: Tensor, from: ImageSize, to: ImageSize): Tensor {
  if (from[0] === to[0] && from[1] === to[1]) return table;
  const [down, across] = [cubicWeights(from[0], to[0]), cubicWeights(from[1], to[1])];
  const weights = down.flatMap((y) => across.map((x) => y.flatMap((v) => x.map((h) => v * h)))); // [to, from]
  return concat([slice(table, [0, 1]), matmul(tensor(weights), slice(table, [1, table.shape[0]!]))]);
}

/**
 * The vectors of patches (B, N, D) behind that of a first token (D), each with its position (1 + N, D): what
 * layers of a vision Transformer read, (B, 1 + N, D).
 */
export function withFirstToken(first: Tensor, patches: Tensor, positions: Tensor): Tensor {
  const [batch, , dim] = patches.shape as [number, number, number];
  const token = reshape(first, [1, 1, dim]).expand(batch, 1, dim);
  return add(concat([token, patches], 1), positions);
}

/**
 * The grid of patches of a batch of pictures. Error: another size than the model's, unless `isResized`, where
 * the table of positions is interpolated.
 */
export function gridOf(
  pixels: Tensor,
  imageSize: number | ImageSize,
  patchSize: number | ImageSize,
  isResized: boolean,
): ImageSize {
  const [[height, width], found] = [bothSides(imageSize), pixels.shape.slice(2) as [number, number]];
  if (!isResized && (found[0] !== height || found[1] !== width))
    throw new Error(
      `pixelValues are pictures of ${found.join(' x ')}, the model reads ${height} x ${width}; resize them, or pass ` +
        'interpolatePosEncoding: true',
    );
  return patchGrid(found, patchSize);
}
