import { machineRoom, tooLarge } from '../common/memory.ts';
import type { Window } from '../gpu/index.ts';
import type { Dtype } from '../kernels/kernel.ts';
import { bytesOf } from '../kernels/kernel.ts';
import { isContiguous, rowMajor, sizeOf } from '../kernels/layout.ts';
import type { Layout } from '../kernels/layout.ts';
import { context } from './context.ts';
import { ShapeError } from './op.ts';
import type { GradNode } from './op.ts';
import { describe } from './inspect/describe.ts';
import { deviceName, tensorRoom } from './runtime.ts';
import { keepStorage, Storage } from './storage.ts';

/** Names of the method that `console.log` calls. */
const inNode = Symbol.for('nodejs.util.inspect.custom');
const inDeno = Symbol.for('Deno.customInspect');

/**
 * An array on the device: shape, element type and addressing over a storage that views share. Elementwise
 * functions, reductions and the rest are methods too (methods.ts). Nothing is awaited except reading data
 * back.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]], { requiresGrad: true });
 * x.matmul(x).sum().backward();
 * x.shape; // [2, 2]
 * x.grad; // [[7, 11], [9, 13]]
 */
export class Tensor implements Layout {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly strides: readonly number[];
  readonly offset: number;
  readonly storage: Storage;
  /**
   * In lowerings, of a tensor too large for one binding: the part of the buffer that is bound. The offset
   * counts from its beginning.
   */
  readonly window: Window | undefined;
  /** The application that produced this tensor, while gradients may flow through it. */
  node: GradNode | undefined;
  /** Which output of the node it is. */
  outputIndex = 0;
  private gradient: Tensor | undefined;
  private leafRequiresGrad = false;

  constructor(storage: Storage, dtype: Dtype, layout: Layout, window?: Window) {
    this.storage = storage;
    this.window = window;
    this.dtype = dtype;
    this.shape = layout.shape;
    this.strides = layout.strides;
    this.offset = layout.offset;
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  get ndim(): number {
    return this.shape.length;
  }

  /** Whether `backward()` computes a gradient for this tensor. Settable on leaves. */
  get requiresGrad(): boolean {
    return this.leafRequiresGrad || this.node !== undefined;
  }

  set requiresGrad(value: boolean) {
    if (this.node) throw new Error('requiresGrad can be set on leaf tensors only; use detach() to cut the graph');
    if (value && !isFloat(this.dtype))
      throw new Error(`requiresGrad: gradients need f32 or f16, this tensor is ${this.dtype}`);
    this.leafRequiresGrad = value;
  }

  /** Accumulated by `backward()` on leaves that require it. */
  get grad(): Tensor | undefined {
    context().recorder?.readGrad(this, this.gradient);
    return this.gradient;
  }

  set grad(value: Tensor | undefined) {
    context().recorder?.wroteGrad(this, this.gradient);
    this.gradient = value;
  }

  /** Forgets the gradient and frees its memory. */
  clearGrad(): void {
    const before = this.gradient;
    this.grad = undefined;
    if (before && !context().recorder && !this.sharesGrad(before)) before.storage.free();
  }

  /** Whether the gradient's memory may hold other leaves' gradients too. */
  protected sharesGrad(gradient: Tensor): boolean {
    return gradient.size * bytesOf(gradient.dtype) < gradient.storage.bytes;
  }

  get isContiguous(): boolean {
    return isContiguous(this);
  }

  /** The same data without history: no gradient flows through the result. */
  detach(): Tensor {
    return new Tensor(this.storage, this.dtype, this);
  }

  /** Lets this tensor outlive the scopes that are open now. Returns itself. */
  keep(): this {
    keepStorage(this.storage);
    return this;
  }

  /**
   * Makes this leaf a view of part of another tensor, which holds its values already; its own memory is
   * freed. Optimizers gather small parameters in one buffer this way. Views made of it before (slices,
   * detached copies) are cut off.
   */
  moveInto(home: Tensor, offset: number): void {
    if (this.node) throw new Error('moveInto: only leaf tensors move');
    const { storage } = this;
    Object.assign(this, { storage: home.storage, strides: rowMajor(this.shape), offset: home.offset + offset });
    storage.departures++;
    if (storage.bytes === this.size * bytesOf(this.dtype)) storage.free();
  }

  /** Where the elements are: the adapter's name, or `webgpu` before the first op has found one. */
  get device(): string {
    return deviceName();
  }

  /** Text that `console.log` prints instead of the fields. */
  [inNode](): string {
    const { shape, strides, offset, dtype, device, requiresGrad } = this;
    return describe({ shape, strides, offset, dtype, device, requiresGrad, host: this.storage.host });
  }

  [inDeno](): string {
    return this[inNode]();
  }

  toString(): string {
    const { shape, dtype, requiresGrad } = this;
    return `Tensor(shape: [${shape.join(', ')}], dtype: ${dtype}${requiresGrad ? ', requiresGrad' : ''})`;
  }
}

/** A tensor with storage of its own, row-major, contents not yet written. */
export function emptyTensor(shape: readonly number[], dtype: Dtype, label: string): Tensor {
  const storage = new Storage(checkRoom(label, shape, dtype), label);
  return new Tensor(storage, dtype, { shape, strides: rowMajor(shape), offset: 0 });
}

/** Bytes of a tensor. Throws where no memory holds them; `onHost`: beside the numbers, 8 bytes each. */
export function checkRoom(op: string, shape: readonly number[], dtype: Dtype, onHost = false): number {
  const size = sizeOf(shape);
  const room = onHost ? machineRoom : tensorRoom();
  const bytes = size * (bytesOf(dtype) + (onHost ? 8 : 0));
  if (bytes <= room.bytes) return bytes;
  const what = `${op}: a tensor [${shape.join(', ')}] of ${dtype}`;
  throw new ShapeError(tooLarge(what, bytes, room, 'use a smaller shape'));
}

export function isFloat(dtype: Dtype): boolean {
  return dtype === 'f32' || dtype === 'f16';
}
