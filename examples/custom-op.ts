/**
 * An op of your own with a WGSL kernel: h[t] = a[t] h[t-1] + x[t], the recurrence of gated linear networks
 * and state-space models. A loop of ops takes two dispatches a step; this takes one for all of them.
 *
 *   npx tsx examples/custom-op.ts [steps]      length of the sequence, default 64
 */
import { apply, compile, concat, defineOp, grad, manualSeed, rand, randn, zeros } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { i32, kernel, read, u32, write } from '../kernels/index.ts';
import type { Operand } from '../kernels/index.ts';

/** A kernel is WGSL with its bindings, parameters and grid. Here a thread walks down each column. */
function scanKernel({ a, x }: Readonly<Record<'a' | 'x' | 'h', Operand>>) {
  const [steps, columns] = x.shape as [number, number];
  return kernel({
    name: 'scan',
    bindings: [read('a', 'f32'), read('x', 'f32'), write('h', 'f32')],
    params: { steps: u32(steps), columns: u32(columns), ao: i32(a.offset), xo: i32(x.offset) },
    workgroup: 64,
    groups: Math.ceil(columns / 64),
    cost: { flops: 2 * steps * columns, bytes: 12 * steps * columns },
    body: `
if (id >= p.columns) { return; }
var state = 0.0;
for (var t = 0u; t < p.steps; t++) {
  let i = i32(t * p.columns + id);
  state = a[p.ao + i] * state + x[p.xo + i];
  h[i] = state;
}`,
  });
}

/** The op: the shape and type of its result, how it runs, and its derivative, which is made of ops. */
const scanOp = defineOp<{ a: Tensor; x: Tensor }, { h: Tensor }, null>({
  name: 'scan',
  infer({ a, x }) {
    if (x.shape.length !== 2 || `${a.shape}` !== `${x.shape}`) throw new Error('scan: needs a, x [steps, columns]');
    return { h: x };
  },
  lower: ({ emit, contiguous }, { a, x }, { h }) => emit(scanKernel, { a: contiguous(a), x: contiguous(x), h }, null),
  saves: { inputs: ['a'], outputs: ['h'] },
  // dx[t] = g[t] + a[t+1] dx[t+1] is a scan from the end; da[t] = dx[t] h[t-1].
  vjp({ g, input, output }) {
    const zero = zeros(1, g.shape[1]!);
    const next = concat([input('a').slice([1]), zero]);
    const dx = scan(next.flip(0), g.flip(0)).flip(0);
    return { a: dx.mul(concat([zero, output('h').slice([0, -1])])), x: dx };
  },
});

/** h[t] = a[t] h[t-1] + x[t] along the first axis, from h = 0; a, x [steps, columns]. */
const scan = (a: Tensor, x: Tensor): Tensor => apply(scanOp, { a, x }, null).h;

/** The same, step by step. */
function loop(a: Tensor, x: Tensor): Tensor {
  let state = zeros(1, x.shape[1]!);
  return concat(
    x.split(1).map(
      (row, t) =>
        (state = a
          .slice([t, t + 1])
          .mul(state)
          .add(row)),
    ),
  );
}

manualSeed(0);
const shape = [Number(process.argv[2] ?? 64), 100];
const [a, x, weight] = [rand(shape), randn(shape), randn(shape)];
a.requiresGrad = x.requiresGrad = true;
const results = (fn: typeof scan): Tensor[] => [fn(a, x), ...grad(fn(a, x).mul(weight).sum(), [a, x])];
const [ours, theirs] = [results(scan), results(loop)];
const gaps = await Promise.all(ours.map((own, i) => own.sub(theirs[i]!).abs().max().item()));
console.log(`values and gradients: within ${Math.max(...gaps)} of those of a loop of ops`);

const fused = compile((p: Tensor, q: Tensor) => scan(p.sigmoid(), q.mul(2)).sum());
const [compiled, plain] = [fused(a.detach(), x.detach()), scan(a.sigmoid(), x.mul(2)).sum()];
console.log(`compiled ${(await compiled.item()).toFixed(4)}, without ${(await plain.item()).toFixed(4)}`);
