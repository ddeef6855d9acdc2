import { join } from 'node:path';
import { padText, printable, textWidth } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';
import type { BertForSequenceClassification, BertTokenizer } from '../../models/index.ts';
import { tokenise } from '../data/tokenised.ts';
import type { KeptPart } from '../data/tokenised.ts';
import { accuracy, classificationReport, f1Score, majorityBaseline, usualAverage } from '../metrics/classification.ts';
import { predict } from './predict.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import type { ClassifierData } from './data.ts';

/** Says, before a run, which model is about to be trained on which data. */
export function describeRun(
  data: ClassifierData,
  model: BertForSequenceClassification,
  { maxLength }: { readonly maxLength: number },
): string {
  const { numHiddenLayers, hiddenSize } = model.config;
  const { train, validation, test, labels } = data;
  return [
    `data   ${data.origin}`,
    `       ${train.length} to train, ${validation.length} to validate, ${test.length} to test; ` +
      `classes ${labels.map(printable).join(', ')}`,
    `model  BERT of ${numHiddenLayers} layers, ${hiddenSize} wide, ${(model.numParameters() / 1e6).toFixed(1)} ` +
      `M parameters; up to ${maxLength} tokens a text`,
  ].join('\n');
}

/** Scores on the test part beside the baseline that always answers the most frequent class. */
export function reportTest(
  data: ClassifierData,
  predicted: readonly number[],
  { evaluations }: TrainingResult,
  output: string,
): string {
  const { truth, scoring, baseline, what } = scoringOf(data);
  const f1 = f1Score(truth, predicted, scoring);
  const last = evaluations.at(-1)?.evaluation;
  return [
    '',
    `test (${truth.length} texts${last ? `; validation accuracy was ${last['accuracy']!.toFixed(3)}` : ''})`,
    classificationReport(truth, predicted, { labels: data.labels, digits: 3 }).trimEnd(),
    '',
    `${what} ${f1.toFixed(3)}; always "${printable(data.labels[baseline.label]!)}" would have ` +
      `${baseline.f1.toFixed(3)}, accuracy ${baseline.accuracy.toFixed(3)}`,
    `saved  ${output} (loads in Transformers too), curves in ${join(output, 'curves.svg')}`,
  ].join('\n');
}

/** Several models side by side, the baseline last. */
export function compareTests(
  data: ClassifierData,
  models: readonly { readonly name: string; readonly labels: readonly number[] }[],
): string {
  const { truth, scoring, baseline, what } = scoringOf(data);
  const number = (value: number): string => value.toFixed(3);
  const rows = models.map(({ name, labels }) => [
    name,
    number(accuracy(truth, labels)),
    number(f1Score(truth, labels, scoring)),
  ]);
  const last = [`always "${printable(data.labels[baseline.label]!)}"`, number(baseline.accuracy), number(baseline.f1)];
  const head = ['test', 'accuracy', what];
  return alignTable(head, [...rows, last], new Set([1, 2]));
}

/** How predictions on the test part are judged. */
function scoringOf(data: ClassifierData) {
  const truth = data.test.map(({ label }) => label);
  const scoring = usualAverage(data.labels.length);
  const seen = data.train.map(({ label }) => label);
  const what = scoring.average === 'binary' ? `F1 of ${printable(data.labels[1]!)}` : 'macro F1';
  return { truth, scoring, baseline: majorityBaseline(seen, truth, scoring), what };
}

/** Each text with its class and how sure the model is. */
export async function showPredictions(
  model: BertForSequenceClassification,
  tokenizer: BertTokenizer,
  texts: readonly string[],
  { maxLength, keep }: { readonly maxLength: number; readonly keep: KeptPart },
): Promise<string> {
  const examples = tokenise(
    tokenizer,
    texts.map((text) => ({ text, label: 0 })),
    maxLength,
    keep,
  );
  const { labels, probabilities } = await predict(model, examples, { batchSize: 16, padTokenId: tokenizer.padTokenId });
  const names = model.config.labels.map(printable);
  const width = names.reduce((most, name) => Math.max(most, textWidth(name)), 0);
  const cut = (text: string): string => (text.length > 90 ? `${text.slice(0, 87)}...` : text).replace(/\s+/g, ' ');
  return [
    '',
    ...texts.map(
      (text, i) => `${padText(names[labels[i]!]!, width)}  ${probabilities[i]![labels[i]!]!.toFixed(3)}  ${cut(text)}`,
    ),
  ].join('\n');
}
