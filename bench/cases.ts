import { add, gelu, layerNorm, matmul, normal, noGrad, ones, scope, softmax, zeros } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';

/** One row: `run` records the work on the device; the runner waits for it. */
export interface BenchmarkCase {
  readonly name: string;
  readonly shape: string;
  readonly flops: number;
  readonly bytes: number;
  readonly run: () => void | Promise<void>;
}

function square(n: number): BenchmarkCase {
  const [a, b] = [normal([n, n]).keep(), normal([n, n]).keep()];
  return {
    name: 'matmul',
    shape: `${n}x${n}x${n}`,
    flops: 2 * n ** 3,
    bytes: 12 * n ** 2,
    run: () => void matmul(a, b),
  };
}

function heads(): BenchmarkCase {
  const [q, k] = [normal([8, 12, 128, 64]).keep(), normal([8, 12, 128, 64]).keep()];
  const flops = 2 * 8 * 12 * 128 * 128 * 64;
  return {
    name: 'attention scores',
    shape: '8x12x128x64',
    flops,
    bytes: 4 * (2 * q.size + 8 * 12 * 128 * 128),
    run: () => void matmul(q, k.transpose()),
  };
}

function rows(
  name: string,
  shape: readonly [number, number],
  fn: (x: Tensor) => Tensor,
  flopsEach: number,
): BenchmarkCase {
  const x = normal(shape).keep();
  return { name, shape: shape.join('x'), flops: flopsEach * x.size, bytes: 8 * x.size, run: () => void fn(x) };
}

/** Dispatch overhead: each addition depends on the one before and has next to no arithmetic. */
function chain(): BenchmarkCase {
  const x = ones([16]).keep();
  const run = (): void => {
    let y = x;
    for (let i = 0; i < 1000; i++) y = add(y, 1);
  };
  return { name: '1000 chained adds', shape: '16', flops: 16000, bytes: 128000, run };
}

/** Made on call, since tensors need the device. */
export function benchmarkCases(): BenchmarkCase[] {
  const [weight, bias] = [ones([768]).keep(), zeros([768]).keep()];
  const list = [
    square(256),
    square(512),
    heads(),
    rows('softmax', [512, 1024], softmax, 5),
    rows('layer norm', [512, 768], (x) => layerNorm(x, weight, bias), 8),
    rows('gelu', [1024, 4096], gelu, 30),
    chain(),
  ];
  return list.map((c) => ({
    ...c,
    run: () => {
      using _ = scope();
      noGrad(() => void c.run());
    },
  }));
}
