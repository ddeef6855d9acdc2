import { join } from 'node:path';
import { padText, showText } from '../../common/printable.ts';
import type { TokenClassificationModel } from '../../models/index.ts';
import { labelTokens } from '../../models/pipelines/token-classification.ts';
import type { Entity, TokenClassifier } from '../../models/pipelines/token-classification.ts';
import { describeModel } from '../cli/fine-tune.ts';
import type { Scores } from '../metrics/counts.ts';
import { entitiesOf, entityReport, entityScores, perTypeScores, tokenAccuracy } from '../metrics/sequence-labels.ts';
import { scoreLines, shownText } from '../report/test-scores.ts';
import type { TestSample, TestScores } from '../report/test-scores.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import { entityDictionary } from './baseline.ts';
import { iob2 } from './data.ts';
import type { TaggedText, TokenData } from './data.ts';
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
): { readonly test: string; readonly scores: TestScores } {
  const truth = test.map(({ tags }) => tags);
  const validation = best ? `; best F1 of validation ${best.value.toFixed(3)}, at step ${best.step}` : '';
  // The dictionary's tags are IOB2, whatever the true ones are.
  const entities = test.map(({ tags }) => iob2(tags.length, entitiesOf(tags, { scheme })));
  const dictionary = (pruned: boolean) => entityScores(entities, test.map(entityDictionary(train, { scheme, pruned })));
  const own = entityScores(truth, predicted, { scheme });
  const line = (name: string, { precision, recall, f1 }: Scores) => ({
    name,
    scores: [precision, recall, f1].map((value) => ({ value })),
  });
  const others = [
    line('a dictionary of the entities trained on', dictionary(false)),
    line('the same without words that are mostly none', dictionary(true)),
  ];
  const columns = ['precision', 'recall', 'F1'];
  const table = { title: 'Entities', columns, rows: [line('this model', own), ...others] };
  const report = [
    '',
    `test (${test.length} texts${validation})`,
    entityReport(truth, predicted, { scheme, digits: 3 }),
    '',
    scoreLines(table, 3, 'entities'),
    `right tags: ${(100 * tokenAccuracy(truth, predicted)).toFixed(1)} % of the words`,
    `saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`,
  ].join('\n');
  const sample = (i: number): TestSample => {
    const [found, wanted] = [predicted[i]!, truth[i]!].map((tags) => entitiesText(test[i]!, tags, scheme));
    return { text: shownText(test[i]!.text), answer: found!, wanted: wanted!, right: found === wanted };
  };
  // Texts without entities, right as they mostly are, tell nothing.
  const telling = [...test.keys()].filter((i) => [...truth[i]!, ...predicted[i]!].some((tag) => tag !== 'O'));
  const [right, wrong] = [true, false].map((is) => telling.map(sample).filter((each) => each.right === is));
  const each = perTypeScores(truth, predicted, { scheme }).map(({ type, support, ...scores }) =>
    line(`${type}, ${support.toLocaleString('en')} entities`, scores),
  );
  return {
    test: report,
    scores: {
      of: `${test.length} texts`,
      tables: [table, { title: 'Each kind', columns, rows: each }],
      samples: [
        { title: 'Other entities than wanted', samples: wrong!.slice(0, shownSamples) },
        { title: 'All entities right', samples: right!.slice(0, shownSamples) },
      ],
    },
  };
}

const shownSamples = 10;

/** The entities of a text in words: `Ctrl+S (KEY), Save (COMMAND)`. */
function entitiesText({ text, words }: TaggedText, tags: readonly string[], scheme: TokenData['scheme']): string {
  const entities = entitiesOf(tags, { scheme }).map(({ type, start, end }) => {
    const [from, to] = [words[start]!.start, words[end - 1]!.end];
    return `${showText(text.slice(from, to), 60)} (${type})`;
  });
  return entities.join(', ') || '(nothing)';
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
