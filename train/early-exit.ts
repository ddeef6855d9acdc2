/**
 * Gives a trained BERT classifier an off-ramp behind each layer, at which texts leave that it is sure of
 * (DeeBERT, Xin et al. 2020), teaches them, and tells what that saves and costs at several entropies.
 *
 *   npm start                            trains a classifier, in runs/spam-assassin
 *   node --import tsx train/early-exit.ts --model runs/spam-assassin
 *   node --import tsx train/early-exit.ts --model FOLDER --joint --data reviews.csv
 */
import { mean } from '../common/statistics.ts';
import { alignTable } from '../common/text-table.ts';
import { withExtra } from './classifier/model.ts';
import { fineTune } from './classifier/fine-tune.ts';
import { describeModel, fineTuneOptions, trainingFlags } from './cli/fine-tune.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { measure, timesOf } from './compress/compare.ts';
import type { Measured } from './compress/compare.ts';
import { exitLogits, exitObjective, exitsAt, largestEntropy, withExits } from './compress/early-exit.ts';
import { loadTrained, outputOf, trainedFlags } from './compress/trained.ts';
import { reportResult } from './report/run-result.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'early-exit',
  summary: 'Lets texts leave a trained BERT classifier after the first layers that are sure of them.',
  usage: 'node --import tsx train/early-exit.ts',
  options: {
    model: { type: 'string', help: 'folder or name of the trained classifier' },
    joint: { type: 'boolean', help: 'train all weights with the off-ramps; else these alone' },
    entropy: { type: 'number', min: 0, help: 'texts leave below it, in nats; default by --tolerance' },
    tolerance: {
      type: 'number',
      default: 0.005,
      min: 0,
      max: 1,
      help: 'or the largest entropy that costs at most so much accuracy on the validation part',
    },
    ...trainedFlags,
    ...trainingFlags,
    epochs: { ...trainingFlags.epochs, default: 1, help: 'passes over the texts' },
  },
} as const;

/** Shares of the largest entropy there is at which the table's rows are measured. */
const shares = [0, 0.05, 0.2, 0.5, 0.8];

main(async () => {
  const { values } = parseOptions(command);
  const { model: folder, batchSize, learningRate = 5e-4, joint = false } = values;
  if (folder === undefined)
    throw new UsageError(`${command.name}: needs a trained classifier: --model FOLDER; npm start trains one`);
  const output = outputOf(values.output, command.name, values.data);
  const resume = resumeOf(values);
  await claimRun(command.name, output, resume);
  const trained = await loadTrained(folder, values);
  const { classifier, data, train, validation, test } = trained;
  const { tokenizer } = classifier;
  if (values.entropy === undefined && validation.length === 0)
    throw new UsageError(`${command.name}: there is no validation part to choose an entropy by; give --entropy`);
  const model = withExits(classifier.model);
  const before = await measure('before', classifier, data, test, batchSize);
  await fineTune({
    ...{ model, tokenizer, train, output, resume },
    // The classifier itself stays as it is where the off-ramps alone learn.
    validation: joint ? validation : [],
    options: fineTuneOptions({ ...values, learningRate }),
    objective: exitObjective(model, { joint }),
    identity: { maxLength: values.maxLength, keep: values.keep },
    resumeCommand: resumeCommand(command.usage),
  });
  const exiting = { model, tokenizer };
  const truth = validation.map(({ label }) => label as number);
  const entropy =
    values.entropy ?? largestEntropy(await exitLogits(exiting, validation, batchSize), truth, values.tolerance);
  const logits = await exitLogits(exiting, test, batchSize);
  const limits = [...new Set([...shares.map((share) => share * Math.log(data.labels.length)), entropy])];
  const rows: (readonly [limit: number, layers: readonly number[], measured: Measured])[] = [];
  for (const limit of limits.sort((a, b) => a - b)) {
    const set = (): void => withExtra(model, { early_exit_entropy: limit });
    set();
    const measured = await measure(limit.toFixed(3), exiting, data, test, batchSize);
    const run = (): Promise<unknown> => (set(), measured.run());
    rows.push([limit, exitsAt(logits, limit).layers, { ...measured, run }]);
  }
  const report = await table(before, rows, model.config.numHiddenLayers, entropy);
  withExtra(model, { early_exit_entropy: entropy });
  await model.requiresGrad(true).savePretrained(output, { tokenizer });
  const about = `model  ${describeModel(model)}`;
  await reportResult(output, {
    from: folder,
    about,
    test: `\n${report}\n\nsaved  ${output}, to leave below ${entropy.toFixed(3)} nats`,
  });
});

/** Entropies, the share of the layers that run, how much faster, and the figures of the test part. */
async function table(
  before: Measured,
  rows: readonly (readonly [limit: number, layers: readonly number[], measured: Measured])[],
  layers: number,
  chosen: number,
): Promise<string> {
  const [whole, ...times] = await timesOf([before, ...rows.map(([, , measured]) => measured)]);
  const names = Object.keys(before.figures);
  const cells = (name: string, ran: readonly number[], faster: number, { figures, loss }: Measured): string[] => [
    name,
    `${((100 * mean(ran)) / layers).toFixed(0)}%`,
    ...Array.from({ length: layers }, (_, i) => {
      return `${((100 * ran.filter((count) => count === i + 1).length) / ran.length).toFixed(0)}%`;
    }),
    `${faster.toFixed(2)}x`,
    ...names.map((name) => figures[name]!.toFixed(3)),
    loss.toFixed(3),
  ];
  const head = ['entropy', 'layers run', ...Array.from({ length: layers }, (_, i) => `left at ${i + 1}`), 'faster'];
  const all = rows.map(([limit, ran, measured], i) => {
    return cells(`${limit === chosen ? '* ' : '  '}${measured.name}`, ran, whole! / times[i]!, measured);
  });
  const dense = before.scores.map(() => layers);
  const columns = [...head, ...names, 'loss'];
  const right = new Set(columns.map((_, i) => i).slice(1));
  return `${alignTable(columns, [cells('  before', dense, 1, before), ...all], right)}\n* what the folder has`;
}
