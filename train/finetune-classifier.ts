/**
 * Fine-tunes BERT to classify texts, tests it against always answering the most frequent class, and saves a folder that Transformers loads too.
 *
 *   npm start                                                    a small BERT, from scratch, learns to tell spam from ham
 *   npm start -- --model FOLDER                                  the same, from a pretrained BERT
 *   node --import tsx train/finetune-classifier.ts --data reviews.csv --model FOLDER --epochs 3
 *   node --import tsx train/finetune-classifier.ts --predict --model runs/spam-assassin "You have won!"
 */
import { basename, extname, join } from 'node:path';
import { manualSeed } from '../autograd/index.ts';
import { BertConfig, BertForSequenceClassification, BertTokenizer } from '../models/index.ts';
import { embeddedCorpus, loadClassifierData } from './classifier/data.ts';
import { describeRun, reportTest, showPredictions } from './classifier/report.ts';
import { main, parseOptions, UsageError } from './cli.ts';
import { keptParts, tokenise } from './data/tokenised.ts';
import { fineTune } from './fine-tune.ts';
import type { FineTuneOptions } from './fine-tune.ts';
import { predict } from './predict.ts';
import { scheduleNames } from './schedules.ts';
import { checkResume, resumeCommand } from './trainer/resume.ts';

const command = {
  name: 'finetune-classifier',
  summary: 'Fine-tunes BERT to classify texts. Without options: a small BERT from scratch on the embedded spam corpus.',
  usage: 'node --import tsx train/finetune-classifier.ts',
  positionals: { name: 'text', help: 'with --predict: texts to classify', min: 0 },
  options: {
    data: {
      type: 'string',
      default: embeddedCorpus,
      help: `JSONL, CSV or TSV file of texts and labels, or ${embeddedCorpus}`,
    },
    testData: { type: 'path', exists: 'file', help: 'file to test on; without it a part of the data is held out' },
    textColumn: { type: 'string', default: 'text', help: 'column of the texts' },
    textPairColumn: { type: 'string', help: 'column of the second texts, for tasks on pairs' },
    labelColumn: { type: 'string', default: 'label', help: 'column of the labels' },
    model: {
      type: 'string',
      help: 'folder, model in the Hugging Face cache, or hub name; without it a new BERT is made',
    },
    layers: { type: 'int', default: 2, min: 1, help: 'layers of a new BERT' },
    hidden: { type: 'int', default: 128, min: 8, help: 'width of a new BERT' },
    heads: { type: 'int', default: 2, min: 1, help: 'attention heads of a new BERT' },
    output: { type: 'path', help: 'folder for model, curves and checkpoints; default runs/ and the name of the data' },
    epochs: { type: 'int', default: 3, min: 1, help: 'passes over the training texts' },
    batchSize: { type: 'int', default: 16, min: 1, help: 'texts a step' },
    learningRate: { type: 'number', min: 0, help: 'default 2e-5 with --model, 1e-3 for a new BERT' },
    weightDecay: { type: 'number', default: 0.01, min: 0, help: 'AdamW; none on biases and LayerNorm' },
    schedule: { type: 'choice', choices: scheduleNames, default: 'linear', help: 'learning-rate schedule' },
    warmupRatio: { type: 'number', default: 0.1, min: 0, max: 1, help: 'share of the steps that warm up' },
    maxGradNorm: { type: 'number', default: 1, min: 0, help: 'clip gradients to this norm; 0 for none' },
    maxLength: {
      type: 'int',
      min: 3,
      help: 'tokens a text; longer ones are cut; default 128 with --model, 96 for a new BERT',
    },
    keep: { type: 'choice', choices: keptParts, default: 'ends', help: 'part of a longer text that is read' },
    seed: { type: 'int', default: 42, min: 0, help: 'of initialisation, order, dropout and split' },
    saveEvery: { type: 'int', default: 0, min: 0, help: 'steps between checkpoints; 0 for Ctrl-C only' },
    resume: { type: 'boolean', help: 'go on from the checkpoint in the output folder' },
    predict: { type: 'boolean', help: 'classify the texts given, with --model, and train nothing' },
  },
} as const;

type Given = ReturnType<typeof parseOptions<typeof command.options>>['values'];
type Values = Given & { readonly learningRate: number; readonly maxLength: number };

/** What suits a pretrained model does not suit a new one. */
function withDefaults(given: Given): Values {
  const { learningRate = given.model ? 2e-5 : 1e-3, maxLength = given.model ? 128 : 96 } = given;
  return { ...given, learningRate, maxLength };
}

main(async () => {
  const { values: given, positionals } = parseOptions(command);
  const values = withDefaults(given);
  if (values.predict) return classify(values, positionals);
  if (positionals.length > 0)
    throw new UsageError(`${command.name}: texts go with --predict only, got "${positionals[0]}"`);

  const output = values.output ?? join('runs', basename(values.data, extname(values.data)));
  await checkResume(command.name, output, values.resume);
  const source = values.model;
  const tokenizer = source ? await BertTokenizer.fromPretrained(source) : BertTokenizer.default();
  const data = await loadClassifierData(values);
  manualSeed(values.seed);
  const model = source
    ? await BertForSequenceClassification.fromPretrained(source, { labels: data.labels })
    : newModel(values, tokenizer, data.labels);
  console.log(describeRun(data, model, values));

  const [train, validation, test] = [data.train, data.validation, data.test].map((part) =>
    tokenise(tokenizer, part, values.maxLength, values.keep),
  );
  const state = await fineTune({
    model,
    tokenizer,
    train: train!,
    validation: validation!,
    options: trainingOptions(values),
    output,
    resume: values.resume,
    resumeCommand: resumeCommand(command.usage),
  });

  const { labels } = await predict(model, test!, { batchSize: values.batchSize, padTokenId: tokenizer.padTokenId });
  console.log(reportTest(data, labels, state, output));
  console.log(await showPredictions(model, tokenizer, data.samples, values));
});

function trainingOptions(values: Values): FineTuneOptions {
  const { epochs, batchSize, learningRate, weightDecay, schedule, warmupRatio, maxGradNorm, seed, saveEvery } = values;
  return { epochs, batchSize, learningRate, weightDecay, schedule, warmupRatio, maxGradNorm, seed, saveEvery };
}

function newModel(
  { layers, hidden, heads, maxLength }: Values,
  { vocabSize }: BertTokenizer,
  labels: readonly string[],
): BertForSequenceClassification {
  if (hidden % heads !== 0)
    throw new UsageError(`${command.name}: --hidden ${hidden} must be a multiple of --heads ${heads}`);
  const config = BertConfig.create({
    vocabSize,
    labels,
    hiddenSize: hidden,
    numHiddenLayers: layers,
    numAttentionHeads: heads,
    intermediateSize: 4 * hidden,
    maxPositionEmbeddings: Math.max(512, maxLength),
  });
  return new BertForSequenceClassification(config);
}

async function classify({ model: folder, ...reading }: Values, texts: readonly string[]): Promise<void> {
  if (!folder) throw new UsageError(`${command.name}: --predict needs a trained model: --model FOLDER`);
  if (texts.length === 0)
    throw new UsageError(`${command.name}: --predict needs texts: --predict --model FOLDER "some text" "another"`);
  const tokenizer = await BertTokenizer.fromPretrained(folder);
  const model = await BertForSequenceClassification.fromPretrained(folder);
  console.log(await showPredictions(model, tokenizer, texts, reading));
}
