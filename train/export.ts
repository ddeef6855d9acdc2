/**
 * Writes a trained model for others: half the size in f16, its tokenizer, its run's report, and a model card
 * of what the run recorded; or a decoder as one GGUF file for llama.cpp and what is built on it. An adapter
 * is merged into the weights.
 *
 *   node --import tsx train/export.ts --model runs/bert --output bert-small
 *   node --import tsx train/export.ts --model runs/gpt --output gpt.gguf --precision q8_0
 */
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  ggufFile,
  ggufTypes,
  isGguf,
  adaptersOf,
  loadModel,
  loadTokenizer,
  readModelFolder,
  SentenceTransformer,
} from '../models/index.ts';
import type { GgufType } from '../models/index.ts';
import { writeFilesAtomic } from '../common/atomic-files.ts';
import type { FileToWrite } from '../common/atomic-files.ts';
import { pathKind } from '../common/json-file.ts';
import { lockFolder } from '../common/lock.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { adapterFlag } from './cli/generation.ts';
import { modelCard, weightBytes } from './report/model-card.ts';
import { historyOf } from './report/run-history.ts';
import { publicReport } from './report/run-report.ts';
import { infoFile } from './trainer/run-info.ts';

const command = {
  name: 'export',
  summary: 'Writes a trained model for others, in f16, with its tokenizer and a model card.',
  usage: 'node --import tsx train/export.ts',
  options: {
    model: { type: 'path', exists: 'any', required: true, help: 'folder of a run or of a model, or a GGUF file' },
    ...adapterFlag,
    output: { type: 'path', required: true, help: 'folder to write, or file.gguf' },
    precision: {
      type: 'choice',
      choices: ggufTypes,
      default: 'f16',
      help: 'type of the weights; those of 8 and 4 bits are for GGUF files',
    },
    use: { type: 'string', default: '', help: 'command for the model card that shows what the model is for' },
  },
} as const;

/** A model with the weights that its adapter makes of them. */
async function loadMerged(folder: string, adapter: string | undefined) {
  const model = await loadModel(folder, { adapter });
  return adaptersOf(model)?.mergeAndUnload() ?? model;
}

async function writeGguf(
  folder: string,
  output: string,
  precision: GgufType,
  adapter: string | undefined,
): Promise<void> {
  const model = await loadMerged(folder, adapter);
  await writeFilesAtomic([ggufFile(output, model, await loadTokenizer(folder), precision)]);
  console.log(`saved  ${output}, ${((await stat(output)).size / 1e6).toFixed(1)} MB`);
}

main(async () => {
  const { values } = parseOptions(command);
  const { model: folder, adapter, output, precision, use } = values;
  if (isGguf(output)) return writeGguf(folder, output, precision, adapter);
  if (precision === 'q8_0' || precision === 'q4_0')
    throw new UsageError(`${command.name}: --precision ${precision} is for GGUF files; end --output with .gguf`);
  await lockFolder(output);
  const isOfSentences = (await pathKind(join(folder, 'modules.json'))) === 'file';
  const load = async () => ({
    model: isOfSentences ? await SentenceTransformer.fromPretrained(folder) : await loadMerged(folder, adapter),
    tokenizer: await loadTokenizer(folder),
  });
  const { model, tokenizer } = await readModelFolder(folder, load);
  // An older export's card goes with its model; a README without a report beside it is somebody's own.
  const report = join(output, 'report.html');
  const replaces = (await pathKind(report)) === 'file' ? ['README.md', 'report.html'] : [];
  const files: FileToWrite[] = [];
  if ((await pathKind(join(folder, infoFile))) === 'file') {
    files.push({ path: join(output, 'README.md'), data: await modelCard(basename(output), folder, use) });
    files.push({ path: report, data: publicReport(await historyOf(folder)) });
  }
  const dtype = precision === 'f16' ? ({ dtype: 'f16' } as const) : {};
  await model.savePretrained(output, { tokenizer, ...dtype, files, replaces });
  console.log(`saved  ${output}, weights of ${((await weightBytes(output)) / 1e6).toFixed(1)} MB`);
});
