/**
 * Sends runs to an MLflow server, which shows them beside those of other programs.
 *
 *   node --import tsx train/mlflow.ts runs/* --experiment spam
 */
import { main, parseOptions } from './cli/cli.ts';
import { sendToMlflow } from './report/mlflow.ts';
import { findRuns } from './report/run-groups.ts';

const command = {
  name: 'mlflow',
  summary: 'Sends runs to an MLflow server: options, all numbers of the log, scores of the test, what made them.',
  usage: 'node --import tsx train/mlflow.ts',
  positionals: { name: 'folder', help: 'of a run, or of several runs such as a sweep', min: 1 },
  options: {
    trackingUri: {
      type: 'string',
      help: "the server's address; default MLFLOW_TRACKING_URI, else http://127.0.0.1:5000",
    },
    experiment: {
      type: 'string',
      default: 'tapeform',
      help: 'what the runs are put under; made where it is not there',
    },
  },
} as const;

main(
  async () => {
    const { values, positionals } = parseOptions(command);
    const address = values.trackingUri ?? process.env.MLFLOW_TRACKING_URI ?? 'http://127.0.0.1:5000';
    const token = process.env.MLFLOW_TRACKING_TOKEN;
    const { runs, leftOut } = await findRuns(positionals);
    for (const line of leftOut) console.error(`left out: ${line}`);
    if (runs.length === 0) throw new Error(`${command.name}: there is no run to send`);
    await sendToMlflow(runs, { address, token }, values.experiment, (line) => console.log(line));
  },
  { device: false },
);
