import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { notebookJson, notebookOf, parseNotebook, readNotebook, scriptOf } from '../../train/notebook/format.ts';
import type { CodeCell, Notebook, Output } from '../../train/notebook/format.ts';
import { heatmap, plot, showsAs, table } from '../../train/notebook/display.ts';
import { runNotebook } from '../../train/notebook/run.ts';
import { throwsOneLine } from '../support/failure.ts';
import { root } from '../support/files.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('notebooks');
let folder = '';
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tapeform-notebook-'));
});
test.after(() => rm(folder, { recursive: true, force: true }));

const codeOf = ({ cells }: Notebook): CodeCell[] => cells.flatMap((cell) => (cell.kind === 'code' ? [cell] : []));

/** What each cell of code shows: what is printed, and the text of values. */
async function shown(script: string, keepGoing = false): Promise<string[]> {
  const { notebook } = await runNotebook(notebookOf(script), { folder, keepGoing });
  return codeOf(notebook).map(({ outputs }) => outputs.map(textOf).join('|'));
}

function textOf(output: Output): string {
  if (output.output_type === 'stream') return `${output.name}: ${output.text.trimEnd()}`;
  if (output.output_type === 'error') return output.traceback.join('; ');
  return String(output.data['text/plain']);
}

test('a script and a notebook are turned into each other', () => {
  const script = '// %% [markdown]\n// # Title\n//\n// - a list\n\n// %%\nconst x = 1;\n\nx\n\n// %%\nx + 1\n';
  const notebook = notebookOf(script);
  assert.equal(
    notebook.cells.map(({ kind, source }) => [kind, source]),
    [
      ['markdown', '# Title\n\n- a list'],
      ['code', 'const x = 1;\n\nx'],
      ['code', 'x + 1'],
    ],
  );
  assert.is(scriptOf(notebook), script);
  assert.is(scriptOf(notebookOf(script.replaceAll('\n', '\r\n'))), script);
  const json = notebookJson(notebook);
  assert.equal(
    parseNotebook(json, 'x').cells,
    notebook.cells.map((cell) => ({ ...cell, raw: rawOf(cell.kind, json, cell.source) })),
  );
  assert.is(notebookJson(parseNotebook(json, 'x')), json);
  assert.match(json, /"source": \[\n {4}"const x = 1;\\n",\n {4}"\\n",\n {4}"x"\n {3}\]/);
  assert.is(notebookOf('const a = 1;\n').cells.length, 1);
  throwsOneLine(
    () =>
      scriptOf({ ...notebook, cells: [{ kind: 'code', source: '// %%', outputs: [], executionCount: null, raw: {} }] }),
    /^cell 1: its line "\/\/ %%" would begin another cell/,
  );
});

function rawOf(kind: string, json: string, source: string): unknown {
  const cells = (JSON.parse(json) as { cells: { cell_type: string; source: string[] }[] }).cells;
  const cell = cells.find((each) => each.cell_type === kind && each.source.join('') === source)!;
  return { ...cell, source };
}

test('variables, functions, imports and types go from cell to cell, and the last line is shown', async () => {
  await writeFile(join(folder, 'own.mjs'), 'export default 7; export const a = 1, b = 2;');
  const outputs = await shown(`// %%
import seven, { a, b as two } from './own.mjs';
import * as all from './own.mjs';
import type { Stats } from 'node:fs';
import { join, type ParsedPath } from 'node:path';
const x: number = 3, y = [1,
  2];
let count: number | undefined;
// %%
function plus(n: number): number { return n + x; }
class Point { constructor(readonly at: number) {} }
interface Unused { a: number }
enum Colour { red, green }
const given = { p: 1, q: [5, 6, 7], z: 8 };
const { p, q: [first, ...rest], ...others }: typeof given = await Promise.resolve(given);
JSON.stringify([seven, a, two, all.b, join('u', 'v'), plus(1), new Point(4).at, Colour.green, p, first, rest, others])
// %%
count = 0;
for (const i of [1, 2]) count += i;
console.log(count);
process.stderr.write('careful\\n');
const more = await import('./own.mjs');
more.default;
// %%
const x = 10;
plus(1)
// %%
{ a: 1 }
// %%
if (x > 3) { console.log('yes'); }
// %%
// nothing
`);
  const list = `'[7,1,2,2,"u/v",4,4,1,1,5,[6,7],{"z":8}]'`;
  assert.equal(outputs, ['', list, 'stdout: 3|stderr: careful|7', '11', '', 'stdout: yes', '']);
});

test('an error keeps its place, and ends the run', async () => {
  const script = `// %%
function broken(n: number): never {

  throw new RangeError('no ' + n);
}
// %%
console.log('before');
const z = 1;
broken(2);
// %%
console.log('after');
`;
  const outputs = await shown(script);
  const error = 'RangeError: no 2;     at cell 1, line 3;     at cell 2, line 3';
  assert.equal(outputs, ['', `stdout: before|${error}`, '']);
  assert.is((await shown(script, true))[2], 'stdout: after');
  const cells = [
    'const = 3',
    'missing + 1',
    'missing = 1',
    'export default 3',
    "import 'nothing-there'",
    "throw 'text'",
  ];
  const failures = await shown(cells.map((cell) => `// %%\n${cell}`).join('\n'), true);
  const says = [
    /^SyntaxError: line 1: Variable declaration expected/,
    /^ReferenceError: missing is not defined;.*cell 2, line 1/,
    /^ReferenceError: missing is not defined;/,
    /^SyntaxError: line 1: a cell exports nothing/,
    /^Error: Cannot find package 'nothing-there'/,
    /^Error: text$/,
  ];
  says.forEach((pattern, i) => assert.match(failures[i]!, pattern));
  assert.not('missing' in globalThis);
});

test('tensors, plots, tables and pictures show themselves, at the end of a cell and in its midst', async () => {
  const index = JSON.stringify(join(root, 'index.ts'));
  const { notebook } = await runNotebook(
    notebookOf(`// %%
import * as tf from ${index};
{ using _ = tf.scope(); await tf.display(tf.table(['a', 'b'], [['<x>', 1]])); }
tf.tensor([[1, 2], [3, 4]]).mul(2)
// %%
tf.plot({ title: 'curve', series: [{ name: 'loss', points: [[0, 1], [1, 0.5]] }] })
`),
    { folder },
  );
  const [[shownTable, shownTensor], [curve]] = codeOf(notebook).map(({ outputs }) => outputs) as [Output[], Output[]];
  assert.is(shownTable!.output_type, 'display_data');
  assert.match(
    JSON.stringify(shownTable),
    /<td style=\\"text-align:left\\">&lt;x&gt;<\/td><td style=\\"text-align:right\\">1</,
  );
  assert.is(shownTensor!.output_type, 'execute_result');
  assert.match(textOf(shownTensor!), /^Tensor\(\[\[2, 4\],\n +\[6, 8\]\], shape: \[2, 2\], dtype: f32/);
  assert.match(JSON.stringify(curve), /"image\/svg\+xml":"<svg.*<title>curve<\/title>/);
  const picture = await heatmap([[1, -0.5]], { rows: ['<a>'], columns: ['b', 'c'], title: 'look' })[showsAs]();
  assert.match(String(picture['image/svg+xml']), /<title>&lt;a&gt;, c: -0.500<\/title>/);
  assert.is(picture['text/plain'], '  1.00  -0.50');
  assert.is((await table(['n'], [[1], [22]])[showsAs]())['text/plain'], ' n\n 1\n22');
  assert.is((await plot([])[showsAs]())['text/plain'], '');
});

test('what is no notebook is refused in a line', async () => {
  const says = (content: string, pattern: RegExp): void =>
    throwsOneLine(() => parseNotebook(content, 'x.ipynb'), pattern);
  says('{', /^x\.ipynb: is no notebook: /);
  says('{"nbformat": 3, "cells": []}', /nbformat: has another nbformat than 4/);
  says('{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3, "outputs": []}]}', /cells\.0\.source: /);
  says('{"nbformat": 4}', /cells: /);
  const script = (...args: string[]) => runScript(['train/notebook.ts', ...args]);
  refused(await script('walk', 'x.ipynb'), 2, /^notebook: "walk" is nothing that it does; begin with run or script$/);
  refused(await script('run', join(folder, 'none.ipynb')), 1, /none\.ipynb does not exist/);
  await writeFile(join(folder, 'bad.ts'), '// %%\nconst a = 1;\nthrow new Error("mine");\n');
  refused(await script('run', join(folder, 'bad.ts')), 1, /bad\.ts: cell 1: Error: mine$/);
  const kept = await readNotebook(join(folder, 'bad.ipynb'));
  assert.match(JSON.stringify(codeOf(kept)[0]!.outputs), /"ename":"Error","evalue":"mine"/);
});

for (const name of (await readdir(join(root, 'notebooks'))).sort())
  test(`notebooks/${name} runs, and shows what it did`, async () => {
    const output = join(folder, name);
    const run = await runScript(['train/notebook.ts', 'run', `notebooks/${name}`, '--output', output]);
    assert.is(run.code, 0, run.stderr);
    const kinds = async (path: string): Promise<string[]> =>
      codeOf(parseNotebook(await readFile(path, 'utf8'), path)).map(({ outputs }) =>
        outputs.map((each) => ('data' in each ? Object.keys(each.data).join(' ') : each.output_type)).join(', '),
      );
    const found = await kinds(output);
    assert.ok(found.length >= 3 && found.every((each) => each === '' || !each.includes('error')), found.join('; '));
    assert.equal(await kinds(join(root, 'notebooks', name)), found, 'the outputs in the file are those of a run');
  });

test.run();
