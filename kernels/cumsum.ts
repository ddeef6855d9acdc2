import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Operand } from './layout.ts';

export interface CumsumAttrs {
  /** Elements that a thread adds up. The sums begin at 0 in each run. */
  readonly run: number;
}

const workgroup = 64;

/**
 * WGSL of a thread's run: its first element `at`, its length `count`, and its number `run` along the axis.
 */
const runStart = `
if (id >= p.n) { return; }
let inner = id % p.inner;
let run = (id / p.inner) % p.runs;
let line = id / (p.inner * p.runs);
let begin = run * p.run;
let count = min(p.run, p.length - begin);
var at = (line * p.length + begin) * p.inner + inner;`;

/**
 * Computes the running sums of x [outer, length, inner], row-major, along the middle axis inside each run,
 * and the totals of the runs [outer, runs, inner].
 */
export function cumsumRuns(
  { x, y }: { readonly x: Operand; readonly y: Operand; readonly totals: Operand },
  { run }: CumsumAttrs,
): Dispatch {
  const [outer, length, inner] = x.shape as [number, number, number];
  const { dtype, offset } = x;
  const output = y.dtype;
  const runs = Math.ceil(length / run);
  const threads = outer * runs * inner;
  const sum = computeType(output);
  return kernel({
    name: 'cumsum.runs',
    bindings: [read('x', storedType(dtype)), write('y', storedType(output)), write('totals', sum)],
    params: {
      n: u32(threads),
      length: u32(length),
      inner: u32(inner),
      run: u32(run),
      runs: u32(runs),
      o: u32(offset),
    },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: outer * length * inner, bytes: outer * length * inner * (bytesOf(dtype) + bytesOf(output)) },
    body: `${runStart}
var total = ${sum}(0);
for (var k = 0u; k < count; k++) {
  total += ${sum}(x[p.o + at]);
  y[at] = ${storedType(output)}(total);
  at += p.inner;
}
totals[id] = total;`,
  });
}

/**
 * Adds to each run of y [outer, length, inner] the total of the runs before it, from sums [outer, runs,
 * inner].
 */
export function cumsumCarry({ y }: { readonly sums: Operand; readonly y: Operand }, { run }: CumsumAttrs): Dispatch {
  const [outer, length, inner] = y.shape as [number, number, number];
  const output = y.dtype;
  const runs = Math.ceil(length / run);
  const threads = outer * runs * inner;
  const sum = computeType(output);
  return kernel({
    name: 'cumsum.carry',
    bindings: [read('sums', sum), write('y', storedType(output))],
    params: { n: u32(threads), length: u32(length), inner: u32(inner), run: u32(run), runs: u32(runs) },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: outer * length * inner, bytes: 2 * outer * length * inner * bytesOf(output) },
    body: `${runStart}
if (run == 0u) { return; }
let before = sums[id - p.inner];
for (var k = 0u; k < count; k++) {
  y[at] = ${storedType(output)}(${sum}(y[at]) + before);
  at += p.inner;
}`,
  });
}
