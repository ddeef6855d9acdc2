import { rowMajor } from '../kernels/layout.ts';
import { describe } from './inspect/describe.ts';
import { methods } from './method-table.ts';
import type { Methods } from './method-table.ts';
import * as aliases from './ops/aliases.ts';
import { Tensor } from './tensor.ts';

declare module './tensor.ts' {
  interface Tensor extends Methods {
    /** The transpose of a matrix (`t()`). */
    readonly T: Tensor;
  }
}

Object.defineProperty(Tensor.prototype, 'T', {
  get(this: Tensor) {
    return aliases.t(this);
  },
  configurable: true,
});

/** A notebook shows values, which it waits for; those of a tensor of more elements stay on the device. */
const mostShown = 2 ** 20;

Object.defineProperty(Tensor.prototype, Symbol.for('Jupyter.display'), {
  async value(this: Tensor): Promise<Record<string, string>> {
    const { shape, dtype, device, requiresGrad, size } = this;
    const host = size > mostShown ? undefined : Array.from(await this.data(), Number);
    const layout = { shape, strides: rowMajor(shape), offset: 0 };
    return { 'text/plain': describe({ ...layout, dtype, device, requiresGrad, host }) };
  },
  configurable: true,
});

for (const [name, fn] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: unknown[]) {
      return (fn as (x: Tensor, ...rest: unknown[]) => unknown)(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
