import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acquire } from '../../gpu/index.ts';
import type { Dispatch } from '../../gpu/index.ts';
import { collect, packedQuads, partialsFor } from '../../kernels/multi-tensor/collect.ts';
import { prepare } from '../../kernels/multi-tensor/prepare.ts';
import type { PrepareAttrs } from '../../kernels/multi-tensor/prepare.ts';
import { controlQuads, hyperAt, resultAt, slotsAt, updateRule } from '../../kernels/multi-tensor/update.ts';
import * as e from '../../kernels/map/expr.ts';
import { contiguousLayout } from '../../kernels/layout.ts';
import type { Operand } from '../../kernels/layout.ts';
import { Random } from '../../common/random.ts';

const test = suite('multi-tensor kernels');

/** A rule that derives of its numbers, once a step, as Adam does. */
const rule = updateRule({
  name: 'adam',
  defaults: null,
  hyper: () => ({ lr: 0, log1: 0, log2: 0 }),
  derived: ({ lr, log1, log2, t }) => ({
    a: e.div(lr, e.oneMinusExp(e.mul(t, log1))),
    b: e.div(1, e.sqrt(e.oneMinusExp(e.mul(t, log2)))),
  }),
  state: [],
  update: ({ param }) => ({ param }),
});
/** Its hyper. */
const adam = (lr: number, ...betas: readonly number[]): number[] => [
  lr,
  ...betas.map((beta) => Math.min(-Math.log(beta), 100)),
];

/** Runs a kernel over buffers in binding order; returns all of them afterwards. */
async function dispatched(dispatch: Dispatch, buffers: readonly Float32Array[]): Promise<Float32Array[]> {
  const gpu = await acquire();
  const allocations = buffers.map((x) => gpu.upload(new Uint8Array(x.buffer, x.byteOffset, x.byteLength), 'test'));
  gpu.dispatch(dispatch, allocations);
  const read = await Promise.all(allocations.map((x, k) => gpu.read(x, 0, buffers[k]!.byteLength)));
  for (const allocation of allocations) gpu.release(allocation);
  return read.map(({ buffer, byteLength }) => new Float32Array(buffer, 0, byteLength / 4));
}

const plain = (shape: readonly number[]): Operand => ({ dtype: 'f32', ...contiguousLayout(shape) });

/** Runs `prepare` over control, partial sums and the scaler's state. */
function run(attrs: PrepareAttrs, buffers: readonly Float32Array[]): Promise<Float32Array[]> {
  const [control, partials, scaler] = buffers.map(({ length }) => plain([length]));
  return dispatched(prepare({ control: control!, partials, scaler }, attrs), buffers);
}

for (const lanes of [1, 64] as const) {
  test(`collect copies and adds up, lanes ${lanes}`, async () => {
    const random = new Random(7);
    const sizes = [1, 5, 4096, 4099, 3, 20_001];
    // Numbers behind a tensor's end in its buffer must count for nothing.
    const tensors = sizes.map((size) =>
      Float32Array.from({ length: Math.ceil(size / 4) * 4 }, (_, i) => (i < size ? random.normal() : NaN)),
    );
    tensors[2]![77] = -Infinity;
    tensors[3]![4098] = NaN;
    tensors[5]![20_000] = 2e19; // its square is infinite, it is not
    const places = [undefined, 64, undefined, 128, 0, undefined];
    const partials = 128 + packedQuads(4099);
    const device = { software: true, subgroupSizes: [8, 8], lanes } as const;
    const count = sizes.reduce((sum, size) => sum + partialsFor(size), 0);
    const into = new Float32Array(4 * (partials + count)).fill(7);
    const [collected] = await dispatched(
      collect({ collected: plain([into.length]), x: sizes.map((size) => plain([size])) }, { places, partials }, device),
      [into, ...tensors],
    );
    places.forEach((place, k) => {
      if (place === undefined) return;
      const room = 4 * packedQuads(sizes[k]!);
      const want = Array.from({ length: room }, (_, i) => (i < sizes[k]! ? tensors[k]![i]! : 0));
      assert.equal(Array.from(collected!.slice(4 * place, 4 * place + room)), want, `copy of tensor ${k}`);
    });
    let at = 4 * partials;
    sizes.forEach((size, k) => {
      for (let from = 0; from < size; from += 4096, at += 4) {
        const part = Array.from(tensors[k]!.slice(from, Math.min(size, from + 4096)));
        const want = part.reduce((sum, v) => sum + v * v, 0);
        const [sum, mark] = collected!.slice(at, at + 2);
        assert.is(mark, part.every(Number.isFinite) ? 0 : 1, `mark of tensor ${k} from ${from}`);
        if (mark === 1 || want > 3.4e38) continue;
        if (!(Math.abs(sum! / want - 1) <= 1e-5)) assert.unreachable(`tensor ${k} from ${from}: ${sum}, want ${want}`);
      }
    });
    assert.is(at, collected!.length);
  });
}

test('bias corrections are good to a few roundings, from the first step to the millionth', async () => {
  const updates = [1, 2, 3, 5, 10, 30, 100, 150, 300, 693, 1000, 2000, 5000, 20_000, 1_000_000];
  for (const [beta1, beta2] of [
    [0.9, 0.999],
    [0.5, 0.9999],
    [0, 0.95],
  ] as const) {
    const layout = { groups: 2, parameters: updates.length };
    const control = new Float32Array(4 * controlQuads(layout));
    control.set(adam(0.01, beta1, beta2), 4 * hyperAt(1));
    updates.forEach((t, k) => (control[4 * (slotsAt(layout) + k)] = t - 1));
    const groups = [{ group: 1, end: updates.length }];
    const params = { rule, layout, first: 0, active: updates.map(() => true), groups, result: {} } as const;
    const [after] = await run(params, [control]);
    updates.forEach((t, k) => {
      const [count, a, b, on] = after!.slice(4 * (slotsAt(layout) + k));
      assert.is(count, t);
      assert.is(on, 1);
      const want = [0.01 / -Math.expm1(t * Math.log(beta1)), 1 / Math.sqrt(-Math.expm1(t * Math.log(beta2)))];
      [a!, b!].forEach((got, i) => {
        const error = Math.abs(got / want[i]! - 1);
        if (!(error <= 6e-7)) assert.unreachable(`betas ${beta1} ${beta2}, update ${t}: ${got} is not ${want[i]}`);
      });
    });
  }
});

test('parameters without a gradient keep their count, groups their own hyperparameters', async () => {
  const active = Array.from({ length: 70 }, (_, k) => k % 3 !== 1);
  const layout = { groups: 3, parameters: 100 };
  const control = new Float32Array(4 * controlQuads(layout));
  [0.1, 0.2, 0.4].forEach((lr, g) => control.set(adam(lr, 0.9, 0.99), 4 * hyperAt(g)));
  control[4 * resultAt(layout) + 2] = 7;
  // The second dispatch of a step: parameters 20 to 89, of groups 1 and 2, and the result stays.
  const groups = [
    { group: 1, end: 40 },
    { group: 2, end: 100 },
  ];
  const [after] = await run({ rule, layout, first: 20, active, groups }, [control]);
  assert.is(after![4 * resultAt(layout) + 2], 7);
  for (let slot = 0; slot < 100; slot++) {
    const [count, a, , on] = after!.slice(4 * (slotsAt(layout) + slot));
    const moved = slot >= 20 && slot < 90 && active[slot - 20]!;
    assert.is(count, moved ? 1 : 0, `parameter ${slot}`);
    assert.is(on, moved ? 1 : 0, `parameter ${slot}`);
    if (moved) assert.ok(Math.abs(a! / (slot < 40 ? 2 : 4) - 1) < 1e-6, `parameter ${slot}: ${a}`);
  }
});

/** Scale and good steps in a row after each of several steps, true for one that overflowed. */
async function scales(steps: readonly boolean[], first: number, interval: number, growth = 2): Promise<number[][]> {
  const layout = { groups: 1, parameters: 1 };
  let scaler = new Float32Array([first, 0, 0, 0]);
  const seen: number[][] = [];
  for (const overflow of steps) {
    const partials = new Float32Array([9, 0, 0, 0, 16, overflow ? 1 : 0, 0, 0]);
    const result = { partials: { at: 0, count: 2 }, scaler: { growth, backoff: 0.5, interval } };
    const groups = [{ group: 0, end: 1 }];
    const control = new Float32Array(4 * controlQuads(layout));
    const params = { rule, layout, first: 0, active: [true], groups, result } as const;
    const [after, , next] = await run(params, [control, partials, scaler]);
    const [norm, skipped, factor] = after!.slice(4 * resultAt(layout));
    assert.is(skipped, overflow ? 1 : 0);
    assert.is(factor, 1 / scaler[0]!);
    assert.is(norm, 5 / scaler[0]!);
    assert.is(after![4 * slotsAt(layout)], overflow ? 0 : 1, 'a skipped step does not count');
    scaler = next!.slice() as Float32Array<ArrayBuffer>;
    seen.push(Array.from(scaler));
  }
  return seen;
}

test('the loss scale halves after an overflow and doubles after enough good steps', async () => {
  assert.equal(await scales([false, true, false, false, false, true, true], 1024, 2), [
    [1024, 1, 0, 0],
    [512, 0, 1, 1],
    [512, 1, 0, 1],
    [1024, 0, 0, 1],
    [1024, 1, 0, 1],
    [512, 0, 1, 2],
    [256, 0, 1, 3],
  ]);
  // It does not grow to infinity.
  assert.equal(await scales([false], 2 ** 120, 1, 2 ** 8), [[2 ** 120, 0, 0, 0]]);
});

test.run();
