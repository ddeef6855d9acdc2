/**
 * Continues texts with a trained model.
 *
 *   node --import tsx train/generate.ts "The state of the Union"
 *   node --import tsx train/generate.ts --model FOLDER "Once upon a time"
 */
import { generateText, loadTextGenerator, streamText } from '../models/index.ts';
import type { GenerationOptions, TextGenerator } from '../models/index.ts';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { lockFolder } from '../common/lock.ts';
import { checkOutputFile } from '../common/staged-file.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';
import { shippedGpt } from './cli/fine-tune.ts';
import { decodingOptions, generationOptions, loadingOptions, readPrompts, Speed } from './cli/generation.ts';
import { printableLines } from '../common/printable.ts';
import { progress } from '../common/progress.ts';

const command = {
  name: 'generate',
  usage: 'node --import tsx train/generate.ts',
  summary: 'continue texts with a trained GPT-2, Llama or other decoder, or translate them with a Marian',
  positionals: { name: 'prompt', help: 'text to continue; without one the model begins by itself' },
  options: {
    model: { type: 'string', help: 'folder, GGUF file, Hugging Face cache or hub; default the small GPT' },
    file: {
      type: 'path',
      exists: 'file',
      help: 'prompts: one a line, or the column "prompt" of a .jsonl, .csv or .tsv file',
    },
    output: { type: 'path', help: 'JSONL file for the texts; default with --file: standard output' },
    batchSize: { type: 'int', default: 8, min: 1, help: 'prompts that are continued side by side' },
    ...loadingOptions,
    ...decodingOptions,
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  const { values, positionals } = parseOptions(command);
  if (values.output === undefined) endWithReader();
  if (values.file !== undefined && positionals.length > 0)
    throw new UsageError(`${command.name}: give prompts or --file, not both; got "${positionals[0]}" too`);
  const prompts = values.file === undefined ? positionals : await readPrompts(values.file);
  if (prompts.length === 0) prompts.push('');
  if (values.output !== undefined) {
    await checkOutputFile(values.output);
    await lockFolder(values.output);
  }
  const { model = shippedGpt(), adapter, quantize } = values;
  const generator = await loadTextGenerator(model, { adapter, quantize });
  const options = generationOptions(values, generator.options);
  const asRows = values.file !== undefined || values.output !== undefined;
  const speed = new Speed();
  const streamed =
    !asRows && prompts.length === 1 && (options.numReturnSequences ?? 1) === 1 && (options.numBeams ?? 1) === 1;
  if (streamed) await stream(generator, prompts[0]!, { ...options, seed: values.seed }, speed);
  else await batches(generator, prompts, options, values, asRows, speed);
  console.error(`${speed}`);
});

/** One text, as it comes. */
async function stream(
  { model, tokenizer }: TextGenerator,
  prompt: string,
  options: GenerationOptions,
  speed: Speed,
): Promise<void> {
  for await (const { text, count } of streamText(model, tokenizer, prompt, options)) {
    process.stdout.write(printableLines(count === 1 ? prompt + text : text));
    speed.addToken();
  }
  process.stdout.write('\n');
}

/** Many texts: JSONL rows, or a paragraph each. */
async function batches(
  { model, tokenizer }: TextGenerator,
  prompts: readonly string[],
  options: GenerationOptions,
  { batchSize, seed, output }: Values,
  asRows: boolean,
  speed: Speed,
): Promise<void> {
  const rows: string[] = [];
  const bar = output === undefined ? undefined : progress({ total: prompts.length });
  try {
    for (let from = 0; from < prompts.length; from += batchSize) {
      const batch = prompts.slice(from, from + batchSize);
      const seeds = batch.map((_, i) => seed + from + i);
      const texts = await generateText(model, tokenizer, batch, { ...options, seed: seeds });
      for (const { prompt, sample, text, tokens, finish, score } of texts) {
        const row = {
          prompt: batch[prompt]!,
          text,
          seed: seeds[prompt]!,
          sample,
          tokens: tokens.length,
          finish,
          score,
        };
        if (output !== undefined) rows.push(JSON.stringify(row));
        else console.log(asRows ? JSON.stringify(row) : `${row.prompt}${text}\n`);
      }
      const count = texts.reduce((sum, { tokens }) => sum + tokens.length, 0);
      speed.addTexts(count);
      bar?.update(Math.min(from + batchSize, prompts.length), { tokens: count });
    }
  } finally {
    bar?.stop();
  }
  if (output !== undefined) await writeFileAtomic(output, `${rows.join('\n')}\n`);
}
