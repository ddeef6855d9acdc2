/**
 * Makes a trained classifier smaller: takes out layers, heads and units of the feed-forward part that count
 * least, makes two thin layers of each linear one or one in groups, drops tokens between layers, or sets
 * weights to zero, trains what is left for a while, and compares.
 *
 *   npm start                            trains a classifier, in runs/spam-assassin
 *   node --import tsx train/prune.ts --model runs/spam-assassin --heads 0.5 --units 0.5
 *   node --import tsx train/prune.ts --model runs/spam-assassin --sparsity 0.5
 *   node --import tsx train/prune.ts --model runs/spam-assassin --rank 0.5
 *   node --import tsx train/prune.ts --model runs/spam-assassin --groups 4
 *   node --import tsx train/prune.ts --model runs/spam-assassin --tokens 0.5
 *   node --import tsx train/prune.ts --model FOLDER --pattern 2:4 --score wanda --epochs 0 --data reviews.csv
 */
import { join } from 'node:path';
import { describeModel, fineTuneOptions, trainingFlags } from './cli/fine-tune.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { comparison, measure } from './compress/compare.ts';
import { distillation, teacherLogits, usual } from './compress/distillation.ts';
import { scores, smallerModel, trainPruned, weightPruning } from './compress/prune-classifier.ts';
import { fewestTokens } from './compress/token-pruning.ts';
import { loadTrained, outputOf, trainedFlags } from './compress/trained.ts';
import { scopes } from './compress/weights.ts';
import { weightBytes } from './report/model-card.ts';
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
    rank: {
      type: 'number',
      min: 0.001,
      max: 0.999,
      help: "each linear layer becomes two thin ones, with this share of the layer's weights",
    },
    energy: {
      type: 'number',
      min: 0.001,
      max: 1,
      help: 'or as thin as this share of the squares of its singular values allows',
    },
    groups: {
      type: 'int',
      min: 2,
      help: 'feed-forward parts compute in so many groups, and learn the answers that the model gave before',
    },
    linearAttention: {
      type: 'boolean',
      help: 'attention in time linear in the tokens, which learns the answers that the model gave before',
    },
    tokens: {
      type: 'string',
      help: 'share of its tokens that each layer leaves the next, 0.5; or of all, for each layer: 0.6,0.2',
    },
    tolerance: {
      type: 'number',
      min: 0,
      max: 1,
      help: 'or as few tokens as cost at most so much accuracy on the validation part, before the training',
    },
    sparsity: { type: 'number', default: 0, min: 0, max: 0.99, help: "share of the layers' weights that become zero" },
    pattern: { type: 'string', help: '2:4: of 4 weights in a row 2 become zero, as sparse products need it' },
    score: {
      type: 'choice',
      choices: scores,
      default: 'magnitude',
      help:
        'what a weight counts: its size, that times the norm of what it reads, what its layer lacks without it, ' +
        'or whether training moves it away from zero',
    },
    penalty: {
      type: 'number',
      min: 0,
      help: 'movement without a sparsity: weights go by one limit, and this times the mean of their scores is learnt',
    },
    sparseFile: { type: 'boolean', help: 'write a folder without the zeros, too, and tell its size: OUTPUT/sparse' },
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
  const { maxLength, keep, keepLayers, heads, units, rank, energy, sparsity, pattern, score, scope } = values;
  const { calibration, penalty, groups, linearAttention, tokens, tolerance } = values;
  const parts = { keepLayers, heads, units, rank, energy, groups, linearAttention, tokens, tolerance };
  return { maxLength, keep, ...parts, sparsity, pattern, score, scope, penalty, calibration };
}

/** What `--tokens` says: one number, or one for each layer. */
function tokenShares(given: string): number | number[] {
  const shares = given.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  const odd = shares.findIndex((share) => !(share > 0 && share <= 1));
  if (odd >= 0)
    throw new UsageError(
      `${command.name}: --tokens ${JSON.stringify(given)}: give shares above 0, at most 1, with commas between`,
    );
  return shares.length === 1 ? shares[0]! : shares;
}

/** Whether the model learns the answers that it gave before. */
const isTaught = ({ groups, linearAttention }: Pick<Values, 'groups' | 'linearAttention'>): boolean =>
  groups !== undefined || linearAttention === true;

/** Refuses what movement pruning cannot do. */
function checkMovement({ score, penalty, sparsity, pattern, epochs, ...values }: Values): void {
  const fail = (what: string): Error => new UsageError(`${command.name}: ${what}`);
  if (score === 'movement' && isTaught(values))
    throw fail('--groups and --linear-attention are learnt otherwise than --score movement; run one after the other');
  if (score === 'movement' && epochs === 0)
    throw fail('--score movement learns what weights count while the model trains; give --epochs 1 or more');
  if (penalty === undefined) return;
  if (score !== 'movement') throw fail('--penalty goes with --score movement');
  if (penalty === 0) throw fail('--penalty 0 takes nothing out; give a number above 0, 100 for a start');
  if (sparsity > 0 || pattern !== undefined)
    throw fail('--penalty decides how many weights go; leave --sparsity and --pattern away');
}

main(async () => {
  const { values } = parseOptions(command);
  const { model: folder, batchSize, learningRate = 5e-4, sparsity, pattern } = values;
  if (folder === undefined)
    throw new UsageError(`${command.name}: needs a trained classifier: --model FOLDER; npm start trains one`);
  checkMovement(values);
  const prunesWeights = sparsity > 0 || pattern !== undefined || values.penalty !== undefined;
  if (values.sparseFile && !prunesWeights)
    throw new UsageError(`${command.name}: --sparse-file leaves out zeros; give --sparsity, --pattern or --penalty`);
  const { rank, energy } = values;
  const isThin = rank !== undefined || energy !== undefined;
  if (rank !== undefined && energy !== undefined)
    throw new UsageError(`${command.name}: --rank and --energy both say how thin layers become; give one`);
  const { tolerance } = values;
  if (values.tokens !== undefined && tolerance !== undefined)
    throw new UsageError(`${command.name}: --tokens and --tolerance both say how many tokens stay; give one`);
  const shares = values.tokens === undefined ? undefined : tokenShares(values.tokens);
  const dropsTokens = shares !== undefined || tolerance !== undefined;
  const takesParts = isTaught(values) || values.heads > 0 || values.units > 0 || values.keepLayers !== undefined;
  if (!prunesWeights && !isThin && !dropsTokens && !takesParts)
    throw new UsageError(
      `${command.name}: nothing is to go; give --heads, --units, --keep-layers, --rank, --groups, ` +
        '--linear-attention, --tokens, --tolerance, --sparsity, --pattern or --penalty',
    );
  const output = outputOf(values.output, command.name, values.data);
  const resume = resumeOf(values);
  await claimRun(command.name, output, resume);
  const trained = await loadTrained(folder, values);
  const { classifier, data, train, validation, test } = trained;
  const { tokenizer } = classifier;
  const models = [await measure('before', classifier, data, test, batchSize)];

  const { keepLayers: list, heads, units, groups, linearAttention, scope, score, penalty } = values;
  const keepLayers = list?.split(',').map(Number);
  const thin = isThin ? { share: rank, energy } : undefined;
  const tokens = tolerance === undefined ? shares : await fewestTokens(trained, tolerance, batchSize);
  if (tolerance !== undefined) console.log(`tokens  each layer leaves ${String(tokens)} of those that it reads`);
  const smaller = await smallerModel(
    trained,
    { keepLayers, heads, units, groups, linearAttention, thin, tokens },
    values,
  );
  if (smaller !== classifier.model) {
    console.log(`smaller  ${describeModel(smaller)}`);
    models.push(await measure('smaller', { model: smaller, tokenizer }, data, test, batchSize));
  }
  const zeros = prunesWeights
    ? await weightPruning(smaller, trained, { sparsity, pattern, scope, score, penalty }, values)
    : undefined;
  const learnsAnswers = isTaught(values) && values.epochs > 0;
  const logits = learnsAnswers ? await teacherLogits(classifier, train, batchSize) : [];
  const { model, pruned } = await trainPruned({
    ...{ model: smaller, tokenizer, train, validation, output, resume, zeros },
    ...(learnsAnswers && { objective: distillation({ student: smaller, teacher: classifier.model, logits }, usual) }),
    options: fineTuneOptions({ ...values, learningRate }),
    identity: identityOf(values),
    resumeCommand: resumeCommand(command.usage),
  });
  // Where nothing was trained or set to zero it is the smaller one.
  if (pruned || values.epochs > 0) models.push(await measure('after', { model, tokenizer }, data, test, batchSize));
  const share = pruned ? `${(100 * (await pruned.sparsity())).toFixed(1)}% of the layers' weights are zero\n` : '';
  const place = zeros?.moves ? join(output, 'pruned') : output;
  const sparse = join(output, 'sparse');
  if (values.sparseFile)
    await model.savePretrained(sparse, { tokenizer, sparse: values.pattern === '2:4' ? '2:4' : true });
  const sizes = await Promise.all(
    [place, ...(values.sparseFile ? [sparse] : [])].map(async (folder) => {
      return `saved  ${folder}, ${((await weightBytes(folder)) / 1e6).toFixed(2)} MB`;
    }),
  );
  const { lines, scores: tested } = await comparison(models);
  const report = `\n${lines}\n\n${share}${sizes.join('\n')}`;
  if (values.epochs === 0) console.log(report);
  else
    await reportResult(output, { from: folder, about: `model  ${describeModel(model)}`, test: report, scores: tested });
});
