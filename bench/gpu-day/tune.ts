import { copyFileSync } from 'node:fs';
import { compile, ready, scope } from '../../autograd/index.ts';
import { chooseMatmul, matmulClass, matmulPlans, planName } from '../../kernels/index.ts';
import type { Product, MatmulPlan } from '../../kernels/index.ts';
import { gpt2Work } from '../gpt2/work.ts';
import { attempt } from './cases.ts';
import { productsOf } from './numbers.ts';
import { emit, gptBatch, gptConfig, rehearse, sized, timePlans } from './shared.ts';

/**
 * Times the plans of each kind of product in GPT-2's training step, the dearest kinds first, and keeps the
 * fastest where later runs of the project look for them. Each kind is written when it is known, so that a
 * stage cut short loses nothing.
 */
export async function run(): Promise<void> {
  const gpu = await ready();
  const type = gpu.target.f16 ? 'f16' : 'f32';
  const kinds = new Map<string, { readonly params: Product; count: number }>();
  for (const params of await stepProducts(type === 'f16')) {
    const kind = kinds.get(matmulClass(params));
    if (kind) kind.count++;
    else kinds.set(matmulClass(params), { params, count: 1 });
  }
  const flops = ({ m, n, k, batch: [b0, b1] }: Product): number => 2 * m * n * k * b0 * b1;
  const sorted = [...kinds].sort(([, x], [, y]) => y.count * flops(y.params) - x.count * flops(x.params));
  emit({ key: 'kinds of products in a step', type, kinds: sorted.map(([work, { count }]) => `${work} x${count}`) });

  const found = new Map<string, string>();
  for (const [work, { params, count }] of sorted.slice(0, sized(sorted.length, 6))) {
    if (params.b.quantized || flops(params) < sized(2 ** 25, 2 ** 11)) continue;
    const usual = chooseMatmul(gpu.target, params);
    await attempt(`tune ${work}`, async () => {
      const plans = await timePlans(gpu, params, worthTiming(params, matmulPlans(gpu.target, params), usual));
      const [best] = plans;
      const defaultMs = plans.find(({ name }) => name === planName(usual))?.milliseconds ?? NaN;
      if (!best) return;
      if (best.name !== planName(usual)) found.set(work, best.name);
      const { m, n, k, a } = params;
      const tried = plans.slice(0, 6).map(({ name, milliseconds }) => `${name} ${milliseconds.toPrecision(3)}`);
      const figures = { best: best.name, ms: best.milliseconds, defaultMs, gain: defaultMs / best.milliseconds };
      emit({ key: `tune ${work}`, type: a.dtype, count, m, n, k, ...figures, plans: tried });
      const path = found.size > 0 ? await gpu.choose(found) : undefined;
      if (path && process.env.OUT) copyFileSync(path, `${process.env.OUT}/tune.json`);
    });
  }
}

/** The matrix products of one training step of GPT-2. */
async function stepProducts(half: boolean): Promise<Product[]> {
  const [batch, length] = gptBatch;
  const work = gpt2Work(gptConfig(), batch, length, half);
  const step = compile(work.train, { name: 'step' });
  return productsOf(() => {
    using _ = scope();
    step(work.inputIds);
  });
}

/** Plans that may win: on tensor cores where there are any, k split only where there are few workgroups. */
function worthTiming({ m, n }: Product, all: readonly MatmulPlan[], usual: MatmulPlan): MatmulPlan[] {
  const best = all.some(({ variant }) => variant === 'subgroup') ? 'subgroup' : 'tiled';
  return all.filter((plan) => {
    if (planName(plan) === planName(usual)) return true;
    if (rehearse) return plan.variant !== 'plain';
    if (plan.variant !== best) return false;
    return !plan.splits || Math.ceil(m / plan.tile.m) * Math.ceil(n / plan.tile.n) < 512;
  });
}
