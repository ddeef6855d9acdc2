import { assign } from './ops/assign.ts';
import { noGrad } from './grad-mode.ts';
import type { Storage } from './storage.ts';
import { Tensor } from './tensor.ts';

/** f16 copy of all elements of an f32 storage: element i of the one is element base + i of the other. */
interface HalfCopy {
  readonly storage: Storage;
  readonly base: number;
  /** Version of the f32 storage that it is a copy of. */
  version: number;
}

const copies = new WeakMap<Storage, HalfCopy>();

/** Says that an optimizer keeps an f16 copy of x's memory in `image`, from element `base` on, and fills it. */
export function keepHalfCopy(x: Tensor, image: Tensor, base: number): void {
  copies.set(x.storage, { storage: image.storage, base: image.offset + base - x.offset, version: NaN });
  halfCopy(x);
}

/**
 * Runs `update`, which writes x and its copy together or, where it skips x, neither. A copy that was up to date before is so afterwards; one that was not is
 * brought up to date at its next use.
 */
export function updateHalfCopies(parameters: readonly Tensor[], update: () => void): void {
  const current = parameters.flatMap(({ storage }) => {
    const copy = copies.get(storage);
    return copy?.version === storage.version ? [{ copy, storage }] : [];
  });
  update();
  for (const { copy, storage } of current) copy.version = storage.version;
}

/** x in f16 from the copy that an optimizer keeps, brought up to date if something else has written to x since; undefined where there is none. */
export function halfCopy(x: Tensor): Tensor | undefined {
  const { storage } = x;
  const copy = copies.get(storage);
  if (!copy || copy.storage.isFreed) return undefined;
  if (copy.version !== storage.version) {
    const flat = { shape: [storage.bytes / 4], strides: [1] };
    const source = new Tensor(storage, 'f32', { ...flat, offset: 0 });
    noGrad(() => assign(new Tensor(copy.storage, 'f16', { ...flat, offset: copy.base }), source));
    copy.version = storage.version;
  }
  return new Tensor(copy.storage, 'f16', { shape: x.shape, strides: x.strides, offset: copy.base + x.offset });
}
