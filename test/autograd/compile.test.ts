import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Dropout, Linear, Module } from '../../models/index.ts';
import { acquire } from '../../gpu/index.ts';
import { planMemory } from '../../autograd/compile/plan.ts';
import { Random } from '../../common/random.ts';

const test = suite('compile');

class Net extends Module {
  readonly first = new Linear(20, 64);
  readonly second = new Linear(64, 10);
  readonly dropout = new Dropout(0.2);

  override forward(x: Tensor): Tensor {
    return this.second.forward(this.dropout.forward(tf.gelu(this.first.forward(x))));
  }
}

const batches = Array.from({ length: 6 }, (_, i) => {
  tf.manualSeed(100 + i);
  const labels = Array.from({ length: 8 }, (_, j) => (j * 7 + i) % 10);
  return { x: tf.normal([8, 20]).keep(), y: tf.tensor(labels, { dtype: 'i32' }).keep() };
});

/** Descent by hand: forward, backward, and an update in place. */
function descend(net: Net, x: Tensor, y: Tensor, lr: Tensor): { loss: Tensor; logits: Tensor } {
  const logits = net.forward(x);
  const loss = tf.crossEntropy(logits, y);
  for (const p of net.parameters()) p.clearGrad();
  loss.backward();
  tf.noGrad(() => net.parameters().forEach((p) => p.assign(p.sub(p.grad!.mul(lr)))));
  return { loss: loss.detach(), logits: logits.detach() };
}

function newNet(): Net {
  tf.manualSeed(5);
  return new Net();
}

async function bits(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (x) => [...(await x.data())]));
}

test('rows taken of a tensor that is reshaped, and a part of it: the gradients of both are added', async () => {
  tf.manualSeed(4);
  const x = tf.normal([2, 3, 4]).keep();
  const index = tf.tensor([1, 4, 4], { dtype: 'i32' }).keep();
  x.requiresGrad = true;
  const step = (): Tensor => {
    x.clearGrad();
    const rows = tf.indexSelect(tf.reshape(x, [6, 4]), 0, index);
    tf.add(tf.mul(rows, rows).sum(), tf.tanh(tf.slice(x, null, 0)).sum()).backward();
    return x.grad!.detach();
  };
  const apart = await step().data();
  assert.equal([...(await tf.compile(step, { log: assert.unreachable })().data())], [...apart]);
});

test('a cast to f16 inside a kernel rounds to the numbers of f16', async () => {
  // Ties, numbers below 2^-14 and 2^-24, the largest of f16, the first above it, infinity.
  const edges = [1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -14 - 2 ** -26, 2 ** -24, 2 ** -25, 3 * 2 ** -25, 65504, 65519];
  const random = new Random(3);
  const spread = Array.from({ length: 4000 }, () => random.normal() * 2 ** -random.int(26));
  const x = tf.tensor([...edges, 65536, Infinity, ...spread]).keep();
  for (const values of [x, x.neg().keep()]) {
    const rest = (y: Tensor): Tensor[] => {
      const half = y.to('f16').to('f32');
      return [half, tf.sub(y, half), tf.mul(half, 2)];
    };
    assert.equal(await bits(tf.compile(rest)(values)), await bits(rest(values)));
  }
});

test('elementwise work stays apart from earlier work over a shape that cannot address its operands', async () => {
  tf.manualSeed(2);
  const [v, x] = [tf.normal([20]).keep(), tf.normal([5, 4]).keep()];
  const joined = (v: Tensor): Tensor => {
    const first = tf.mul(v, 2);
    const turned = tf.mul(tf.transpose(x), 3);
    return tf.add(tf.reshape(tf.tanh(first), [4, 5]), turned);
  };
  const compiled = tf.compile(joined);
  assert.equal(await bits([compiled(v)]), await bits([joined(v)]));
  assert.is(tf.statistics(compiled.programs[0]!).dispatches, 2);
});

test('a row kernel chooses between its result and a vector that all rows share', async () => {
  tf.manualSeed(1);
  const [rows, shared] = [tf.normal([5, 8]).keep(), tf.normal([8]).keep()];
  const choose = (x: Tensor): Tensor => {
    const y = tf.softmax(x);
    return tf.where(tf.gt(y, 0.1), y, shared);
  };
  assert.equal(await bits([tf.compile(choose)(rows)]), await bits([choose(rows)]));
});

test('the gradient of a table is added in place to that of its other use, bit for bit, also cut', async () => {
  const gpu = await acquire();
  tf.manualSeed(9);
  const table = tf.normal([40, 12]).keep();
  const weights = tf.normal([9, 40]).keep();
  const index = tf.tensor([3, 0, 39, 3, 17, 3, 0, 8, 21], { dtype: 'i32' }).keep();
  table.requiresGrad = true;
  const step = (): Tensor => {
    table.clearGrad();
    const scores = tf.embedding(table, index).matmul(table.transpose(0, 1));
    tf.mul(scores, weights).sum().backward();
    return table.grad!.detach();
  };
  const apart = await step().data();
  const compiled = tf.compile(step, { log: assert.unreachable });
  assert.equal([...(await compiled().data())], [...apart]);
  assert.not.match(await compiled.explain(), /fill/);
  const restore = gpu.limitBindings(1024, 256);
  try {
    const cut = tf.compile(step, { log: assert.unreachable });
    const found = await cut().data();
    const off = (x: number, i: number): boolean => !(Math.abs(found[i]! - x) <= 1e-5);
    assert.is(Array.from(apart).findIndex(off), -1);
  } finally {
    restore();
  }
});

test('a training step, replayed, computes what it computes without compile, bit for bit', async () => {
  const run = async (compiled: boolean): Promise<number[][]> => {
    const net = newNet();
    const step = (x: Tensor, y: Tensor, lr: Tensor) => descend(net, x, y, lr);
    const fast = tf.compile(step, { log: assert.unreachable });
    tf.manualSeed(7);
    const seen: Tensor[] = [];
    for (const [i, { x, y }] of batches.entries()) {
      const rate = 0.1 * (i + 1);
      const { loss, logits } = compiled ? fast(x, y, rate) : step(x, y, tf.tensor(rate));
      seen.push(loss, logits, net.first.weight.grad!.detach().add(0));
    }
    assert.is(fast.programs.length, compiled ? 1 : 0);
    return bits([...seen, ...net.parameters()]);
  };
  assert.equal(await run(true), await run(false));
});

test('other shapes, modes and structures are captured anew, with the reason; a bounded number is kept', async () => {
  const net = newNet();
  const said: string[] = [];
  const infer = tf.compile((x: Tensor, kind: string) => ({ y: net.forward(x).add(kind === 'a' ? 1 : 2) }), {
    name: 'infer',
    maxPrograms: 2,
    log: (line) => said.push(line),
  });
  net.eval();
  const x = tf.normal([4, 20]);
  const [first] = await bits([infer(x, 'a').y]);
  assert.equal(said, []);
  infer(tf.normal([3, 20]), 'a');
  assert.match(said[0]!, /infer: captured again.*input 0 is f32 \[3, 20\] instead of f32 \[4, 20\]/);
  infer(x, 'b');
  assert.match(said[1]!, /another structure/);
  assert.is(infer.programs.length, 2);
  net.train();
  infer(x, 'b');
  assert.match(said[2]!, /training of a Dropout was false/);
  net.eval();
  assert.equal(await bits([infer(x, 'a').y]), [first]);
});

test('results of two calls are tensors of their own', async () => {
  const double = tf.compile((x: Tensor) => x.mul(2));
  const [a, b] = [double(tf.tensor([1, 2])), double(tf.tensor([3, 4]))];
  assert.equal(await a.tolist(), [2, 4]);
  assert.equal(await b.tolist(), [6, 8]);
});

test('gradients accumulate over calls, and anew after they were cleared', async () => {
  const w = tf.tensor([1, 2, 3]);
  w.requiresGrad = true;
  const pass = tf.compile((x: Tensor) => void w.mul(x).sum().backward(), { log: () => undefined });
  for (const factor of [1, 2, 3]) {
    pass(factor);
    assert.equal(
      await w.grad!.tolist(),
      [1, 1, 1].map((v) => (v * factor * (factor + 1)) / 2),
    );
  }
  w.clearGrad();
  pass(5);
  assert.equal(await w.grad!.tolist(), [5, 5, 5]);
});

test('random ops draw anew in every replay, and the same numbers as without compile', async () => {
  const noise = (x: Tensor): Tensor => tf.dropout(x, 0.5).add(tf.uniform([64]));
  const fast = tf.compile(noise);
  const x = tf.ones([64]);
  tf.manualSeed(3);
  const plain = await bits([noise(x), noise(x), noise(x)]);
  tf.manualSeed(3);
  assert.equal(await bits([fast(x), fast(x), fast(x)]), plain);
  assert.not.equal(plain[0], plain[1]);
});

test('a checkpoint inside draws the same masks again and keeps less', async () => {
  const run = async (saving: boolean) => {
    const net = newNet();
    const loss = tf.compile((x: Tensor) => {
      const y = saving ? tf.checkpoint(() => net.forward(x)) : net.forward(x);
      for (const p of net.parameters()) p.clearGrad();
      y.mul(y).sum().backward();
      return y.detach();
    });
    tf.manualSeed(9);
    const y = loss(batches[0]!.x);
    return bits([y, ...net.parameters().map((p) => p.grad!)]);
  };
  assert.equal(await run(true), await run(false));
});

test('dead and repeated work is left out, constants need no memory', async () => {
  const f = tf.compile((x: Tensor) => {
    x.exp().mul(3); // nothing needs it
    const [a, b] = [x.matmul(x), x.matmul(x)]; // one product
    return a
      .add(b)
      .add(tf.ones([8, 8]))
      .relu();
  });
  const x = tf.normal([8, 8]);
  const y = f(x);
  const wanted = x.matmul(x).mul(2).add(1).relu();
  assert.equal(await bits([y]), await bits([wanted]));
  const s = tf.statistics(f.programs[0]!);
  assert.is(s.shared, 1);
  assert.is(s.dead, 2);
  assert.ok(s.dispatches <= 2, `${s.dispatches} dispatches`);
  const text = await f.explain();
  assert.match(text, /dispatches of \d kernels; 2 ops dead, 1 shared/);
});

test('state is written in place and seen from outside, and its history is guarded', async () => {
  const state = tf.zeros([3]).keep();
  const count = tf.compile((x: Tensor) => void state.addAssign(x));
  count(tf.tensor([1, 2, 3]));
  count(tf.tensor([1, 1, 1]));
  assert.equal(await state.tolist(), [2, 3, 4]);
  const w = tf.tensor([1, 1, 1]);
  w.requiresGrad = true;
  const y = w.mul(state);
  count(tf.tensor([1, 1, 1]));
  assert.throws(() => y.sum().backward(), /changed in place/);
});

test('equal computations are not shared across a write in between', async () => {
  const state = tf.tensor([1, 2]).keep();
  const f = tf.compile((x: Tensor) => {
    const doubled = (): Tensor => state.exp().log().mul(2); // what is returned is never shared
    const before = doubled().round();
    state.addAssign(x);
    return [before, doubled().round()];
  });
  const lists = async (): Promise<unknown> => Promise.all(f(tf.tensor([10, 10])).map((y) => y.tolist()));
  assert.equal(await lists(), [[2, 4], [22, 24]]); // prettier-ignore
  assert.equal(await lists(), [[22, 24], [42, 44]]); // prettier-ignore
});

test('constants made inside live as long as the program', async () => {
  const f = tf.compile(
    (x: Tensor) => {
      const outer = tf.tensor([4, 8]);
      using _ = tf.scope();
      return x
        .add(tf.tensor([6, 12]))
        .add(outer)
        .keep();
    },
    { log: assert.unreachable },
  );
  for (let i = 0; i < 3; i++) {
    using _ = tf.scope();
    assert.equal(await f(tf.tensor([i, i])).tolist(), [10 + i, 20 + i]);
  }
});

test('strided arguments, results that are views, arguments or state', async () => {
  const state = tf.tensor([[1, 2], [3, 4]]); // prettier-ignore
  const f = tf.compile((x: Tensor) => [x.transpose(), x.add(1).slice(null, [1, 3]), state, x]);
  const x = tf.tensor([[1, 2, 3], [4, 5, 6]]).transpose(); // prettier-ignore
  const lists = await Promise.all(f(x).map((y) => y.tolist()));
  // prettier-ignore
  assert.equal(lists, [[[1, 2, 3], [4, 5, 6]], [[5], [6], [7]], [[1, 2], [3, 4]], [[1, 4], [2, 5], [3, 6]]]);
});

test('memory stays flat over 200 replays', async () => {
  const net = newNet();
  const step = tf.compile((x: Tensor, y: Tensor, lr: Tensor) => descend(net, x, y, lr).loss);
  const once = async (): Promise<void> => {
    using _ = tf.scope();
    await step(batches[0]!.x, batches[0]!.y, 0.01).item();
  };
  for (let i = 0; i < 5; i++) await once();
  const before = tf.memory().live;
  for (let i = 0; i < 200; i++) await once();
  assert.ok(tf.memory().live <= before, `${tf.memory().live} bytes live, ${before} before`);
});

test('bad indices and labels are refused at every call, as without compile', () => {
  const table = tf.normal([4, 3]).keep();
  const f = tf.compile((index: Tensor, labels: Tensor) =>
    tf.crossEntropy(tf.embedding(table, index.reshape([-1])), labels),
  );
  const ids = (...values: number[]): Tensor => tf.tensor(values, { dtype: 'i32' });
  f(ids(0, 3), ids(0, 2));
  assert.throws(() => f(ids(0, 4), ids(0, 2)), /embedding: index 4 is out of range/);
  assert.throws(() => f(ids(0, 3), ids(0, 3)), /crossEntropy: label 3 is out of range/);
  f(ids(1, 2), ids(-100, 1));
  assert.is(f.programs.length, 1);
});

test('programs of one function share their buffers', async () => {
  const f = tf.compile((x: Tensor) => x.matmul(x).softmax().matmul(x), { log: () => undefined });
  const held: number[] = [];
  for (const n of [64, 48, 32]) {
    const x = tf.normal([n, n]);
    assert.equal(await bits([f(x)]), await bits([x.matmul(x).softmax().matmul(x)]));
    held.push(tf.memory().byOp.compiled!);
  }
  assert.ok(held[2]! - held[0]! <= 4 * (48 * 48 + 32 * 32), `${held.join(', ')} bytes`); // but for the results
});

test('what cannot be compiled is refused, naming the line', () => {
  const refused = (fn: (x: Tensor) => unknown, says: RegExp): void =>
    assert.throws(() => tf.compile(fn)(tf.tensor([1, 2])), says);
  refused((x) => void x.data(), /data: a compiled function cannot read data back.*compile\.test/);
  refused((x) => void tf.assign(x, x), /assign: writes to an argument/);
  refused(async (x) => x, /must not be async/);
  refused(() => new Map(), /result is a Map/);
  refused(() => tf.manualSeed(1), /manualSeed: .*seed before the call/);
  refused((x) => {
    x.requiresGrad = true;
    x.sum().backward();
  }, /gradient cannot leave/);
  assert.throws(() => tf.compile((x: Map<string, Tensor>) => x)(new Map()), /argument.0 is a Map/);
  let leaked: Tensor | undefined;
  tf.compile((x: Tensor) => {
    leaked = x.exp();
    return x.add(1);
  })(tf.tensor([1]));
  assert.throws(() => leaked!.add(1), /freed/);
});

test('an error inside the function leaves gradients and random numbers as they were', async () => {
  const net = newNet();
  const grads = net.parameters().map((p) => (p.grad = tf.zeros(p.shape)));
  tf.manualSeed(11);
  const state = tf.randomState();
  const f = tf.compile((x: Tensor) => {
    descend(net, x, batches[0]!.y, tf.tensor(1));
    return x.reshape([7]);
  });
  assert.throws(() => f(batches[0]!.x), /reshape/);
  net.parameters().forEach((p, i) => assert.is(p.grad, grads[i]));
  assert.equal(tf.randomState(), state);
});

test('planned lifetimes never share a buffer at the same time', () => {
  const random = new Random(3);
  for (let round = 0; round < 50; round++) {
    const lives = Array.from({ length: 40 }, () => {
      const first = random.int(50);
      return { bytes: 16 * (1 + random.int(64)), first, last: first + random.int(10) };
    });
    const { bufferOf, buffers, total, lowerBound } = planMemory(lives);
    lives.forEach((a, i) => {
      assert.ok(buffers[bufferOf[i]!]! >= a.bytes);
      lives.forEach((b, j) => {
        if (i < j && bufferOf[i] === bufferOf[j]) assert.ok(a.last < b.first || b.last < a.first);
      });
    });
    assert.is(
      total,
      buffers.reduce((x, y) => x + y, 0),
    );
    assert.ok(lowerBound <= total);
  }
});

test.run();
