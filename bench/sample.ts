import Benchmark from 'benchmark';

/** How long one round of samples takes: at least `seconds`, at least `samples` of them. */
export interface Round {
  readonly samples: number;
  readonly seconds: number;
}

/**
 * Milliseconds of `run`, sample by sample, by benchmark.js: one sample is the mean of as many runs as its
 * timer needs, one after the other.
 */
export function sample(run: () => Promise<void>, { samples, seconds }: Round): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const benchmark = new Benchmark(
      (deferred: { resolve: () => void }) => {
        run().then(() => deferred.resolve(), reject);
      },
      { defer: true, minSamples: samples, maxTime: seconds },
    );
    benchmark.on('complete', () => resolve(benchmark.stats.sample.map((s) => 1000 * s)));
    benchmark.on('error', () => reject(benchmark.error as unknown as Error));
    benchmark.run({ async: true });
  });
}

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function summarise(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.floor(middle - 0.5)]! + sorted[Math.floor(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}
