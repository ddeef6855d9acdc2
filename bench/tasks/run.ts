/**
 * Runs tasks anew and writes their figures into the table of docs/results.md; rows that are not named keep
 * theirs, and their date.
 *
 *   npm run bench:tasks -- spam perplexity
 *   npm run bench:tasks -- questions --data-folder DATA --python VENV/bin/python --utils-qa utils_qa.py
 *   npm run bench:tasks                     lists the rows
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { alignTable } from '../../common/text-table.ts';
import { main, parseOptions, UsageError } from '../../train/cli/cli.ts';
import { taskRows as rows } from './rows.ts';
import { runRow } from './run-row.ts';
import { taskTable, withTable } from './table.ts';
import type { TaskFigures, TaskRecord } from './table.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const recordPath = join(root, 'bench/results/tasks.json');
const documentPath = join(root, 'docs/results.md');

const command = {
  name: 'tasks',
  usage: 'npm run bench:tasks --',
  summary: 'Runs tasks anew and writes their figures into docs/results.md.',
  positionals: { name: 'row', help: 'rows to run; without one, they are listed', max: Object.keys(rows).length },
  options: {
    output: { type: 'path', default: 'runs/tasks', help: 'folder for the runs and what they print' },
    dataFolder: { type: 'path', default: '.', help: 'folder of data that the project cannot fetch' },
    resume: { type: 'boolean', help: 'go on with runs that were stopped' },
    python: { type: 'path', exists: 'file', help: 'interpreter with PyTorch: runs the same recipe there too' },
    utilsQa: { type: 'path', exists: 'file', help: "questions in PyTorch: utils_qa.py of Transformers' examples" },
  },
} as const;

main(async () => {
  const { values, positionals } = parseOptions(command);
  const unknown = positionals.find((name) => !Object.hasOwn(rows, name));
  if (unknown !== undefined)
    throw new UsageError(`${command.name}: there is no row ${unknown}; take of ${Object.keys(rows).join(', ')}`);
  if (positionals.length === 0) return console.log(listing());
  for (const name of positionals) await checkNeeds(name, values.dataFolder);
  for (const name of positionals) {
    const figures = await runRow(rows[name]!, join(values.output, name), values);
    await keep(name, figures);
    console.log(`${name}: ${rows[name]!.metric} ${figures.ours}, written to docs/results.md`);
  }
});

function listing(): string {
  const lines = Object.entries(rows).map(([name, { task, data, metric }]) => [name, task, data, metric]);
  return alignTable(['row', 'task', 'data', 'metric'], lines, new Set());
}

async function checkNeeds(name: string, folder: string): Promise<void> {
  for (const file of rows[name]!.needs ?? [])
    if ((await pathKind(join(folder, file))) !== 'file')
      throw new UsageError(`${command.name}: ${name} needs ${file}; put it into a folder and give --data-folder`);
}

async function keep(name: string, figures: TaskFigures): Promise<void> {
  const record = (await readJsonFile(recordPath)) as TaskRecord;
  const before = record[name]?.pytorch;
  const kept = { ...(before === undefined ? {} : { pytorch: before }), ...figures };
  const next: TaskRecord = { ...record, [name]: kept };
  await writeFileAtomic(recordPath, `${JSON.stringify(next, null, 2)}\n`);
  await writeFileAtomic(documentPath, withTable(await readFile(documentPath, 'utf8'), taskTable(rows, next)));
}
