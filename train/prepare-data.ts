/**
 * Prepares text for training: cleans, drops duplicates, splits and tokenises, all at once or step by step.
 *
 *   node --import tsx train/prepare-data.ts all texts/ more.parquet --tokenizer FOLDER --output data/mine
 *   node --import tsx train/prepare-data.ts clean texts/ --output clean.jsonl --language eng
 *   node --import tsx train/prepare-data.ts dedupe clean.jsonl --output distinct.jsonl
 *   node --import tsx train/prepare-data.ts split distinct.jsonl --output parts
 *   node --import tsx train/prepare-data.ts tokenize parts/train.jsonl --tokenizer FOLDER --output tokens
 *   node --import tsx train/prepare-data.ts card data/mine
 */
import { lockFolder } from '../common/lock.ts';
import { loadTokenizer } from '../models/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { personalDataKinds } from './guard/personal-data.ts';
import { cleaningSection, duplicatesSection } from './data/corpus/data-card-page.ts';
import { cardTo, cleanTo, dedupeTo, splitTo, tokenizeTo } from './data/corpus/commands.ts';
import { splitKinds } from './data/corpus/corpus-options.ts';
import { prepareCorpus } from './data/corpus/prepare.ts';
import { corpusProgressBar, Watch } from './data/corpus/watch.ts';
import { inputSource } from './data/corpus/stages.ts';
import type { WatchOptions } from './data/corpus/watch.ts';
import { documentUnits } from './data/readers/document.ts';
import type { ReadOptions } from './data/readers/document.ts';
import { expandInputs } from './data/readers/inputs.ts';
import { encodings } from './data/utf8-blocks.ts';
import { Interrupted, onInterrupt } from './cli/interrupt.ts';

const script = 'node --import tsx train/prepare-data.ts';
const inputs = {
  name: 'input',
  help:
    'text, JSONL, CSV, TSV or Parquet files, folders of them, or corpora that come with the project: ' +
    'sotu, moby-dick, spam-assassin',
  min: 1,
};
const reading = {
  documents: { type: 'choice', choices: documentUnits, default: 'file', help: 'what is a document in a text file' },
  textColumn: { type: 'string', default: 'text', help: 'column of the texts in tables' },
  encoding: {
    type: 'choice',
    choices: encodings,
    default: 'utf8',
    help: 'of files; utf8 refuses what is not, replace puts U+FFFD there',
  },
} as const;
const cleaning = {
  minWords: { type: 'int', default: 5, min: 0, help: 'texts of fewer words are dropped' },
  maxWords: { type: 'int', min: 1, help: 'texts of more words are dropped' },
  language: { type: 'list', help: 'language to keep, as eng, deu or cmn; may be given several times' },
  skip: { type: 'list', help: 'rule to leave out; may be given several times' },
  maskPersonalData: {
    type: 'boolean',
    help: `${personalDataKinds.join(', ')}: what has their form and check digits becomes [EMAIL] and so on`,
  },
  repeatedLines: {
    type: 'int',
    default: 10,
    min: 0,
    max: 255,
    help: 'a line of this many documents is boilerplate; 0 for never',
  },
} as const;
const related = {
  type: 'number',
  default: 0.5,
  min: 0.05,
  max: 1,
  help: 'overlap from which documents are kept in one split',
} as const;
const threshold = {
  type: 'number',
  default: 0.8,
  min: 0.05,
  max: 1,
  help: 'overlap from which documents are duplicates',
} as const;
const sharing = {
  validation: { type: 'number', min: 0, max: 1, help: 'share of the validation split; default 0.05, by position 0.1' },
  test: { type: 'number', min: 0, max: 1, help: 'share of the test split; default 0.05, by position 0' },
  seed: { type: 'int', default: 0, min: 0, help: 'of the split' },
} as const;
const tokenizer = {
  type: 'string',
  required: true,
  help: 'folder, or name in the Hugging Face cache or hub, of the tokenizer',
} as const;
const output = { type: 'path', required: true, help: 'where the result goes, whole or not at all' } as const;

const commands = {
  all: {
    summary: 'Text in, token corpora for training, validation and test out, with a data card.',
    options: {
      output,
      tokenizer,
      ...reading,
      clean: { type: 'boolean', default: true, help: 'clean the texts' },
      ...cleaning,
      duplicates: { type: 'boolean', default: true, help: 'drop duplicates' },
      threshold,
      related,
      split: {
        type: 'choice',
        choices: splitKinds,
        default: 'hash',
        help: 'each document into one split, or each cut by position into all',
      },
      ...sharing,
    },
  },
  clean: {
    summary: 'Cleans texts into a JSONL file and says what was done.',
    options: { output, ...reading, ...cleaning },
  },
  dedupe: {
    summary: 'Writes texts without their duplicates as JSONL.',
    options: { output, ...reading, threshold, related },
  },
  split: {
    summary: 'Splits texts into train.jsonl, validation.jsonl and test.jsonl.',
    options: { output, ...reading, related, ...sharing },
  },
  tokenize: { summary: 'Tokenises texts into one token corpus.', options: { output, tokenizer, ...reading } },
  card: { summary: 'Shows the data card of a prepared corpus, and writes its page again.', options: {} },
} as const;

type Name = keyof typeof commands;

/** Reads a command's line, and locks what it writes until the process ends. */
async function parse<N extends Name>(name: N) {
  const positionals = name === 'card' ? { name: 'folder', help: 'a prepared corpus', min: 1, max: 1 } : inputs;
  const { summary, options } = commands[name] as (typeof commands)[N];
  const parsed = parseOptions<(typeof commands)[N]['options']>(
    { name: `prepare-data ${name}`, usage: `${script} ${name}`, summary, options, positionals },
    process.argv.slice(3),
  );
  const { output: folder }: { readonly output?: unknown } = parsed.values;
  if (typeof folder === 'string') await lockFolder(folder);
  return parsed;
}

main(async () => {
  const name = process.argv[2] ?? '';
  if (!Object.hasOwn(commands, name)) {
    const list = Object.entries(commands).map(([key, { summary }]) => `  ${key.padEnd(9)} ${summary}`);
    if (['--help', '-h'].includes(name))
      return console.log(
        [
          'prepare-data: prepares text for training',
          '',
          `Usage: ${script} COMMAND`,
          '',
          ...list,
          '',
          'COMMAND --help lists its options.',
        ].join('\n'),
      );
    throw new UsageError(
      `prepare-data: ${name ? `unknown command "${name}"` : 'a command is missing'}; ` +
        `use one of ${Object.keys(commands).join(', ')} (--help says more)`,
    );
  }
  const bar = corpusProgressBar();
  try {
    const text = await run(name as Name, { onProgress: bar.onProgress, signal: interruptSignal() });
    bar.stop();
    console.log(text);
  } finally {
    bar.stop();
  }
});

/** Runs a command; what it has to say. */
async function run(name: Name, watching: WatchOptions): Promise<string> {
  const watch = new Watch(watching);
  const source = async (paths: readonly string[], read: ReadOptions) => inputSource(await expandInputs(paths), read);
  switch (name) {
    case 'all':
      return all(watching);
    case 'clean': {
      const { values, positionals } = await parse('clean');
      const report = await cleanTo(values.output, await source(positionals, values), cleaningOptions(values), watch);
      return cleaningSection(report).join('\n');
    }
    case 'dedupe': {
      const { values, positionals } = await parse('dedupe');
      return duplicatesSection(await dedupeTo(values.output, await source(positionals, values), values, watch)).join(
        '\n',
      );
    }
    case 'split': {
      const { values, positionals } = await parse('split');
      const fractions = fractionsOf(values, { validation: 0.05, test: 0.05 });
      const counts = await splitTo(values.output, await source(positionals, values), { ...values, fractions }, watch);
      return Object.entries(counts)
        .map(([part, count]) => `${part} ${count} documents`)
        .join(', ');
    }
    case 'tokenize': {
      const { values, positionals } = await parse('tokenize');
      const loaded = await loadTokenizer(values.tokenizer);
      const meta = await tokenizeTo(values.output, await source(positionals, values), loaded, watch);
      return `${values.output}: ${meta.documents} documents, ${meta.tokens} tokens, SHA-256 ${meta.sha256}`;
    }
    case 'card':
      return cardTo((await parse('card')).positionals[0]!);
  }
}

async function all(watching: WatchOptions): Promise<string> {
  const { values, positionals } = await parse('all');
  const { documents, textColumn, encoding, split, seed } = values;
  const byPosition = split === 'position';
  const corpus = await prepareCorpus({
    inputs: positionals,
    folder: values.output,
    tokenizer: await loadTokenizer(values.tokenizer),
    read: { documents, textColumn, encoding },
    split,
    seed,
    fractions: fractionsOf(values, byPosition ? { validation: 0.1, test: 0 } : { validation: 0.05, test: 0.05 }),
    clean: values.clean && !byPosition ? cleaningOptions(values) : false,
    duplicates: values.duplicates && !byPosition ? { threshold: values.threshold, related: values.related } : false,
    ...watching,
  });
  corpus.close();
  const note = corpus.cached ? `${values.output} was made from the same before; nothing to do\n\n` : '';
  return `${note}${Object.entries(corpus.card.splits)
    .map(([part, { documents: count, tokens }]) => `${part} ${count} documents, ${tokens} tokens`)
    .join('; ')}\ncard   ${values.output}/README.md`;
}

function cleaningOptions(values: {
  readonly minWords: number;
  readonly maxWords?: number;
  readonly language: readonly string[];
  readonly skip: readonly string[];
  readonly repeatedLines: number;
  readonly maskPersonalData: boolean;
}) {
  const { minWords, maxWords, language, skip, repeatedLines } = values;
  return {
    minWords,
    ...(maxWords === undefined ? {} : { maxWords }),
    languages: language,
    skip,
    repeatedLines,
    ...(values.maskPersonalData ? { maskPersonalData: personalDataKinds } : {}),
  };
}

function fractionsOf(
  values: { readonly validation?: number; readonly test?: number },
  defaults: { readonly validation: number; readonly test: number },
) {
  const { validation = defaults.validation, test = defaults.test } = values;
  return { train: Number((1 - validation - test).toFixed(12)), validation, test };
}

/** Aborted by Ctrl-C (or SIGTERM), between two documents; nothing half-written is left. */
function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  onInterrupt(() => controller.abort(new Interrupted('prepare-data: stopped; nothing was written')));
  return controller.signal;
}
