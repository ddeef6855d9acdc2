import { context, noGrad, withinSync } from './context.ts';
import type { Autocast } from './context.ts';
import { defineView } from './op.ts';
import { assign } from './ops/assign.ts';
import { cast, castInOrder } from './ops/broadcast.ts';
import type { Storage } from './storage.ts';
import { applyView } from './tape.ts';
import { isFloat, Tensor } from './tensor.ts';

export interface AutocastOptions {
  /** 'f32' turns it off inside. */
  readonly dtype?: 'f16' | 'f32';
}

/**
 * Mixed precision (Micikevicius et al. 2018; torch.autocast): inside fn, products (linear, matmul,
 * convolutions, attention) take f16 operands, adding up in f32, and give f16; norms, softmax, losses and sums
 * compute in f32; see autocast-table.ts. Parameters stay f32, and so do their gradients: their f16 copies are
 * made once, or kept by an optimizer with `halfCopies`. Call backward outside, and lift small gradients with
 * a `GradScaler`:
 *
 *     const loss = autocast(() => crossEntropy(model.forward(x), y));
 *     scaler.scale(loss).backward();
 *     optimizer.step({ scaler });
 *
 * @example
 * const x = tensor([[1, 2]]);
 * autocast(() => matmul(x, x.t())).dtype; // 'f16'
 */
export function autocast<T>(fn: () => T, { dtype = 'f16' }: AutocastOptions = {}): T {
  return withinSync('autocast', { autocast: dtype === 'f16' ? (context().autocast ?? new ToHalf()) : undefined }, fn);
}

/**
 * Whether products take f16 operands now.
 *
 * @example
 * autocast(() => isAutocasting()); // true
 */
export function isAutocasting(): boolean {
  return context().autocast !== undefined;
}

/** The same elements in another storage, in f16. */
const halfOp = defineView<{ readonly strides: readonly number[]; readonly offset: number }>({
  name: 'half',
  view: ({ shape }, { strides, offset }) => ({ shape, strides, offset }),
  vjp: ({ g }) => castInOrder(g, 'f32'),
});

class ToHalf implements Autocast {
  readonly store = 'f16';
  /**
   * f16 copies of runs of memory, by `offset:length`: a weight is converted once, whatever views of it are
   * used how often.
   */
  private readonly copies = new WeakMap<Storage, Map<string, { readonly copy: Tensor; readonly version: number }>>();

  cast(rule: 'f32' | readonly boolean[], inputs: readonly Tensor[]): readonly Tensor[] {
    if (rule === 'f32') return inputs.map((x) => (isFloat(x.dtype) ? cast(x, 'f32') : x));
    return inputs.map((x, i) => (rule[i] ? this.#half(x) : x));
  }

  /** The copies belong to one run: a checkpoint's second one makes its own, and frees them. */
  again(): Autocast {
    return new ToHalf();
  }

  #half(x: Tensor): Tensor {
    if (x.dtype !== 'f32') return x;
    const y = halfCopy(x) ?? this.#copyOf(x);
    return y ? applyView(halfOp, x, y, y) : cast(x, 'f16');
  }

  /** x from a copy of the run of memory that its elements fill; undefined where they leave gaps or repeat. */
  #copyOf({ storage, shape, strides, offset, size }: Tensor): Tensor | undefined {
    if (!isPermuted(shape, strides)) return undefined;
    const runs = this.copies.get(storage) ?? new Map<string, { copy: Tensor; version: number }>();
    this.copies.set(storage, runs);
    const key = `${offset}:${size}`;
    let known = runs.get(key);
    if (known?.version !== storage.version || known.copy.storage.isFreed) {
      const run = new Tensor(storage, 'f32', { shape: [size], strides: [1], offset });
      known = { copy: noGrad(() => cast(run, 'f16')), version: storage.version };
      runs.set(key, known);
    }
    return new Tensor(known.copy.storage, 'f16', { shape, strides, offset: 0 });
  }
}

/** Whether elements fill a run of memory, in whatever order of the axes. */
function isPermuted(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  const axes = shape.map((length, axis) => ({ length, stride: strides[axis]! })).filter(({ length }) => length !== 1);
  for (const { length, stride } of axes.sort((a, b) => a.stride - b.stride)) {
    if (stride !== expected) return false;
    expected *= length;
  }
  return true;
}

// Copies that optimizers keep

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
