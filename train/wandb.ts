/**
 * Writes runs as Weights & Biases keeps offline ones, for `wandb sync` to send.
 *
 *   node --import tsx train/wandb.ts runs/* --project spam && wandb sync wandb/offline-run-*
 */
import { main, parseOptions } from './cli/cli.ts';
import { findRuns } from './report/run-groups.ts';
import { writeOfflineRun } from './report/wandb.ts';

const command = {
  name: 'wandb',
  summary: 'Writes runs as Weights & Biases keeps offline ones: options, all numbers of the log, scores of the test.',
  usage: 'node --import tsx train/wandb.ts',
  positionals: { name: 'folder', help: 'of a run, or of several runs such as a sweep', min: 1 },
  options: {
    project: { type: 'string', default: 'tapeform', help: 'what the runs are put under' },
    output: { type: 'string', default: 'wandb', help: 'folder to write them into' },
  },
} as const;

main(
  async () => {
    const { values, positionals } = parseOptions(command);
    const { runs, leftOut } = await findRuns(positionals);
    for (const line of leftOut) console.error(`left out: ${line}`);
    if (runs.length === 0) throw new Error(`${command.name}: there is no run to write`);
    for (const run of runs) {
      const { folder, count } = await writeOfflineRun(run, values.project, values.output);
      console.log(`${folder}  ${run.name}, ${count} numbers`);
    }
    console.log(`send them: wandb sync ${values.output}/offline-run-*`);
  },
  { device: false },
);
