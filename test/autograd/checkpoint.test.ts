import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  checkpoint,
  dropout,
  gelu,
  grad,
  manualSeed,
  matmul,
  memory,
  mul,
  normal,
  scope,
  sum,
  synchronize,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

const test = suite('checkpoint');

/** Three layers with dropout; `wrap` decides whether each is a checkpoint. */
function network(x: Tensor, weights: readonly Tensor[], wrap: <T>(fn: () => T) => T): Tensor {
  let y = x;
  for (const w of weights) {
    const before = y;
    y = wrap(() => dropout(gelu(matmul(before, w)), 0.3));
  }
  return sum(mul(y, y));
}

const plain = <T>(fn: () => T): T => fn();

function problem(size: number): { x: Tensor; weights: Tensor[] } {
  manualSeed(11);
  const leaf = (): Tensor => {
    const t = normal([size, size], { std: 0.3 }).keep();
    t.requiresGrad = true;
    return t;
  };
  return { x: leaf(), weights: [leaf(), leaf(), leaf()] };
}

test('gradients equal those without it, bit for bit, dropout included', async () => {
  const run = async (wrap: <T>(fn: () => T) => T): Promise<unknown[]> => {
    const { x, weights } = problem(12);
    manualSeed(4);
    const loss = network(x, weights, wrap);
    loss.backward();
    return [await loss.item(), ...(await Promise.all([x, ...weights].map((t) => t.grad!.data())))];
  };
  assert.equal(await run(checkpoint), await run(plain));
});

test('random numbers after it are those of a run without it', async () => {
  const run = async (wrap: <T>(fn: () => T) => T): Promise<unknown> => {
    const { x, weights } = problem(8);
    network(x, weights, wrap).backward();
    return normal([4]).data();
  };
  assert.equal(await run(checkpoint), await run(plain));
});

test('gradients of gradients', async () => {
  const run = async (wrap: <T>(fn: () => T) => T): Promise<ArrayLike<number>> => {
    const { x, weights } = problem(6);
    manualSeed(4);
    const [gx] = grad(network(x, weights, wrap), [x], { createGraph: true });
    const [gg] = grad(sum(mul(gx!, gx!)), [weights[1]!]);
    return gg!.data();
  };
  // Computed later, applications stand elsewhere on the tape, and their gradients are added in another order.
  const [got, expected] = [await run(checkpoint), await run(plain)];
  const largest = Math.max(...Array.from(expected, Math.abs));
  Array.from(expected).forEach((value, i) => {
    if (!(Math.abs(got[i]! - value) <= 1e-5 * largest)) assert.unreachable(`element ${i}: ${got[i]} is not ${value}`);
  });
});

test('nested', async () => {
  const run = async (wrap: <T>(fn: () => T) => T): Promise<unknown> => {
    const { x, weights } = problem(6);
    manualSeed(4);
    const loss = wrap(() => network(x, weights, wrap));
    loss.backward();
    return weights[0]!.grad!.data();
  };
  assert.equal(await run(checkpoint), await run(plain));
});

test('a function that does something else the second time is refused', () => {
  const { x } = problem(4);
  let calls = 0;
  const y = checkpoint(() => (calls++ === 0 ? gelu(gelu(x)) : gelu(x)));
  assert.throws(() => sum(y).backward(), /checkpoint: .* values that the second run did not make/);
});

test('what it saves is not held until backward', async () => {
  const size = 256;
  const { x, weights } = problem(size);
  const heldAfter = async (wrap: <T>(fn: () => T) => T): Promise<number> => {
    await synchronize();
    const before = memory().live;
    const open = scope();
    let loss: Tensor | undefined = network(x, weights, wrap);
    await loss.item();
    const saved = countSaved(loss);
    loss = undefined;
    open[Symbol.dispose]();
    assert.ok(memory().live <= before + 1024);
    return saved;
  };
  const [held, recomputed] = [await heldAfter(plain), await heldAfter(checkpoint)];
  assert.ok(recomputed < held / 2, `${held} saved tensors without, ${recomputed} with`);
});

/** Saved tensors that the graph behind a loss holds. */
function countSaved(loss: Tensor): number {
  const seen = new Set<unknown>();
  let count = 0;
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value) || ArrayBuffer.isView(value)) return;
    seen.add(value);
    if ('tensor' in value && 'version' in value) {
      count++;
      return;
    }
    const parts = value instanceof Map ? [...value.values()] : Object.values(value);
    for (const part of parts) visit(part);
  };
  visit(loss.node);
  return count;
}

test.run();
