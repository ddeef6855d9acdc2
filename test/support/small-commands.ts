import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { namesBelow } from '../../common/atomic-folder.ts';
import { Random } from '../../common/random.ts';
import { reviews, smallClassifier } from './reviews.ts';
import { lossesIn } from './script.ts';
import { saveBert, saveGpt } from './writers.ts';

/** A script that writes, on inputs so small that it takes seconds. */
export interface SmallCommand {
  readonly what: string;
  /** Its script and flags, all but --output. */
  readonly words: readonly string[];
  /** It trains: it can be stopped and resumed. */
  readonly trains: boolean;
}

/** The command with its output folder or file. */
export const withOutput = ({ words }: SmallCommand, output: string): string[] => [...words, '--output', output];

/** Of the letters that the tokenizer of `saveGpt` knows. */
const vocabulary = 'the quick brown fox bit two hot corn cob or one chef in threw on'.split(' ');
function lines(count: number): string {
  const random = new Random(1);
  const line = (): string => Array.from({ length: 9 }, () => vocabulary[random.int(vocabulary.length)]).join(' ');
  return Array.from({ length: count }, line).join('\n');
}

/** Every script that writes, with its inputs in `folder`. */
export async function smallCommands(folder: string): Promise<SmallCommand[]> {
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('reviews.csv'), reviews);
  writeFileSync(at('texts.txt'), lines(200));
  writeFileSync(at('prompts.txt'), 'the\n'.repeat(5));
  await saveBert(at('bert'));
  await saveGpt(at('gpt'));
  const sizes = '--layers 1 --hidden 16 --heads 2 --context 12 --batch-size 4 --no-clean';
  const often = '--steps 12 --warmup-steps 2 --save-every 5 --evaluate-every 4 --evaluation-batches 2';
  const text = `--data ${at('texts.txt')} --documents line`;
  const training = (line: string): SmallCommand => ({ ...command(line), trains: true });
  return [
    training(
      `train/finetune-classifier.ts --data ${at('reviews.csv')} ${smallClassifier.join(' ')} --save-every 5 --epochs 2`,
    ),
    training(`train/pretrain-gpt.ts ${text} --tokenizer char ${sizes} ${often}`),
    training(`train/pretrain-bert.ts ${text} --vocab-size 120 ${sizes} ${often}`),
    training(
      `train/adapt.ts --model ${at('gpt')} ${text} --context 8 --batch-size 4 --no-clean --learning-rate 0.01 ${often}`,
    ),
    command(`train/prepare-data.ts all ${at('texts.txt')} --documents line --tokenizer ${at('gpt')} --no-duplicates`),
    command(`train/prepare-data.ts clean ${at('texts.txt')} --documents line`),
    command(`train/train-tokenizer.ts --data ${at('texts.txt')} --type bpe --vocab-size 300 --overwrite`),
    command(`train/export.ts --model ${at('bert')}`),
    command(`train/generate.ts --model ${at('gpt')} --file ${at('prompts.txt')} --max-new-tokens 4`),
  ];
}

function command(line: string): SmallCommand {
  const words = line.split(' ');
  const what = [basename(words[0]!, '.ts'), ...(/^[a-z]+$/.test(words[1]!) ? [words[1]!] : [])].join(' ');
  return { what, words, trains: false };
}

/** Files that are functions of inputs and options alone: they hold no times. */
const results = /(^|\/)(model\.safetensors|config\.json|tokenizer\.json|tokens\.bin|offsets\.bin)$/;

/**
 * What a command has written: its files by their hashes, and the losses of a training. Throws where something
 * half-written, or a checkpoint of a run that has ended, lies beside it.
 */
export async function resultOf(output: string): Promise<string> {
  if (!existsSync(output)) throw new Error('it wrote nothing');
  const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
  if (/\.jsonl$/.test(output)) return hash(output);
  const litter = readdirSync(output, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.tmp$|(^|\/)checkpoint-\d+$/.test(name),
  );
  if (litter.length > 0) throw new Error(`it left ${litter.join(', ')}`);
  const names = (await namesBelow(output)).filter((name) => results.test(name));
  if (names.length === 0) throw new Error('it wrote no result');
  const losses = existsSync(join(output, 'log.jsonl')) ? lossesIn(output).join() : '';
  return [losses, ...names.map((name) => `${name} ${hash(join(output, name))}`)].join('\n');
}

/** The name of a command's output: `generate` and the steps of prepare-data write a file. */
export const outputName = ({ what }: SmallCommand): string => (/generate|clean/.test(what) ? 'output.jsonl' : 'output');
