// The library in somebody else's process: importing it does nothing, and a driver loads without a restart.
import { execFile } from 'node:child_process';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { aptSources } from '../../gpu/driver/apt.ts';
import { chooseByUser } from '../../gpu/driver/choose.ts';
import { cacheFolder, isOwnManifest, linkerName, manifestPath } from '../../gpu/driver/layout.ts';
import { root } from '../support/files.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('in process');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const require = createRequire(import.meta.url);
const tsx = pathToFileURL(require.resolve('tsx')).href;
const tsxApi = JSON.stringify(pathToFileURL(require.resolve('tsx/esm/api').replace(/cjs$/, 'mjs')).href);
const module = (path: string): string => JSON.stringify(pathToFileURL(join(root, path)).href);

/** Runs a program in Node as it was installed, on no driver of ours, with an empty home. */
async function run(name: string, text: string) {
  const path = join(folder, name);
  await writeFile(path, text);
  const node = process.env.TAPEFORM_NODE ?? process.execPath;
  const { VK_DRIVER_FILES: _, TAPEFORM_SAID: __, TAPEFORM_WHY: ___, TAPEFORM_QUIET: ____, ...rest } = process.env;
  const env = { ...rest, HOME: folder, XDG_CACHE_HOME: join(folder, 'cache') };
  return promisify(execFile)(node, ['--import', tsx, path], { env, cwd: folder });
}

test('importing the library opens, fetches, prints and changes nothing', async () => {
  const { stdout, stderr } = await run(
    'import.mts',
    `const globals = () => Object.keys(globalThis).filter((name) => !name.startsWith('__zod'));
    const facts = () => JSON.stringify([process.env, process.execArgv, process.execPath, globals()]);
    const before = facts();
    const { memory } = await import(${module('index.ts')});
    const after = facts();
    console.log(after === before, typeof gc, memory().live);`,
  );
  assert.is(stdout, 'true undefined 0\n');
  assert.is(stderr, '');
  assert.is((await readdir(folder)).includes('cache'), false);
});

test('without a device init says so, and the first read does; options that come late are refused', async () => {
  const { stdout } = await run(
    'without.mts',
    `process.env.VK_DRIVER_FILES = '/none';
    const { init, tensor } = await import(${module('autograd/index.ts')});
    const say = ({ message }) => console.log(message);
    await tensor([1]).add(1).item().catch(say);
    await init().catch(say);
    await init({ powerPreference: 'low-power' }).catch(say);`,
  );
  const [read, opened, late] = stdout.split('\n');
  assert.match(read!, /^no WebGPU adapter: (VK_DRIVER_FILES=\/none offers none|the Vulkan loader .* is missing)/);
  assert.is(opened, read);
  assert.is(late, 'init: the device is open already; call init before the first tensor is made');
});

test('a driver is loaded by path, and named to Vulkan from a worker thread too, until it is open', async () => {
  if (process.platform !== 'linux' || process.arch !== 'x64') return;
  const driver = join(folder, 'driver');
  await mkdir(join(driver, 'lib'), { recursive: true });
  // Any library does: what loads is not asked what it is.
  const real = join('/lib64', linkerName());
  for (const name of ['libvulkan.so.1', 'libvulkan_lvp.so']) await symlink(real, join(driver, 'lib', name));
  await writeFile(manifestPath(driver), JSON.stringify({ ICD: { library_path: './lib/libvulkan_lvp.so' } }));
  // Plain JavaScript first: Node 20 does not give a worker thread what --import set up.
  const worker = `const { parentPort } = require('node:worker_threads');
    (async () => {
      (await import(${tsxApi})).register();
      const { loadDriver } = await import(${module('gpu/driver/in-process.ts')});
      const done = await loadDriver(${JSON.stringify(driver)});
      parentPort.postMessage('loaded');
      await new Promise((next) => parentPort.once('message', next));
      await done();
      parentPort.postMessage('done');
    })();`;
  const text = `import { Worker } from 'node:worker_threads';
    import { loadDriver } from ${module('gpu/driver/in-process.ts')};
    await loadDriver('/nothing').catch(({ message }) => console.log(message));
    const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
    worker.on('error', ({ message }) => console.log(message));
    const step = () => new Promise((next) => worker.once('message', next));
    await step();
    console.log(process.env.VK_DRIVER_FILES);
    const done = step();
    worker.postMessage('go on');
    await done;
    console.log(process.env.VK_DRIVER_FILES);`;
  const [missing, open, closed] = (await run('thread.mts', text)).stdout.split('\n');
  assert.match(missing!, /^ENOENT.*nothing\/icd\.json/);
  assert.is(open, manifestPath(driver));
  assert.is(closed, 'undefined');
});

test('a running process gets the Mesa of its own release, which its C library can load', () => {
  const debian = 'http://mirror.example/debian/ bookworm main\n';
  const sources = aptSources({ family: 'debian', name: 'debian12', codename: 'bookworm' }, debian, true);
  const suites = sources.map(({ suites }) => suites);
  assert.equal(suites, [['bookworm', 'bookworm-backports'], ['bookworm']]);
  const ubuntu = 'http://mirror.example/ubuntu/ noble main\n';
  const [best] = aptSources({ family: 'ubuntu', name: 'ubuntu24.04', codename: 'noble' }, ubuntu, true);
  assert.equal(best, {
    uri: 'http://mirror.example/ubuntu/',
    suites: ['noble', 'noble-updates'],
    components: 'main universe',
  });
});

test('a driver of ours that is named in the environment is not the word of the user', () => {
  for (const kind of ['mesa', 'in-process', 'swiftshader'] as const) {
    const path = manifestPath(cacheFolder(kind, {}, '/home/a', 'debian12'));
    assert.ok(isOwnManifest(path), path);
    assert.is(chooseByUser({ VK_DRIVER_FILES: path }, [], isOwnManifest), undefined);
  }
  assert.is(isOwnManifest('/usr/share/vulkan/icd.d/lvp_icd.json'), false);
});

test.run();
