/**
 * A trained classifier made smaller in every way at several strengths, each trained on for a while, measured
 * and saved; a table, and a picture of what each gains and costs.
 *
 *   npm start                            trains a classifier, in runs/spam-assassin
 *   node --import tsx train/compress.ts --model runs/spam-assassin
 *   node --import tsx train/compress.ts --model FOLDER --points heads-50,bits-8 --seeds 3 --data reviews.csv
 */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { pathKind, readJsonFile } from '../common/json-file.ts';
import { claimFolder } from '../common/lock.ts';
import { printable } from '../common/printable.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { describeModel, fineTuneOptions, trainingFlags } from './cli/fine-tune.ts';
import { measure } from './compress/compare.ts';
import { outcomeOf, outcomeSchema, outcomesPage, outcomesPanel, outcomesTable } from './compress/outcomes.ts';
import type { Outcome } from './compress/outcomes.ts';
import { points } from './compress/points.ts';
import { loadTrained, outputOf, trainedFlags } from './compress/trained.ts';
import { weightBytes } from './report/model-card.ts';
import { writeCurves } from './report/plot.ts';
import { resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'compress',
  summary: 'Makes a trained classifier smaller in many ways and compares them.',
  usage: 'node --import tsx train/compress.ts',
  options: {
    model: { type: 'string', help: 'folder of the trained classifier' },
    points: { type: 'string', default: Object.keys(points).join(','), help: 'ways at strengths, with commas between' },
    seeds: { type: 'int', default: 1, min: 1, help: 'runs of each, with seeds from --seed up' },
    calibration: { type: 'int', default: 256, min: 1, help: 'texts by which heads and units are judged' },
    ...trainedFlags,
    ...trainingFlags,
    epochs: { ...trainingFlags.epochs, default: 1, help: 'passes over the texts after each' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

const savedSchema = z.object({ identity: z.record(z.string(), z.unknown()), outcome: outcomeSchema });

/** The classifier that all others are compared with. */
const asItWas = { name: 'dense', method: 'as it was', strength: '' };

/** What was measured before, if it is there. Error, one line: with other options. */
async function savedOutcome(path: string, identity: Record<string, unknown>): Promise<Outcome | undefined> {
  if ((await pathKind(path)) !== 'file') return undefined;
  const { data } = savedSchema.safeParse(await readJsonFile(path));
  if (data && isDeepStrictEqual(data.identity, identity)) return data.outcome;
  throw new Error(`${printable(path)} is of a run with other options; leave --resume away to begin anew`);
}

/** What an outcome depends on besides its point and seed. */
function identityOf(values: Values, folder: string, tested: number): Record<string, unknown> {
  const { data, maxLength, keep, calibration, epochs, batchSize, learningRate, weightDecay, schedule } = values;
  const training = { epochs, batchSize, learningRate, weightDecay, schedule };
  // As JSON has it: what is not given is not there.
  return JSON.parse(JSON.stringify({ folder, data, maxLength, keep, calibration, ...training, tested })) as never;
}

main(async () => {
  const { values } = parseOptions(command);
  const { model: folder, batchSize, learningRate = 5e-4 } = values;
  if (folder === undefined)
    throw new UsageError(`${command.name}: needs a trained classifier: --model FOLDER; npm start trains one`);
  const names = values.points.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !Object.hasOwn(points, name));
  if (unknown !== undefined)
    throw new UsageError(
      `${command.name}: there is no point "${unknown}"; choose among ${Object.keys(points).join(', ')}`,
    );
  const output = outputOf(values.output, command.name, values.data);
  await claimFolder(output);
  const resume = resumeOf(values);
  const trained = await loadTrained(folder, values);
  const { classifier, data, test } = trained;
  const { tokenizer } = classifier;
  const identity = identityOf(values, folder, test.length);
  const outcomes: Outcome[] = [];
  const dense = await measure(asItWas.name, classifier, data, test, batchSize);
  const measured = async (
    point: string,
    seed: number,
    make: (place: string) => Promise<typeof classifier.model>,
  ): Promise<void> => {
    const place = join(output, point === asItWas.name ? point : `${point}-${seed}`.replace(':', '-'));
    const path = join(place, 'outcome.json');
    const before = resume === false ? undefined : await savedOutcome(path, identity);
    if (before) return void outcomes.push(before);
    console.log(`\n${point}, seed ${seed}`);
    const model = await make(place);
    const { method, strength } = points[point] ?? asItWas;
    const outcome = await outcomeOf(
      {
        ...{ point, method, strength, seed, model, dense },
        fileBytes: await weightBytes(point === asItWas.name ? folder : place),
        measured:
          model === classifier.model ? dense : await measure(point, { model, tokenizer }, data, test, batchSize),
      },
      trained,
    );
    await writeFileAtomic(path, `${JSON.stringify({ identity, outcome }, null, 2)}\n`);
    outcomes.push(outcome);
    const figures = Object.entries(outcome.figures).map(([name, { value }]) => `${name} ${value.toFixed(3)}`);
    console.log(figures.join(', '));
  };
  await measured(asItWas.name, values.seed, () => Promise.resolve(classifier.model));
  for (let seed = values.seed; seed < values.seed + values.seeds; seed++)
    for (const name of names)
      await measured(name, seed, async (place) =>
        points[name]!.make({
          ...{ folder, trained, batchSize, calibration: values.calibration, output: place },
          options: { ...fineTuneOptions({ ...values, learningRate }), seed },
          resume,
        }),
      );
  const about = [`${describeModel(classifier.model)} of ${folder}, tested on ${test.length} texts`];
  await writeFileAtomic(join(output, 'outcomes.json'), `${JSON.stringify(outcomes, null, 2)}\n`);
  await writeCurves(join(output, 'sizes.svg'), outcomesPanel(outcomes));
  await writeFileAtomic(join(output, 'report.html'), outcomesPage(outcomes, about));
  console.log(`\n${outcomesTable(outcomes)}\n\nsaved  ${output}: a folder for each point, report.html, sizes.svg`);
});
