/**
 * Measures a language model on tasks as lm-evaluation-harness does: multiple choice and perplexity by
 * likelihood, and texts that it writes.
 *
 *   node --import tsx train/evaluate.ts --tasks sotu-perplexity,debian-synopses
 *   node --import tsx train/evaluate.ts --model FOLDER --tasks mine.json --num-fewshot 3
 */
import { join } from 'node:path';
import { writeFilesAtomic } from '../common/atomic-files.ts';
import { claimFolder } from '../common/lock.ts';
import { loadTextGenerator, resolveModelFolder } from '../models/index.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { shippedGpt } from './cli/fine-tune.ts';
import { loadingOptions } from './cli/generation.ts';
import { AnswerCache, modelHash } from './evaluation/answer-cache.ts';
import { evaluateTasks } from './evaluation/evaluate.ts';
import { resultTables } from './evaluation/report.ts';
import { readTasks, shippedTasks } from './evaluation/task-file.ts';

const command = {
  name: 'evaluate',
  summary: 'Measures a language model on tasks, as lm-evaluation-harness does.',
  usage: 'node --import tsx train/evaluate.ts',
  options: {
    model: {
      type: 'string',
      help: 'folder, GGUF file, Hugging Face cache or hub; default the small GPT that comes with the project',
    },
    ...loadingOptions,
    tasks: { type: 'string', help: 'task files or names, with commas between; "list" shows the names' },
    numFewshot: { type: 'int', min: 0, help: "examples before each question; default the task's own number" },
    applyChatTemplate: {
      type: 'boolean',
      default: false,
      help: "write prompts as dialogues, by the tokenizer's chat template: for models that answer",
    },
    systemInstruction: { type: 'string', help: "before all else: the system's turn of a dialogue" },
    fewshotAsMultiturn: {
      type: 'boolean',
      default: true,
      help: 'in a dialogue each example is a question and a reply; else all are part of the question',
    },
    limit: { type: 'number', min: 0, help: 'rows of each task at most; below 1 a share of them' },
    maxLength: { type: 'int', min: 2, help: 'tokens that the model reads at most; default as many as it can' },
    batchSize: { type: 'int', default: 16, min: 1, help: 'requests at once' },
    bootstrapIters: {
      type: 'int',
      default: 100_000,
      min: 0,
      help: 'resamplings for the standard error of a perplexity; 0: no standard errors',
    },
    seed: { type: 'int', default: 1234, min: 0, max: 2 ** 32 - 1, help: 'of the draws of examples' },
    output: { type: 'path', default: 'runs/evaluation', help: 'folder for results.json, samples and cached answers' },
    cache: { type: 'boolean', default: true, help: 'keep answers, and ask nothing twice' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { model: name = shippedGpt(), quantize, output, batchSize, limit, seed } = values;
  const names = values.tasks?.split(',').map((name) => name.trim());
  if (names?.join() === 'list') return console.log((await shippedTasks()).join('\n'));
  if (names === undefined)
    throw new UsageError(`${command.name}: needs tasks: --tasks FILE.json, or ${(await shippedTasks()).join(', ')}`);
  await readTasks(names); // so that a slip is told at once
  await claimFolder(output);
  const folder = await resolveModelFolder(name);
  const generator = await loadTextGenerator(folder, { adapter: values.adapter, quantize });
  const hash = await modelHash(folder, values.adapter);
  const answers = `answers-${hash.slice(0, 16)}${quantize ? `-${quantize}` : ''}.jsonl`;
  const cache = values.cache ? await AnswerCache.open(join(output, answers)) : undefined;
  const options = { ...values, bootstraps: values.bootstrapIters, cache };
  const { results, samples, counts, maxLength } = await evaluateTasks(generator, names, options).finally(() =>
    cache?.close(),
  );
  const about = {
    model: name,
    ...(values.adapter === undefined ? {} : { adapter: values.adapter }),
    model_hash: hash,
    ...(quantize ? { quantize } : {}),
    batch_size: batchSize,
    max_length: maxLength,
    limit: limit ?? null,
    apply_chat_template: values.applyChatTemplate,
    ...(values.systemInstruction === undefined ? {} : { system_instruction: values.systemInstruction }),
    ...(values.applyChatTemplate ? { fewshot_as_multiturn: values.fewshotAsMultiturn } : {}),
    bootstrap_iters: values.bootstrapIters,
    fewshot_seed: seed,
  };
  const json = JSON.stringify({ ...results, config: about, date: Date.now() / 1000 }, null, 2);
  const lines = (records: readonly unknown[]): string => records.map((each) => `${JSON.stringify(each)}\n`).join('');
  await writeFilesAtomic(
    [
      { path: join(output, 'results.json'), data: `${json}\n` },
      ...Object.entries(samples).map(([task, records]) => ({
        path: join(output, `samples_${task}.jsonl`),
        data: lines(records),
      })),
    ],
    { replaces: (name) => /^samples_.*\.jsonl$/.test(name) },
  );
  console.log(resultTables(results));
  const { requests, cached, cut, withoutSystem } = counts;
  console.log(`\n${requests} requests, ${cached} of them answered before; all in ${join(output, 'results.json')}`);
  if (cut > 0) console.log(`${cut} contexts were longer than ${maxLength} tokens and lost their beginning`);
  if (withoutSystem > 0)
    console.log(`${withoutSystem} prompts have no system's turn, for which the chat template has no place`);
});
