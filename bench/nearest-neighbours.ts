/**
 * Times the search for the nearest vectors among many:
 *
 *   node --import tsx bench/nearest-neighbours.ts
 */
import { Random } from '../common/random.ts';
import { nearestNeighbours, VectorIndex } from '../models/index.ts';
import { main, parseOptions } from '../train/cli/cli.ts';

const command = {
  name: 'nearest-neighbours',
  summary: 'Times the search for the nearest vectors among many.',
  usage: 'node --import tsx bench/nearest-neighbours.ts',
  options: {
    vectors: { type: 'int', default: 100_000, min: 1, help: 'vectors to search in' },
    width: { type: 'int', default: 384, min: 1, help: 'features of a vector' },
    queries: { type: 'int', default: 64, min: 1, help: 'queries at once' },
    k: { type: 'int', default: 10, min: 1, help: 'vectors to find for each' },
    rounds: { type: 'int', default: 5, min: 1, help: 'searches that are timed' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { vectors, width, queries, k, rounds } = values;
  const random = new Random(1);
  const draw = (count: number): Float32Array[] =>
    Array.from({ length: count }, () => Float32Array.from({ length: width }, () => random.uniform() - 0.5));
  const seconds = async <T>(run: () => T | Promise<T>): Promise<readonly [number, T]> => {
    const start = performance.now();
    const result = await run();
    return [(performance.now() - start) / 1000, result];
  };
  const [all, asked] = [draw(vectors), draw(queries)];
  const [loading, index] = await seconds(() => new VectorIndex(all));
  const [first] = await seconds(() => nearestNeighbours(index, asked, k));
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) times.push((await seconds(() => nearestNeighbours(index, asked, k)))[0]);
  const median = times.sort((a, b) => a - b)[rounds >> 1]!;
  console.log(`${queries} queries in ${vectors} vectors of ${width}, k ${k}: median ${median.toFixed(2)} s`);
  console.log(`to the device ${loading.toFixed(2)} s, first search, with its kernels, ${first.toFixed(2)} s`);
});
