/**
 * Fine-tunes an encoder (BERT, RoBERTa, DeBERTa, ...) to classify texts or pairs of them, to give them a
 * score, or several labels at once; tests it against always giving the most frequent answer, and saves a
 * folder that Transformers loads too.
 *
 *   npm start                            the BERT that comes with the project learns to tell spam from ham,
 *                                        then from 200 labels, beside one that starts from nothing
 *   npm start -- --data reviews.csv      the same with texts of your own
 *   node --import tsx train/finetune-classifier.ts --data reviews.csv --model FOLDER --epochs 3
 *   node --import tsx train/finetune-classifier.ts --model runs/spam-assassin --quantize-aware 4 --epochs 1
 *   node --import tsx train/finetune-classifier.ts --predict --model runs/spam-assassin "You have won!"
 */
import { basename, extname, join } from 'node:path';
import { paddingOf } from '../models/index.ts';
import { loadTextClassifier } from '../models/pipelines/text-classification.ts';
import { loadClassifierData } from './classifier/data.ts';
import type { ClassifierData } from './classifier/data.ts';
import { explainSamples } from './classifier/explain-samples.ts';
import { checkImbalance, imbalances } from './classifier/imbalance.ts';
import { classifierDataFlags, makeClassifier, newBertFlags, readsPairs, untrained } from './classifier/model.ts';
import type { Classifier, HeadChoice } from './classifier/model.ts';
import { compareTests, describeRun, reportTest, showPredictions } from './classifier/classifier-report.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { checkAdapterFlags, fineTuneFlags, fineTuneOptions, isAdapted, shippedBert } from './cli/fine-tune.ts';
import { fakeQuantized, packFakeQuantized } from './compress/quantization-aware.ts';
import type { Example, Target } from './data/read-table.ts';
import { tokenise } from './data/tokenised.ts';
import { fineTune } from './classifier/fine-tune.ts';
import { scoreExamples } from './classifier/predict.ts';
import { Random } from '../common/random.ts';
import { reportResult } from './report/run-result.ts';
import { canResume, claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';
import type { TrainingResult } from './trainer/trainer.ts';

const command = {
  name: 'finetune-classifier',
  summary:
    'Fine-tunes BERT to classify texts. Without options: ' +
    'the small BERT that comes with the project, on the embedded spam corpus.',
  usage: 'node --import tsx train/finetune-classifier.ts',
  positionals: { name: 'text', help: 'with --predict: texts to classify', min: 0 },
  options: {
    ...classifierDataFlags,
    tuneThresholds: {
      type: 'boolean',
      default: true,
      help: 'of several labels: tune their thresholds for F1 on the validation part; else 0.5',
    },
    imbalance: {
      type: 'choice',
      choices: imbalances,
      default: 'none',
      help: 'make rare classes count: draw them as often as others, weigh their losses, or use the focal loss',
    },
    focalGamma: { type: 'number', default: 2, min: 0, help: 'focal loss: exponent; 0 is cross-entropy' },
    focalAlpha: { type: 'number', min: 0, max: 1, help: 'focal loss: weight of the second class, or of positives' },
    model: {
      type: 'string',
      help: 'folder, model in the Hugging Face cache, or hub name; default the small BERT that comes with the project',
    },
    ...newBertFlags,
    fewLabels: {
      type: 'int',
      default: 0,
      min: 0,
      help: 'also learn from so few of the texts, pretrained and from nothing, and compare; 0: do not',
    },
    maxLength: {
      type: 'int',
      min: 3,
      help: 'tokens a text; longer ones are cut; default 128 with --model, else 96',
    },
    ...fineTuneFlags,
    quantizeAware: {
      type: 'choice',
      choices: ['4', '8'],
      help: 'learn with weights of so many bits, and write a folder with packed ones, too',
    },
    predict: { type: 'boolean', help: 'classify the texts given, with --model, and train nothing' },
    textPair: { type: 'list', help: 'with --predict: the second text of a pair; once for each text, in their order' },
  },
} as const;

type Given = ReturnType<typeof parseOptions<typeof command.options>>['values'];
type Values = Given & { readonly learningRate: number; readonly maxLength: number };

/** Settings by size and origin: those of a large pretrained model do not suit a small or new one. */
function withDefaults(given: Given): Values {
  const { learningRate = given.model && !isAdapted(given) ? 2e-5 : 1e-3, maxLength = given.model ? 128 : 96 } = given;
  return { ...given, learningRate, maxLength };
}

main(async () => {
  const { values: given, positionals } = parseOptions(command);
  const values = withDefaults(given);
  if (values.predict) return classify(values, positionals);
  if (positionals.length > 0)
    throw new UsageError(`${command.name}: texts go with --predict only, got "${positionals[0]}"`);
  if (values.textPair.length > 0) throw new UsageError(`${command.name}: --text-pair goes with --predict "some text"`);
  if (values.model && values.fromScratch)
    throw new UsageError(`${command.name}: give --model or --from-scratch, not both`);
  if (isAdapted(values) && values.quantizeAware !== undefined)
    throw new UsageError(
      `${command.name}: --quantize-aware trains the weights, and an adapter leaves them; for an adapter on packed ` +
        'weights give --quantize',
    );
  if (isAdapted(values) && values.fromScratch)
    throw new UsageError(
      `${command.name}: an adapter is for a model that has learnt something; leave --from-scratch out`,
    );

  const output = values.output ?? join('runs', basename(values.data, extname(values.data)));
  const resume = resumeOf(values);
  checkAdapterFlags(values);
  await claimRun(command.name, output, resume);
  const data = await loadClassifierData(values);
  checkImbalance(data.kind, data.labels.length, values);
  if (values.fewLabels > 0 && data.kind !== 'classification')
    throw new UsageError(`${command.name}: --few-labels compares classes, and the data has none; leave it out`);
  const head = { ...data, pairs: values.textPairColumn !== undefined };
  const classifier = await startingClassifier(values, head);
  const about = describeRun(data, classifier.model, values);
  console.log(about);
  const { batchSize, imbalance, focalGamma, focalAlpha, tuneThresholds } = values;
  const { tokenizer } = classifier;
  const read = (examples: readonly Example<Target>[]) => tokenise(tokenizer, examples, values.maxLength, values.keep);
  const test = read(data.test);
  const run = async (name: string, { model }: Classifier, parts: Parts, epochs: number): Promise<Tested> => {
    const folder = join(output, name);
    const result = await fineTune({
      model,
      tokenizer,
      train: read(parts.train),
      validation: read(parts.validation),
      options: { ...fineTuneOptions(values), epochs },
      balance: { imbalance, focalGamma, focalAlpha },
      tuneThresholds,
      output: folder,
      resume: name === '' || (await canResume(folder)) ? resume : false,
      identity: { maxLength: values.maxLength, keep: values.keep },
      resumeCommand: resumeCommand(command.usage),
    });
    const { scores } = await scoreExamples(model, test, { batchSize, padTokenId: paddingOf(classifier) });
    if (values.quantizeAware !== undefined) {
      const packed = await packFakeQuantized(model);
      await packed.savePretrained(join(folder, 'packed'), { tokenizer });
    }
    return { name, result, scores };
  };

  const tested = await run('', classifier, data, values.epochs);
  const report = reportTest(data, classifier.model, tested.scores, tested.result, output);
  const from = values.fromScratch ? undefined : (values.model ?? shippedBert());
  await reportResult(output, { from, about, ...report });
  console.log(await showPredictions(classifier.model, tokenizer, data.samples, values));
  if (data.kind === 'classification')
    console.log(await explainSamples(classifier, data.samples, { folder: output, maxLength: values.maxLength }));
  if (values.fewLabels === 0) return;
  const few = { train: sampleOf(data.train, values.fewLabels, values.seed), validation: [] };
  console.log(`\nWhat pretraining is worth: ${few.train.length} labels instead of ${data.train.length}\n`);
  const fresh = await startingClassifier(values, head);
  const pair = [
    await run('pretrained', fresh, few, fewLabelsEpochs),
    await run('from-scratch', untrained(fresh, values.seed), few, fewLabelsEpochs),
  ];
  console.log(`\n${compareTests(data, pair)}`);
});

/** The model to fine-tune, with weights of few bits where those are asked for. */
async function startingClassifier(values: Values, head: HeadChoice): Promise<Classifier> {
  const classifier = await makeClassifier(values, head);
  if (values.quantizeAware === undefined) return classifier;
  return { ...classifier, model: await fakeQuantized(classifier.model, values.quantizeAware === '4' ? 4 : 8) };
}

type Parts = Pick<ClassifierData, 'train' | 'validation'>;

interface Tested {
  /** Of its folder in the output folder. */
  readonly name: string;
  readonly result: TrainingResult;
  /** Of each text of the test part, see `scoreExamples`. */
  readonly scores: readonly (readonly number[])[];
}

/** Passes over few texts, which need more of them. */
const fewLabelsEpochs = 8;

function sampleOf<T>(examples: readonly T[], count: number, seed: number): T[] {
  const order = new Random(seed).permutation(examples.length);
  return order.slice(0, count).map((i) => examples[i]!);
}

async function classify({ model: folder, textPair, ...reading }: Values, texts: readonly string[]): Promise<void> {
  if (!folder) throw new UsageError(`${command.name}: --predict needs a trained model: --model FOLDER`);
  if (texts.length === 0)
    throw new UsageError(`${command.name}: --predict needs texts: --predict --model FOLDER "some text" "another"`);
  if (textPair.length > 0 && textPair.length !== texts.length)
    throw new UsageError(
      `${command.name}: ${texts.length} texts but ${textPair.length} of --text-pair; give one for each text`,
    );
  const { model, tokenizer } = await loadTextClassifier(folder);
  if (textPair.length === 0 && readsPairs(model))
    throw new UsageError(
      `${command.name}: ${folder} was trained on pairs; give each text its --text-pair "second text"`,
    );
  const inputs = texts.map((text, i) => (textPair.length > 0 ? { text, textPair: textPair[i]! } : { text }));
  console.log(await showPredictions(model, tokenizer, inputs, reading));
}
