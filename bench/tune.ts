/**
 * `npm run tune [-- MxNxK ... --minutes N]`: times the matmul kernels of this device on the shapes of usual
 * models, or on these, and keeps the fastest of each for later runs. Remove the file that it names to go back
 * to the defaults. `autotune` does the same for the shapes of a program of yours.
 */
import { autotune, init, linear, matmul, noGrad, normal, ready, scope } from '../autograd/index.ts';
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

const command = {
  name: 'tune',
  summary: 'Times the matmul kernels of this device, and keeps the fastest for later runs.',
  usage: 'npm run tune --',
  positionals: { name: 'MxNxK', help: 'shapes; default those of usual models', min: 0 },
  options: { minutes: { type: 'number', min: 0, help: 'begins no further kind of product after so long' } },
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
  const path = await autotune(
    () =>
      noGrad(() => {
        for (const [m, n, k] of given.length > 0 ? given : gpu.target.software ? softwareLayers : layers)
          for (const dtype of gpu.target.f16 ? (['f32', 'f16'] as const) : (['f32'] as const)) products(m, n, k, dtype);
      }),
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
