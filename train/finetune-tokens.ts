/**
 * Fine-tunes an encoder (BERT, RoBERTa, DeBERTa, ...) to label the words of texts (names, keys, commands), as
 * Transformers' run_ner does, tests it against a dictionary of the entities that it was trained on, and saves
 * a folder that Transformers loads too.
 *
 *   node --import tsx train/finetune-tokens.ts              keys and code in the help of LibreOffice
 *   node --import tsx train/finetune-tokens.ts --data train.conll --test-data test.conll --model FOLDER
 *   node --import tsx train/finetune-tokens.ts --data spans.jsonl --output runs/spans
 *   node --import tsx train/finetune-tokens.ts --predict --model runs/spans "Press Ctrl+S."
 */
import { basename, extname, join } from 'node:path';
import { loadTokenizer, rowLimits } from '../models/index.ts';
import { loadTokenClassifier } from '../models/pipelines/token-classification.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import {
  checkAdapterFlags,
  fineTuneFlags,
  fineTuneOptions,
  isAdapted,
  loadToFineTune,
  shippedBert,
} from './cli/fine-tune.ts';
import { loadTokenData, tokenDataNames } from './token-labels/data.ts';
import { fineTuneTokens, predictTags } from './token-labels/fine-tune.ts';
import { tokenFormats } from './token-labels/read.ts';
import { describeRun, reportTest, showEntities } from './token-labels/report.ts';
import { labelledRows } from './token-labels/rows.ts';
import { reportResult } from './report/run-result.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'finetune-tokens',
  summary:
    'Fine-tunes an encoder (BERT, RoBERTa, DeBERTa, ...) to label the words of texts; ' +
    '--predict shows what a trained one finds.',
  usage: 'node --import tsx train/finetune-tokens.ts',
  positionals: { name: 'text', help: 'with --predict: texts to label', min: 0 },
  options: {
    data: { type: 'string', default: 'libreoffice-help', help: `${tokenFormats}; or ${tokenDataNames}` },
    testData: { type: 'path', exists: 'file', help: 'file to test on; without it a part of the data is held out' },
    tokenColumn: { type: 'string', default: '1', help: 'of columns: that of words, by name or number' },
    tagColumn: { type: 'string', default: '-1', help: 'that of tags; -1 is the last one' },
    groupColumn: { type: 'string', help: 'of JSONL: what belongs together, such as the page' },
    keepTags: { type: 'boolean', help: 'learn tags as the file has them; by default they become IOB2' },
    model: {
      type: 'string',
      help: 'folder, model in the Hugging Face cache, or hub name; default the small BERT that comes with the project',
    },
    maxLength: { type: 'int', min: 8, help: 'tokens of a row; default 256, or what the model takes' },
    stride: { type: 'int', default: 16, min: 0, help: 'tokens that the parts of a longer text share' },
    ...fineTuneFlags,
    learningRate: { ...fineTuneFlags.learningRate, help: 'default 5e-5 with --model, else 1e-3' },
    predict: { type: 'boolean', help: 'label the texts given, with --model, and train nothing' },
  },
} as const;

main(async () => {
  const { values, positionals } = parseOptions(command);
  if (values.predict) return predict(values.model, positionals);
  if (positionals.length > 0)
    throw new UsageError(`${command.name}: texts go with --predict only, got "${positionals[0]}"`);

  const {
    data: source,
    model: name = shippedBert(),
    learningRate = values.model && !isAdapted(values) ? 5e-5 : 1e-3,
  } = values;
  const output = values.output ?? join('runs', basename(source, extname(source)));
  const resume = resumeOf(values);
  checkAdapterFlags(values);
  await claimRun(command.name, output, resume);
  const tokenizer = await loadTokenizer(name);
  const data = await loadTokenData(tokenizer, values);
  const { dropout, seed } = values;
  const classifier = await loadToFineTune(name, 'ForTokenClassification', { labels: data.labels, dropout, seed });
  const lengths = rowLengths(rowLimits(classifier.model).positions, values);
  const rows = labelledRows(tokenizer, data.train, data.labels, lengths);
  const about = describeRun(data, classifier.model, rows, lengths);
  console.log(about);
  const result = await fineTuneTokens({
    classifier,
    train: rows.rows,
    validation: data.validation,
    lengths,
    scheme: data.scheme,
    options: fineTuneOptions({ ...values, learningRate }),
    output,
    resume,
    resumeCommand: resumeCommand(command.usage),
  });
  const predicted = await predictTags(classifier, data.test, { ...lengths, batchSize: values.batchSize });
  await reportResult(output, { from: name, about, ...reportTest(data, predicted, result, output) });
  const samples = data.test.slice(0, 3).map(({ text }) => text);
  console.log(`\n${await showEntities(classifier, samples)}`);
});

function rowLengths(positions: number, given: { readonly maxLength?: number; readonly stride: number }) {
  const { maxLength = Math.min(256, positions), stride } = given;
  if (maxLength > positions)
    throw new UsageError(
      `${command.name}: --max-length ${maxLength} is too long, the model has ${positions} positions`,
    );
  // Two tokens of a row are special.
  if (stride > maxLength - 3)
    throw new UsageError(`${command.name}: --stride ${stride} must be less than --max-length ${maxLength} minus 2`);
  return { maxLength, stride };
}

async function predict(folder: string | undefined, texts: readonly string[]): Promise<void> {
  if (!folder) throw new UsageError(`${command.name}: --predict needs a trained model: --model FOLDER`);
  if (texts.length === 0)
    throw new UsageError(`${command.name}: --predict needs texts: --predict --model FOLDER "some text" "another"`);
  console.log(await showEntities(await loadTokenClassifier(folder), texts));
}
