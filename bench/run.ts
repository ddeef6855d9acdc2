/**
 * `npm run bench [-- name]`: kernels as the device sees them, wall time of whole calls with the wait for their end. Medians of benchmark.js' samples; figures of one run
 * compare with each other, not with those of another machine or hour.
 */
import Benchmark from 'benchmark';
import { ready, synchronize } from '../autograd/index.ts';
import { benchmarkCases } from './cases.ts';
import { gpujsMatmul } from './gpujs.ts';
import type { BenchmarkCase } from './cases.ts';

interface Row {
  readonly median: number;
  readonly spread: number;
}

function measure({ name, run }: BenchmarkCase): Promise<Row> {
  return new Promise((resolve, reject) => {
    const benchmark = new Benchmark(
      name,
      (deferred: { resolve: () => void }) => {
        Promise.resolve(run())
          .then(synchronize)
          .then(() => deferred.resolve(), reject);
      },
      { defer: true, minSamples: 8, maxTime: 2 },
    );
    benchmark.on('complete', () => {
      const sample = [...benchmark.stats.sample].sort((a, b) => a - b);
      const median = sample[Math.floor(sample.length / 2)]!;
      resolve({ median: 1000 * median, spread: 1000 * (sample.at(-1)! - sample[0]!) });
    });
    benchmark.on('error', () => reject(benchmark.error as unknown as Error));
    benchmark.run({ async: true });
  });
}

const filter = process.argv[2] ?? '';
const { adapter } = await ready();
console.log(`${adapter.info.description}, Node ${process.versions.node}\n`);
const header = ['case', 'shape', 'ms', '+-', 'GFLOP/s', 'GB/s'];
const widths = [20, 14, 9, 8, 9, 8];
const line = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' ');
console.log(line(header));
const cases = [...benchmarkCases(), await gpujsMatmul(512)].filter(({ name }) => name.includes(filter));
for (const c of cases) {
  await c.run(); // compiles
  await synchronize();
  const { median, spread } = await measure(c);
  const rate = (amount: number): string => (amount / median / 1e6).toFixed(2);
  console.log(line([c.name, c.shape, median.toFixed(2), (spread / 2).toFixed(2), rate(c.flops), rate(c.bytes)]));
}
