import { join } from 'node:path';
import { showText } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';
import type { Answer, Prediction, QuestionAnsweringModel } from '../../models/index.ts';
import { describeModel } from '../cli/fine-tune.ts';
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
): string {
  const own = scoreAnswers(examples, predictions, evaluation);
  // The rule never says that there is no answer.
  const sentences = examples.map((example) => ({ text: sentenceBaseline(example), nullScoreDiff: -Infinity }));
  const simple = scoreAnswers(
    examples,
    sentences.map((sentence) => ({ ...sentence, nBest: [sentence] })),
    evaluation,
  );
  const validation = best ? `; best F1 of validation ${best.value.toFixed(1)}, at step ${best.step}` : '';
  return [
    '',
    `test (${examples.length} questions${validation})`,
    alignTable(
      ['', 'exact match', 'F1'],
      [
        ['this model', ...percentages(own)],
        ...(own.hasAnswer ? [['  where there is an answer', ...percentages(own.hasAnswer)]] : []),
        ...(own.noAnswer ? [['  where there is none', ...percentages(own.noAnswer)]] : []),
        ["the sentence with most of the question's words", ...percentages(simple)],
      ],
      new Set([1, 2]),
    ),
    ...(own.best
      ? [
          `with --null-threshold ${own.best.f1Threshold.toFixed(2)}, the best for these very questions, F1 would be ` +
            own.best.f1.toFixed(1),
        ]
      : []),
    `saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`,
  ].join('\n');
}

const percentages = ({ exactMatch, f1 }: Pick<QuestionScore, 'exactMatch' | 'f1'>): string[] =>
  [exactMatch, f1].map((value) => value.toFixed(1));

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
