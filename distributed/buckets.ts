import { assign, noGrad, scope, zeros } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { sizeOf } from '../kernels/layout.ts';

/** Elements of a bucket: 8 MiB, unless one tensor is larger. */
const bucketSize = 2 ** 21;
/** Elements that places are multiples of, as bindings want it. */
const unit = 64;

/** Room for tensors side by side in a few large ones, f32, so that they are exchanged at once. */
export class Buckets {
  readonly tensors: readonly Tensor[];
  /**
   * One for each shape. None fills its bucket, so that `zeroGrad` frees no bucket when these are gradients.
   */
  readonly views: readonly Tensor[];

  constructor(shapes: readonly (readonly number[])[]) {
    const sizes: number[] = [];
    const places = shapes.map((shape) => {
      const size = sizeOf(shape);
      const room = unit * Math.ceil(size / unit);
      if (sizes.length === 0 || sizes.at(-1)! + room > bucketSize) sizes.push(0);
      const start = sizes.at(-1)!;
      sizes[sizes.length - 1] = start + room;
      return { shape, bucket: sizes.length - 1, start, end: start + size };
    });
    this.tensors = sizes.map((size) => zeros([size + unit]).keep());
    this.views = places.map(({ shape, bucket, start, end }) =>
      this.tensors[bucket]!.slice([start, end])
        .reshape([...shape])
        .keep(),
    );
  }

  /** Makes all zero. */
  clear(): void {
    using _ = scope();
    noGrad(() => this.tensors.forEach((bucket) => assign(bucket, zeros([bucket.size]))));
  }
}
