/**
 * Trains a tokenizer and writes a folder that Transformers' AutoTokenizer loads too.
 *
 *   node --import tsx train/train-tokenizer.ts --data sotu --vocab-size 8000 --output runs/tokenizer
 *   node --import tsx train/train-tokenizer.ts --data books/ --data notes.jsonl --type bpe --output runs/bpe
 *   node --import tsx train/train-tokenizer.ts --data play.txt --type char --output runs/characters
 */
import { statSync } from 'node:fs';
import { namesIn, recoverFolder } from '../common/atomic-folder.ts';
import { claimFolder } from '../common/lock.ts';
import { alignTable } from '../common/text-table.ts';
import type { BertTokenizer, Tokenizer } from '../models/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { documentUnits } from './data/readers/document.ts';
import type { Input } from './data/readers/inputs.ts';
import { expandInputs, readDocuments } from './data/readers/inputs.ts';
import { duration, progress } from '../common/progress.ts';
import type { Progress } from '../common/progress.ts';
import { trainByteLevelBpe } from './tokenizer-training/train-byte-level.ts';
import { trainCharacters } from './tokenizer-training/train-characters.ts';
import { HeldOut, longestPieces, tokenizerFacts } from './tokenizer-training/held-out.ts';
import type { TrainingProgress } from './tokenizer-training/train-bpe.ts';
import { trainWordPiece } from './tokenizer-training/train-word-piece.ts';

const command = {
  name: 'train-tokenizer',
  summary: 'Trains a WordPiece, byte-level BPE or character tokenizer on texts.',
  usage: 'node --import tsx train/train-tokenizer.ts',
  options: {
    data: {
      type: 'list',
      help:
        'files (.txt, .md, .jsonl, .csv, .tsv, .parquet), folders of them, or corpora: ' +
        'sotu, moby-dick, spam-assassin; may be repeated',
    },
    type: {
      type: 'choice',
      choices: ['wordpiece', 'bpe', 'char'],
      default: 'wordpiece',
      help: "BERT's kind, GPT-2's kind, or one token a character",
    },
    output: { type: 'path', required: true, help: 'folder for tokenizer.json and the files beside it' },
    vocabSize: { type: 'int', default: 8000, min: 1, help: 'tokens wanted, special ones included; not for char' },
    minFrequency: { type: 'int', default: 2, min: 1, help: 'pairs that are there less often are not joined' },
    limitAlphabet: {
      type: 'int',
      default: 1000,
      min: 1,
      help: 'characters kept, the most frequent ones; wordpiece only',
    },
    lowercase: { type: 'boolean', default: true, help: 'no upper case, no accents; wordpiece only' },
    special: { type: 'list', help: 'a further special token; may be repeated; not for char' },
    maxLength: { type: 'int', min: 1, help: 'longest input of the model, noted in tokenizer_config.json' },
    documents: { type: 'choice', choices: documentUnits, default: 'file', help: 'what is one document of a text file' },
    textColumn: { type: 'string', default: 'text', help: 'column of the texts in tables' },
    overwrite: { type: 'boolean', help: 'write into an output folder that is not empty' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];
const MEGABYTE = 1e6;

main(async () => {
  const { values } = parseOptions(command);
  await checkOutput(values);
  const inputs = await expandInputs(values.data);
  const started = performance.now();
  const heldOut = new HeldOut();
  const bar = stagedProgress(inputs);
  let tokenizer: BertTokenizer | Tokenizer;
  try {
    tokenizer = await train(values, inputs, heldOut, bar);
  } finally {
    bar.stop();
  }
  await tokenizer.save(values.output);
  console.log(
    `${tokenizer.vocabSize} tokens in ${duration((performance.now() - started) / 1000)}, saved in ${values.output}`,
  );
  if (values.type !== 'char' && tokenizer.vocabSize < values.vocabSize)
    console.log(`no pair is left that occurs ${values.minFrequency} times: ${values.vocabSize} tokens need more text`);
  report(tokenizer, heldOut.texts);
});

/** Before the work, not after it. */
async function checkOutput({ output, overwrite }: Values): Promise<void> {
  const stat = statSync(output, { throwIfNoEntry: false });
  if (stat && !stat.isDirectory())
    throw new UsageError(`${command.name}: --output: ${output} is a file, a folder is needed`);
  await claimFolder(output);
  await recoverFolder(output);
  if (stat && !overwrite && (await namesIn(output)).length > 0)
    throw new UsageError(`${command.name}: ${output} is not empty; choose another folder, or add --overwrite`);
}

function train(values: Values, inputs: Input[], heldOut: HeldOut, bar: Bar): Promise<BertTokenizer | Tokenizer> {
  const { type, vocabSize, minFrequency, limitAlphabet, lowercase, maxLength: modelMaxLength } = values;
  const all = textsOf(values, inputs, bar);
  const common = { vocabSize, minFrequency, specialTokens: values.special, modelMaxLength, onProgress: bar.onProgress };
  // A vocabulary of characters has to have all of them.
  if (type === 'char') return trainCharacters(all, { modelMaxLength });
  const texts = heldOut.training(all);
  return type === 'bpe'
    ? trainByteLevelBpe(texts, common)
    : trainWordPiece(texts, { ...common, limitAlphabet, lowercase });
}

async function* textsOf({ documents, textColumn }: Values, inputs: Input[], bar: Bar): AsyncGenerator<string> {
  const read = readDocuments(inputs, { documents, textColumn, onBytes: bar.onBytes });
  for await (const { text } of read) yield text;
}

interface Bar {
  onBytes(bytes: number): void;
  onProgress(progress: TrainingProgress): void;
  stop(): void;
}

/** One bar for reading, in MB, then one for the tokens made. */
function stagedProgress(inputs: readonly Input[]): Bar {
  const total = inputs.reduce((sum, { size }) => sum + size, 0);
  let current = progress({ total: Math.ceil(total / MEGABYTE) });
  let read = 0;
  let merging: Progress | undefined;
  return {
    onBytes(bytes) {
      read += bytes;
      current.update(Math.ceil(read / MEGABYTE), { label: 'reading, MB:' });
    },
    onProgress({ stage, done, total: tokens }) {
      if (stage !== 'merge') return;
      if (!merging) {
        current.stop();
        current = merging = progress({ total: tokens! });
      }
      current.update(done, { label: 'making tokens:' });
    },
    stop: () => current.stop(),
  };
}

function report(tokenizer: BertTokenizer | Tokenizer, heldOut: readonly string[]): void {
  if (heldOut.length > 0) {
    const facts = tokenizerFacts(tokenizer, heldOut);
    const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
    const rows = [
      ['text', `${(facts.bytes / MEGABYTE).toFixed(2)} MB`],
      ['tokens per word', facts.tokensPerWord.toFixed(3)],
      ['bytes per token', facts.bytesPerToken.toFixed(3)],
      ['unknown tokens', percent(facts.unknown)],
      ['vocabulary used', percent(facts.used)],
    ];
    console.log(`\n${alignTable(['on held-out text', ''], rows, new Set([1]))}`);
  }
  const longest = longestPieces(tokenizer, 10).map((piece) => JSON.stringify(piece));
  console.log(`\nlongest pieces: ${longest.join(' ')}`);
}
