/**
 * Tries a task on texts from the terminal.
 *
 *   npx tsx train/try.ts fill-mask "The [MASK] of the Union"
 *   npx tsx train/try.ts text-generation "The state of the"
 *   npx tsx train/try.ts summarization --model runs/summarization "A long text"
 *   npx tsx train/try.ts zero-shot-classification --labels "the sea, taxes" "Ahab stood on the deck."
 *   npx tsx train/try.ts image-classification --model runs/pictures cat.png
 *   npx tsx train/try.ts question-answering --model runs/squad --context page.txt "Who wrote it?"
 */
import { readFile } from 'node:fs/promises';
import { printable, printableLines } from '../common/printable.ts';
import { pathKind } from '../common/json-file.ts';
import { alignTable } from '../common/text-table.ts';
import { pipeline, pipelineTasks } from '../models/index.ts';
import type { PipelineTask, Text2TextOptions } from '../models/index.ts';
import { streamTable } from './data/read-table.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';

const command = {
  name: 'try',
  usage: 'npx tsx train/try.ts',
  summary: `Tries a task on texts, or on files of pictures: ${pipelineTasks.join(', ')}.`,
  positionals: { name: 'task and texts', help: 'the task, then one text or more, or files of pictures', min: 2 },
  options: {
    model: {
      type: 'string',
      help: 'folder, Hugging Face cache or hub; default the small model of the project, if any',
    },
    topK: {
      type: 'int',
      min: 1,
      help: 'how many labels, tokens or answers; default all labels, five tokens, one answer',
    },
    context: { type: 'string', help: 'question-answering: the text with the answer, or its file' },
    labels: { type: 'string', help: 'zero-shot tasks: the labels, with commas between' },
    template: {
      type: 'string',
      help: 'zero-shot-classification: "{text} ... {label}", of a model by entailment "... {}"; \\n is a line break',
    },
    examples: {
      type: 'path',
      exists: 'file',
      help: 'zero-shot-classification: file with columns text and label, to show to a model that continues texts',
    },
    maxNewTokens: { type: 'int', min: 1, help: 'tokens to write at most; default as the model has it' },
    beams: { type: 'int', min: 1, help: 'texts searched side by side; default as the model has it' },
    srcLang: { type: 'string', help: "translation: the code of the texts' language, where the model knows several" },
    tgtLang: { type: 'string', help: 'translation: the code of the language to write' },
    seed: { type: 'int', min: 0, help: 'text-generation: draw tokens with this seed; default the most probable ones' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

/** Prints the results of each text, or of each file of a picture. */
type Tries = { readonly [Task in PipelineTask]: (values: Values, texts: readonly string[]) => Promise<void> };

const tries: Tries = {
  'text-classification': async ({ model, topK = null }, texts) => {
    const classify = await pipeline('text-classification', model);
    for (const text of texts) show(text, await classify(text, { topK }), ['label', 'score']);
  },
  'token-classification': async ({ model }, texts) => {
    const label = await pipeline('token-classification', model);
    for (const text of texts)
      show(text, await label(text, { aggregationStrategy: 'first', stride: 16 }), ['entity_group', 'word', 'score']);
  },
  'question-answering': async ({ model, context, topK = 1 }, questions) => {
    if (context === undefined) throw new UsageError('try: question-answering needs --context TEXT or FILE');
    const answer = await pipeline('question-answering', model);
    const text = (await pathKind(context)) === 'file' ? await readFile(context, 'utf8') : context;
    for (const question of questions)
      show(question, [await answer({ question, context: text }, { topK })].flat(), ['answer', 'score', 'start', 'end']);
  },
  'fill-mask': async ({ model, topK = 5 }, texts) => {
    const fill = await pipeline('fill-mask', model);
    for (const text of texts) show(text, (await fill(text, { topK })).flat(), ['token_str', 'score', 'sequence']);
  },
  'feature-extraction': async ({ model }, texts) => {
    const extract = await pipeline('feature-extraction', model);
    for (const [i, vector] of (await extract(texts, { pooling: 'own', normalize: true })).entries())
      console.log(JSON.stringify({ text: texts[i], vector: Array.from(vector, (x) => Number(x.toFixed(5))) }));
  },
  'sentence-similarity': async ({ model }, [source, ...sentences]) => {
    if (sentences.length === 0)
      throw new UsageError('try: sentence-similarity needs a text and others to compare it with');
    const compare = await pipeline('sentence-similarity', model);
    const scores = await compare({ source_sentence: source!, sentences });
    const rows = sentences.map((sentence, i) => ({ sentence, score: scores[i]! }));
    show(
      source!,
      rows.sort((a, b) => b.score - a.score),
      ['sentence', 'score'],
    );
  },
  'zero-shot-classification': async ({ model, labels, template: given, examples }, texts) => {
    if (labels === undefined) throw new UsageError('try: zero-shot-classification needs --labels LIST');
    const classify = await pipeline('zero-shot-classification', model);
    const template = given?.replaceAll('\\n', '\n');
    const options = {
      ...(template === undefined
        ? {}
        : template.includes('{text}')
          ? { promptTemplate: template }
          : { hypothesisTemplate: template }),
      ...(examples === undefined ? {} : { examples: await examplesIn(examples) }),
    };
    for (const { sequence, labels: names, scores } of await classify(texts, labels, options))
      show(
        sequence,
        names.map((label, i) => ({ label, score: scores[i]! })),
        ['label', 'score'],
      );
  },
  'text-generation': async ({ model, maxNewTokens = 40, seed }, prompts) => {
    const generate = await pipeline('text-generation', model);
    const options = { maxNewTokens, ...(seed === undefined ? {} : { seed, doSample: true }) };
    for (const prompt of prompts) {
      process.stdout.write(printableLines(prompt));
      for await (const piece of generate.stream(prompt, options)) process.stdout.write(printableLines(piece));
      process.stdout.write('\n');
    }
  },
  translation: async ({ model, ...options }, texts) => {
    const translate = await pipeline('translation', model);
    for (const { translation_text } of await translate(texts, written(options)))
      console.log(printable(translation_text));
  },
  summarization: async ({ model, ...options }, texts) => {
    const summarize = await pipeline('summarization', model);
    for (const { summary_text } of await summarize(texts, written(options))) console.log(printable(summary_text));
  },
  'text2text-generation': async ({ model, ...options }, texts) => {
    const write = await pipeline('text2text-generation', model);
    for (const { generated_text } of await write(texts, written(options))) console.log(printable(generated_text));
  },
  'image-classification': async ({ model, topK = null }, files) => {
    const classify = await pipeline('image-classification', model);
    for (const file of files) show(file, await classify(file, { topK }), ['label', 'score']);
  },
  'zero-shot-image-classification': async ({ model, labels, template }, files) => {
    if (labels === undefined) throw new UsageError('try: zero-shot-image-classification needs --labels LIST');
    const classify = await pipeline('zero-shot-image-classification', model);
    const options = template === undefined ? {} : { hypothesisTemplate: template };
    for (const file of files) show(file, await classify(file, labels, options), ['label', 'score']);
  },
  'image-feature-extraction': async ({ model }, files) => {
    const extract = await pipeline('image-feature-extraction', model);
    for (const file of files)
      console.log(
        JSON.stringify({ file, vector: Array.from((await extract(file))[0]![0]!, (x) => Number(x.toFixed(5))) }),
      );
  },
};

async function examplesIn(path: string): Promise<{ readonly text: string; readonly label: string }[]> {
  const examples: { readonly text: string; readonly label: string }[] = [];
  for await (const { text, label } of streamTable(path)) examples.push({ text, label });
  return examples;
}

function written({ maxNewTokens, beams, srcLang, tgtLang }: Omit<Values, 'model'>): Text2TextOptions {
  return {
    truncation: true,
    ...(srcLang === undefined ? {} : { srcLang }),
    ...(tgtLang === undefined ? {} : { tgtLang }),
    ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
    ...(beams === undefined ? {} : { numBeams: beams }),
  };
}

/** A text, and a table of what was found in it. */
function show<Row extends object>(text: string, rows: readonly Row[], columns: readonly (keyof Row & string)[]): void {
  console.log(`\n${printable(text)}`);
  if (rows.length === 0) return console.log('  nothing');
  const cell = (value: unknown): string =>
    typeof value === 'number' ? (Number.isInteger(value) ? String(value) : value.toFixed(3)) : printable(String(value));
  const numbers = columns.flatMap((name, i) => (typeof rows[0]![name] === 'number' ? [i] : []));
  const table = alignTable(
    [...columns],
    rows.map((row) => columns.map((name) => cell(row[name]))),
    new Set(numbers),
  );
  console.log(table.replace(/^/gm, '  '));
}

main(async () => {
  endWithReader();
  const { values, positionals } = parseOptions(command);
  const [task, ...texts] = positionals;
  if (!pipelineTasks.includes(task as PipelineTask))
    throw new UsageError(`${command.name}: unknown task "${printable(task!)}"; use one of ${pipelineTasks.join(', ')}`);
  await tries[task as PipelineTask](values, texts);
});
