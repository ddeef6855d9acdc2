import { context } from './context.ts';
import { noGrad } from './context.ts';
import { assign } from './ops/assign.ts';
import type { Storage } from './storage.ts';
import { Tensor } from './tensor.ts';

/** f16 copy of all elements of an f32 storage: element i of the one is element base + i of the other. */
interface HalfCopy {
  readonly source: Storage;
  readonly image: Storage;
  readonly base: number;
  /**
   * Versions of the source less versions of the image, when the one was last a copy of the other. What writes
   * both at once (an optimizer's update, also when replayed) leaves that as it is.
   */
  lag: number;
}

const copies = new WeakMap<Storage, HalfCopy>();
/** The copies in one f16 storage. */
const members = new WeakMap<Storage, HalfCopy[]>();

const lagOf = ({ source, image }: HalfCopy): number => source.version - image.version;
const isCurrent = (copy: HalfCopy): boolean => lagOf(copy) === copy.lag;

/** Runs what writes into an f16 storage; copies that are up to date before are so afterwards. */
function preserving(image: Storage, write: () => void): void {
  const current = (members.get(image) ?? []).filter(isCurrent);
  write();
  for (const copy of current) copy.lag = lagOf(copy);
}

/**
 * Says that an optimizer keeps an f16 copy of x's memory in `image`, from element `base` on, and fills it.
 */
export function keepHalfCopy(x: Tensor, image: Tensor, base: number): void {
  const copy = { source: x.storage, image: image.storage, base: image.offset + base - x.offset, lag: NaN };
  copies.set(x.storage, copy);
  members.set(image.storage, [...(members.get(image.storage) ?? []), copy]);
  refresh(copy);
}

/**
 * Runs an update that writes parameters and their copies in `image` together or, where it skips a parameter,
 * neither.
 */
export function updateHalfCopies(image: Tensor, update: () => void): void {
  preserving(image.storage, update);
}

/**
 * x in f16 from the copy that an optimizer keeps, brought up to date if something else has written to x
 * since; undefined where there is none.
 */
export function halfCopy(x: Tensor): Tensor | undefined {
  const copy = copies.get(x.storage);
  if (!copy || copy.image.isFreed) return undefined;
  const recorder = context().recorder;
  if (!isCurrent(copy)) {
    // A compiled function would bring it up to date in every call, in vain: there a copy of its own is
    // better.
    if (recorder) return undefined;
    refresh(copy);
  }
  recorder?.guard(() => isCurrent(copy), 'the f16 copy of a parameter being up to date');
  return new Tensor(copy.image, 'f16', { shape: x.shape, strides: x.strides, offset: copy.base + x.offset });
}

function refresh(copy: HalfCopy): void {
  const { source, image, base } = copy;
  const flat = { shape: [source.bytes / 4], strides: [1] };
  const values = new Tensor(source, 'f32', { ...flat, offset: 0 });
  preserving(image, () => noGrad(() => assign(new Tensor(image, 'f16', { ...flat, offset: base }), values)));
  copy.lag = lagOf(copy);
}
