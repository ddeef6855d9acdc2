import * as tf from '../../autograd/index.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/**
 * By definition: for each index of the output the sum of products over all other letters. Letters only;
 * `explicit` spells out what `...` stands for.
 */
function reference(explicit: string, operands: readonly Nd[]): Nd {
  const [left, output] = explicit.split('->') as [string, string];
  const inputs = left.split(',');
  const lengths = new Map<string, number>();
  inputs.forEach((letters, i) =>
    [...letters].forEach((c, axis) => lengths.set(c, Math.max(lengths.get(c) ?? 0, operands[i]!.shape[axis]!))),
  );
  const summed = [...lengths.keys()].filter((c) => !output.includes(c));
  return build(
    [...output].map((c) => lengths.get(c)!),
    (out) => {
      let total = 0;
      build(
        summed.map((c) => lengths.get(c)!),
        (index) => {
          const at = (c: string): number => (output.includes(c) ? out[output.indexOf(c)]! : index[summed.indexOf(c)]!);
          total += operands.reduce((product, x, i) => product * get(x, [...inputs[i]!].map(at)), 1);
          return 0;
        },
      );
      return total;
    },
  );
}

const einsum = (
  equation: string,
  inputs: readonly InputSpec[],
  more: Partial<OpCase> & { readonly explicit?: string } = {},
): OpCase => ({
  op: 'einsum',
  note: equation,
  inputs,
  run: (...x) => tf.einsum(equation, ...x),
  ref: (...x) => reference(more.explicit ?? equation, x),
  loose: 3,
  ...more,
});

export const cases: readonly OpCase[] = [
  einsum('ij,jk->ik', [f32([2, 3]), f32([3, 4])], { second: true }),
  einsum('bij,bjk->bik', [f32([2, 3, 4]), f32([2, 4, 5])]),
  einsum('bhid,bhjd->bhij', [f32([2, 3, 4, 5]), f32([2, 3, 2, 5])]),
  einsum('ij->ji', [f32([2, 3])]),
  einsum('ij->', [f32([2, 3])]),
  einsum('ij->i', [f32([2, 3])]),
  einsum('i,i->', [f32([5]), f32([5])]),
  einsum('i,j->ij', [f32([2]), f32([3])]),
  einsum('i,i->i', [f32([5]), f32([5])]),
  einsum('ij,kl->', [f32([2, 3]), f32([2, 2])]),
  einsum('ii->i', [f32([4, 4])], { second: true }),
  einsum('ii->', [f32([3, 3])]),
  einsum('iji->j', [f32([3, 2, 3])]),
  einsum('iij,jk->ik', [f32([3, 3, 2]), f32([2, 4])]),
  einsum('ij,jk,kl->il', [f32([2, 3]), f32([3, 4]), f32([4, 2])], { second: true }),
  einsum('a,b,c,abc->', [f32([2]), f32([3]), f32([2]), f32([2, 3, 2])]),
  einsum('ba', [f32([2, 3])], { explicit: 'ba->ab' }),
  einsum('ij,jk', [f32([2, 3]), f32([3, 4])], { explicit: 'ij,jk->ik' }),
  einsum('...ij,...jk->...ik', [f32([2, 3, 4]), f32([5, 2, 4, 3])], { explicit: 'yij,xyjk->xyik' }),
  einsum('...,...->...', [f32([2, 1, 3]), f32([4, 3])], { explicit: 'xyz,yz->xyz' }),
  einsum('i...->...', [f32([2, 3])], { explicit: 'iz->z' }),
  einsum('ij,ij->ij', [f32([1, 3]), f32([2, 1])]),
  einsum(' i j , j k -> i k ', [f32([2, 3]), f32([3, 2])], { explicit: 'ij,jk->ik' }),
  einsum('ij,jk->ik', [f32([0, 3]), f32([3, 4])]),
  einsum('ij,jk->ik', [f32([2, 0]), f32([0, 4])]),
  einsum('ij,jk->ik', [f16([2, 3]), f16([3, 4])], { strided: false }),
];

const [a, b] = [(): tf.Tensor => tf.zeros([2, 3]), (): tf.Tensor => tf.zeros([3, 4])];

export const errors: readonly ErrorCase[] = [
  { op: 'einsum', run: () => tf.einsum('ij,jk->ik', a()), says: /2 operands, got 1/ },
  { op: 'einsum', run: () => tf.einsum('ij,jk->ik', a(), a()), says: /'j'.*\[2, 3\]/ },
  { op: 'einsum', run: () => tf.einsum('ijk,jk->ik', a(), b()), says: /\[2, 3\]/ },
  { op: 'einsum', run: () => tf.einsum('i,jk->ik', a(), b()), says: /\[2, 3\]/ },
  { op: 'einsum', run: () => tf.einsum('ij->iz', a()), says: /'z'/ },
  { op: 'einsum', run: () => tf.einsum('ij->ii', a()), says: /twice/ },
  { op: 'einsum', run: () => tf.einsum('ii->i', a()), says: /\[2, 3\]/ },
  { op: 'einsum', run: () => tf.einsum('i1->i', a()), says: /letters/ },
  { op: 'einsum', run: () => tf.einsum('..i->i', a()), says: /dots/ },
  { op: 'einsum', run: () => tf.einsum('ij->i->j', a()), says: /->/ },
];
