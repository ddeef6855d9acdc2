/** Runs one stage of the GPU day, `day.ts STAGE [ARGUMENT ...]`; run.sh runs them all. */
import { pathToFileURL } from 'node:url';
import { ensureVulkanDriver } from '../../gpu/driver.ts';
import { done } from './cases.ts';

export interface Stage {
  run(args: readonly string[]): Promise<void>;
}

/** Loads a stage by its name. */
export const stages: Readonly<Record<string, () => Promise<Stage>>> = {
  facts: () => import('./facts.ts'),
  smoke: () => import('./smoke.ts'),
  tests: () => import('./tests.ts'),
  probe: () => import('./probe/index.ts'),
  kernels: () => import('./kernels.ts'),
  models: () => import('./models.ts'),
  gradients: () => import('./gradients.ts'),
  tune: () => import('./tune.ts'),
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [name = '', ...args] = process.argv.slice(2);
  const load = stages[name];
  if (!load) {
    console.error(`gpu-day: there is no stage "${name}"; there are ${Object.keys(stages).join(', ')}`);
    process.exit(2);
  }
  await ensureVulkanDriver();
  await (await load()).run(args);
  done();
}
