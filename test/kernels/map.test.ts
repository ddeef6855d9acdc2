// Maps so large that a thread takes several units: vec4s and elements, in place, masks, the last units cut.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

const test = suite('large maps');

const values = async (x: Tensor): Promise<number[]> => Array.from(await x.data(), Number);
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => ((i * 7919) % 1009) / 8 - 60);

for (const compiled of [false, true])
  test(`a vec4, an element, a mask and a row a unit${compiled ? ', compiled' : ''}`, async () => {
    const [rows, columns] = [263, 1100]; // 289,300 elements
    const list = numbers(rows * columns);
    const [x, row] = [tf.tensor(list, { shape: [rows, columns] }), tf.tensor(numbers(columns))];
    const wide = (a: Tensor, b: Tensor): Tensor => tf.where(a.gt(b), a, b.mul(2));
    const single = (a: Tensor): Tensor => a.transpose().add(1).contiguous();
    const [f, g] = compiled ? [tf.compile(wide), tf.compile(single)] : [wide, single];
    const [y, z] = [await values(f(x, row)), await values(g(x))];
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        const [a, b] = [list[i * columns + j]!, list[j]!];
        if (y[i * columns + j] !== (a > b ? a : 2 * b)) assert.unreachable(`(${i}, ${j}): ${y[i * columns + j]}`);
        if (z[j * rows + i] !== a + 1) assert.unreachable(`transposed (${j}, ${i}): ${z[j * rows + i]}`);
      }
  });

test('in place', async () => {
  const list = numbers(262_150);
  const x = tf.tensor(list);
  tf.noGrad(() => x.mul_(2).add_(1));
  const got = await values(x);
  const wrong = got.findIndex((value, i) => value !== 2 * list[i]! + 1);
  assert.is(wrong, -1);
});

test.run();
