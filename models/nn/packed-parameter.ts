import { eye, noGrad, quantizedLinear, transpose } from '../../autograd/index.ts';
import type { QuantizedTensor } from '../../autograd/index.ts';
import { Storage } from '../../autograd/storage.ts';
import { emptyTensor, Tensor } from '../../autograd/tensor.ts';
import { rowMajor } from '../../kernels/layout.ts';
import { Parameter } from '../parameter.ts';

/**
 * A layer's weight that stays in 4 or 8 bits on the device (see `LoadOptions.quantize`). It has the shape of
 * the parameter in whose place it is, but no elements: the layer's kernels read `quantized`, and dequantise
 * as they go. Gradients flow through it to the layer's input. It is frozen; to read, change or train it is
 * an error.
 *
 * @example
 * new PackedParameter(await quantize(randn(4, 32))).shape; // [4, 32]
 */
export class PackedParameter extends Parameter {
  readonly #quantized: QuantizedTensor;
  readonly #transposed: boolean;

  /** With `transposed` the parameter is [in, out], as that of a Conv1D; `quantized` is always [out, in]. */
  constructor(quantized: QuantizedTensor, transposed = false) {
    const [out, into] = quantized.shape;
    const shape = transposed ? [into, out] : [out, into];
    super(emptyTensor(shape, 'f32', 'packed weight'));
    const { packed, scales, zeros, minimums } = quantized;
    for (const part of [packed, scales, zeros, minimums]) part?.keep();
    this.#quantized = quantized;
    this.#transposed = transposed;
    this.moveInto(nothing(shape, this.#refusal()), 0);
  }

  override get quantized(): QuantizedTensor {
    return this.#quantized;
  }

  /** The elements that it stands for, f32, in its shape. They take the memory that it saves. */
  elements(): Tensor {
    return noGrad(() => {
      const turned = quantizedLinear(eye(this.#quantized.shape[1]), this.#quantized); // (in, out)
      return this.#transposed ? turned : transpose(turned);
    });
  }

  override get requiresGrad(): boolean {
    return false;
  }

  override set requiresGrad(value: boolean) {
    // A parameter begins as one to be trained.
    if (value && #quantized in this) throw this.#refusal();
  }

  #refusal(): Error {
    return new Error(
      `a weight [${this.shape.join(', ')}] of ${this.quantized.bits} bits is frozen, and only its layer computes ` +
        'with it; load the model without quantize to read or train it, or train an adapter',
    );
  }
}

/** A tensor without memory, whose use throws. */
function nothing(shape: readonly number[], error: Error): Tensor {
  const storage = new Storage(0, 'packed weight');
  storage.fail(error);
  return new Tensor(storage, 'f32', { shape, strides: rowMajor(shape), offset: 0 }).keep();
}
