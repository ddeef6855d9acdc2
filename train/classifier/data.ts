import { duplicateGroups } from '../data/duplicates/groups.ts';
import type { Example } from '../data/read-table.ts';
import { readTable } from '../data/read-table.ts';
import { loadSpamAssassin } from '../data/spam-assassin.ts';
import { stratifiedSplit } from '../data/split.ts';

/** A classification task: labelled texts in three parts that share no duplicate. */
export interface ClassifierData {
  readonly labels: readonly string[];
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  readonly test: readonly Example[];
  /** One line about where the texts come from and what was left out. */
  readonly origin: string;
  /** Texts to show predictions for. */
  readonly samples: readonly string[];
}

export interface DataOptions {
  /** `spam-assassin`, or a JSONL, CSV or TSV file. */
  readonly data: string;
  /** A file to test on; without one a part of `data` is held out. */
  readonly testData?: string;
  readonly textColumn: string;
  readonly textPairColumn?: string;
  readonly labelColumn: string;
  readonly seed: number;
}

/** The corpus that comes with the project. */
export const embeddedCorpus = 'spam-assassin';

export async function loadClassifierData(options: DataOptions): Promise<ClassifierData> {
  return options.data === embeddedCorpus ? spam() : fromFiles(options);
}

/** The split of the embedded corpus is fixed, so that all runs are tested on the same messages. */
async function spam(): Promise<ClassifierData> {
  const { labels, train, validation, test, counts } = await loadSpamAssassin();
  const dropped = counts.empty + counts.duplicates + counts.conflicting;
  return {
    labels,
    train,
    validation,
    test,
    origin: `SpamAssassin, ${counts.messages} e-mails, bodies only; ${dropped} empty or duplicate ones left out`,
    samples: [
      'Congratulations! You have been selected for a FREE vacation. ' +
        'Click here now to claim your prize, no purchase necessary!',
      'Hi Tom, the patch does not apply to the current tree. ' +
        'Could you rebase it and send it to the list again? Thanks, Anna',
      'Lose 20 pounds in two weeks, money back guarantee. Order today, this offer will not last!',
    ],
  };
}

async function fromFiles(options: DataOptions): Promise<ClassifierData> {
  const { data, testData, textColumn, textPairColumn, labelColumn, seed } = options;
  const columns = { textColumn, textPairColumn, labelColumn };
  const { examples, labels } = await readTable(data, columns);
  const groups = duplicateGroups(examples.map(({ text, textPair }) => `${text} ${textPair ?? ''}`));
  const fractions = testData ? { train: 0.9, validation: 0.1, test: 0 } : { train: 0.8, validation: 0.1, test: 0.1 };
  const split = stratifiedSplit(
    examples.map(({ label }) => label),
    { fractions, seed, groups },
  );
  const pick = (indices: readonly number[]): Example[] => indices.map((i) => examples[i]!);
  const test = testData ? (await readTable(testData, { ...columns, labels })).examples : pick(split.test);
  return {
    labels,
    train: pick(split.train),
    validation: pick(split.validation),
    test,
    origin: `${data}, ${examples.length} examples of ${labels.length} classes`,
    samples: test.slice(0, 3).map(({ text }) => text),
  };
}
