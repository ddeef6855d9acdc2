/**
 * `npm run tune [-- MxNxK ... --minutes N]`: times the kernels of this device for products and attention on
 * the shapes of usual models, or products of these shapes, and keeps the fastest of each for later runs.
 * Remove the file that it names to go back to the defaults. `autotune` does the same for the shapes of a
 * program of yours.
 */
import {
  autotune,
  grad,
  init,
  linear,
  matmul,
  noGrad,
  normal,
  ready,
  scaledDotProductAttention,
  scope,
} from '../autograd/index.ts';
import type { Dtype } from '../autograd/index.ts';
import { main, parseOptions, UsageError } from '../train/cli/cli.ts';

/** Rows (tokens), outputs and inputs of a layer. */
type Layer = readonly [number, number, number];
const layers: readonly Layer[] = [
  [1024, 768, 768],
  [1024, 3072, 768],
  [1024, 768, 3072],
  [512, 512, 512],
  [1024, 1024, 1024],
  [1, 768, 768],
  [8, 768, 768],
];
/**
 * On a processor that plays a GPU the kernels for GPUs take seconds each: few and small shapes, or the ones
 * that are given.
 */
const softwareLayers: readonly Layer[] = [
  [256, 384, 384],
  [8, 384, 384],
];

/** A layer forward, and both products of its backward pass. */
function products(m: number, n: number, k: number, dtype: Dtype): void {
  using _ = scope();
  const [x, weight, g] = [normal([m, k]), normal([n, k]), normal([m, n])].map((t) => t.to(dtype));
  linear(x!, weight!);
  matmul(g!, weight!);
  matmul(g!.transpose(), x!);
}

/** Causal attention of heads of 64 numbers forward, and its backward pass. */
function attention(batch: number, heads: number, tokens: number, dtype: Dtype): void {
  using _ = scope();
  const [q, k, v] = [0, 1, 2].map(() => normal([batch, heads, tokens, 64]).to(dtype));
  q!.requiresGrad = true;
  grad(scaledDotProductAttention(q!, k!, v!, { causal: true }).sum(), [q!]);
}

const command = {
  name: 'tune',
  summary: 'Times the kernels of this device for products and attention, and keeps the fastest for later runs.',
  usage: 'npm run tune --',
  positionals: { name: 'MxNxK', help: 'shapes of products; default those of usual models, and attention', min: 0 },
  options: { minutes: { type: 'number', min: 0, help: 'begins no further kind of work after so long' } },
} as const;

const run = async (): Promise<void> => {
  const {
    values: { minutes },
    positionals,
  } = parseOptions(command);
  const given = positionals.map((text) => {
    const sizes = text.split('x').map(Number);
    if (sizes.length !== 3 || !sizes.every((size) => Number.isInteger(size) && size > 0))
      throw new UsageError(`tune: ${text} is not a shape MxNxK`);
    return sizes as [number, number, number];
  });
  await init({ restart: true });
  const gpu = await ready();
  console.log(gpu.adapter.info.description);
  const { software, f16 } = gpu.target;
  const shapes = given.length > 0 ? given : software ? softwareLayers : layers;
  const path = await autotune(
    () => {
      for (const dtype of f16 ? (['f32', 'f16'] as const) : (['f32'] as const)) {
        noGrad(() => {
          for (const [m, n, k] of shapes) products(m, n, k, dtype);
        });
        if (given.length === 0) attention(software ? 1 : 8, software ? 4 : 12, software ? 128 : 1024, dtype);
      }
    },
    {
      minutes,
      report: (work, plans) => {
        const best = plans.slice(0, 3).map(({ name, milliseconds }) => `${name} ${milliseconds.toFixed(3)} ms`);
        console.log(`${work.padEnd(48)} ${best.join('   ')}`);
      },
    },
  );
  console.log(path ? `kept in ${path}` : 'all of these have a choice already');
};

main(run, { device: false });
