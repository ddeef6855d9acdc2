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

for (const [name, fn] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: unknown[]) {
      return (fn as (x: Tensor, ...rest: unknown[]) => unknown)(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
