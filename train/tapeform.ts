#!/usr/bin/env node
/**
 * The command `tapeform`: starts the scripts of this folder by name, with their own flags.
 *
 *   npx tapeform                                   lists the commands
 *   npx tapeform finetune --help                   a command's flags
 *   node --import tsx train/tapeform.ts doctor     the same inside of the clone
 */
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { alignTable } from '../common/text-table.ts';
import { nearestNames } from '../common/nearest.ts';
import { main, UsageError } from './cli/cli.ts';

interface Entry {
  readonly about: string;
  /** The script, from this folder, where not of the command's name. */
  readonly script?: string;
  /** Arguments put before the user's. */
  readonly args?: readonly string[];
}

/** The commands, in the order in which they are listed. */
const table: Readonly<Record<string, Entry>> = {
  new: { about: 'write a starter project: script, tsconfig, a text to learn from' },
  doctor: { about: 'look at adapter, driver, memory, caches, versions; say what to mend' },
  info: { about: 'print the adapter, its driver, features and limits', script: '../gpu/info' },
  start: {
    about: 'learn to tell spam from ham with the small BERT, four minutes on a CPU',
    script: 'finetune-classifier',
    args: ['--epochs', '2', '--evaluations-per-epoch', '4', '--few-labels', '200'],
  },
  try: { about: 'try a task on texts with a trained or a small model' },
  generate: { about: 'continue texts, or translate them' },
  chat: { about: 'talk with an instruction model' },
  serve: { about: "answer requests over HTTP with trained models, by OpenAI's API and more" },
  'prepare-data': { about: 'clean, de-duplicate, split and tokenise text, with a data card' },
  'train-tokenizer': { about: 'train a WordPiece, byte-level BPE or character tokenizer' },
  pretrain: { about: 'the same as pretrain-gpt', script: 'pretrain-gpt' },
  'pretrain-gpt': { about: 'a GPT-2 or Llama from nothing: tokenizer, corpus, model' },
  'pretrain-bert': { about: 'a BERT from nothing' },
  'pretrain-seq2seq': { about: 'an encoder-decoder from nothing' },
  adapt: { about: 'go on with a new domain' },
  finetune: { about: 'the same as finetune-classifier', script: 'finetune-classifier' },
  'finetune-classifier': { about: 'fine-tune an encoder to classify texts or pairs' },
  'finetune-qa': { about: 'fine-tune an encoder to find answers in texts' },
  'finetune-tokens': { about: 'fine-tune an encoder to label words' },
  'train-embeddings': { about: 'vectors of texts for search' },
  'train-multimodal': { about: 'texts with pictures: find one by the other, or classify both' },
  'train-translation': { about: 'an encoder-decoder that translates' },
  'train-summarization': { about: 'an encoder-decoder that summarises' },
  sft: { about: 'a decoder learns to answer, on conversations' },
  dpo: { about: 'a decoder learns to prefer better answers' },
  grpo: { about: 'a decoder learns by rewards' },
  'train-dialogue': { about: 'a decoder learns to reply, or a BERT to rank replies' },
  explain: { about: 'how much each token counts for what a model answers' },
  inspect: { about: 'looks into a model: attention, logit lens, patching, what its heads do' },
  quantize: { about: 'weights of 4 or 8 bits, as a GGUF file or a folder, and what that costs' },
  reward: { about: 'a model learns to give better answers higher rewards' },
  compress: { about: 'a trained classifier smaller in many ways, side by side' },
  prune: { about: 'a smaller model out of a trained one, parts left out' },
  'early-exit': { about: 'clear texts leave a classifier after its first layers' },
  distill: { about: 'a small model learns from a large one' },
  evaluate: { about: 'a language model on tasks, as lm-evaluation-harness does' },
  notebook: { about: 'run notebooks in TypeScript, or turn them into scripts and back' },
  export: { about: 'a trained model in f16 with a model card, or as a GGUF file' },
  launch: { about: 'a script in several processes that train together' },
  sweep: { about: 'tries settings of a script: a grid, draws, successive halving' },
  compare: { about: 'runs side by side: a table, and a page with their curves' },
  mlflow: { about: 'send runs to an MLflow server' },
  wandb: { about: 'write runs for Weights & Biases, which `wandb sync` sends' },
  'compare-objectives': { about: 'pretraining objectives side by side' },
  'compare-imbalance': { about: 'ways with rare classes side by side' },
  'compare-explanations': { about: 'ways to explain a model side by side' },
  'hello-bert': { about: 'the smallest complete fine-tuning' },
  bench: { about: 'kernels and steps beside other libraries; inside of the clone only', script: '../bench/run' },
};

/** Of this file: TypeScript in the clone, JavaScript in the package. */
const extension = import.meta.url.slice(-3);
const scriptOf = (name: string): URL => new URL(`${table[name]?.script ?? name}${extension}`, import.meta.url);
const isThere = (name: string): boolean => statSync(scriptOf(name), { throwIfNoEntry: false }) !== undefined;

/** The names of all commands that are there: some scripts are in the clone only. */
const names = (): string[] => Object.keys(table).filter(isThere);

function overview(): string {
  const lines = names().map((name) => [`  ${name}`, table[name]!.about]);
  lines.push(['  completion', 'print what makes your shell complete these names: bash, zsh or fish']);
  return [
    'tapeform: understand, train and customise language models in TypeScript, on any GPU.',
    '',
    'Usage: npx tapeform COMMAND [options]; COMMAND --help lists its options',
    '',
    alignTable(['Commands:', ''], lines, new Set()),
  ].join('\n');
}

/** What a shell reads to complete the names of commands, and files after them. */
function completion(shell: string | undefined): string {
  const words = [...names(), 'completion'].join(' ');
  switch (shell) {
    case 'bash':
      return `complete -o default -W '${words}' tapeform  # ~/.bashrc: eval "$(tapeform completion bash)"`;
    case 'zsh':
      return `_tapeform() { (( CURRENT == 2 )) && compadd ${words} || _files }\ncompdef _tapeform tapeform`;
    case 'fish':
      return `complete -c tapeform -n __fish_use_subcommand -f -a '${words}'`;
    default:
      throw new UsageError(`completion: name your shell, bash, zsh or fish, got "${shell ?? ''}"`);
  }
}

const version = (): string =>
  (createRequire(import.meta.url)('tapeform/package.json') as { readonly version: string }).version;

/** Starts a command's script as if Node had been given it. */
async function start(name: string, args: readonly string[]): Promise<void> {
  const script = scriptOf(name);
  process.argv.splice(1, Infinity, fileURLToPath(script), ...(table[name]?.args ?? []), ...args);
  await import(script.href);
}

const [given, ...rest] = process.argv.slice(2);
if (given !== undefined && names().includes(given)) await start(given, rest);
else
  main(
    () => {
      if (given === undefined || given === '--help' || given === '-h' || given === 'help')
        return console.log(overview());
      if (given === '--version' || given === 'version') return console.log(version());
      if (given === 'completion') return console.log(completion(rest[0]));
      const [near] = nearestNames(given, [...names(), 'completion']);
      const mend = near ? `; did you mean ${near}?` : '';
      throw new UsageError(`tapeform: there is no command "${given}" here${mend} (--help lists them)`);
    },
    { device: false },
  );
