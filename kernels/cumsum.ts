import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';

export interface CumsumParams {
  /** x is row-major [outer, length, inner] from `offset`; the sums run along the middle axis. */
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  /** Elements a thread adds up; the sums start again at 0 with each run. */
  readonly run: number;
  readonly dtype: Dtype;
  readonly output: Dtype;
  readonly offset: number;
}

const workgroup = 64;

/**
 * WGSL: from the thread's id the first element `at` of its run, the elements in it, and the run's number in
 * its line.
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
 * Running sums inside each run, in order; the totals of the runs are [outer, runs, inner]. Bindings x, y,
 * totals.
 */
export function cumsumRuns({ outer, length, inner, run, dtype, output, offset }: CumsumParams): Dispatch {
  const runs = Math.ceil(length / run);
  const threads = outer * runs * inner;
  const sum = computeType(output);
  return kernel({
    name: 'cumsum.runs',
    bindings: [read('x', storedType(dtype)), write('y', storedType(output)), write('totals', sum)],
    params: { n: u32(threads), length: u32(length), inner: u32(inner), run: u32(run), runs: u32(runs), o: u32(offset) },
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
 * Adds to each run the running total of the runs before it. Bindings sums (of totals, inclusive), y (read and
 * written).
 */
export function cumsumCarry({ outer, length, inner, run, output }: CumsumParams): Dispatch {
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
