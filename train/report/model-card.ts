import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { recoverFolder } from '../../common/atomic-folder.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { codeBlock, escapeMarkdown as text } from '../../common/markup.ts';
import { readCard } from '../data/corpus/data-card.ts';
import { duration } from '../../common/progress.ts';
import { isEvaluation, isStep } from '../trainer/callback.ts';
import { readRunInfo } from '../trainer/run-info.ts';
import { readResult } from './result-file.ts';
import { readLog } from '../trainer/run-log.ts';

/** A model card (Mitchell et al. 2019) in the hub's form, of what the run in `folder` recorded. */
export async function modelCard(name: string, folder: string, use: string): Promise<string> {
  await recoverFolder(folder);
  const info = await readRunInfo(folder);
  const log = readLog(join(folder, 'log.jsonl'));
  const steps = log.filter(isStep);
  const last = log.filter(isEvaluation).at(-1);
  const tokens = steps.reduce((sum, step) => sum + step.tokens, 0);
  const { architectures } = await readJsonFile(join(folder, 'config.json'));
  const result = await readResult(folder);
  const losses = Object.entries(last?.evaluation ?? {}).map(
    ([part, value]) =>
      `${text(part)} ${value.toFixed(4)}` + (result ? '' : ` (perplexity ${Math.exp(value).toFixed(2)})`),
  );
  const origin = result?.from === undefined ? 'trained from nothing' : `fine-tuned from ${text(result.from)}`;
  return [
    '---',
    'license: apache-2.0',
    'language: en',
    'library_name: transformers',
    '---',
    '',
    `# ${text(name)}`,
    '',
    `${text(String(architectures))}, ${info.parameters.toLocaleString('en')} parameters, ${origin} by ` +
      `tapeform (TypeScript, WebGPU). Objective: ${text(info.name)}.`,
    '',
    '## Use',
    '',
    ...codeBlock(use),
    '',
    'It is small and has read little: ' +
      (result ? 'good for texts like those below, and an example. ' : 'a start for fine-tuning, and an example. ') +
      'It repeats what its texts say, with their prejudices and their age; nothing it says is a fact.',
    '',
    '## Data',
    '',
    ...(result ? codeBlock(result.about) : await dataLines(join(folder, 'corpus'))),
    ...(result ? ['', '## Test', '', ...codeBlock(result.test)] : []),
    '',
    '## Training',
    '',
    `- ${steps.length.toLocaleString('en')} steps, ${tokens.toLocaleString('en')} tokens, ` +
      `${duration(steps.at(-1)?.seconds ?? 0)} on ${text(info.adapter)} (${text(info.driver)}), seed ` +
      text(String(info.identity['seed'])),
    `- held out: ${losses.join(', ')}`,
    `- commit ${text(info.commit ?? 'unknown')}, ${text(info.started.slice(0, 10))}; ` +
      'curves and all settings in report.html',
    '',
    'Made again by:',
    '',
    ...codeBlock(info.command),
    '',
  ].join('\n');
}

async function dataLines(corpus: string): Promise<string[]> {
  if ((await pathKind(join(corpus, 'card.json'))) !== 'file') return ['Not recorded.'];
  const { inputs, documentsRead, cleaning, duplicates, splits } = await readCard(corpus);
  const { train, validation } = splits;
  const dropped = [
    ...(cleaning ? [`${documentsRead - cleaning.kept} left out by rules of quality`] : []),
    ...(duplicates ? [`${duplicates.exact + duplicates.near} as duplicates`] : []),
  ];
  return [
    `- ${inputs.map(({ name }) => text(name)).join(', ')}: ` +
      `${documentsRead.toLocaleString('en')} texts${dropped.length > 0 ? `, ${dropped.join(', ')}` : ''}`,
    `- ${train.tokens.toLocaleString('en')} tokens of ${train.documents.toLocaleString('en')} texts to train ` +
      `on, ${(validation?.tokens ?? 0).toLocaleString('en')} of ${validation?.documents ?? 0} held out; ` +
      'no near-duplicate is in two parts',
  ];
}

/** Bytes of a folder's weights. */
export async function weightBytes(folder: string): Promise<number> {
  return (await stat(join(folder, 'model.safetensors'))).size;
}
