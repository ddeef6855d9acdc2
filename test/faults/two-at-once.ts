// Two processes, three and ten, at the same moment on one folder, file, hub cache or driver folder; readers
// beside a writer; locks whose holders were killed.
import { fork, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { manualSeed } from '../../autograd/index.ts';
import { lockFolder } from '../../common/lock.ts';
import { BertForSequenceClassification, BertTokenizer, loadModel, readModelFolder } from '../../models/index.ts';
import { openTokenCorpus, writeTokenCorpus } from '../../train/data/token-files.ts';
import { FakeHub } from '../support/fake-hub.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { root } from '../support/files.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';
import { settings } from '../support/small-bert.ts';
import { outputName, resultOf, smallCommands, withOutput } from '../support/small-commands.ts';
import type { SmallCommand } from '../support/small-commands.ts';
import { openCorpus, saveCorpus } from '../support/writers.ts';

export const name = 'two at once';

/** Milliseconds to wait for all processes, on however busy a machine. */
const patience = 20 * 60_000;

export async function run({ short }: FaultOptions): Promise<FaultOutcome[]> {
  const parent = await mkdtemp(join(tmpdir(), 'tapeform-'));
  try {
    return [
      await commandsAtOnce(parent, short),
      await readersBesideAWriter(parent, short ? 1000 : 20_000),
      await killedHolders(parent, short ? 1 : 20),
      await downloadsAtOnce(parent, short ? 3 : 10),
      await installationsAtOnce(parent, short ? 2 : 10),
    ];
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}

// Commands of which one may write.

async function commandsAtOnce(parent: string, short: boolean): Promise<FaultOutcome> {
  const tally = new Tally();
  const commands = await smallCommands(parent);
  for (const command of commands) {
    // The short form takes one, and compares with no run alone.
    if (short && command.what !== 'prepare-data clean') continue;
    const output = join(parent, outputName(command));
    const alone = short ? undefined : await resultAlone(command, output);
    for (const count of short ? [2] : command.trains ? [2, 3] : [2, 3, 10])
      await tally.try(`${command.what}, ${count} at once`, async () => {
        await rm(output, { recursive: true, force: true });
        await oneOf(parent, count, withOutput(command, output));
        const result = await resultOf(output);
        if (alone !== undefined && result !== alone) throw new Error('the result is not that of a run alone');
      });
    if (short) continue;
    await tally.try(`${command.what} after one that was killed`, async () => {
      await rm(output, { recursive: true, force: true });
      await killedWhenDone(parent, withOutput(command, output));
      const { code, stderr } = await runScript(withOutput(command, output));
      if (code !== 0) throw new Error(stderr.trim().split('\n').at(-1));
      if ((await resultOf(output)) !== alone) throw new Error('the result is not that of a run alone');
    });
    await rm(output, { recursive: true, force: true });
  }
  return tally.outcome('two, three and ten commands at once');
}

async function resultAlone(command: SmallCommand, output: string): Promise<string> {
  await rm(output, { recursive: true, force: true });
  const { code, stderr } = await runScript(withOutput(command, output));
  if (code !== 0) throw new Error(`${command.what}: ${stderr}`);
  return resultOf(output);
}

/** Processes of a script that stay when they are done: they cannot but meet. */
async function held(parent: string, count: number, words: readonly string[]) {
  const folder = await mkdtemp(join(parent, 'hold-'));
  const options = { env: { HOLD_FOLDER: folder } };
  let ended = 0;
  const runs = Array.from({ length: count }, () =>
    runScript(['--import', './test/support/hold.ts', ...words], options).finally(() => ended++),
  );
  const holders = async (): Promise<number[]> =>
    (await readdir(folder)).flatMap((file) => (file.startsWith('done-') ? [Number(file.slice(5))] : []));
  for (const deadline = Date.now() + patience; ended + (await holders()).length < count; await sleep(50))
    if (Date.now() > deadline) throw new Error(`${ended} of ${count} have ended, and the rest are not done`);
  const pids = await holders();
  const letGo = (): Promise<void> => writeFile(join(folder, 'go'), '');
  return { pids, letGo, ended: Promise.all(runs) };
}

/** Starts processes at once, of which one must do the work, and the others say which. */
async function oneOf(parent: string, count: number, words: readonly string[]): Promise<void> {
  const { pids, letGo, ended } = await held(parent, count, words);
  await letGo();
  const finished = await ended;
  const losers = finished.filter(({ code }) => code !== 0);
  if (pids.length !== 1 || losers.length !== count - 1)
    throw new Error(`${pids.length} did the work, ${losers.length} of ${count} were refused`);
  for (const loser of losers) checkRefusal(loser, pids[0]!);
}

function checkRefusal({ code, stderr }: Finished, holder: number): void {
  const said = stderr.trim().split('\n');
  const named = new RegExp(`is in use by process ${holder}( \\(node .*\\) since [\\d:]+)?; wait for its end`);
  if (code === null || said.length !== 1 || !named.test(said[0]!))
    throw new Error(`code ${code}, where ${holder} is at work: ${said.join(' / ')}`);
}

async function killedWhenDone(parent: string, words: readonly string[]): Promise<void> {
  const { pids, ended } = await held(parent, 1, words);
  if (pids.length !== 1) throw new Error((await ended)[0]!.stderr);
  process.kill(pids[0]!, 'SIGKILL');
  await ended;
}

// Readers beside a process that saves without pause: what they open is of one save.

/** How something is saved in two ways, and opened. */
interface Shared {
  readonly what: string;
  readonly save: (folder: string, which: 0 | 1) => Promise<unknown>;
  readonly open: (folder: string) => Promise<unknown>;
}

const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the'];
const saveModel =
  (maxShardBytes: number) =>
  async (folder: string, which: 0 | 1): Promise<void> => {
    manualSeed(which);
    const labels = [`${which} no`, `${which} yes`];
    const model = BertForSequenceClassification.fromConfig({ ...settings, labels });
    const tokenizer = BertTokenizer.fromVocab([...words, `word${which}`], { model_max_length: 100 + which });
    await model.savePretrained(folder, { tokenizer, maxShardBytes });
  };
const openModel = async (folder: string): Promise<unknown> => {
  const model = await loadModel(folder);
  const first = Array.from(await model.parameters()[0]!.data()).slice(0, 3);
  return [model.configText(), first];
};
const openTokenizer = async (folder: string): Promise<unknown> => {
  const tokenizer = await BertTokenizer.fromPretrained(folder);
  return [tokenizer.modelMaxLength, tokenizer.convertIdsToTokens([6])];
};
const openBoth = (folder: string): Promise<unknown> =>
  readModelFolder(folder, async () => [await openModel(folder), await openTokenizer(folder)]);
const saveTokens = (folder: string, which: 0 | 1): Promise<unknown> =>
  writeTokenCorpus(folder, [[1, 2, 3], ...(which === 1 ? [[4, 5]] : [])], { vocabSize: 10 });
const openTokens = async (folder: string): Promise<unknown> => {
  const corpus = await openTokenCorpus(folder);
  const ids = Array.from(corpus.read(0, corpus.tokens));
  corpus.close();
  return [ids, Array.from(corpus.offsets)];
};

const shared: readonly Shared[] = [
  { what: 'a tokenizer', save: saveModel(1e9), open: openTokenizer },
  { what: 'a token corpus', save: saveTokens, open: openTokens },
  { what: 'a model and its tokenizer', save: saveModel(1e9), open: openBoth },
  { what: 'a model in shards', save: saveModel(1000), open: openModel },
  { what: 'a prepared corpus', save: saveTexts, open: openCorpus },
];

function saveTexts(folder: string, which: 0 | 1): Promise<void> {
  const others = Array.from({ length: 40 }, (_, i) => `another line, ${i} of its kind`).join('\n');
  return saveCorpus(folder, which === 1 ? others : undefined);
}

async function readersBesideAWriter(parent: string, milliseconds: number): Promise<FaultOutcome> {
  const tally = new Tally();
  for (const { what, save, open } of milliseconds < 5000 ? shared.slice(0, 2) : shared) {
    const [a, b, target] = [join(parent, 'a/it'), join(parent, 'b/it'), join(parent, 'shared/it')] as const;
    const known: string[] = [];
    for (const [which, folder] of [[0, a] as const, [1, b] as const]) {
      await mkdir(folder, { recursive: true });
      await save(folder, which);
      known.push(JSON.stringify(await open(folder)));
    }
    await cp(a, target, { recursive: true });
    const writer = fork(join(root, 'test/support/save-alternately.ts'), [target, a, b], { stdio: 'ignore' });
    try {
      await once(writer, 'message');
      for (const end = Date.now() + milliseconds; Date.now() < end;)
        await tally.try(what, async () => {
          if (!known.includes(JSON.stringify(await open(target)))) throw new Error('it is of neither save');
        });
    } finally {
      writer.kill('SIGKILL');
      await once(writer, 'exit');
    }
    for (const folder of ['a', 'b', 'shared']) await rm(join(parent, folder), { recursive: true });
  }
  return tally.outcome('readers beside a process that saves without pause');
}

// Locks of the dead.

const turns = (...args: string[]): string[] => ['--import', 'tsx', join(root, 'test/support/take-turns.ts'), ...args];

async function killedHolders(parent: string, count: number): Promise<FaultOutcome> {
  const tally = new Tally();
  const folder = join(parent, 'locked');
  for (let i = 0; i < count; i++)
    for (const reused of [false, true])
      await tally.try(reused ? 'its number is that of another process now' : 'it was killed', async () => {
        const child = spawn(process.execPath, turns('lock', folder), { stdio: ['ignore', 'pipe', 'inherit'] });
        await once(child.stdout, 'data');
        child.kill('SIGKILL');
        await once(child, 'exit');
        if (reused) await giveNumber(child);
        (await lockFolder(folder)).release();
      });
  return tally.outcome('locks of processes that were killed');
}

/** Lets the socket of a dead process bear the number of this one. */
async function giveNumber({ pid }: ChildProcess): Promise<void> {
  const sockets = join('/tmp', `tapeform-locks-${process.getuid?.() ?? 0}`);
  for (const file of await readdir(sockets).catch(() => []))
    if (file.includes(`.${pid}-`))
      await rename(join(sockets, file), join(sockets, file.replace(`.${pid}-`, `.${process.pid}-`)));
}

// Caches, of which one process fetches for all.

/** What each of several processes says on stdout, at its end. */
function atOnce(count: number, args: readonly string[], env: Readonly<Record<string, string>>): Promise<string[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const child = spawn(process.execPath, args, {
        cwd: root,
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
      await once(child, 'close');
      return text.trim();
    }),
  );
}

async function downloadsAtOnce(parent: string, count: number): Promise<FaultOutcome> {
  const tally = new Tally();
  const files = { 'config.json': '{}', 'model.safetensors': 'w'.repeat(100_000), 'vocab.txt': 'the' };
  const hub = new FakeHub('a/b', files);
  const url = await hub.start();
  try {
    await tally.try(`${count} processes`, async () => {
      const env = { HF_ENDPOINT: url, HF_HUB_OFFLINE: '0' };
      const folders = await atOnce(count, turns('hub', join(parent, 'cache'), 'a/b'), env);
      for (const folder of folders)
        for (const [file, text] of Object.entries(files))
          if ((await readFile(join(folder, file), 'utf8')) !== text) throw new Error(`${file} is another`);
      const sent = hub.requests.filter((request) => request.endsWith('/model.safetensors')).length;
      if (sent !== 1) throw new Error(`the weights were sent ${sent} times`);
      const left = await readdir(join(parent, 'cache'), { recursive: true });
      if (left.some((file) => /incomplete|\.tmp$/.test(file))) throw new Error(`it left ${left.join(', ')}`);
    });
  } finally {
    await hub.stop();
  }
  return tally.outcome('one model of the hub, by many at once');
}

/** The network is an npm that notes that it was asked and fails a second later. */
async function installationsAtOnce(parent: string, count: number): Promise<FaultOutcome> {
  const tally = new Tally();
  const bin = join(parent, 'bin');
  const asked = join(parent, 'asked');
  await mkdir(bin);
  await writeFile(join(bin, 'npm'), `#!/bin/sh\necho asked >> ${asked}\nsleep 1\necho no network >&2\nexit 1\n`);
  await chmod(join(bin, 'npm'), 0o755);
  await tally.try(`${count} processes`, async () => {
    const env = { PATH: `${bin}:${process.env['PATH'] ?? ''}` };
    const said = await atOnce(count, turns('driver', join(parent, 'cache/driver')), env);
    const odd = said.find((text) => !/^failed: no software Vulkan driver could be installed \(.*\n?.*$/.test(text));
    if (odd !== undefined) throw new Error(`it said ${odd}`);
    const times = (await readFile(asked, 'utf8')).trim().split('\n').length;
    if (times !== 1) throw new Error(`the network was asked ${times} times`);
  });
  return tally.outcome('one driver folder, by many at once');
}
