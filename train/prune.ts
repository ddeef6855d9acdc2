/**
 * Makes a trained classifier smaller: takes out layers, heads and units of the feed-forward part that count
 * least, or sets weights to zero, trains what is left for a while, and compares.
 *
 *   npm start                            trains a classifier, in runs/spam-assassin
 *   node --import tsx train/prune.ts --model runs/spam-assassin --heads 0.5 --units 0.5
 *   node --import tsx train/prune.ts --model runs/spam-assassin --sparsity 0.5
 *   node --import tsx train/prune.ts --model FOLDER --pattern 2:4 --score wanda --epochs 0 --data reviews.csv
 */
import { paddingOf, rowLimits } from '../models/index.ts';
import { chunks } from '../models/pipelines/rows.ts';
import type { SequenceClassificationModel } from '../models/index.ts';
import { fineTune } from './classifier/fine-tune.ts';
import { describeModel, fineTuneOptions, trainingFlags } from './cli/fine-tune.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { comparison, measure } from './compress/compare.ts';
import { importanceOf, leastImportant, others } from './compress/importance.ts';
import { headsOf, keepLayers, keepUnits, pruneHeads, unitsOf } from './compress/smaller.ts';
import { loadTrained, outputOf, trainedFlags } from './compress/trained.ts';
import type { Trained } from './compress/trained.ts';
import { gradualPruning, inputNormsOf, PrunedWeights, scopes } from './compress/weights.ts';
import type { WeightPruning } from './compress/weights.ts';
import { collate } from './data/tokenised.ts';
import type { ClassificationBatch } from './data/tokenised.ts';
import { reportResult } from './report/run-result.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'prune',
  summary: 'Makes a trained classifier smaller and compares it with what it was.',
  usage: 'node --import tsx train/prune.ts',
  options: {
    model: { type: 'string', help: 'folder or name of the trained classifier' },
    keepLayers: { type: 'string', help: 'layers that stay, from 0 up, with commas between' },
    heads: {
      type: 'number',
      default: 0,
      min: 0,
      max: 0.99,
      help: 'share of the attention heads that goes, the least important',
    },
    units: {
      type: 'number',
      default: 0,
      min: 0,
      max: 0.99,
      help: 'share of the units of each feed-forward part that goes',
    },
    sparsity: { type: 'number', default: 0, min: 0, max: 0.99, help: "share of the layers' weights that become zero" },
    pattern: { type: 'string', help: '2:4: of 4 weights in a row 2 become zero, as sparse products need it' },
    score: {
      type: 'choice',
      choices: ['magnitude', 'wanda'],
      default: 'magnitude',
      help: 'what a weight counts: its size, or that times the norm of what it reads',
    },
    scope: { type: 'choice', choices: scopes, default: 'model', help: 'weights that are compared with each other' },
    calibration: { type: 'int', default: 256, min: 1, help: 'texts by which heads, units and wanda are judged' },
    ...trainedFlags,
    ...trainingFlags,
    epochs: { ...trainingFlags.epochs, default: 1, min: 0, help: 'passes over the texts afterwards; 0: none' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

/** The options that a run must be resumed with. */
function identityOf(values: Values): Readonly<Record<string, unknown>> {
  const { maxLength, keep, keepLayers, heads, units, sparsity, pattern, score, scope, calibration } = values;
  return { maxLength, keep, keepLayers, heads, units, sparsity, pattern, score, scope, calibration };
}

main(async () => {
  const { values } = parseOptions(command);
  const { model: folder, batchSize, learningRate = 5e-4, sparsity, pattern } = values;
  if (folder === undefined)
    throw new UsageError(`${command.name}: needs a trained classifier: --model FOLDER; npm start trains one`);
  const prunesWeights = sparsity > 0 || pattern !== undefined;
  if (!prunesWeights && values.heads === 0 && values.units === 0 && values.keepLayers === undefined)
    throw new UsageError(
      `${command.name}: nothing is to go; give --heads, --units, --keep-layers, --sparsity or --pattern`,
    );
  const output = outputOf(values.output, command.name, values.data);
  const resume = resumeOf(values);
  await claimRun(command.name, output, resume);
  const trained = await loadTrained(folder, values);
  const { classifier, data, train, validation, test } = trained;
  const { tokenizer } = classifier;
  const models = [await measure('before', classifier, data, test, batchSize)];

  const model = await smaller(trained, values);
  if (model !== classifier.model) {
    console.log(`smaller  ${describeModel(model)}`);
    models.push(await measure('smaller', { model, tokenizer }, data, test, batchSize));
  }
  const pruned = prunesWeights ? new PrunedWeights(model) : undefined;
  const weights = await weightPruning(model, trained, values);
  if (values.epochs === 0) await pruned?.prune(weights);
  else {
    const steps = values.epochs * Math.ceil(train.length / batchSize);
    await fineTune({
      ...{ model, tokenizer, train, output, resume },
      // The best model of a run that prunes would be one that is not pruned yet.
      validation: pruned ? [] : validation,
      options: fineTuneOptions({ ...values, learningRate }),
      callbacks: pruned ? [gradualPruning(pruned, { ...weights, steps })] : [],
      identity: identityOf(values),
      resumeCommand: resumeCommand(command.usage),
    });
  }
  if (values.epochs === 0) await model.savePretrained(output, { tokenizer });
  // Where nothing was trained or set to zero it is the smaller one.
  if (pruned || values.epochs > 0) models.push(await measure('after', { model, tokenizer }, data, test, batchSize));
  const zeros = pruned ? `${(100 * (await pruned.sparsity())).toFixed(1)}% of the layers' weights are zero\n` : '';
  const report = `\n${await comparison(models)}\n\n${zeros}saved  ${output}`;
  if (values.epochs === 0) console.log(report);
  else await reportResult(output, { from: folder, about: `model  ${describeModel(model)}`, test: report });
});

/** Some of the texts to train on, in batches, as the model reads them. */
function calibrationBatches(model: SequenceClassificationModel, { classifier, train }: Trained, values: Values) {
  const padTokenId = paddingOf(classifier);
  return chunks(train.slice(0, values.calibration), values.batchSize).map((some) =>
    collate(some, padTokenId, rowLimits(model)),
  );
}

/** The model without the layers, heads and units that are to go. */
async function smaller(trained: Trained, values: Values): Promise<SequenceClassificationModel> {
  const { heads, units, keepLayers: list } = values;
  let { model } = trained.classifier;
  if (list !== undefined) model = keepLayers(model, list.split(',').map(Number));
  if (heads === 0 && units === 0) return model;
  const importance = await importanceOf(model, calibrationBatches(model, trained, values), {
    rows: ({ inputIds }: ClassificationBatch) => inputIds.shape[0]!,
    loss: (batch) => model.forward(batch).loss!,
  });
  if (heads > 0) {
    const there = headsOf(model);
    const gone = leastImportant(importance.heads, heads, 'model').map((list, layer) =>
      list.map((at) => there[layer]![at]!),
    );
    model = pruneHeads(model, gone);
  }
  if (units === 0) return model;
  const count = unitsOf(model);
  return keepUnits(
    model,
    leastImportant(importance.units, units, 'layer').map((gone) => others(gone, count)),
  );
}

async function weightPruning(
  model: SequenceClassificationModel,
  trained: Trained,
  values: Values,
): Promise<WeightPruning> {
  const { sparsity, pattern, scope, score } = values;
  if (score === 'magnitude') return { sparsity, pattern, scope };
  const inputNorms = await inputNormsOf(
    model,
    calibrationBatches(model, trained, values),
    ({ labels: _, ...inputs }: ClassificationBatch) => void model.forward(inputs),
    ({ attentionMask }) => attentionMask,
  );
  return { sparsity, pattern, scope: 'row', inputNorms };
}
