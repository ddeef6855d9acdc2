// The table of tasks: its figures are read from what scripts print, and the document holds what was kept.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cellIn, taskRows } from '../../bench/tasks/rows.ts';
import type { TaskRow } from '../../bench/tasks/rows.ts';
import { runRow } from '../../bench/tasks/run-row.ts';
import { taskTable, withTable } from '../../bench/tasks/table.ts';
import type { TaskRecord } from '../../bench/tasks/table.ts';
import { rejects } from '../support/failure.ts';
import { root } from '../support/files.ts';
import { refused, runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('table of tasks');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});

const record = JSON.parse(readFileSync(join(root, 'bench/results/tasks.json'), 'utf8')) as TaskRecord;
const document = readFileSync(join(root, 'docs/results.md'), 'utf8');

/** What scripts print at their end, as it came. */
const printed: Readonly<Record<string, string>> = {
  spam: `data   SpamAssassin, 6046 e-mails
       3636 to train, 519 to validate, 1037 to test; classes ham, spam
F1 of spam 0.953; always "ham" would have 0.000, accuracy 0.765`,
  'rare-classes': `"spam" is 12 of 1212 to train, 4 of 401 to validate, 244 of 1037 to test, weighed as 1 to 100
                average precision      F1 at 0.5  F1 at the tuned threshold
none                0.077 ± 0.066  0.000 ± 0.000              0.054 ± 0.021
weights             0.380 ± 0.027  0.328 ± 0.078              0.357 ± 0.064`,
  questions: `       861 to train, 93 to validate, 236 to test, no text in two parts
test (236 questions; best F1 of validation 5.9, at step 814)
                                                exact match    F1
this model                                              0.0   5.2
the sentence with most of the question's words          0.0  14.5`,
  'token-labels': `       2783 to train, 364 to validate, 334 to test; tags O
              precision    recall  F1
         KEY      0.6      0.7     0.656

entities                                     precision  recall     F1
this model                                       0.460   0.460  0.460
a dictionary of the entities trained on          0.073   0.357  0.121
the same without words that are mostly none      0.516   0.299  0.379`,
  embeddings: `       2013 pairs to train, 204 to validate, 199 to test
test, 199 queries, 2416 documents  recall@1  recall@10  MRR@10  nDCG@10
BM25                                   33.2       69.3    44.8     50.7
the model it began as                   2.0        9.0     3.6      4.8
this model                             25.1       58.3    35.8     41.2`,
  summaries: `       480 conversations to train, 100 to validate, 100 to test
       59195 tokens to train, 5267 of them the assistant's; 0 were cut and 18 left out, being longer than a row
held out                 loss  perplexity  right of 100  ROUGE-1  ROUGE-2  ROUGE-L
the first sentence                                   0%     30.9     12.8     24.2
the model it began as  4.4597       86.46            0%     23.8      9.1     18.8
this model             2.7943       16.35            1%     45.1     18.6     37.3`,
};

test('figures are read from what the scripts print', () => {
  for (const [name, text] of Object.entries(printed)) {
    const { size, ours, baselines } = taskRows[name]!.read(text);
    const { size: wantedSize, ours: wanted, baselines: others } = record[name]!;
    assert.equal({ size, ours, baselines }, { size: wantedSize, ours: wanted, baselines: others }, name);
  }
  assert.is(taskRows['questions']!.pytorch!.read('exact match 0.00  F1 5.21  300 s of training'), '5.2');
  assert.throws(() => cellIn('a  b\nthis model  1', 'this model', 'F1'), /no table with "this model" and "F1"/);
});

test('every command is of a script and flags that are there', async () => {
  for (const [name, row] of Object.entries(taskRows)) {
    const words = row.command({ output: join(folder, name), data: folder });
    const help = await runScript([words[0]!, '--help']);
    for (const flag of [...words.filter((word) => word.startsWith('--')), ...(row.together ? [] : ['--seed'])])
      assert.match(help.stdout, new RegExp(`${flag}\\b`), `${name}: ${flag}`);
  }
});

test('the document holds the table of what was kept, and nothing else of it changes', () => {
  assert.is(withTable(document, taskTable(taskRows, record)), document);
  assert.throws(() => withTable('no marks', ''), /has no "<!-- tasks: begin -->"/);
});

/** A row whose script prints a table with a figure made of its seed. */
const small = (script: string): TaskRow => ({
  task: 'a task',
  data: 'none',
  metric: 'F1',
  seeds: [1, 2, 3],
  command: () => ['-e', script, '--'],
  read: (text) => ({ size: '1 / 1', ours: cellIn(text, 'this model', 'F1'), baselines: { no: '0.0' } }),
});

test('a row runs once for each seed: means with deviations; a command that fails is told', async () => {
  const options = { dataFolder: '.', resume: false };
  const row = small('console.log(`x  F1\\nthis model  ${process.argv.at(-1)}.5`)');
  const { date, minutes, ...figures } = await runRow(row, folder, options);
  assert.equal(figures, { size: '1 / 1', ours: '2.5 ± 1.0', baselines: { no: '0.0 ± 0.0' }, seeds: [1, 2, 3] });
  assert.match(date, /^\d{4}-\d\d-\d\d$/);
  assert.ok(minutes !== null && minutes >= 0);
  await rejects(runRow(small('process.exit(3)'), folder, options), /ended with code 3; nothing was written .*$/);
});

test('the script lists rows and refuses what is none, or lacks its data', async () => {
  const run = (...words: string[]) => runScript(['bench/tasks/run.ts', ...words]);
  assert.match((await run()).stdout, /^row +task +data +metric\nspam /);
  refused(await run('sapm'), 2, /^tasks: there is no row sapm; take of spam, .*$/);
  refused(await run('questions', '--data-folder', folder), 2, /^tasks: questions needs xquad-train\.json; .*$/);
});

test.run();
