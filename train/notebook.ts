/**
 * Executes notebooks in TypeScript without a browser, and turns them into scripts and back.
 *
 *   node --import tsx train/notebook.ts run notebooks/01-tensors.ipynb
 *   node --import tsx train/notebook.ts run experiment.ts --output experiment.ipynb
 *   node --import tsx train/notebook.ts script notebooks/01-tensors.ipynb > tensors.ts
 */
import { dirname, resolve } from 'node:path';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { readNotebook, scriptOf, writeNotebook } from './notebook/format.ts';
import type { Notebook } from './notebook/format.ts';
import { runNotebook } from './notebook/run.ts';

const command = {
  name: 'notebook',
  usage: 'node --import tsx train/notebook.ts',
  summary:
    'run: executes the cells and keeps what they show in the file. script: prints a notebook as a script, whose ' +
    'cells begin with // %%. A script is read wherever a notebook is.',
  positionals: { name: 'run|script FILE', help: '.ipynb, or a script .ts with cells', min: 2 },
  options: {
    output: { type: 'path', help: 'file to write; default, of run, the notebook itself' },
    keepGoing: { type: 'boolean', help: 'of run: go on behind a cell that failed' },
  },
} as const;

main(async () => {
  const { values, positionals } = parseOptions(command);
  const [action, ...files] = positionals;
  const { output, keepGoing } = values;
  if (action !== 'run' && action !== 'script')
    throw new UsageError(`${command.name}: "${action}" is nothing that it does; begin with run or script`);
  if (output !== undefined && files.length > 1)
    throw new UsageError(`${command.name}: ${files.length} files, and --output names one; give them one by one`);
  for (const file of files) {
    const notebook = await readNotebook(file);
    if (action === 'script') await printScript(notebook, output);
    else await run(file, notebook, output ?? file.replace(/\.ts$/, '.ipynb'), keepGoing);
  }
});

async function printScript(notebook: Notebook, output: string | undefined): Promise<void> {
  const script = scriptOf(notebook);
  if (output === undefined) process.stdout.write(script);
  else await writeFileAtomic(output, script);
}

async function run(file: string, given: Notebook, output: string, keepGoing: boolean): Promise<void> {
  const start = performance.now();
  const onCell = (number: number, of: number): void => console.error(`${file}: cell ${number} of ${of}`);
  const [home, folder, target] = [process.cwd(), dirname(resolve(file)), resolve(output)];
  process.chdir(folder); // as Jupyter starts a kernel
  const { notebook, failed } = await runNotebook(given, { folder, onCell, keepGoing });
  process.chdir(home);
  await writeNotebook(target, notebook);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const [first] = failed;
  if (first) throw new Error(`${file}: cell ${first.cell}: ${first.message}`);
  console.log(`${output}: ${notebook.cells.filter(({ kind }) => kind === 'code').length} cells ran in ${seconds} s`);
}
