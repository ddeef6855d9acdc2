// Disks that are truly full: a tmpfs of a few kilobytes under what commands write, /tmp and the cache.
import * as fs from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cacheFolder } from '../../gpu/driver/layout.ts';
import { distribution } from '../../gpu/driver/machine.ts';
import { verifyDriver } from '../../gpu/driver/verify.ts';
import { FakeHub } from '../support/fake-hub.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { root } from '../support/files.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';
import { canMount, runOnSmallDisk } from '../support/small-disk.ts';
import { openCorpus, openModel, openTokenizer, saveBert, saveCorpus, saveGpt } from '../support/writers.ts';

export const name = 'a full disk';

/** A command that writes into `disk`, which holds what `before` made, and how a reader opens that. */
interface Command {
  readonly what: string;
  readonly args: (parent: string, disk: string) => readonly string[];
  readonly before: (folder: string, parent: string) => Promise<unknown>;
  readonly open: (folder: string) => Promise<unknown>;
  readonly env?: Readonly<Record<string, string>>;
  /** Of the short form. */
  readonly short?: boolean;
  /** It takes long, so that fewer disks are tried. */
  readonly trains?: boolean;
}

const words = (line: string): string[] => line.split(' ');
const module = (path: string): string => JSON.stringify(pathToFileURL(join(root, path)).href);
/** A program that ends as a script does: an error is one line. */
const program = (text: string): string[] => [
  '--input-type=module',
  '-e',
  `const { main } = await import(${module('train/cli/cli.ts')}); main(async () => { ${text} });`,
];

const fineTune = (parent: string, output: string, epochs: number): string[] =>
  ['train/finetune-classifier.ts', '--data', join(parent, 'reviews.csv'), '--output', output].concat(
    words(`--epochs ${epochs} --save-every 3`),
    smallClassifier,
  );
const pretrain = (parent: string, output: string, steps: number): string[] =>
  ['train/pretrain-gpt.ts', '--data', join(parent, 'texts.txt'), '--output', output].concat(
    words(`--tokenizer char --layers 1 --hidden 16 --heads 2 --context 24 --batch-size 4 --steps ${steps}`),
    words('--warmup-steps 2 --save-every 4 --no-clean'),
  );

const commands: readonly Command[] = [
  {
    what: 'train-tokenizer',
    args: (parent, disk) =>
      words(`train/train-tokenizer.ts --data ${join(parent, 'texts.txt')} --type bpe --vocab-size 300`).concat(
        words(`--overwrite --output ${disk}`),
      ),
    before: saveGpt,
    open: openTokenizer,
  },
  {
    what: 'prepare-data',
    args: (parent, disk) =>
      words(`train/prepare-data.ts all ${join(parent, 'texts.txt')} --split position --documents line`).concat(
        words(`--no-clean --tokenizer ${join(parent, 'model')} --output ${disk}`),
      ),
    before: (folder) => saveCorpus(folder),
    open: openCorpus,
  },
  {
    what: 'export',
    args: (parent, disk) => ['train/export.ts', '--model', join(parent, 'model'), '--output', disk],
    before: saveGpt,
    open: openModel,
    short: true,
  },
  {
    what: 'finetune-classifier',
    args: (parent, disk) => fineTune(parent, disk, 1),
    before: (folder, parent) => succeed(fineTune(parent, folder, 2)),
    open: openModel,
    trains: true,
  },
  {
    what: 'pretrain-gpt',
    args: (parent, disk) => pretrain(parent, disk, 8),
    before: (folder, parent) => succeed(pretrain(parent, folder, 12)),
    open: openModel,
    trains: true,
  },
];

async function succeed(args: readonly string[]): Promise<void> {
  const { code, stderr } = await runScript(args);
  if (code !== 0) throw new Error(stderr);
}

/** Throws unless a command ended well, or with one line that says that there is no room. */
function checkEnd({ code, stdout, stderr }: Finished, well: boolean): void {
  const last = stderr.trim().split('\n').at(-1)!;
  if (code !== (well ? 0 : 1)) throw new Error(`exit code ${code}: ${last || stdout.slice(-200)}`);
  if (well) return;
  if (!/disk is full|[Nn]o space|free (some|\d+)|bytes? (are|is) (there|free)/.test(last)) throw new Error(last);
  if (/^ {4}at /m.test(stderr)) throw new Error(`a stack: ${stderr.slice(0, 400)}`);
}

const weights = ['model.safetensors', 'config.json', 'tokenizer.json', 'vocab.txt', 'train.bin'];

/** What a reader gets of a folder, and the bytes of what it reads. */
async function stateOf(folder: string, open: Command['open']): Promise<string> {
  const names = weights.filter((file) => fs.existsSync(join(folder, file)));
  const bytes = names.map((file) => fs.readFileSync(join(folder, file)).toString('base64'));
  return JSON.stringify([await open(folder), names, bytes]);
}

/** A command, the folder of its old result, and what a reader gets of that and of what it writes over it. */
interface Known extends Command {
  readonly old: string;
  readonly oldState: string;
  readonly newState: string;
  /** Kibibytes of the new result. */
  readonly wanted: number;
}

/** Makes the old result in a folder below `parent`, and lets the command write over a copy. */
async function runOnce(command: Command, parent: string): Promise<Known> {
  const { what, args, before, open, env = {} } = command;
  const [old, made] = [join(parent, what.replace(/\W/g, '-')), join(parent, 'made')];
  await mkdir(old);
  await before(old, parent);
  const oldState = await stateOf(old, open);
  await cp(old, made, { recursive: true });
  checkEnd(await runScript(args(parent, made), { env }), true);
  const newState = await stateOf(made, open);
  if (newState === oldState) throw new Error(`${what}: the old state is the new one; nothing is tested`);
  const wanted = size(made);
  await rm(made, { recursive: true });
  return { ...command, old, oldState, newState, wanted };
}

/** One command on a disk with room for each of some shares of what it writes. */
async function fill(command: Known, parent: string, shares: readonly number[]): Promise<FaultOutcome> {
  const { what, args, open, env = {}, old, oldState, newState, wanted } = command;
  const tally = new Tally();
  const disk = join(parent, 'disk');
  await mkdir(disk, { recursive: true });
  for (const share of shares) {
    const kilobytes = size(old) + Math.ceil(share * wanted);
    await tally.try(`${what}, ${kilobytes} KiB, ${share} of ${wanted} free`, async () => {
      const ends = await runOnSmallDisk(args(parent, disk), { parent, disk, before: old, kilobytes, env });
      const done = ends.full.code === 0;
      checkEnd(ends.full, done);
      if ((await stateOf(ends.left, open)) !== (done ? newState : oldState))
        throw new Error(done ? 'it was said to be written, and was not' : 'the old result is not whole');
      const litter = fs.readdirSync(ends.left, { recursive: true, encoding: 'utf8' }).filter((it) => /\.tmp/.test(it));
      if (litter.length > 0) throw new Error(`it left ${litter.join(', ')}`);
      checkEnd(ends.room, true);
      if ((await stateOf(ends.after, open)) !== newState) throw new Error('with room it wrote something else');
    });
  }
  return tally.outcome(`${name}: ${what}`);
}

/** Kibibytes of a folder on a tmpfs, in whole pages. */
function size(folder: string): number {
  const entries = fs.readdirSync(folder, { withFileTypes: true, recursive: true });
  const pages = entries.map((entry) =>
    entry.isFile() ? Math.ceil(fs.statSync(join(entry.parentPath, entry.name)).size / 4096) : 0,
  );
  return 4 * pages.reduce((a, b) => a + b, 0);
}

/** A model from a hub into a cache on a small disk. */
async function fillHub(parent: string): Promise<FaultOutcome> {
  const hub = new FakeHub('a/b', { 'config.json': '{}', 'model.safetensors': 'w'.repeat(300_000) });
  const hubUrl = await hub.start();
  try {
    const download = (disk: string): string[] =>
      program(`const { downloadModel } = await import(${module('models/io/hub-download.ts')});
await downloadModel('a/b', (listing) => listing, { cache: ${JSON.stringify(disk)}, hubUrl: '${hubUrl}' });`);
    const known = await runOnce(
      {
        what: 'a download from a hub',
        args: (_, disk) => download(disk),
        before: (folder) => writeFile(join(folder, 'config.json'), 'another'),
        open: (folder) => {
          const models = join(folder, 'models--a--b', 'snapshots');
          const [commit] = fs.existsSync(models) ? fs.readdirSync(models) : [];
          const file = join(models, commit ?? '', 'model.safetensors');
          return Promise.resolve(fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : 'none');
        },
        env: { HF_HUB_OFFLINE: '0' },
      },
      parent,
    );
    return await fill(known, parent, [0, 0.5, 0.9, 1]);
  } finally {
    await hub.stop();
  }
}

/** The driver's installation into a cache on a small disk, from the folder of an installed one. */
async function fillDriver(parent: string, driver: string): Promise<FaultOutcome> {
  const tally = new Tally();
  const [disk, before] = [join(parent, 'cache'), join(parent, 'nothing')];
  for (const folder of [disk, before]) await mkdir(folder);
  const folder = join(disk, 'tapeform', 'vulkan-2-test');
  const install = program(`process.execPath = process.env.TAPEFORM_NODE ?? process.execPath; // not the linker
const { ensureInstalled } = await import(${module('gpu/driver/install.ts')});
const { cpSync } = await import('node:fs');
const recipe = { name: 'a copy', host: 'here', library: 'libvulkan_lvp.so', fetch: async (work) =>
  cpSync(${JSON.stringify(join(driver, 'lib'))}, work + '/lib', { recursive: true, verbatimSymlinks: true }) };
const system = { family: 'debian', name: 'test', codename: '' };
await ensureInstalled('mesa', ${JSON.stringify(folder)}, system, () => {}, true, async () => [recipe]);`);
  const whole = size(join(driver, 'lib'));
  for (const kilobytes of [8, 1000, Math.round(whole / 2), whole - 400])
    await tally.try(`the driver, ${kilobytes} KiB`, async () => {
      const ends = await runOnSmallDisk(install, { parent, disk, before, kilobytes });
      checkEnd(ends.full, false);
      if (fs.existsSync(join(ends.left, 'tapeform', 'vulkan-2-test'))) throw new Error('half a driver is there');
      const litter = fs.readdirSync(join(ends.left, 'tapeform'));
      if (litter.some((it) => it.includes('.tmp'))) throw new Error(`it left ${litter.join(', ')}`);
      checkEnd(ends.room, true);
      if (!('facts' in verifyDriver(join(ends.after, 'tapeform', 'vulkan-2-test')))) throw new Error('it is not whole');
    });
  return tally.outcome(`${name}: the driver's installation`);
}

/**
 * A training whose /tmp, or whose ~/.cache, is full: these hold what makes it faster, so it must succeed,
 * or say what is missing; then with room.
 */
async function fillAround(parent: string): Promise<FaultOutcome> {
  const tally = new Tally();
  const place = '/srv'; // there everywhere, and not below /tmp
  await mkdir(join(parent, 'home', '.cache', 'tapeform'), { recursive: true });
  const base = process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? homedir(), '.cache');
  const full = (folder: string): string =>
    `mount -t tmpfs -o size=16k tmpfs ${folder} && cat /dev/zero > ${folder}/filler 2> /dev/null`;
  const cache = `${place}/home/.cache`;
  const scenes: [what: string, setUp: string, env: Record<string, string>][] = [
    ['/tmp', full('/tmp'), {}],
    // tsx, which runs the scripts, cannot do without its folder in /tmp but where it is told to.
    ['/tmp without a name left', 'mount -t tmpfs -o nr_inodes=1 tmpfs /tmp', { TSX_DISABLE_CACHE: '1' }],
    [
      '~/.cache',
      `mount -t tmpfs -o size=16k tmpfs ${cache} && mkdir ${cache}/tapeform && ` +
        `mount --bind '${join(base, 'tapeform')}' ${cache}/tapeform; cat /dev/zero > ${cache}/filler 2> /dev/null`,
      { HOME: `${place}/home` },
    ],
    ['the shader cache', full(`${place}/home`), { MESA_SHADER_CACHE_DIR: `${place}/home` }],
  ];
  for (const [what, setUp, env] of scenes)
    await tally.try(what, async () => {
      await rm(join(parent, 'made'), { recursive: true, force: true });
      const script = `mount --bind '${parent}' ${place} || exit 97; ${setUp}; "$@"`;
      const under = ['unshare', '-rm', 'sh', '-c', script, 'sh'];
      checkEnd(await runScript(pretrain(place, `${place}/made`, 4), { under, env }), true);
      await openModel(join(parent, 'made'));
    });
  return tally.outcome(`${name}: /tmp, ~/.cache, the shader cache`);
}

/** `ulimit -f`: files may grow to so many blocks. */
async function limitFiles(
  { what, args, open, old, oldState, newState }: Known,
  parent: string,
  limits: readonly number[],
  tally: Tally,
): Promise<void> {
  const output = join(parent, 'limited');
  for (const blocks of limits)
    await tally.try(`${what}, ulimit -f ${blocks}`, async () => {
      await rm(output, { recursive: true, force: true });
      await cp(old, output, { recursive: true });
      const under = ['sh', '-c', `ulimit -f ${blocks}; exec "$@"`, 'sh'];
      const { code, stderr } = await runScript(args(parent, output), { under });
      const last = stderr.trim().split('\n').at(-1)!;
      if (code !== 0 && (code !== 1 || !/ulimit -f/.test(last))) throw new Error(`exit code ${code}: ${last}`);
      if ((await stateOf(output, open)) !== (code === 0 ? newState : oldState))
        throw new Error(code === 0 ? 'it was said to be written, and was not' : 'the old result is not whole');
      if (code === 0) return;
      await succeed(args(parent, output));
      if ((await stateOf(output, open)) !== newState) throw new Error('without a limit it wrote something else');
    });
}

export async function run({ short }: FaultOptions): Promise<FaultOutcome[]> {
  const parent = await mkdtemp(join(tmpdir(), 'disk-'));
  const outcomes: FaultOutcome[] = [];
  try {
    await saveBert(join(parent, 'model'));
    await writeFile(join(parent, 'reviews.csv'), reviews);
    await writeFile(
      join(parent, 'texts.txt'),
      'the quick fox jumps over the lazy dog, quick and quicker\n'.repeat(200),
    );
    const mounts = canMount();
    const limited = new Tally();
    for (const command of commands.filter((it) => !short || it.short)) {
      const known = await runOnce(command, parent);
      const { trains } = command;
      if (mounts) outcomes.push(await fill(known, parent, short ? [0.5] : trains ? [0, 0.5, 0.9] : [0, 0.5, 0.9, 1.5]));
      await limitFiles(known, parent, short || trains ? [1] : [0, 8], limited);
    }
    outcomes.push(limited.outcome(`${name}: ulimit -f`));
    if (mounts && !short) {
      outcomes.push(await fillHub(parent));
      const driver = cacheFolder('mesa', process.env, homedir(), distribution(fs).name);
      if ('facts' in verifyDriver(driver)) {
        outcomes.push(await fillDriver(parent, driver));
        // The scripts run from the repository, which must not be below the /tmp that is covered.
        if (!root.startsWith('/tmp/') && fs.existsSync('/srv')) outcomes.push(await fillAround(parent));
      }
    }
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
  return outcomes;
}
