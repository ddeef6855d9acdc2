import * as activations from './ops/activations.ts';
import * as arithmetic from './ops/arithmetic.ts';
import { addAssign, assign } from './ops/assign.ts';
import { cast, expand, sum } from './ops/broadcast.ts';
import * as comparison from './ops/comparison.ts';
import { cumsum } from './ops/cumsum.ts';
import { gather, indexSelect, scatterAdd } from './ops/gather.ts';
import { bmm, matmul } from './ops/matmul.ts';
import * as movement from './ops/movement.ts';
import * as reduce from './ops/reduce.ts';
import * as reshape from './ops/reshape.ts';
import * as softmax from './ops/softmax.ts';
import * as slice from './ops/slice.ts';
import { roll } from './ops/concat.ts';
import { tril, triu } from './ops/triangular.ts';
import { unfold } from './ops/unfold.ts';
import { backward } from './backward.ts';
import { data, item, tolist } from './read.ts';
import { Tensor } from './tensor.ts';

/** Functions of a tensor that are its methods too: `add(x, y)` is `x.add(y)`. */
const methods = {
  ...activations,
  ...arithmetic,
  ...comparison,
  ...movement,
  ...reduce,
  ...reshape,
  ...slice,
  ...softmax,
  addAssign,
  assign,
  backward,
  bmm,
  cumsum,
  data,
  expand,
  gather,
  indexSelect,
  item,
  matmul,
  roll,
  scatterAdd,
  sum,
  to: cast,
  tolist,
  tril,
  triu,
  unfold,
};

type Method<F> = F extends (x: Tensor, ...rest: infer Rest) => infer Result ? (...rest: Rest) => Result : never;
type Methods = { [Name in keyof typeof methods]: Method<(typeof methods)[Name]> };

declare module './tensor.ts' {
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type
  interface Tensor extends Methods {}
}

for (const [name, fn] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: unknown[]) {
      return (fn as (x: Tensor, ...rest: unknown[]) => unknown)(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
