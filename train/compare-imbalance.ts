/**
 * Compares ways to learn from classes of very unequal size: none, resampling, class weights and focal loss,
 * on equal texts for an equal number of steps, with several seeds; average precision, F1 and precision-recall
 * curves.
 *
 *   node --import tsx train/compare-imbalance.ts                  spam, thinned to one for a hundred of ham
 *   node --import tsx train/compare-imbalance.ts --data intents.csv --positive transfer --ratio 150
 */
import { join } from 'node:path';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { claimFolder } from '../common/lock.ts';
import { makeRare, outcomesPanel, outcomesTable, tryMethod } from './classifier/compare-imbalance.ts';
import type { Method, Outcome } from './classifier/compare-imbalance.ts';
import { loadClassifierData } from './classifier/data.ts';
import { imbalances } from './classifier/imbalance.ts';
import { classifierDataFlags, newBertFlags } from './classifier/model.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { fineTuneFlags, fineTuneOptions } from './cli/fine-tune.ts';
import { writeCurves } from './report/plot.ts';
import { resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'compare-imbalance',
  summary: 'Compares ways to learn from classes of very unequal size.',
  usage: 'node --import tsx train/compare-imbalance.ts',
  options: {
    data: classifierDataFlags.data,
    textColumn: classifierDataFlags.textColumn,
    labelColumn: classifierDataFlags.labelColumn,
    positive: { type: 'string', default: 'spam', help: 'the label that is rare; all others are one' },
    ratio: { type: 'number', default: 100, min: 1, help: 'examples of other labels for one of it' },
    negatives: { type: 'int', default: 1200, min: 1, help: 'the most examples of other labels to train on' },
    methods: { type: 'string', default: imbalances.join(','), help: 'ways to compare, with commas between' },
    seeds: { type: 'int', default: 3, min: 1, help: 'runs of each, with seeds from --seed up' },
    focalGamma: { type: 'number', default: 2, min: 0, help: 'focal loss: exponent' },
    focalAlpha: { type: 'number', min: 0, max: 1, help: 'focal loss: weight of the rare label' },
    model: { type: 'string', help: 'folder or name; default the small BERT that comes with the project' },
    ...newBertFlags,
    maxLength: { type: 'int', default: 32, min: 3, help: 'tokens a text; longer ones are cut' },
    keep: classifierDataFlags.keep,
    ...fineTuneFlags,
    epochs: { ...fineTuneFlags.epochs, default: 2 },
    batchSize: { ...fineTuneFlags.batchSize, default: 32 },
    output: { type: 'path', default: 'runs/imbalance', help: 'folder for models, results.json and curves.svg' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { output, positive, ratio, negatives, focalGamma, focalAlpha } = values;
  const methods = values.methods.split(',').map((name) => name.trim());
  const unknown = methods.find((name) => !(imbalances as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new UsageError(`${command.name}: there is no way "${unknown}"; choose among ${imbalances.join(', ')}`);
  await claimFolder(output);
  const { learningRate = values.model ? 2e-5 : 1e-3 } = values;
  const data = await loadClassifierData({ ...values, task: 'classification' });
  const outcomes: Outcome[] = [];
  for (let i = 0; i < values.seeds; i++) {
    const seed = values.seed + i;
    const rare = makeRare(data, { positive, ratio, negatives, seed });
    if (i === 0) {
      const count = (part: readonly { readonly label: number }[]): string => {
        const positives = part.reduce((sum, { label }) => sum + label, 0);
        return `${positives} of ${part.length}`;
      };
      console.log(
        `${data.origin[0]}\n"${positive}" is ${count(rare.train)} to train, ${count(rare.validation)} to validate, ` +
          `${count(rare.test)} to test, weighed as 1 to ${ratio}`,
      );
    }
    for (const method of methods as Method[]) {
      const balance = {
        imbalance: method,
        focalGamma,
        ...(method === 'focal' && focalAlpha !== undefined ? { focalAlpha } : {}),
      };
      const training = { ...fineTuneOptions({ ...values, learningRate }), seed };
      const resume = resumeOf(values) !== false;
      const outcome = await tryMethod(rare, { ...values, seed, balance, training, resume });
      outcomes.push(outcome);
      console.log(`${method}, seed ${seed}: average precision ${outcome.averagePrecision.toFixed(3)}`);
    }
  }
  await writeFileAtomic(join(output, 'results.json'), `${JSON.stringify({ options: values, outcomes }, null, 2)}\n`);
  await writeCurves(join(output, 'curves.svg'), outcomesPanel(outcomes, ratio));
  console.log(`\n${outcomesTable(outcomes)}\nsaved  ${join(output, 'results.json')} and curves.svg`);
});
