// Functions with derivatives of their own.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  checkpoint,
  compile,
  defineFunction,
  exp,
  grad,
  mul,
  neg,
  noGrad,
  tensor,
  topk,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

const test = suite('defineFunction');
const leaf = (values: readonly number[]): Tensor => tensor([...values], { requiresGrad: true });
const list = async (x: Tensor): Promise<number[]> => Array.from(await x.data());

const straightThrough = defineFunction({
  name: 'straightThrough',
  forward: (x: Tensor) => x.round(),
  vjp: ({ g }) => [g],
});
const reverse = defineFunction({ name: 'reverse', forward: (x: Tensor) => x, vjp: ({ g }) => [neg(g)], saves: [] });
/** exp with its derivative from the output, and a product beside it. */
const both = defineFunction({
  name: 'both',
  forward: (x: Tensor, y: Tensor) => [exp(x), mul(x, y)] as const,
  vjp: ({ grads, inputs: [x, y], outputs, needs }) => [
    mul(grads[0]!, outputs[0]!).add(mul(grads[1]!, y)),
    needs(1) ? mul(grads[1]!, x) : null,
  ],
});

test('its own derivative takes the place of the chain rule, and an input that comes back stays itself', async () => {
  const x = leaf([0.2, 1.7, -2.6]);
  const y = straightThrough(x);
  assert.equal(await list(y), [0, 2, -3]);
  y.mul(tensor([1, 2, 3]))
    .sum()
    .backward();
  assert.equal(await list(x.grad!), [1, 2, 3]);
  const [same, turned] = [leaf([1, 2]), leaf([1, 2])];
  assert.equal(await list(reverse(turned)), [1, 2]);
  assert.ok(turned.requiresGrad && !turned.node);
  const [g] = grad(same.mul(reverse(same)).sum(), [same]);
  assert.equal(await list(g!), [0, 0], 'x - x');
  assert.not(noGrad(() => reverse(turned)).requiresGrad);
  assert.not(reverse(tensor([1])).requiresGrad);
});

test('several outputs; second derivatives follow from the ops of vjp', async () => {
  const [x, y] = [leaf([0.5, -1]), tensor([3, 4])];
  const [power, product] = both(x, y);
  const [first] = grad([power.sum(), product.sum()], [x], { createGraph: true });
  const rounded = async (of: Tensor): Promise<number[]> => (await list(of)).map((v) => Number(v.toFixed(5)));
  assert.equal(
    await rounded(first!),
    [0.5, -1].map((v, i) => Number((Math.exp(v) + [3, 4][i]!).toFixed(5))),
  );
  const [second] = grad(first!.sum(), [x]);
  assert.equal(
    await rounded(second!),
    [0.5, -1].map((v) => Number(Math.exp(v).toFixed(5))),
  );
  const [alone] = grad(both(x, y)[1].sum(), [x]);
  assert.equal(await list(alone!), [3, 4], 'zeros for an output that nothing used');
});

test('compiled and recomputed the same', async () => {
  const values = [0.3, 2.4, -1.2];
  const work = (x: Tensor): Tensor[] => {
    const run = (): Tensor =>
      both(straightThrough(x.mul(2)), x)[1]
        .mul(reverse(x))
        .sum();
    return [...grad(run(), [x]), ...grad(checkpoint(run), [x])];
  };
  const x = leaf(values);
  const [plain, again] = await Promise.all(work(x).map(list));
  assert.equal(plain, again, 'under checkpoint');
  const step = compile((given: Tensor) => {
    given.requiresGrad = true;
    return work(given);
  });
  for (let i = 0; i < 2; i++) assert.equal(await list(step(tensor(values))[0]!), plain);
});

test('a selection without a gradient, and mistakes of a rule', async () => {
  /** Keeps the k largest; the gradient goes to those alone. */
  const sparse = defineFunction({
    name: 'sparse',
    forward: (x: Tensor) => where(x.ge(topk(x, 2)[0].min()), x, 0),
    vjp: ({ g, outputs: [y] }) => [where(y!.ne(0), g, 0)],
    saves: ['outputs'],
  });
  const x = leaf([1, 5, 3]);
  sparse(x).sum().backward();
  assert.equal(await list(x.grad!), [0, 1, 1]);
  const short = defineFunction({ name: 'short', forward: (a: Tensor, b: Tensor) => a.add(b), vjp: ({ g }) => [g] });
  assert.throws(() => short(x, x).sum().backward(), /short: its vjp gives 1 cotangents for 2 inputs/);
  const wide = defineFunction({ name: 'wide', forward: (a: Tensor) => a.sum(), vjp: ({ g }) => [g] });
  assert.throws(() => wide(x).backward(), /wide: its derivative for input 0 is f32 \[\], the input is f32 \[3\]/);
  const unsaved = defineFunction({
    name: 'unsaved',
    forward: (a: Tensor) => a.exp(),
    vjp: ({ inputs }) => inputs,
    saves: [],
  });
  assert.throws(
    () => unsaved(x).sum().backward(),
    /unsaved: its derivative reads input 0, which its record does not save/,
  );
  const later = defineFunction({
    name: 'later',
    forward: (async (a: Tensor) => a) as unknown as (a: Tensor) => Tensor,
    vjp: ({ g }) => [g],
  });
  assert.throws(() => later(x), /later/);
});

test.run();
