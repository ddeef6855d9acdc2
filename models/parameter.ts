import { clone, noGrad } from '../autograd/index.ts';
import { isFloat, Tensor } from '../autograd/tensor.ts';
import { bytesOf } from '../kernels/kernel.ts';

/**
 * A tensor that a module learns. Its class, not `requiresGrad`, makes it a parameter, so frozen ones stay
 * parameters. It outlives the scopes that are open when it is made. Built from any f32 or f16 tensor: one
 * that shares its memory with others is copied.
 */
export class Parameter extends Tensor {
  constructor(values: Tensor) {
    if (!isFloat(values.dtype))
      throw new Error(
        `a parameter must be f32 or f16, got ${values.dtype}; convert with to('f32') or make it a buffer`,
      );
    const own = withOwnMemory(values);
    super(own.storage, own.dtype, own);
    this.requiresGrad = true;
    this.keep();
  }
}

/**
 * A tensor that belongs to a module's state but is not learned. One that is not persistent is left out of the
 * state dict, as position tables are. Plain tensors in fields are neither: they are caches of the module's
 * own.
 */
export class ModuleBuffer extends Tensor {
  readonly persistent: boolean;

  constructor(values: Tensor, { persistent = true }: { readonly persistent?: boolean } = {}) {
    const own = withOwnMemory(values);
    super(own.storage, own.dtype, own);
    this.persistent = persistent;
    this.keep();
  }
}

function withOwnMemory(values: Tensor): Tensor {
  const whole =
    values.isContiguous && values.offset === 0 && values.size * bytesOf(values.dtype) === values.storage.bytes;
  return whole && !values.node ? values : noGrad(() => clone(values));
}
