// A training in one of several processes: node rank-run.ts OUTPUT DROPOUT OPTIONS [KILL_RANK]. Prints a line
// of what came out, which all ranks must have alike. KILL_RANK ends at its fourth batch as kill -9 does.
import { createHash } from 'node:crypto';
import { ensureVulkanDriver } from '../../gpu/driver.ts';
import { destroyProcessGroup } from '../../distributed/index.ts';
import { evaluator } from '../../train/trainer/evaluate.ts';
import type { TrainerSettings } from '../../train/trainer/settings.ts';
import { train } from '../../train/trainer/trainer.ts';
import { chainModel, chainTask } from './chain-task.ts';

await ensureVulkanDriver();
const [output = '', dropout = '0', options = '{}', killed = ''] = process.argv.slice(2);
const model = chainModel(Number(dropout));
const task = chainTask(model, 3);
const { resume = false, ...settings } = JSON.parse(options) as TrainerSettings & { resume?: boolean };
const { batch } = task;
const result = await train({
  model,
  task: {
    ...task,
    batch(index) {
      if (process.env['RANK'] === killed && index === 3) process.kill(process.pid, 'SIGKILL');
      return batch(index);
    },
  },
  evaluate: evaluator(model, chainTask(model, 99), 1),
  output,
  resume,
  quiet: true,
  options: settings,
});
const hash = createHash('sha256');
for (const [, x] of model.namedParameters()) hash.update(Float32Array.from(await x.data(), Number));
const losses = result.steps.map(({ loss }) => loss);
const norms = result.steps.map(({ gradNorm }) => gradNorm);
console.log(JSON.stringify({ losses, norms, best: result.best, weights: hash.digest('hex') }));
await destroyProcessGroup();
