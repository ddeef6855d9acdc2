import { duplicateGroups } from '../data/duplicates/groups.ts';
import type { Example, Target, Texts } from '../data/read-table.ts';
import { readTable } from '../data/read-table.ts';
import { answerKinds, findKind, readLabelSets, readScores } from '../data/read-targets.ts';
import type { AnswerKind, FoundKind, TargetOptions } from '../data/read-targets.ts';
import { loadSpamAssassin } from '../data/spam-assassin.ts';
import { stratifiedSplit } from '../data/split.ts';

/** Labelled texts in three parts that share no duplicate. */
export interface ClassifierData<Label extends Target = Target> {
  readonly kind: AnswerKind;
  /** Names of the classes or labels; of a regression the column of the scores. */
  readonly labels: readonly string[];
  readonly train: readonly Example<Label>[];
  readonly validation: readonly Example<Label>[];
  readonly test: readonly Example<Label>[];
  /** Lines about where the texts come from, what was left out, and what kind of labels was found. */
  readonly origin: readonly string[];
  /** Texts to show predictions for. */
  readonly samples: readonly Texts[];
}

export interface DataOptions {
  /** `spam-assassin`, or a JSONL, CSV or TSV file. */
  readonly data: string;
  /** A file to test on; without one a part of `data` is held out. */
  readonly testData?: string;
  /** The kind of labels; 'auto' finds it. */
  readonly task: (typeof tasks)[number];
  readonly textColumn: string;
  readonly textPairColumn?: string;
  readonly labelColumn: string;
  /** Names with commas between. */
  readonly labelColumns?: string;
  readonly labelSeparator?: string;
  readonly seed: number;
}

/** The corpus that comes with the project. */
export const embeddedCorpus = 'spam-assassin';

export const tasks = ['auto', ...answerKinds] as const;

export async function loadClassifierData(options: DataOptions): Promise<ClassifierData> {
  if (options.data !== embeddedCorpus) return fromFiles(options);
  if (options.task !== 'auto' && options.task !== 'classification')
    throw new Error(`--task ${options.task}: the embedded corpus has two classes; give a file of yours as --data`);
  return spam();
}

/** The split of the embedded corpus is fixed, so that all runs are tested on the same messages. */
async function spam(): Promise<ClassifierData<number>> {
  const { labels, train, validation, test, counts } = await loadSpamAssassin();
  const dropped = counts.empty + counts.duplicates + counts.conflicting;
  const samples = [
    'Congratulations! You have been selected for a FREE vacation. ' +
      'Click here now to claim your prize, no purchase necessary!',
    'Hi Tom, the patch does not apply to the current tree. ' +
      'Could you rebase it and send it to the list again? Thanks, Anna',
    'Lose 20 pounds in two weeks, money back guarantee. Order today, this offer will not last!',
  ];
  return {
    kind: 'classification',
    labels,
    train,
    validation,
    test,
    origin: [`SpamAssassin, ${counts.messages} e-mails, bodies only; ${dropped} empty or duplicate ones left out`],
    samples: samples.map((text) => ({ text })),
  };
}

async function fromFiles(options: DataOptions): Promise<ClassifierData> {
  const { data, testData, task, textColumn, textPairColumn, labelColumn, labelSeparator, seed } = options;
  const labelColumns = options.labelColumns?.split(',').map((name) => name.trim());
  const columns = { textColumn, textPairColumn, labelColumn, labelColumns, labelSeparator };
  const found: FoundKind =
    task === 'auto' ? await findKind(data, columns) : { kind: task, because: `--task ${task} says so` };
  const { kind } = found;
  const { examples, labels } = await readers[kind](data, columns);
  const groups = duplicateGroups(examples.map(({ text, textPair }) => `${text} ${textPair ?? ''}`));
  const fractions = testData ? { train: 0.9, validation: 0.1, test: 0 } : { train: 0.8, validation: 0.1, test: 0.1 };
  const split = stratifiedSplit(strata(examples), { fractions, seed, groups, data });
  const pick = (indices: readonly number[]): Example<Target>[] => indices.map((i) => examples[i]!);
  const test = testData ? (await readers[kind](testData, { ...columns, labels })).examples : pick(split.test);
  const counted = kind === 'regression' ? 'with scores' : `of ${labels.length} ${nouns[kind]}`;
  const choice =
    task === 'auto' && kind !== 'classification'
      ? [`taken as ${nouns[kind]}, since ${found.because}; --task would say otherwise`]
      : [];
  return {
    kind,
    labels,
    train: pick(split.train),
    validation: pick(split.validation),
    test,
    origin: [`${data}, ${examples.length} examples ${counted}`, ...choice],
    samples: test.slice(0, 3).map(({ label: _, ...texts }) => texts),
  };
}

const nouns: Record<AnswerKind, string> = {
  classification: 'classes',
  regression: 'scores (a regression)',
  'multi-label': 'labels, several at once',
};

type Read = (
  path: string,
  options: TargetOptions,
) => Promise<{ readonly examples: Example<Target>[]; readonly labels: string[] }>;

const readers: Record<AnswerKind, Read> = {
  classification: readTable,
  'multi-label': readLabelSets,
  async regression(path, options) {
    const examples = await readScores(path, options);
    const { labelColumn = 'label', labels = [labelColumn] } = options;
    const [first] = examples[0]!.label;
    if (!options.labels && examples.every(({ label }) => label[0] === first))
      throw new Error(`${path}: all ${examples.length} rows have the score ${first}; there is nothing to learn`);
    return { examples, labels: [...labels] };
  },
};

/**
 * What each part is to have its share of: classes; of several labels a row's rarest, or none; nothing of
 * scores.
 */
function strata(examples: readonly Example<Target>[]): number[] {
  const rows = examples.map(({ label }) => label);
  const counts: number[] = [];
  const ones = (row: readonly number[]): number[] => row.flatMap((value, i) => (value === 1 ? [i] : []));
  for (const row of rows) if (typeof row !== 'number') for (const i of ones(row)) counts[i] = (counts[i] ?? 0) + 1;
  return rows.map((row) => {
    if (typeof row === 'number') return row;
    return row.length === 1 ? 0 : ones(row).reduce((a, b) => (a >= 0 && counts[a]! <= counts[b]! ? a : b), -1);
  });
}
