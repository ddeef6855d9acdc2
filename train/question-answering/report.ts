import { join } from 'node:path';
import { showText } from '../../common/printable.ts';
import type { Answer, Prediction, QuestionAnsweringModel } from '../../models/index.ts';
import { describeModel } from '../cli/fine-tune.ts';
import { squad } from '../metrics/squad.ts';
import { meanOf } from '../metrics/statistics.ts';
import { scoreLines, scoreOf, shownText } from '../report/test-scores.ts';
import type { TestSample, TestScores } from '../report/test-scores.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import type { QuestionData, QuestionExample } from './data.ts';
import { scoreAnswers, sentenceBaseline } from './evaluate.ts';
import type { EvaluateOptions, QuestionScore } from './evaluate.ts';
import type { TrainingFeatures } from './task.ts';

/** Says, before a run, which model is about to be trained on which data. */
export function describeRun(
  { train, validation, test, origin }: QuestionData,
  model: QuestionAnsweringModel,
  { features, lost }: TrainingFeatures,
  { maxLength }: { readonly maxLength: number },
): string {
  return [
    `data   ${origin}`,
    `       ${train.length} to train, ${validation.length} to validate, ${test.length} to test, no text in two parts`,
    `rows   ${features.length} to train, of up to ${maxLength} tokens` +
      (lost > 0 ? `; ${lost} answers are whole in none of them: raise --max-length or --doc-stride` : ''),
    `model  ${describeModel(model)}`,
  ].join('\n');
}

/** Scores on the test part beside the baseline's. */
export function reportTest(
  examples: readonly QuestionExample[],
  predictions: readonly Prediction[],
  evaluation: EvaluateOptions,
  { best }: TrainingResult,
  output: string,
): { readonly test: string; readonly scores: TestScores } {
  const own = scoreAnswers(examples, predictions, evaluation);
  // The rule never says that there is no answer.
  const sentences = examples.map((example) => ({ text: sentenceBaseline(example), nullScoreDiff: -Infinity }));
  const simple = scoreAnswers(
    examples,
    sentences.map((sentence) => ({ ...sentence, nBest: [sentence] })),
    evaluation,
  );
  const validation = best ? `; best F1 of validation ${best.value.toFixed(1)}, at step ${best.step}` : '';
  const row = (name: string, { exactMatch, f1 }: Pick<QuestionScore, 'exactMatch' | 'f1'>) => ({
    name,
    scores: [{ value: exactMatch }, { value: f1 }],
  });
  // Each question by itself, as the metric's mean has it.
  const each = examples.map(({ answers }, i) => scoreOne(answers, predictions[i]!.text));
  const table = {
    title: 'Scores',
    columns: ['exact match', 'F1'],
    rows: [
      row('this model', own),
      ...(own.hasAnswer ? [row('  where there is an answer', own.hasAnswer)] : []),
      ...(own.noAnswer ? [row('  where there is none', own.noAnswer)] : []),
      row("the sentence with most of the question's words", simple),
    ],
  };
  const test = [
    '',
    `test (${examples.length} questions${validation})`,
    scoreLines(table, 1),
    ...(own.best
      ? [
          `with --null-threshold ${own.best.f1Threshold.toFixed(2)}, the best for these very questions, F1 would be ` +
            own.best.f1.toFixed(1),
        ]
      : []),
    `saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`,
  ].join('\n');
  const sample = (i: number): TestSample => ({
    text: shownText(examples[i]!.question),
    answer: answerText(predictions[i]!),
    wanted: examples[i]!.answers[0]?.text ?? '(none)',
    right: each[i]!.exactMatch === 100,
  });
  const [right, wrong] = [true, false].map((is) => [...each.keys()].filter((i) => sample(i).right === is));
  const [first, ...others] = table.rows;
  const intervals = (['exactMatch', 'f1'] as const).map((name) =>
    scoreOf(each.length, meanOf(each.map((score) => score[name]))),
  );
  return {
    test,
    scores: {
      of: `${examples.length} questions`,
      tables: [{ ...table, rows: [{ name: first!.name, scores: intervals }, ...others] }],
      samples: [
        { title: 'Other answers than wanted', samples: wrong!.slice(0, shownSamples).map(sample) },
        { title: 'Right answers', samples: right!.slice(0, shownSamples).map(sample) },
      ],
    },
  };
}

const shownSamples = 10;

/** A question's exact match and F1; one without an answer has all where none is given, as in SQuAD 2.0. */
function scoreOne(answers: QuestionExample['answers'], text: string): Pick<QuestionScore, 'exactMatch' | 'f1'> {
  if (answers.length > 0) return squad([text], [answers.map((answer) => answer.text)]);
  const value = text === '' ? 100 : 0;
  return { exactMatch: value, f1: value };
}

/** What is answered, with how sure the model is. */
function answerText({ text, nBest }: Prediction): string {
  const sure = nBest.find((answer) => answer.text === text)?.probability ?? 0;
  return `${text === '' ? '(no answer)' : shownText(text)} ${sure.toFixed(3)}`;
}

/** Questions with what the model answers and what is true. */
export function showPredictions(
  examples: readonly QuestionExample[],
  predictions: readonly Prediction[],
  count: number,
): string {
  const lines = examples.slice(0, count).flatMap(({ question, answers }, i) => {
    const { text, nBest } = predictions[i]!;
    const sure = nBest.find((answer) => answer.text === text)?.probability ?? 0;
    return [
      showText(question, 100),
      `  ${sure.toFixed(3)}  ${text === '' ? '(no answer)' : showText(text, 60)}` +
        `   true: ${answers.length === 0 ? '(none)' : showText(answers[0]!.text, 60)}`,
    ];
  });
  return ['', ...lines].join('\n');
}

/** Answers to a question, best first, each with the words around it. */
export function showAnswers(context: string, answers: readonly Answer[]): string {
  if (answers.length === 0) return 'the context holds no word that could be an answer';
  return answers
    .map(({ score, start, end, answer }) => {
      if (answer === '') return `${score.toFixed(3)}  (no answer)`;
      const [before, after] = [context.slice(Math.max(0, start - 30), start), context.slice(end, end + 30)];
      return `${score.toFixed(3)}  ${showText(answer)}   ...${showText(before)}[${start}, ${end})${showText(after)}...`;
    })
    .join('\n');
}
