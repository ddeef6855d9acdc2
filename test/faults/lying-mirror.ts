// A Debian mirror on this machine that lies: about its release, its lists, its packages and what is in them.
import * as fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { fetchMesa } from '../../gpu/driver/apt.ts';
import { ensureInstalled } from '../../gpu/driver/install.ts';
import { recordDriver, verifyDriver } from '../../gpu/driver/verify.ts';
import type { MirrorLie, MirrorPlan, SigningKey, TarEntry } from '../support/fake-mirror.ts';
import { deb, FakeMirror, makeKey, mirrorFiles, mirrorPaths, releaseDate } from '../support/fake-mirror.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'a mirror that lies';

const day = 86_400_000;
const suites = ['forky'];

/** What a lie needs to know of where it is told. */
interface Scene {
  readonly key: SigningKey;
  readonly other: SigningKey;
  /** A folder outside of the cache, whose file `evil` must stay. */
  readonly outside: string;
  /** A server on another port with the same files. */
  readonly elsewhere: string;
}

/** One lie, and how the installation must end: in this line, or with a driver. */
interface MirrorFault {
  readonly name: string;
  readonly says: RegExp | 'served';
  readonly plan?: (scene: Scene) => MirrorPlan;
  readonly lie?: (scene: Scene) => MirrorLie;
  /** The date of the release that this mirror gave before. */
  readonly seen?: number;
  /** Of the short form. */
  readonly short?: boolean;
  /** Takes apt's patience, 20 s for each try. */
  readonly slow?: boolean;
}

type Rest = Partial<Pick<MirrorFault, 'short' | 'slow' | 'seen'>>;

/** A release that says something else, signed as it should be. */
const release = (
  name: string,
  says: MirrorFault['says'],
  change: (text: string) => string,
  more: Rest = {},
): MirrorFault => ({ name: `release: ${name}`, says, plan: () => ({ release: change }), ...more });

const field = (name: string, value: string) => (text: string) =>
  text.replace(new RegExp(`^${name}: .*\n`, 'm'), value === '' ? '' : `${name}: ${value}\n`);

/** A release signed otherwise than it should be. */
const signed = (
  name: string,
  says: MirrorFault['says'],
  sign: (scene: Scene) => NonNullable<MirrorPlan['sign']>,
  more: Rest = {},
): MirrorFault => ({ name: `release: ${name}`, says, plan: (scene) => ({ sign: sign(scene) }), ...more });

/** A signed list of packages that says something else. */
const list = (
  name: string,
  says: MirrorFault['says'],
  change: (text: string) => string,
  more: Rest = {},
): MirrorFault => ({ name: `list: ${name}`, says, plan: () => ({ list: change }), ...more });

/** A package whose list and release are right about it, with these files in it. */
const contents = (
  name: string,
  says: MirrorFault['says'],
  files: (scene: Scene) => readonly TarEntry[],
  more: Rest = {},
): MirrorFault => ({ name: `in the package: ${name}`, says, plan: (scene) => ({ files: files(scene) }), ...more });

/** An answer that nothing signed knows of. */
const sent = (
  name: string,
  says: MirrorFault['says'],
  which: string,
  answer: (response: ServerResponse, bytes: Buffer, scene: Scene) => unknown,
  more: Rest = {},
): MirrorFault => ({
  name: `${which.split('/').at(-1)!}: ${name}`,
  says,
  lie: (scene) => (path, response, bytes) => path === which && (answer(response, bytes!, scene), true),
  ...more,
});

/** Sends without end, as fast as it is read, or a byte each 100 ms. */
function sendForever(response: ServerResponse, dropByDrop = false): void {
  if (dropByDrop) {
    const timer = setInterval(() => response.write(' '), 100);
    response.on('close', () => clearInterval(timer));
    return;
  }
  const chunk = Buffer.alloc(65_536, 'w');
  const more = (): void => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}

/** What a mirror may do to any of its files, and what each comes to for this one. */
function answers(which: string, mismatch: RegExp): MirrorFault[] {
  const cut = (count: (bytes: Buffer) => number) => (response: ServerResponse, bytes: Buffer) => {
    response.writeHead(200, { 'Content-Length': bytes.length });
    response.write(bytes.subarray(0, count(bytes)), () => setTimeout(() => response.destroy(), 20));
  };
  const whole = (change: (bytes: Buffer) => Buffer) => (response: ServerResponse, bytes: Buffer) => {
    const other = change(bytes);
    response.writeHead(200, { 'Content-Length': other.length }).end(other);
  };
  const status =
    (code: number, headers = {}) =>
    (response: ServerResponse) =>
      response.writeHead(code, headers).end();
  const flip = (bytes: Buffer): Buffer => {
    const other = Buffer.from(bytes);
    other[other.length >> 1]! ^= 1;
    return other;
  };
  const isList = which === mirrorPaths.list;
  const first = which === mirrorPaths.package;
  return [
    sent('a bit flipped', mismatch, which, whole(flip), { short: isList }),
    // The last line end of a signed text does not matter.
    sent(
      'a byte less',
      which === mirrorPaths.release ? 'served' : mismatch,
      which,
      whole((bytes) => bytes.subarray(0, -1)),
    ),
    sent(
      'a byte more',
      mismatch,
      which,
      whole((bytes) => Buffer.concat([bytes, Buffer.from('x')])),
    ),
    sent(
      'empty',
      /./,
      which,
      whole(() => Buffer.alloc(0)),
    ),
    sent(
      'a web page',
      mismatch,
      which,
      whole(() => Buffer.from('<html>')),
    ),
    sent(
      'cut at once',
      /./,
      which,
      cut(() => 0),
    ),
    sent(
      'cut in the middle',
      /./,
      which,
      cut((bytes) => bytes.length >> 1),
    ),
    sent('without end', /./, which, (response) => sendForever(response.writeHead(200)), { short: first }),
    sent('drop by drop without end', /./, which, (response) => sendForever(response.writeHead(200), true), {
      slow: true,
    }),
    sent('no answer', /./, which, () => undefined, { slow: true }),
    sent(
      'stalled in the middle',
      /./,
      which,
      (response, bytes) => response.writeHead(200, { 'Content-Length': bytes.length }).write(bytes.subarray(0, 100)),
      { slow: true },
    ),
    sent('404', /404|not signed|does not have a Release file/, which, status(404)),
    sent('500', /500|not signed/, which, status(500)),
    sent('a status with control characters', /\\x1b|500/, which, (response) => {
      response.socket!.end('HTTP/1.1 500 \x1b[31mred\x9b\r\nContent-Length: 0\r\n\r\n');
    }),
    sent(
      'headers without end',
      /./,
      which,
      (response) => {
        response.socket!.write(`HTTP/1.1 200 OK\r\n${'X-Long: yes\r\n'.repeat(20_000)}`);
      },
      { slow: true },
    ),
    sent('an impossible length', /./, which, (response, bytes) => {
      response.socket!.end(`HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n${bytes.toString('latin1')}`, 'latin1');
    }),
    ...['file:///etc/passwd', 'copy:/etc/passwd', 'gopher://127.0.0.1/x'].map((Location) =>
      sent(`a redirect to ${Location}`, /./, which, status(302, { Location }), {
        short: first && Location.startsWith('file'),
      }),
    ),
    sent('a circle of redirects', /./, which, status(302, { Location: `/${which}` })),
    sent('a redirect to another host that holds it', 'served', which, (response, _, { elsewhere }) =>
      response.writeHead(302, { Location: `${elsewhere}${which}` }).end(),
    ),
    sent('a redirect to another host with something else', /./, which, (response, _, { elsewhere }) =>
      response.writeHead(302, { Location: `${elsewhere}lie` }).end(),
    ),
  ];
}

const lib = './usr/lib/x86_64-linux-gnu';
const away = /leads? out of the package|Cannot|cannot|failed/;

const mirrorFaults: readonly MirrorFault[] = [
  { name: 'honest', says: 'served' },
  release(
    'of another suite',
    /answers for forky with "bookworm"/,
    (text) => field('Suite', 'oldstable')(field('Codename', 'bookworm')(text)),
    { short: true },
  ),
  release('of another distribution', /a release of "Ubuntu", not of debian/, field('Origin', 'Ubuntu')),
  release('with control characters', /a release of "[^\x1b\x9b]*", not/, field('Origin', 'x\x1b[31m\u009b')),
  release('expired', /is expired.*clock says/, field('Valid-Until', releaseDate(Date.now() - day)), { short: true }),
  release('valid until no date', /Valid-Until|out of date|weak security/, field('Valid-Until', 'soon')),
  release('of next year', /not valid yet.*clock says/, field('Date', releaseDate(Date.now() + 365 * day)), {
    short: true,
  }),
  release('older than before', /older .* than the one it gave before/, (text) => text, {
    seen: Date.now() + 2 * day,
    short: true,
  }),
  release('without a date', /./, field('Date', '')),
  release('without names', /./, (text) => field('Suite', '')(field('Codename', '')(text))),
  release('without hashes', /./, (text) => text.replace(/SHA256:[^]*/, '')),
  release('with MD5 alone', /./, (text) =>
    text.replace(/SHA256:/, 'MD5Sum:').replace(/ [0-9a-f]{32}(?=[0-9a-f])/g, ' '),
  ),
  release('with a path out of the folder', 'served', (text) => `${text} ${'0'.repeat(64)} 9 ../../../../../../evil\n`),
  signed('unsigned', /./, () => (text) => text, { short: true }),
  signed('signed with another key', /NO_PUBKEY|not available|not signed/, ({ other }) => other.clearSign),
  signed(
    'of a changed text',
    /BADSIG|not valid|not signed/,
    ({ key }) =>
      async (text) =>
        (await key.clearSign(text)).replace('Label: Debian', 'Label: Deb1an'),
  ),
  signed(
    'unsigned text before',
    /./,
    ({ key }) =>
      async (text) =>
        `Suite: x\n\n${await key.clearSign(text)}`,
    {
      short: true,
    },
  ),
  signed(
    'unsigned text after',
    /./,
    ({ key }) =>
      async (text) =>
        `${await key.clearSign(text)}\nSuite: x\n`,
  ),
  signed(
    'unsigned text in its headers',
    /./,
    ({ key }) =>
      async (text) =>
        (await key.clearSign(text)).replace('\n', '\nCodename: bookworm\n'),
  ),
  signed(
    'a second block by the same key',
    /./,
    ({ key }) =>
      async (text) =>
        (await key.clearSign(text)) + (await key.clearSign(text)),
  ),
  signed(
    'a second block by another key',
    /./,
    ({ key, other }) =>
      async (text) =>
        (await key.clearSign(text)) + (await other.clearSign(text)),
  ),
  signed(
    'a first block by another key',
    /./,
    ({ key, other }) =>
      async (text) =>
        (await other.clearSign(text)) + (await key.clearSign(text)),
  ),
  signed(
    'cut in its signature',
    /./,
    ({ key }) =>
      async (text) =>
        (await key.clearSign(text)).slice(0, -60),
  ),
  signed(
    'without its signature',
    /./,
    ({ key }) =>
      async (text) =>
        (await key.clearSign(text)).replace(/-----BEGIN PGP SIGNATURE[^]*/, ''),
  ),
  signed(
    'of nothing',
    /./,
    ({ key }) =>
      () =>
        key.clearSign(''),
  ),
  {
    name: 'release: its signature beside it',
    says: 'served',
    plan: ({ key }) => ({
      async change(files, text) {
        files.delete(mirrorPaths.release);
        files.set('dists/forky/Release', Buffer.from(text));
        files.set('dists/forky/Release.gpg', Buffer.from(await key.detachedSign(text)));
      },
    }),
  },
  {
    name: 'release: the signature of another text beside it',
    says: /BADSIG|not valid|not signed/,
    plan: ({ key }) => ({
      async change(files, text) {
        files.delete(mirrorPaths.release);
        files.set('dists/forky/Release', Buffer.from(text));
        files.set('dists/forky/Release.gpg', Buffer.from(await key.detachedSign(`${text}\n`)));
      },
    }),
  },
  {
    name: 'release: no signature beside it',
    says: /not signed/,
    plan: () => ({
      change(files, text) {
        files.delete(mirrorPaths.release);
        files.set('dists/forky/Release', Buffer.from(text));
      },
    }),
  },
  ...answers(mirrorPaths.release, /./),
  ...answers(mirrorPaths.list, /[Mm]ismatch|unexpected size|Empty files|404/),
  ...answers(mirrorPaths.package, /[Mm]ismatch|unexpected size|404|Unable to/),
  list('empty', /Unable to locate package/, () => ''),
  list('no list at all', /./, () => '\x00\xff<html>'),
  list(
    'a million lines',
    'served',
    (text) =>
      text +
      Array.from(
        { length: 125_000 },
        (_, i) =>
          `Package: p${i}\nVersion: 1\nArchitecture: amd64\nDescription: x\nFilename: p\nSize: 1\nSHA256: 0\n\n`,
      ).join(''),
  ),
  list('a line of 64 MB', /./, (text) => `Package: ${'x'.repeat(2 ** 26)}\n${text}`),
  ...['../../../../../../../evil', '/etc/passwd', 'file:///etc/passwd', 'http://127.0.0.1:1/x', 'a\x1b[31mb'].map(
    (path) => list(`the file name ${JSON.stringify(path)}`, /./, (text) => text.replace('pool/mesa.deb', path)),
  ),
  ...['../../../../../../evil', '/evil', 'x\x1b[31m', 'a/b'].flatMap((odd) => [
    list(`a package named ${JSON.stringify(odd)}`, /./, (text) => {
      const [mesa = '', ...rest] = text.split(/(?<=\n\n)/);
      const another = mesa.replace('mesa-vulkan-drivers', odd);
      return [mesa.replace('\nFilename', `\nDepends: ${odd}\nFilename`), another, ...rest].join('');
    }),
    list(`a version ${JSON.stringify(odd)}`, /./, (text) => text.replace('26.1.6-1', odd)),
  ]),
  list('a size of 2^62', /./, (text) => text.replace(/Size: \d+/, `Size: ${2n ** 62n}`)),
  list('a weak hash', /./, (text) => text.replace(/SHA256: \w+/, `MD5sum: ${'0'.repeat(32)}`)),
  {
    name: 'list: 256 MB of nothing, packed',
    says: /./,
    plan: () => ({ list: (text) => text, change: () => undefined }),
    lie: () => (path, response) => {
      if (path !== mirrorPaths.list) return false;
      response.end(gzipSync(Buffer.alloc(2 ** 28)));
      return true;
    },
  },
  contents('a path out of the folder', away, () => [{ name: '../../../../../outside/evil', body: 'x' }], {
    short: true,
  }),
  contents('an absolute path', 'served', ({ outside }) => [{ name: join(outside, 'evil'), body: 'x' }]),
  contents('a library that is a link to a file elsewhere', away, ({ outside }) => [
    { name: `${lib}/libevil.so`, type: '2', link: join(outside, 'evil') },
  ]),
  contents('a library that is a link up and out', away, () => [
    { name: `${lib}/libevil.so`, type: '2', link: '../../../../../../../outside/evil' },
  ]),
  contents('a library that is a link to a folder', away, ({ outside }) => [
    { name: `${lib}/libevil.so`, type: '2', link: outside },
  ]),
  contents('a library that is a link to itself', 'served', () => [
    { name: `${lib}/libevil.so`, type: '2', link: 'libevil.so' },
  ]),
  contents(
    'the folder of libraries is a link elsewhere',
    away,
    ({ outside }) => [{ name: './lib/x86_64-linux-gnu', type: '2', link: outside }],
    { short: true },
  ),
  contents('a folder above it is a link elsewhere', 'served', ({ outside }) => [
    { name: './lib', type: '2', link: outside },
  ]),
  contents('a file through a link elsewhere', away, ({ outside }) => [
    { name: `${lib}/libevil.so`, type: '2', link: outside },
    { name: `${lib}/libevil.so/evil`, body: 'x' },
  ]),
  contents(
    'a hard link to a file elsewhere',
    away,
    ({ outside }) => [{ name: `${lib}/libevil.so`, type: '1', link: join(outside, 'evil') }],
    { short: true },
  ),
  contents('a hard link up and out', away, () => [
    { name: `${lib}/libevil.so`, type: '1', link: '../../../../../outside/evil' },
  ]),
  contents('a hard link through a link', away, ({ outside }) => [
    { name: './x', type: '2', link: outside },
    { name: `${lib}/libevil.so`, type: '1', link: './x/evil' },
    { name: `${lib}/libevil.so`, body: 'x' },
  ]),
  contents('a pipe as a library', /is no file/, () => [{ name: `${lib}/libevil.so`, type: '6' }], { short: true }),
  contents('a device as a library', /is no file/, () => [{ name: `${lib}/libevil.so`, type: '3' }]),
  contents('a folder as a library', /is no file/, () => [
    { name: `${lib}/libevil.so`, type: '5' },
    { name: `${lib}/libevil.so/x`, body: 'x' },
  ]),
  contents('control characters in a name', /\\x1b/, () => [{ name: `${lib}/lib\x1b[31m\nevil.so`, body: 'x' }]),
  contents('a library that root runs for everybody', 'served', () => [
    { name: `${lib}/libevil.so`, mode: 0o6777, body: 'x' },
  ]),
  {
    name: 'in the package: nothing',
    says: /./,
    plan: () => ({ package: deb('Package: mesa-vulkan-drivers\nVersion: 1\nArchitecture: amd64\n', [], []) }),
  },
  { name: 'in the package: no package', says: /./, plan: () => ({ package: Buffer.from('<html>') }) },
  { name: 'in the package: an archive without end', says: /./, plan: () => ({ package: Buffer.from('!<arch>\n') }) },
  contents('256 MB of nothing, packed', 'served', () => [{ name: './usr/share/bomb', body: Buffer.alloc(2 ** 28) }]),
];

/**
 * Plays one fault in a cache with a damaged old driver; with `mend`, an honest mirror comes after it. Throws
 * what went wrong.
 */
async function play(fault: MirrorFault, [key, other]: readonly [SigningKey, SigningKey], mend: boolean): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), 'mirror-'));
  const [mirror, second] = [new FakeMirror(), new FakeMirror()];
  try {
    const outside = join(parent, 'outside');
    fs.mkdirSync(outside);
    for (const file of ['evil', 'libevil.so.9']) fs.writeFileSync(join(outside, file), 'precious');
    const folder = join(parent, 'tapeform', 'vulkan-2-test');
    makeOldDriver(folder);
    const before = look(parent);
    const [uri, elsewhere] = [await mirror.start(), await second.start()];
    const scene: Scene = { key, other, outside, elsewhere };
    const canary = join(parent, 'canary');
    mirror.files = await mirrorFiles(key, canary, fault.plan?.(scene) ?? {});
    second.files = new Map([...mirror.files, ['lie', Buffer.from('<html>')]]);
    mirror.lie = fault.lie?.(scene);
    const memory = join(parent, 'tapeform', 'releases.json');
    if (fault.seen) fs.writeFileSync(memory, JSON.stringify({ [`${uri} forky`]: new Date(fault.seen).toISOString() }));
    const fetchTo = (work: string): Promise<void> =>
      fetchMesa({ uri, suites, components: 'main' }, 'debian', work, () => undefined, key.keyring);

    const said = fault.says === 'served' ? await fetched(parent, fetchTo) : await installed(folder, fetchTo);
    if (fault.says === 'served' ? said !== 'served' : !fault.says.test(said) || /[\p{Cc}]/u.test(said))
      throw new Error(JSON.stringify(said));
    for (const file of ['tapeform/vulkan-2-test.failed', 'tapeform/releases.json'])
      fs.rmSync(join(parent, file), { force: true });
    const after = look(parent);
    if (after !== before) throw new Error(`it left\n${after}\nof\n${before}`);

    if (!mend) return;
    mirror.lie = undefined;
    mirror.files = await mirrorFiles(key, canary, {});
    const mended = await fetched(parent, fetchTo);
    if (mended !== 'served') throw new Error(`an honest mirror did not mend it: ${mended}`);
  } finally {
    await Promise.all([mirror.stop(), second.stop()]);
    await rm(parent, { recursive: true, force: true });
  }
}

/** Installs from the mirror; the error's line. What comes from there does not compute, so there is one. */
async function installed(folder: string, fetchTo: (work: string) => Promise<void>): Promise<string> {
  const system = { family: 'debian', name: 'test', codename: 'forky' } as const;
  const recipe = { name: 'mirror', host: 'mirror', library: 'libvulkan_lvp.so', fetch: fetchTo };
  const recipes = () => Promise.resolve([recipe]);
  return ensureInstalled('mesa', folder, system, () => undefined, true, recipes).then(
    () => 'installed',
    (error: Error) => error.message.replace(/^no software Vulkan driver could be installed \(mirror: /, ''),
  );
}

/** Fetches the driver's files into a folder of their own: 'served' where they are an honest mirror's. */
async function fetched(parent: string, fetchTo: (work: string) => Promise<void>): Promise<string> {
  const work = join(parent, 'work', 'w');
  fs.mkdirSync(work, { recursive: true });
  try {
    await fetchTo(work);
    const names = fs.readdirSync(join(work, 'lib')).filter((name) => name !== 'libevil.so');
    if (names.sort().join() !== 'ld-linux-x86-64.so.2,libc.so.6,libvulkan_lvp.so,libz.so.1,libz.so.1.3')
      return `it fetched ${names.join()}`;
    const odd = names.find((name) => fs.statSync(join(work, 'lib', name)).mode & 0o6000);
    return odd === undefined ? 'served' : `${odd} runs with the rights of its owner`;
  } catch (error) {
    return (error as Error).message;
  } finally {
    fs.rmSync(join(parent, 'work'), { recursive: true });
  }
}

function makeOldDriver(folder: string): void {
  fs.mkdirSync(join(folder, 'lib'), { recursive: true });
  fs.mkdirSync(join(folder, 'bin'));
  for (const file of ['lib/a.so', 'bin/node', 'icd.json']) fs.writeFileSync(join(folder, file), file);
  recordDriver(folder, { description: 'old', source: 's', megabytes: 1, seconds: 1 });
  fs.truncateSync(join(folder, 'lib/a.so'), 2);
  if (!('damage' in verifyDriver(folder))) throw new Error('the old driver is accepted');
}

/** All files and links below a folder with what they hold, a line each. */
function look(folder: string): string {
  const walk = (below: string): string[] =>
    fs.readdirSync(below, { withFileTypes: true }).flatMap((entry) => {
      const path = join(below, entry.name);
      if (entry.isDirectory()) return [`${relative(folder, path)}/`, ...walk(path)];
      const what = entry.isFile() ? fs.readFileSync(path, 'latin1') : 'no file';
      return [`${relative(folder, path)} ${JSON.stringify(what).slice(0, 100)}`];
    });
  return walk(folder).sort().join('\n');
}

export async function run({ short }: FaultOptions): Promise<FaultOutcome> {
  const tally = new Tally();
  // Of another system, or a slim image: what is attacked here is not there either.
  const missing = ['apt-get', 'dpkg-deb', 'gpg', 'gpgconf'].filter((program) => !isInstalled(program));
  if (missing.length > 0 || process.arch !== 'x64') {
    await tally.try('nothing', () => undefined);
    return tally.outcome(`${name}: not tried, without ${missing.join(', ') || 'an x86-64 machine'}`);
  }
  const parent = await mkdtemp(join(tmpdir(), 'keys-'));
  const saved = { ...process.env };
  const keys = [await makeKey(join(parent, '1')), await makeKey(join(parent, '2'))] as const;
  try {
    const direct = Object.entries(saved).filter(([variable]) => !/_proxy$/i.test(variable));
    const config = join(parent, 'apt.conf');
    // Not this machine's own settings, which may switch off the checks of dates.
    const parts = 'Dir::Etc::Parts "/dev/null"; Dir::Etc::Main "/dev/null";\n';
    fs.writeFileSync(config, `${parts}Acquire::http::Proxy::127.0.0.1 "DIRECT";\n`);
    process.env = { ...Object.fromEntries(direct), APT_CONFIG: config };
    const chosen = mirrorFaults.filter((fault) => !short || fault.short);
    const attempt = (fault: MirrorFault): Promise<void> =>
      tally.try(fault.name, () => play(fault, keys, !short || fault === chosen.at(-1)));
    for (const fault of chosen.filter(({ slow }) => !slow)) await attempt(fault);
    await Promise.all(chosen.filter(({ slow }) => slow).map(attempt));
  } finally {
    process.env = saved;
    await Promise.all(keys.map((key) => key.close()));
    await rm(parent, { recursive: true, force: true });
  }
  return tally.outcome();
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => fs.existsSync(join(folder, program)));
}
