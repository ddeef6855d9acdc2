import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acquire } from '../../gpu/index.ts';
import type { Dispatch, Target } from '../../gpu/index.ts';
import { contiguousLayout } from '../../kernels/layout.ts';
import type { Operand } from '../../kernels/layout.ts';
import type { Elements } from '../../kernels/map/elements.ts';
import { add, input, lt, mul, random as draw, scalar, select } from '../../kernels/map/expr.ts';
import { map } from '../../kernels/map/map.ts';
import { random } from '../../kernels/random.ts';
import { remembered } from '../../kernels/remember.ts';

const test = suite('remembered kernels');
const { target } = await acquire();

const x: Operand = { dtype: 'f32', ...contiguousLayout([4, 8]) };
const sum = add(input(0), scalar(0));
const elements: Elements = {
  shape: [4, 8],
  operands: [{ dtype: 'f32', kind: 'v', layout: contiguousLayout([4, 8]) }],
  outputs: [{ expr: sum, dtype: 'f32', fresh: true }],
  scalars: [2],
  compute: 'f32',
};

interface Operands {
  readonly x: Operand;
  readonly list?: readonly Operand[];
  readonly y: Elements;
}

/** A generator that counts its calls; what it makes does not matter. */
function counting(): { kernel: (operands: Operands, attrs: object, target: Target) => Dispatch; calls: () => number } {
  let calls = 0;
  const kernel = ({ y }: Operands): Dispatch => {
    calls++;
    return map({ elements: y }, { name: `made ${calls}` });
  };
  return { kernel, calls: () => calls };
}

test('equal operands and attributes give the dispatch that was made before', () => {
  const { kernel, calls } = counting();
  const first = remembered(kernel, { x, y: elements }, { axis: 1 }, target);
  const again = remembered(kernel, { x: { ...x, shape: [4, 8] }, y: { ...elements } }, { axis: 1 }, target);
  assert.is(again, first);
  assert.is(calls(), 1);
});

test('whatever a generator may look at makes another kernel', () => {
  const { kernel, calls } = counting();
  const layout = { ...contiguousLayout([4, 8]), offset: 4 };
  const operand = elements.operands[0]!;
  const output = elements.outputs[0]!;
  const others: readonly Operands[] = [
    { x: { ...x, dtype: 'f16' }, y: elements },
    { x: { ...x, shape: [8, 4] }, y: elements },
    { x: { ...x, strides: [1, 4] }, y: elements },
    { x: { ...x, offset: 1 }, y: elements },
    { x, list: [x], y: elements },
    { x, list: [x, x], y: elements },
    { x, y: { ...elements, scalars: [3] } },
    { x, y: { ...elements, compute: 'i32' } },
    { x, y: { ...elements, start: 4 } },
    { x, y: { ...elements, operands: [{ ...operand, layout }] } },
    { x, y: { ...elements, operands: [{ ...operand, output: 0 }] } },
    { x, y: { ...elements, operands: [{ ...operand, dtype: 'f16' }] } },
    { x, y: { ...elements, outputs: [{ ...output, layout }] } },
    { x, y: { ...elements, outputs: [{ ...output, fresh: false }] } },
    { x, y: { ...elements, outputs: [{ ...output, dtype: 'f16' }] } },
    { x, y: { ...elements, outputs: [{ ...output, expr: mul(input(0), scalar(0)) }] } },
  ];
  remembered(kernel, { x, y: elements }, { axis: 1 }, target);
  for (const operands of others) remembered(kernel, operands, { axis: 1 }, target);
  assert.is(calls(), 1 + others.length);
  remembered(kernel, { x, y: elements }, { axis: 0 }, target);
  remembered(kernel, { x, y: elements }, { axis: 1 }, { ...target });
  assert.is(calls(), 3 + others.length);
});

test('numbers that JSON does not know make kernels of their own', () => {
  const { kernel, calls } = counting();
  const numbers = [Infinity, -Infinity, NaN, 0, -0];
  for (const value of numbers) remembered(kernel, { x, y: elements }, { value }, target);
  assert.is(calls(), numbers.length);
  for (const value of numbers) remembered(kernel, { x, y: { ...elements, scalars: [value] } }, {}, target);
  assert.is(calls(), 2 * numbers.length);
  for (const value of numbers) remembered(kernel, { x, y: elements }, { value }, target);
  assert.is(calls(), 2 * numbers.length);
});

test('random draws are those of this call', () => {
  const drop = select(lt(draw(0), scalar(0)), 0, input(0));
  for (const stream of [0, 1, 2 ** 33 + 5]) {
    const own = { key: [7, 9] as const, stream };
    const attrs = { kind: 'normal' as const, a: 0, b: 1, draw: own };
    assert.equal(remembered(random, { y: x }, attrs, target), random({ y: x }, attrs));
    const dropped = { ...elements, outputs: [{ expr: drop, dtype: 'f32' as const }], draws: [own] };
    const direct = map({ elements: dropped }, { name: 'dropout' });
    assert.equal(remembered(map, { elements: dropped }, { name: 'dropout' }, target), direct);
  }
});

test.run();
