/**
 * `npm run test:runtimes [-- NAME ...]`: the package, built, in an empty folder, used by the same small
 * script on every runtime that a user may have. Minutes, and a network the first time: what runs it is
 * installed into the cache, not into the project. Prints the table of docs/runtimes.md.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { alignTable } from '../common/text-table.ts';
import { cacheBase } from '../gpu/driver/layout.ts';
import { findChromium, withPage } from './support/chromium.ts';
import { consumerScript, installPackage, problemOf } from './support/packed.ts';
import { serving } from './support/static-server.ts';

const run = promisify(execFile);

interface Runtime {
  /** npm packages that bring it, with versions. */
  readonly peers?: readonly string[];
  /** Files beside use.mjs. */
  readonly files?: Readonly<Record<string, string>>;
  /** The command line; `bin` is the folder of the peers' programs. */
  readonly command: (bin: string) => readonly string[];
  /** The command only bundles, into the folder `page`, which Chromium then opens. */
  readonly inBrowser?: boolean;
}

// Not process.execPath, which is that of the driver's own node where this process runs on it.
const node = process.env.TAPEFORM_NODE ?? process.execPath;
/** Another version, as the npm packages that npm's own `node` installs bring it. */
function nodeOf(version: number): Runtime {
  const name = `node-${process.platform}-${process.arch}`;
  return { peers: [`${name}@${version}`], command: (bin) => [join(bin, '..', name, 'bin/node'), 'use.mjs'] };
}

const testFile = "import { test } from 'vitest';\ntest('use', async () => { await import('./use.mjs'); }, 120_000);\n";

function vitestOf(pool: string): Runtime {
  const args = ['run', '--pool', pool, '--disable-console-intercept'];
  return {
    peers: ['vitest@3'],
    files: { 'use.test.mjs': testFile },
    command: (bin) => [node, join(bin, '../vitest/vitest.mjs'), ...args],
  };
}

/** A page that runs use.mjs, as an application bundles it. */
function pageOf(peer: string, command: (bin: string) => readonly string[]): Runtime {
  const page = '<!doctype html><meta charset="utf-8"><title>use</title><script type="module" src="./use.mjs"></script>';
  return { peers: [peer], files: { 'index.html': page }, command, inBrowser: true };
}

const runtimes: Readonly<Record<string, Runtime>> = {
  node: { command: () => [node, 'use.mjs'] },
  'node 22': nodeOf(22),
  'node 24': nodeOf(24),
  tsx: {
    peers: ['tsx@4'],
    files: { 'use.ts': "import './use.mjs';\nconst worked: boolean = true;\nexport { worked };\n" },
    command: (bin) => [node, join(bin, '../tsx/dist/cli.mjs'), 'use.ts'],
  },
  commonjs: {
    files: { 'use.cjs': "void (async () => { await import('./use.mjs'); })();\n" },
    command: () => [node, 'use.cjs'],
  },
  worker_threads: {
    files: { 'worker.mjs': "import { Worker } from 'node:worker_threads';\nnew Worker('./use.mjs');\n" },
    command: () => [node, 'worker.mjs'],
  },
  'vitest, forks': vitestOf('forks'),
  'vitest, threads': vitestOf('threads'),
  bun: { peers: ['bun@1'], command: (bin) => [join(bin, 'bun'), 'use.mjs'] },
  deno: { peers: ['deno@2'], command: (bin) => [join(bin, 'deno'), 'run', '-A', '--unstable-webgpu', 'use.mjs'] },
  'chromium, esbuild': pageOf('esbuild@0', (bin) => [
    ...[join(bin, 'esbuild'), 'use.mjs', '--bundle', '--minify', '--format=esm', '--outfile=page/use.mjs'],
  ]),
  'chromium, vite': pageOf('vite@7', (bin) => [
    ...[node, join(bin, '../vite/bin/vite.js'), 'build', '--outDir', 'page', '--base', './', '--target', 'es2022'],
  ]),
};

/** Installs what brings a runtime, once, and returns the folder of its programs. */
async function install(name: string, peers: readonly string[]): Promise<string> {
  const folder = join(cacheBase(process.env, homedir()), 'runtimes', name.replace(/\W+/g, '-'));
  await mkdir(folder, { recursive: true });
  if (peers.length > 0)
    await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', folder, ...peers]);
  return join(folder, 'node_modules/.bin');
}

/** The line of losses among what the script printed; one without any, where it printed none. */
const lineOfLosses = (lines: readonly string[]): string =>
  lines.find((line) => line.includes('"losses"')) ?? '{ "losses": [] }';

/** The line that the first runtime printed. */
let first: string | undefined;

/** Opens the bundled page; returns the line that it prints and the size of its scripts. */
async function usePage(folder: string): Promise<readonly [line: string, kilobytes: number]> {
  const page = join(folder, 'page');
  if (!(await readdir(page)).includes('index.html')) await cp(join(folder, 'index.html'), join(page, 'index.html'));
  const scripts = (await readdir(page, { recursive: true })).filter((name) => /\.m?js$/.test(name));
  const sizes = await Promise.all(scripts.map(async (name) => (await stat(join(page, name))).size));
  const line = await serving(page, (address) =>
    withPage(async ({ goto, lines, errors }) => {
      await goto(`${address}/`);
      const deadline = Date.now() + 300_000;
      while (!lines.some((each) => each.includes('"losses"'))) {
        if (errors.length > 0) throw new Error(errors[0]);
        if (Date.now() > deadline) throw new Error(`the page printed no losses in 300 s, but ${lines.join('; ')}`);
        await new Promise((done) => setTimeout(done, 100));
      }
      return lineOfLosses(lines);
    }),
  );
  return [line, Math.round(sizes.reduce((a, b) => a + b, 0) / 1000)];
}

/** Runs the script on one runtime; returns a row: its name, "works" or what was wrong, seconds. */
async function tryRuntime(name: string, folder: string): Promise<readonly string[]> {
  const { peers = [], files = {}, command, inBrowser = false } = runtimes[name]!;
  if (inBrowser && findChromium() === undefined)
    return [name, 'not run: there is no Chromium here (Debian: apt-get install chromium)', ''];
  const { VK_DRIVER_FILES: _, TAPEFORM_WHY: __, TAPEFORM_SAID: ___, NODE_OPTIONS: ____, ...env } = process.env;
  const begun = performance.now();
  let problem: string;
  let size = '';
  try {
    const bin = await install(name, peers);
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
    // vitest is looked for beside the tests.
    if (name.startsWith('vitest'))
      await symlink(join(bin, '../vitest'), join(folder, 'node_modules/vitest')).catch(() => undefined);
    if (inBrowser) await rm(join(folder, 'page'), { recursive: true, force: true });
    const [program, ...args] = command(bin);
    const { stdout } = await run(program!, args, { cwd: folder, env, timeout: 300_000 });
    let line = lineOfLosses(stdout.split('\n'));
    if (inBrowser) {
      const [printed, kilobytes] = await usePage(folder);
      line = printed;
      size = `, ${kilobytes} KB`;
    }
    problem = problemOf(line, first);
    first ??= line;
  } catch (error) {
    problem = String((error as { stderr?: string }).stderr || error)
      .trim()
      .split('\n')
      .slice(-3)
      .join(' ');
  }
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  return [name, problem || `works${size}`, `${seconds} s`];
}

const asked = process.argv.slice(2);
const unknown = asked.find((name) => !Object.hasOwn(runtimes, name));
if (unknown !== undefined) throw new Error(`no runtime "${unknown}"; there are ${Object.keys(runtimes).join(', ')}`);
const folder = await mkdtemp(join(tmpdir(), 'tapeform-runtimes-'));
const rows: (readonly string[])[] = [];
try {
  await installPackage(folder);
  await writeFile(join(folder, 'use.mjs'), consumerScript);
  for (const name of asked.length > 0 ? asked : Object.keys(runtimes)) {
    rows.push(await tryRuntime(name, folder));
    console.log(rows.at(-1)!.join('  '));
  }
} finally {
  await rm(folder, { recursive: true });
}
console.log(`\n${alignTable(['way in', 'result', 'time'], rows, new Set([2]))}`);
const works = rows.filter(([, result]) => result!.startsWith('works')).length;
const left = rows.filter(([, result]) => result!.startsWith('not run')).length;
console.log(`${works} of ${rows.length - left} work${left > 0 ? `; ${left} could not be tried here` : ''}`);
process.exitCode = works + left === rows.length ? 0 : 1;
