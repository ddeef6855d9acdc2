import { join } from 'node:path';
import { printable } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';
import { paddingOf } from '../../models/index.ts';
import type { AnyTokenizer, SequenceClassificationModel } from '../../models/index.ts';
import { describeModel } from '../cli/fine-tune.ts';
import type { Texts } from '../data/read-table.ts';
import { tokenise } from '../data/tokenised.ts';
import type { KeptPart } from '../data/tokenised.ts';
import { accuracy, f1Score } from '../metrics/classification.ts';
import type { TestScores } from '../report/test-scores.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import type { ClassifierData } from './data.ts';
import { kindOf, kinds, scoringOf } from './kinds.ts';
import { mostProbable, scoreExamples } from './predict.ts';

/** Says, before a run, which model is about to be trained on which data. */
export function describeRun(
  { train, validation, test, labels, kind, origin }: ClassifierData,
  model: SequenceClassificationModel,
  { maxLength }: { readonly maxLength: number },
): string {
  const [first, ...more] = origin;
  const nouns = { classification: 'classes', regression: 'scores', 'multi-label': 'labels' };
  return [
    `data   ${first}`,
    ...more.map((line) => `       ${line}`),
    `       ${train.length} to train, ${validation.length} to validate, ${test.length} to test; ` +
      `${nouns[kind]} ${labels.map(printable).join(', ')}`,
    `model  ${describeModel(model)}; up to ${maxLength} tokens a text`,
  ].join('\n');
}

/** Scores on the test part beside a baseline: the most frequent class or labels, or the mean score. */
export function reportTest(
  data: ClassifierData,
  { config }: SequenceClassificationModel,
  scores: readonly (readonly number[])[],
  { evaluations }: TrainingResult,
  output: string,
): { readonly test: string; readonly scores: TestScores } {
  const kind = kinds[data.kind];
  const [key, name] = kind.tells;
  const last = evaluations.at(-1)?.evaluation[key];
  const tested = kind.report(data, scores, config);
  const test = [
    '',
    `test (${scores.length} texts${last === undefined ? '' : `; validation ${name} was ${last.toFixed(3)}`})`,
    ...tested.lines,
    `saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`,
  ].join('\n');
  return { test, scores: tested.scores };
}

/** Several models of classes side by side, the baseline last. */
export function compareTests(
  data: ClassifierData,
  models: readonly { readonly name: string; readonly scores: readonly (readonly number[])[] }[],
): string {
  const { truth, scoring, baseline, what } = scoringOf(data);
  const number = (value: number): string => value.toFixed(3);
  const rows = models.map(({ name, scores }) => {
    const labels = mostProbable(scores);
    return [name, number(accuracy(truth, labels)), number(f1Score(truth, labels, scoring))];
  });
  const last = [`always "${printable(data.labels[baseline.label]!)}"`, number(baseline.accuracy), number(baseline.f1)];
  const head = ['test', 'accuracy', what];
  return alignTable(head, [...rows, last], new Set([1, 2]));
}

/** Each text, or pair, with its class and how sure the model is, its score, or its labels. */
export async function showPredictions(
  model: SequenceClassificationModel,
  tokenizer: AnyTokenizer,
  texts: readonly Texts[],
  { maxLength, keep }: { readonly maxLength: number; readonly keep: KeptPart },
): Promise<string> {
  const { config } = model;
  const kind = kindOf(config);
  const label = kind === kinds.classification ? 0 : new Array<number>(config.numLabels).fill(0);
  const examples = tokenise(
    tokenizer,
    texts.map((each) => ({ ...each, label })),
    maxLength,
    keep,
  );
  const { scores } = await scoreExamples(model, examples, {
    batchSize: 16,
    padTokenId: paddingOf({ model, tokenizer }),
  });
  const cut = (text: string): string => (text.length > 90 ? `${text.slice(0, 87)}...` : text).replace(/\s+/g, ' ');
  return [
    '',
    ...texts.map(({ text, textPair }, i) => {
      const sides = textPair === undefined ? cut(text) : `${cut(text)} | ${cut(textPair)}`;
      return `${kind.show(scores[i]!, config)}  ${sides}`;
    }),
  ].join('\n');
}
