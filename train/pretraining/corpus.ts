import { extname, join } from 'node:path';
import { loadTokenizer } from '../../models/index.ts';
import type { BertTokenizer, Tokenizer } from '../../models/index.ts';
import type { Option, Parsed } from '../cli/cli.ts';
import { prepareCorpus } from '../data/corpus/prepare.ts';
import { corpusProgressBar } from '../data/corpus/watch.ts';
import type { PreparedCorpus } from '../data/corpus/prepare.ts';
import { resumeOf } from '../trainer/run-state.ts';
import { documentUnits } from '../data/readers/document.ts';
import { expandInputs, readDocuments } from '../data/readers/inputs.ts';
import type { Input } from '../data/readers/inputs.ts';

/** Flags of scripts that read text: what, how, and with which tokenizer. */
export const corpusFlags = {
  data: {
    type: 'string',
    default: 'sotu+moby-dick',
    help: 'file, folder, or corpora that come with the project (sotu, moby-dick, spam-assassin), joined by +',
  },
  documents: { type: 'choice', choices: documentUnits, default: 'file', help: 'what is a document in a text file' },
  textColumn: { type: 'string', default: 'text', help: 'column of the texts in tables' },
  clean: {
    type: 'boolean',
    default: true,
    help: 'clean texts and leave near-duplicates out; a single text is left as it is',
  },
  vocabSize: { type: 'int', default: 8000, min: 100, help: 'tokens of a new vocabulary' },
} as const satisfies Record<string, Option>;

type Values = Parsed<typeof corpusFlags>['values'] & { readonly resume: boolean; readonly resumeAnyway: boolean };

/** Trains a tokenizer on texts. */
export type TrainTokenizer = (texts: AsyncIterable<string>) => Promise<BertTokenizer | Tokenizer>;

export interface PretrainingCorpus extends PreparedCorpus {
  readonly tokenizer: BertTokenizer | Tokenizer;
}

/**
 * Text of a script's flags as token corpora, made once in `folder`. `tokenizer` is a folder (or hub name) to
 * load one from, or trains one on the texts; a resumed run takes the one its corpus was made with. A single
 * text is split by position, many by their hash.
 */
export async function corpusOfFlags(
  values: Values,
  folder: string,
  tokenizerSource: string | TrainTokenizer,
): Promise<PretrainingCorpus> {
  const inputs = await expandInputs([values.data]);
  const read = { documents: values.documents, textColumn: values.textColumn };
  const tokenizer =
    typeof tokenizerSource === 'string'
      ? await loadTokenizer(tokenizerSource)
      : resumeOf(values)
        ? await loadTokenizer(folder)
        : await trained(inputs, read, tokenizerSource);
  const isOne =
    inputs.length === 1 && ['.txt', '.md'].includes(extname(inputs[0]!.name)) && values.documents === 'file';
  const bar = corpusProgressBar();
  try {
    const prepared = await prepareCorpus({
      inputs: [values.data],
      tokenizer,
      folder,
      split: isOne ? 'position' : 'hash',
      read,
      ...(values.clean ? {} : { clean: false, duplicates: false }),
      keepTexts: resumeOf(values) === true,
      onProgress: bar.onProgress,
    });
    return { ...prepared, tokenizer };
  } finally {
    bar.stop();
  }
}

async function trained(
  inputs: readonly Input[],
  read: Parameters<typeof readDocuments>[1],
  train: TrainTokenizer,
): Promise<BertTokenizer | Tokenizer> {
  const total = inputs.reduce((sum, { size }) => sum + size, 0);
  const bar = corpusProgressBar();
  let bytes = 0;
  const texts = async function* (): AsyncGenerator<string> {
    const onBytes = (count: number): void =>
      bar.onProgress({ stage: 'vocabulary', bytes: (bytes += count), total, tokens: 0 });
    for await (const { text } of readDocuments(inputs, { ...read, onBytes })) yield text;
  };
  try {
    return await train(texts());
  } finally {
    bar.stop();
  }
}

/** Folder of a run's corpus. */
export const corpusFolder = (output: string): string => join(output, 'corpus');
