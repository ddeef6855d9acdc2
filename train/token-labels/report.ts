import { join } from 'node:path';
import { padText, showText } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';
import type { TokenClassificationModel } from '../../models/index.ts';
import { labelTokens } from '../../models/pipelines/token-classification.ts';
import type { Entity, TokenClassifier } from '../../models/pipelines/token-classification.ts';
import { describeModel } from '../cli/fine-tune.ts';
import { entitiesOf, entityReport, entityScores, tokenAccuracy } from '../metrics/sequence-labels.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import { entityDictionary } from './baseline.ts';
import { iob2 } from './data.ts';
import type { TokenData } from './data.ts';
import type { LabelledRows, RowLengths } from './rows.ts';

/** Says, before a run, which model is about to be trained on which data. */
export function describeRun(
  { train, validation, test, labels, origin }: TokenData,
  model: TokenClassificationModel,
  { rows, vanished }: LabelledRows,
  { maxLength, stride }: RowLengths,
): string {
  const words = train.reduce((sum, text) => sum + text.words.length, 0);
  const cut = rows.length - new Set(rows.map(({ text }) => text)).size;
  const [first, ...more] = origin;
  return [
    `data   ${first}`,
    ...more.map((line) => `       ${line}`),
    `       ${train.length} to train, ${validation.length} to validate, ${test.length} to test; ` +
      `tags ${showText(labels.join(', '), 80)}`,
    `rows   ${rows.length} of up to ${maxLength} tokens for ${words} words to train on` +
      (cut > 0 ? `; longer texts are read in parts that share ${stride} tokens` : '') +
      (vanished > 0 ? `; the tokenizer leaves nothing of ${vanished} words` : ''),
    `model  ${describeModel(model)}`,
  ].join('\n');
}

/** Scores of the test part's entities beside those of a dictionary of the entities trained on. */
export function reportTest(
  { train, test, scheme }: TokenData,
  predicted: readonly (readonly string[])[],
  { best }: TrainingResult,
  output: string,
): string {
  const truth = test.map(({ tags }) => tags);
  const validation = best ? `; best F1 of validation ${best.value.toFixed(3)}, at step ${best.step}` : '';
  // The dictionary's tags are IOB2, whatever the true ones are.
  const entities = test.map(({ tags }) => iob2(tags.length, entitiesOf(tags, { scheme })));
  const dictionary = (pruned: boolean) => entityScores(entities, test.map(entityDictionary(train, { scheme, pruned })));
  const own = entityScores(truth, predicted, { scheme });
  const line = (name: string, { precision, recall, f1 }: typeof own) => [
    name,
    ...[precision, recall, f1].map((value) => value.toFixed(3)),
  ];
  return [
    '',
    `test (${test.length} texts${validation})`,
    entityReport(truth, predicted, { scheme, digits: 3 }),
    '',
    alignTable(
      ['entities', 'precision', 'recall', 'F1'],
      [
        line('this model', own),
        line('a dictionary of the entities trained on', dictionary(false)),
        line('the same without words that are mostly none', dictionary(true)),
      ],
      new Set([1, 2, 3]),
    ),
    `right tags: ${(100 * tokenAccuracy(truth, predicted)).toFixed(1)} % of the words`,
    `saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`,
  ].join('\n');
}

/** Texts, and below each its entities with their probability and place. */
export async function showEntities(classifier: TokenClassifier, texts: readonly string[]): Promise<string> {
  // The part of a text that is read again, where it is longer than the model reads.
  const found = await labelTokens(classifier, texts, { aggregationStrategy: 'first', stride: 16 });
  return texts
    .map((text, i) => {
      const entities = (found[i] as Entity[]).map(
        ({ entity_group, score, start, end }) =>
          `  ${padText(entity_group, 6)}  ${score.toFixed(3)}  ${showText(text.slice(start, end), 60)}  ` +
          `[${start}, ${end})`,
      );
      return [showText(text), ...(entities.length > 0 ? entities : ['  (nothing)'])].join('\n');
    })
    .join('\n');
}
