import { noGrad, scope, tensor, Tensor } from '../autograd/index.ts';
import { show } from '../autograd/shapes.ts';

/** Elements that are read, exchanged and written at once: 8 MiB. */
const pieceSize = 2 ** 21;
/** Pieces that are read ahead of the one that is exchanged. */
const ahead = 2;

/** "f32 [2, 3]", by which ranks compare what they exchange. */
export const describe = (x: Float32Array | Tensor): string =>
  x instanceof Tensor ? `${x.dtype} ${show(x.shape)}` : `${x.length} numbers`;

export const shapeOf = (x: Float32Array | Tensor): readonly number[] => (x instanceof Tensor ? x.shape : [x.length]);

function requireF32(name: string, x: Tensor): void {
  if (x.dtype !== 'f32')
    throw new TypeError(`${name}: exchanges f32, got ${x.dtype} ${show(x.shape)}; convert it with to('f32')`);
}

/** The numbers on the host; an array is itself. */
export async function arrayOf(name: string, x: Float32Array | Tensor): Promise<Float32Array> {
  if (!(x instanceof Tensor)) return x;
  requireF32(name, x);
  return (await x.data()) as Float32Array;
}

/** Numbers in a new tensor. */
export const tensorOf = (values: Float32Array, shape: readonly number[]): Tensor =>
  tensor(values, { shape: [...shape] });

/** Numbers in the place of those that are there, on the host or on the device. */
export function write(values: Float32Array, into: Float32Array | Tensor): void {
  if (into instanceof Float32Array) {
    into.set(values);
    return;
  }
  using _ = scope();
  noGrad(() => into.assign(tensorOf(values, into.shape)));
}

/** What of a tensor is exchanged at once. */
interface Piece {
  readonly of: Tensor;
  /** As a new view each time: a scope may end on the way. */
  view(): Tensor;
}

function cut(x: Tensor): Piece[] {
  if (x.size <= pieceSize || !x.isContiguous) return [{ of: x, view: () => x.detach() }];
  return Array.from({ length: Math.ceil(x.size / pieceSize) }, (_, i) => ({
    of: x,
    view: () =>
      x
        .detach()
        .reshape([-1])
        .slice([i * pieceSize, Math.min(x.size, (i + 1) * pieceSize)]),
  }));
}

/**
 * Reads tensors piece by piece, hands each on, and writes back what has become of it: while one piece is
 * exchanged the next ones are on their way from the device, and the last one on its way to it.
 */
export async function inPieces(
  name: string,
  tensors: readonly Tensor[],
  exchange: (piece: Float32Array, of: Tensor) => Promise<void>,
): Promise<void> {
  for (const x of tensors) requireF32(name, x);
  const pieces = tensors.flatMap(cut);
  const reads: Promise<Float32Array>[] = [];
  for (const [i, { of, view }] of pieces.entries()) {
    for (let k = reads.length; k <= Math.min(i + ahead, pieces.length - 1); k++) {
      const read = pieces[k]!.view().data() as Promise<Float32Array>;
      read.catch(() => undefined); // awaited below
      reads.push(read);
    }
    const values = await reads[i]!;
    await exchange(values, of);
    write(values, view());
  }
}
