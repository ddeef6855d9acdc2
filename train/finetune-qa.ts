/**
 * Fine-tunes an encoder (BERT, RoBERTa, DeBERTa, ...) to find answers in texts, as Transformers' run_qa does,
 * tests it against the sentence with most of the question's words, and saves a folder that Transformers loads
 * too.
 *
 *   node --import tsx train/finetune-qa.ts --data train-v1.1.json --test-data dev-v1.1.json --model FOLDER
 *   node --import tsx train/finetune-qa.ts --data questions.jsonl --output runs/qa
 *   node --import tsx train/finetune-qa.ts --model runs/qa --ask "Who wrote it?" --context book.txt
 */
import { basename, extname, join } from 'node:path';
import { pathKind } from '../common/json-file.ts';
import { answerQuestions, loadQuestionAnswerer } from '../models/index.ts';
import { rowLengths } from '../models/pipelines/question-answering/pipeline.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import {
  checkAdapterFlags,
  fineTuneFlags,
  fineTuneOptions,
  isAdapted,
  loadToFineTune,
  shippedBert,
} from './cli/fine-tune.ts';
import { wholeText } from './data/utf8-blocks.ts';
import { loadQuestionData, questionFormats } from './question-answering/data.ts';
import type { EvaluateOptions } from './question-answering/evaluate.ts';
import { predictAnswers } from './question-answering/evaluate.ts';
import { fineTuneAnswerer } from './question-answering/fine-tune.ts';
import { describeRun, reportTest, showAnswers, showPredictions } from './question-answering/report.ts';
import { trainingFeatures } from './question-answering/task.ts';
import { reportResult } from './report/run-result.ts';
import { claimRun, resumeCommand, resumeOf } from './trainer/run-state.ts';

const command = {
  name: 'finetune-qa',
  summary:
    'Fine-tunes an encoder (BERT, RoBERTa, DeBERTa, ...) to find the answers to questions in texts; ' +
    '--ask asks a trained one.',
  usage: 'node --import tsx train/finetune-qa.ts',
  options: {
    data: { type: 'path', exists: 'file', help: `questions to train on: ${questionFormats}` },
    testData: { type: 'path', exists: 'file', help: 'file to test on; without it a part of the data is held out' },
    model: {
      type: 'string',
      help: 'folder, model in the Hugging Face cache, or hub name; default the small BERT that comes with the project',
    },
    maxLength: {
      type: 'int',
      min: 8,
      help: 'tokens of question and a part of its context; default 384, or what the model takes',
    },
    docStride: {
      type: 'int',
      min: 0,
      help: 'tokens that parts of a long context share; default 128, at most half of --max-length',
    },
    version2: {
      type: 'boolean',
      help:
        'questions may have no answer, as in SQuAD 2.0; true by itself where one in the data has none; ' +
        'with --ask: "no answer" is an answer too',
    },
    nullThreshold: {
      type: 'number',
      default: 0,
      help: "no answer where its score is above the best answer's by more than this",
    },
    ...fineTuneFlags,
    learningRate: { ...fineTuneFlags.learningRate, help: 'default 3e-5 with --model, else 1e-3' },
    ask: { type: 'list', help: 'a question to answer, with --model and --context; may be given several times' },
    context: { type: 'string', help: 'with --ask: a file, or the text itself' },
    topK: { type: 'int', default: 3, min: 1, help: 'with --ask: answers shown' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  const { values } = parseOptions(command);
  if (values.ask.length > 0) return ask(values);
  if (values.context !== undefined) throw new UsageError(`${command.name}: --context goes with --ask "some question"`);
  if (values.data === undefined)
    throw new UsageError(`${command.name}: needs questions to train on: --data FILE, ${questionFormats}`);

  const { learningRate = values.model && !isAdapted(values) ? 3e-5 : 1e-3, batchSize, seed } = values;
  const output = values.output ?? join('runs', basename(values.data, extname(values.data)));
  const resume = resumeOf(values);
  checkAdapterFlags(values);
  await claimRun(command.name, output, resume);
  const data = await loadQuestionData({ data: values.data, testData: values.testData, seed });
  const { model: name, dropout } = values;
  const answerer = await loadToFineTune(name, 'ForQuestionAnswering', { numLabels: 2, dropout, seed });
  const lengths = rowLengths(answerer, values);
  const rows = trainingFeatures(answerer.tokenizer, data.train, lengths);
  const about = describeRun(data, answerer.model, rows, lengths);
  console.log(about);
  const all = [...data.train, ...data.validation, ...data.test];
  const version2 = values.version2 || all.some(({ answers }) => answers.length === 0);
  const evaluation: EvaluateOptions = { ...lengths, batchSize, version2, nullThreshold: values.nullThreshold };
  const result = await fineTuneAnswerer({
    answerer,
    train: rows.features,
    validation: data.validation,
    evaluation,
    options: fineTuneOptions({ ...values, learningRate }),
    output,
    resume,
    resumeCommand: resumeCommand(command.usage),
  });
  const predictions = await predictAnswers(answerer, data.test, evaluation);
  const report = reportTest(data.test, predictions, evaluation, result, output);
  await reportResult(output, { from: name ?? shippedBert(), about, ...report });
  console.log(showPredictions(data.test, predictions, 3));
});

async function ask(values: Values): Promise<void> {
  const { model: folder, ask: questions, context: given, topK } = values;
  if (folder === undefined) throw new UsageError(`${command.name}: --ask needs a trained model: --model FOLDER`);
  if (given === undefined)
    throw new UsageError(`${command.name}: --ask needs a text to find the answer in: --context FILE, or the text`);
  const context = await contextOf(given);
  const answerer = await loadQuestionAnswerer(folder);
  const { maxLength: maxSeqLen, docStride } = rowLengths(answerer, values);
  const asked = questions.map((question) => ({ id: question, question, context }));
  const answers = await answerQuestions(answerer, asked, {
    topK,
    maxSeqLen,
    docStride,
    handleImpossibleAnswer: values.version2,
  });
  answers.forEach((list, i) => {
    if (questions.length > 1) console.log(questions[i]);
    console.log(showAnswers(context, list));
  });
}

/** The text of a file, or the text that was given itself. */
async function contextOf(given: string): Promise<string> {
  const kind = await pathKind(given);
  if (kind === 'file') return wholeText(given);
  if (kind === 'folder' || /^[\w./~-]+\.\w{1,5}$/.test(given))
    throw new UsageError(`${command.name}: --context ${given} is no file; give a file, or a text of several words`);
  return given;
}
