import * as aliases from './ops/aliases.ts';
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
import { argsort, sort } from './ops/sort.ts';
import * as split from './ops/split.ts';
import { roll } from './ops/concat.ts';
import { tril, triu } from './ops/triangular.ts';
import { unfold } from './ops/unfold.ts';
import { backward } from './backward.ts';
import { data, item, tolist } from './read.ts';

/**
 * Functions of a tensor that are its methods too: `add(x, y)` is `x.add(y)`. Apart from what adds them to the
 * class: in one file, tsc loses the import of `Tensor` from the declarations that it writes.
 */
export const methods = {
  ...aliases,
  ...activations,
  ...arithmetic,
  ...comparison,
  ...movement,
  ...reduce,
  ...reshape,
  ...slice,
  ...split,
  ...softmax,
  addAssign,
  argsort,
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
  sort,
  sum,
  to: cast,
  tolist,
  tril,
  triu,
  unfold,
};

type Rest<Parameters> = Parameters extends readonly [unknown, ...infer Others] ? Others : never;
type Method<F> = F extends (...all: infer All) => infer Result ? (...rest: Rest<All>) => Result : never;
/** As methods, without the tensor itself. */
export type Methods = { [Name in keyof typeof methods]: Method<(typeof methods)[Name]> };
