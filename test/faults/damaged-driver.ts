// The software driver's cache folder: files cut, missing, flipped, planted, given away; and started so.
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../common/random.ts';
import { cacheFolder } from '../../gpu/driver/layout.ts';
import { distribution } from '../../gpu/driver/machine.ts';
import { recordDriver, verifyDriver } from '../../gpu/driver/verify.ts';
import { root } from '../support/files.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'damaged driver cache: files cut, missing, flipped, planted, given away';

const { name: system } = distribution(fs);

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const random = new Random(seed);
  const base = fs.mkdtempSync(join(tmpdir(), 'tapeform-'));
  const [checked, started] = [new Tally(), new Tally()];
  try {
    const env = { XDG_CACHE_HOME: base };
    const folder = cacheFolder('mesa', env, '', system);
    const real = cacheFolder('mesa', process.env, process.env.HOME ?? homedir(), system);
    const whole = !short && fs.existsSync(real) && 'facts' in verifyDriver(real);
    if (whole) {
      fs.cpSync(real, folder, { recursive: true, verbatimSymlinks: true });
      fs.rmSync(join(folder, 'verified.json'), { force: true });
    } else makeSmall(folder);
    if (!('facts' in verifyDriver(folder))) throw new Error('the copy of the driver is not accepted');
    for (const file of filesBelow(folder)) {
      for (const [what, harm] of harms(random)) {
        await checked.try(`${what}: ${file}`, () => harmed(join(folder, file), harm, () => mustRefuse(folder)));
      }
    }
    for (const [what, harm] of harms(random).slice(0, short ? 3 : undefined)) {
      const file = join(folder, whole ? 'lib/libLLVM.so.21.1' : 'lib/a.so');
      if (!fs.existsSync(file)) continue;
      await started.try(`${what}, then started`, () => harmed(file, harm, () => mustSay(env)));
    }
    await started.try('driver.json empty, then started', () =>
      harmed(
        join(folder, 'driver.json'),
        (path) => fs.truncateSync(path, 0),
        () => mustSay(env),
      ),
    );
  } finally {
    fs.rmSync(base, { recursive: true });
  }
  return [checked.outcome('damaged driver cache'), started.outcome('damaged driver cache, started')];
}

function makeSmall(folder: string): void {
  for (const sub of ['lib', 'bin']) fs.mkdirSync(join(folder, sub), { recursive: true });
  for (const file of ['lib/a.so', 'lib/b.so', 'bin/node', 'icd.json'])
    fs.writeFileSync(join(folder, file), 'x'.repeat(99));
  fs.symlinkSync('a.so', join(folder, 'lib/a.so.1'));
  recordDriver(folder, { description: 'd', source: 's', megabytes: 1, seconds: 1 });
}

type Harm = (path: string) => void;

function harms(random: Random): [what: string, harm: Harm][] {
  const all: [what: string, harm: Harm][] = [
    ['missing', (path) => fs.rmSync(path)],
    ['empty', (path) => fs.truncateSync(path, 0)],
    ['cut', (path) => fs.truncateSync(path, random.int(fs.statSync(path).size))],
    ['one byte more', (path) => fs.appendFileSync(path, 'x')],
    ['writable by all', (path) => fs.chmodSync(path, 0o666)],
    ['a bit flipped', flip(random)],
    ['another file beside', (path) => fs.writeFileSync(`${path}.planted`, 'x')],
    [
      'a link to elsewhere',
      (path) => {
        fs.rmSync(path);
        fs.symlinkSync('/etc/passwd', path);
      },
    ],
  ];
  // Only root gives files away.
  return process.getuid?.() === 0 ? [...all, ['of another user', (path) => fs.chownSync(path, 1001, 1001)]] : all;
}

function flip(random: Random): Harm {
  return (path) => {
    const file = fs.openSync(path, 'r+');
    const at = random.int(fs.fstatSync(file).size);
    const byte = Buffer.alloc(1);
    fs.readSync(file, byte, 0, 1, at);
    byte[0]! ^= 1 << random.int(8);
    fs.writeSync(file, byte, 0, 1, at);
    fs.closeSync(file);
  };
}

/** Harms a file, checks, and puts it back. */
async function harmed(path: string, harm: Harm, check: () => unknown): Promise<void> {
  const copy = `${path.slice(0, path.indexOf('/tapeform/'))}/copy`;
  fs.copyFileSync(path, copy);
  const { mode } = fs.statSync(path);
  try {
    harm(path);
    await check();
  } finally {
    fs.rmSync(path, { force: true });
    fs.rmSync(`${path}.planted`, { force: true });
    fs.copyFileSync(copy, path);
    fs.chmodSync(path, mode);
  }
}

function mustRefuse(folder: string): void {
  const verdict = verifyDriver(folder);
  if (!('damage' in verdict)) throw new Error('it was accepted');
  if (verdict.damage.includes('\n')) throw new Error(`the message is ${JSON.stringify(verdict.damage)}`);
}

/** Starts a program on the driver, without a way to fetch another: it must say so and end by itself. */
async function mustSay(env: Record<string, string>): Promise<void> {
  const { code, signal, stderr } = await start(env);
  if (signal !== null) throw new Error(`ended by ${signal}`);
  if (!/tapeform: the driver in .* is damaged \(.*\); getting it again/.test(stderr)) throw new Error(stderr);
  if (/^ {4}at .*gpu\/driver/m.test(stderr) || /Unexpected end/.test(stderr))
    throw new Error(`code ${code}: ${stderr}`);
}

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

function start(more: Record<string, string>): Promise<Ended> {
  const { VK_DRIVER_FILES: _, TAPEFORM_SAID: __, TAPEFORM_WHY: ___, ...rest } = process.env;
  const env = { ...rest, PATH: '/nowhere', TAPEFORM_DRIVER: 'software', TAPEFORM_QUIET: '0', ...more };
  // Not process.execPath, which may be the wrapper of the driver that this process runs on.
  const node = process.env.TAPEFORM_NODE ?? process.execPath;
  const child = spawn(node, ['--import', 'tsx', 'gpu/info.ts'], {
    cwd: root,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stderr });
    });
  });
}

/** The plain files of a folder, but for the notes of the last check. */
function filesBelow(folder: string, below = ''): string[] {
  return fs.readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
    const path = join(below, entry.name);
    if (entry.isDirectory()) return filesBelow(folder, path);
    return entry.isFile() && entry.name !== 'verified.json' ? [path] : [];
  });
}
