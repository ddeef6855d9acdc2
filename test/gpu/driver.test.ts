import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { aptSources, parsePrintUris } from '../../gpu/driver/apt.ts';
import { advice, chooseByMachine, chooseByUser } from '../../gpu/driver/choose.ts';
import { messageOf, runCommand, tellingLine } from '../../common/run-command.ts';
import { ensureInstalled } from '../../gpu/driver/install.ts';
import * as layout from '../../gpu/driver/layout.ts';
import { lock, removeLeftovers, workFolder } from '../../gpu/driver/lock.ts';
import { inspectMachine, memoryFileAdvice, parseOsRelease } from '../../gpu/driver/machine.ts';
import { inForeground, sameArguments } from '../../gpu/driver/restart.ts';
import { checkRelease, checkReleases, parseRelease } from '../../gpu/driver/release.ts';
import { knownAdapter, rememberAdapter } from '../../gpu/driver/verdict.ts';
import { checkCache, recordDriver, verifyDriver } from '../../gpu/driver/verify.ts';

const test = suite('gpu/driver');
const base = fs.mkdtempSync(join(tmpdir(), 'tapeform-driver-'));
let folders = 0;
test.after(() => fs.rmSync(base, { recursive: true, force: true }));

/** A folder holding the given files. */
function tree(files: Record<string, string>): string {
  const root = join(base, `tree${folders++}`);
  fs.mkdirSync(root);
  for (const [path, text] of Object.entries(files)) {
    fs.mkdirSync(join(root, path, '..'), { recursive: true });
    fs.writeFileSync(join(root, path), text);
  }
  return root;
}

const icd = (library: string, api: string) => JSON.stringify({ ICD: { library_path: library, api_version: api } });
const look = (files: Record<string, string>, env = {}) => inspectMachine(fs, env, '/home/u', tree(files));
const loader = { 'usr/lib/x86_64-linux-gnu/libvulkan.so.1': '' };
const oneLine = (text: string) => assert.not.match(text, /\n/);

test('the user decides before the machine does', () => {
  const mine = layout.isOwnManifest;
  assert.is(chooseByUser({}, ['--epochs', '3'], mine), undefined);
  assert.is(chooseByUser({ TAPEFORM_DRIVER: '' }, [], mine), undefined);
  assert.is(chooseByUser({ TAPEFORM_DRIVER: 'system' }, [], mine)?.use, 'system');
  assert.is(chooseByUser({ TAPEFORM_DRIVER: 'software' }, [], mine)?.use, 'mesa');
  assert.is(chooseByUser({ TAPEFORM_DRIVER: 'swiftshader' }, [], mine)?.use, 'swiftshader');
  assert.is(chooseByUser({ TAPEFORM_DRIVER: 'software' }, ['--help'], mine)?.use, 'system');
  assert.is(chooseByUser({}, ['-h'], mine)?.use, 'system');
  assert.is(chooseByUser({ VK_DRIVER_FILES: '/x/icd.json' }, [], mine)?.use, 'system');
  assert.is(chooseByUser({ VK_ICD_FILENAMES: '/x/y.json' }, [], mine)?.use, 'system');
  assert.is(
    chooseByUser({ VK_DRIVER_FILES: '/h/.cache/tapeform/vulkan-1-debian12-x64/icd.json' }, [], mine),
    undefined,
  );
  assert.throws(() => chooseByUser({ TAPEFORM_DRIVER: 'cuda' }, [], mine), /TAPEFORM_DRIVER=cuda: give system/);
});

test('a machine without a GPU gets Mesa, unless its own software driver is recent', () => {
  assert.is(chooseByMachine(look({})).use, 'mesa');
  assert.is(chooseByMachine(look({})).why, 'no GPU found');
  const lavapipe = (api: string) => ({ 'usr/share/vulkan/icd.d/lvp_icd.x86_64.json': icd('libvulkan_lvp.so', api) });
  assert.is(chooseByMachine(look({ ...loader, ...lavapipe('1.4.318') })).use, 'system');
  assert.is(chooseByMachine(look({ ...loader, ...lavapipe('1.5.0') })).use, 'system');
  assert.is(chooseByMachine(look({ ...loader, ...lavapipe('1.4.305') })).use, 'mesa', 'Mesa 25.0 has half the speed');
  assert.is(chooseByMachine(look({ ...loader, ...lavapipe('1.3.400') })).use, 'mesa');
  assert.is(chooseByMachine(look(lavapipe('1.4.318'))).use, 'mesa', 'no loader');
  const cache = { 'etc/ld.so.cache': '\0libvulkan.so.1\0' };
  assert.is(chooseByMachine(look({ ...cache, ...lavapipe('1.4.318') })).use, 'system', 'loader known to ldconfig');
  const broken = { 'etc/vulkan/icd.d/a.json': '{', 'etc/vulkan/icd.d/b.json': '[]', 'etc/vulkan/icd.d/c.txt': '' };
  assert.is(look(broken).manifests.filter(({ library }) => library !== '').length, 0);
});

test('a machine with a GPU is asked whether it works', () => {
  const intel = { 'usr/share/vulkan/icd.d/intel.json': icd('libvulkan_intel.so', '1.4.305') };
  const machine = look({ 'dev/dri/renderD128': '', 'dev/dri/card0': '', 'dev/null': '', ...loader, ...intel });
  assert.equal(machine.gpus, [{ path: '/dev/dri/renderD128', usable: true }]);
  assert.is(chooseByMachine(machine).use, 'probe');
  assert.is(chooseByMachine(machine, true).use, 'mesa');
  assert.match(chooseByMachine(machine, true).why, /renderD128.*gpu\/info\.ts/);
  assert.is(chooseByMachine(look({ 'dev/nvidia0': '', 'dev/nvidiactl': '' })).why, 'GPU /dev/nvidia0');
  assert.is(look({ 'dev/nvidia0': '', 'dev/nvidiactl': '', 'dev/dxg': '' }).gpus.length, 2);
  const home = { 'home/u/.local/share/vulkan/icd.d/x.json': icd('libx.so', '1.3.0') };
  assert.is(look(home).manifests[0]?.path, '/home/u/.local/share/vulkan/icd.d/x.json');
  assert.is(
    look({ 'opt/v/vulkan/icd.d/x.json': icd('libx.so', '1.3.0') }, { XDG_DATA_DIRS: '/opt/v' }).manifests.length,
    1,
  );
  const closed = { ...machine, gpus: [{ path: '/dev/dri/renderD128', usable: false }] };
  assert.is(chooseByMachine(closed).use, 'mesa');
  assert.match(chooseByMachine(closed).why, /may not be opened/);
});

test('advice is one line that names what is missing and the mend', () => {
  const gpus = [{ path: '/dev/nvidia0', usable: true }];
  const lavapipe = { path: 'l', library: 'libvulkan_lvp.so', api: '1.3' };
  const nvidia = { path: '/etc/vulkan/icd.d/nvidia_icd.json', library: 'libGLX_nvidia.so.0', api: '1.4' };
  const intel = { path: 'i', library: 'libvulkan_intel.so', api: '1.4' };
  const said = [
    [advice({ gpus, loader: false, manifests: [] }, {}), /libvulkan1/],
    [advice({ gpus, loader: true, manifests: [lavapipe, intel] }, {}), /libnvidia-gl/],
    [advice({ gpus, loader: true, manifests: [nvidia] }, {}), /update them$/],
    [
      advice({ gpus: [{ path: '/dev/dri/renderD128', usable: false }], loader: true, manifests: [intel] }, {}),
      /render/,
    ],
    [advice({ gpus: [{ path: '/dev/dri/renderD128', usable: true }], loader: true, manifests: [] }, {}), /mesa-vulkan/],
    [advice({ gpus: [], loader: true, manifests: [] }, { VK_DRIVER_FILES: '/a.json' }), /\/a\.json/],
    [advice({ gpus: [], loader: false, manifests: [] }, {}, 'set X=1'), /, or set X=1$/],
  ] as const;
  for (const [line, pattern] of said) {
    assert.match(line, pattern);
    oneLine(line);
  }
});

test('a GPU that worked is remembered for the same devices and drivers only', async () => {
  const env = { XDG_CACHE_HOME: tree({}) };
  const machine = look({ 'dev/nvidia0': '' });
  assert.is(knownAdapter(fs, env, '/', machine), undefined);
  await rememberAdapter(env, '/', { machine, description: 'NVIDIA X' });
  assert.is(knownAdapter(fs, env, '/', machine), 'NVIDIA X');
  assert.is(knownAdapter(fs, env, '/', { ...machine, loader: true }), undefined);
  assert.equal(fs.readdirSync(join(env.XDG_CACHE_HOME, 'tapeform')), ['working-gpu.json']);
  fs.writeFileSync(join(env.XDG_CACHE_HOME, 'tapeform/working-gpu.json'), '{"mach');
  assert.is(knownAdapter(fs, env, '/', machine), undefined);
});

const osRelease = {
  debian12: 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n',
  debian13: 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nVERSION_CODENAME=trixie\nID=debian\n',
  ubuntu: 'VERSION_ID="24.04"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME=noble\n',
  mint: 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="22"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n',
  fedora: 'ID=fedora\nVERSION_ID=42\nVERSION_CODENAME=""\n',
};

test('os-release tells the family, a folder name and the release', () => {
  assert.equal(parseOsRelease(osRelease.debian12), { family: 'debian', name: 'debian12', codename: 'bookworm' });
  assert.equal(parseOsRelease(osRelease.ubuntu), { family: 'ubuntu', name: 'ubuntu24.04', codename: 'noble' });
  assert.equal(parseOsRelease(osRelease.mint), { family: 'ubuntu', name: 'linuxmint22', codename: 'noble' });
  assert.equal(parseOsRelease(osRelease.fedora), { family: 'other', name: 'fedora42', codename: '' });
  assert.equal(parseOsRelease(''), { family: 'other', name: 'linux', codename: '' });
});

test('the mirror is the one of the machine, the release the one that was measured best', () => {
  // As printed by apt 2.6, 3.0 and 2.7 with --no-release-info, mirrors renamed.
  const debian = `http://mirror.example/debian-security/ bookworm-security main
http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm-updates main
`;
  const [first, second, third] = aptSources(parseOsRelease(osRelease.debian12), debian);
  assert.equal(first, { uri: 'http://mirror.example/debian/', suites: ['forky'], components: 'main' });
  assert.equal(second?.suites, ['trixie', 'trixie-backports']);
  assert.equal(third?.suites, ['sid']);
  const ubuntu = `https://docker.example/linux/ubuntu noble stable
https://vendor.example/ubuntu noble main
http://security.example/ubuntu/ noble-security main
http://security.example/ubuntu/ noble-security universe
http://mirror.example/ubuntu/ noble universe
http://mirror.example/ubuntu/ noble main
http://mirror.example/ubuntu/ noble-updates main
`;
  for (const os of [osRelease.ubuntu, osRelease.mint]) {
    const [best] = aptSources(parseOsRelease(os), ubuntu);
    assert.is(best?.uri, 'http://mirror.example/ubuntu/');
    assert.equal(best?.suites, ['resolute', 'resolute-updates']);
    assert.is(best?.components, 'main universe');
  }
  const uri = (text: string) => aptSources(parseOsRelease(osRelease.debian13), text)[0]?.uri;
  assert.is(uri('mirror+file:/etc/apt/mirrors/debian.list trixie main\n'), 'mirror+file:/etc/apt/mirrors/debian.list');
  assert.is(uri('cdrom:[Debian]/ trixie main\nhttps://m.example/debian stable main\n'), 'https://m.example/debian');
  assert.is(
    uri('https://apt.example/node nodistro main\nhttps://m.example/debian/ oldstable main\n'),
    'https://m.example/debian/',
  );
  assert.is(uri('https://apt.example/node nodistro main\n'), undefined);
  const vendors = 'https://docker.example/linux/debian trixie stable\nhttps://vendor.example trixie main\n';
  assert.is(uri(`${vendors}https://m.example/debian trixie main\n`), 'https://m.example/debian');
  assert.equal(aptSources(parseOsRelease(osRelease.fedora), debian), []);
});

test('the size of a download is known before it starts', () => {
  const mesa = 'mesa-vulkan-drivers_26.1.6-1';
  const text = `'http://m.example/pool/libz3-4_4.13.3-1_amd64.deb' libz3-4_4.13.3-1_amd64.deb 8560036 SHA256:00
'http://m.example/pool/${mesa}%7ebpo13%2b1_amd64.deb' ${mesa}~bpo13+1_amd64.deb 19718352 SHA256:00
`;
  assert.equal(parsePrintUris(text), { version: 'Mesa 26.1.6', megabytes: 28 });
  assert.throws(() => parsePrintUris(''), /no mesa-vulkan-drivers/);
});

test('the line that names the cause of a failure is found', () => {
  const apt = `E: Failed to fetch http://m.example/debian/dists/forky/InRelease  Temporary failure resolving 'm.example'
E: Some index files failed to download. They have been ignored, or old ones used instead.`;
  assert.match(tellingLine(apt), /Temporary failure/);
  const npm = 'npm ERR! code EAI_AGAIN\nnpm ERR! errno EAI_AGAIN\nnpm ERR! request to x failed\nnpm ERR! A log is in y';
  assert.match(tellingLine(npm), /request to x failed/);
  const tar =
    'tar: ./a: Cannot write: No space left on device\ndpkg-deb: error: tar subprocess returned error exit status 2';
  assert.match(tellingLine(tar), /No space left/);
  const node = "/p/probe.ts:7\nif (!adapter) throw new Error('none');\n   ^\n\nError: none\n    at x\n\nNode.js v18";
  assert.is(tellingLine(node), 'Error: none');
  assert.is(tellingLine(''), '');
});

test('a program that is missing is named, and nothing keeps the process alive', async () => {
  const { href } = new URL('../../common/run-command.ts', import.meta.url);
  const script = `import { runCommand } from '${href}';
    await runCommand('/nowhere/apt-get', []).catch((error) => console.log(error.message));`;
  const file = join(tree({ 'program.mts': script }), 'program.mts');
  const child = spawn(process.execPath, ['--import', 'tsx', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  const signal = await new Promise((resolve) => child.on('close', (_code, signal) => resolve(signal)));
  clearTimeout(timer);
  assert.is(signal, null, 'it ends by itself');
  assert.is(output, '/nowhere/apt-get is not installed\n');
});

test('a program that is given up ends, and says why; controls in a message are spelt out', async () => {
  const giveUp = () => 'the mirror is slow';
  const error = await runCommand('sleep', ['60'], { giveUp }).catch((reason: unknown) => reason);
  assert.is(messageOf(error), 'sleep failed (the mirror is slow)');
  assert.is(messageOf(new Error('500 \x1b[31mred\n line\x9b')), '500 \\x1b[31mred line\\x9b');
});

test('the same program is run again, whatever its arguments', () => {
  const again = (execArgv: string[], ...argv: string[]) =>
    sameArguments({ execArgv, argv: ['/usr/bin/node', ...argv] });
  assert.equal(again(['--import', 'tsx'], '/a b.ts', '', '--x=1'), ['--import', 'tsx', '/a b.ts', '', '--x=1']);
  assert.equal(again(['-e', 'code']), ['-e', 'code']);
  assert.equal(again(['--eval=code'], '-x'), ['--eval=code', '--', '-x']);
  assert.is(again([]), undefined, 'a REPL');
  assert.is(again([], '-'), undefined, 'a program on standard input');
});

test('a terminal is told from a pipe', () => {
  assert.ok(inForeground('71 (node (x) y) S 70 71 60 34816 71 4194304 0'));
  assert.not(inForeground('71 (node) S 70 71 60 34816 99 4194304 0'), 'in the background');
  assert.not(inForeground('71 (node) S 70 71 60 0 -1 4194304 0'), 'no terminal');
});

test('a folder is recognised by argv0 alone', () => {
  const folder = layout.cacheFolder('mesa', {}, '/home/u', 'debian12');
  assert.is(layout.activeFolder(layout.wrapperPath(folder)), folder);
  assert.is(layout.activeFolder('node'), undefined);
  assert.is(layout.activeFolder('/usr/bin/node'), undefined);
  assert.is(
    layout.cacheFolder('mesa', { XDG_CACHE_HOME: 'relative' }, '/h', 'd'),
    layout.cacheFolder('mesa', {}, '/h', 'd'),
  );
  assert.ok(
    layout.cacheFolder('swiftshader', { XDG_CACHE_HOME: '/c' }, '/h', 'd').startsWith('/c/tapeform/swiftshader-'),
  );
});

test('a second installation waits for the first', async () => {
  const folder = join(tree({}), 'vulkan-1');
  const unlock = await lock(folder, () => assert.unreachable());
  let waited = '';
  let taken = false;
  const second = lock(folder, (line) => (waited += line)).then((release) => {
    taken = true;
    return release;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.not(taken);
  unlock();
  (await second)();
  assert.match(waited, /^waiting for this process itself \(node .*\) since [\d:]+, which is installing/);
});

test('work folders of the dead are removed, others stay', async () => {
  const root = tree({});
  const folder = join(root, 'vulkan-1');
  const [own, dead] = [workFolder(folder), workFolder(folder).replace(`.${process.pid}.`, '.999999999.')];
  const elsewhere = own.replace(/[0-9a-f]+-\d+\.tmp$/, '12345678-0.tmp');
  for (const path of [own, dead, elsewhere, join(root, 'other')]) fs.mkdirSync(path);
  await removeLeftovers(folder);
  assert.not(fs.existsSync(dead));
  assert.is(fs.readdirSync(root).length, 3);
});

test('what is installed is used, and a failure is not repeated, without touching the network', async () => {
  const facts = { description: 'd', source: 's', megabytes: 1, seconds: 1 };
  const system = parseOsRelease('');
  const ready = join(tree({ 'v/lib/x.so': 'x', 'v/bin/node': '' }), 'v');
  recordDriver(ready, facts);
  assert.equal(await ensureInstalled('mesa', ready, system, () => assert.unreachable(), false), facts);
  const failed = join(tree({ 'v.failed': 'no network' }), 'v');
  const error = await ensureInstalled('mesa', failed, system, () => assert.unreachable(), false).catch((e: Error) => e);
  assert.is((error as Error).message, 'no network');
});

test('who waited for an installation that failed does not repeat it', async () => {
  const folder = join(tree({ 'other/x': '' }), 'v');
  const unlock = await lock(folder, () => assert.unreachable());
  const said: string[] = [];
  const say = (line: string): void => {
    said.push(line);
    fs.writeFileSync(`${folder}.failed`, 'no network');
    unlock();
  };
  const error = await ensureInstalled('mesa', folder, parseOsRelease(''), say, true).catch((e: Error) => e);
  assert.is((error as Error).message, 'no network');
  assert.is(said.length, 1);
});

/** A Release file as apt keeps it. */
const releaseText = (
  codename: string,
  suite: string,
  date: string,
  until = '',
): string => `-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
Suite: ${suite}
Codename: ${codename}
Date: ${date}
${until && `Valid-Until: ${until}\n`}SHA256:
 00 1 Codename: sid
-----BEGIN PGP SIGNATURE-----
`;
const forky = releaseText('forky', 'testing', 'Fri, 06 Nov 2026 08:08:01 UTC', 'Fri, 13 Nov 2026 08:08:01 UTC');
const bookworm = releaseText('bookworm', 'oldoldstable', 'Sat, 07 Nov 2026 08:00:00 UTC');

test('a release is the one asked for, in time, and not older than before', () => {
  const wanted = { family: 'debian', asked: 'forky', now: new Date('2026-11-07T00:00:00Z') } as const;
  const check = (text: string, more = {}) => checkRelease(parseRelease(text), { ...wanted, ...more });
  check(forky);
  check(forky, { asked: 'testing' });
  check(forky, { seen: new Date('2026-11-06T08:08:01Z') });
  check(bookworm, { asked: 'bookworm' });
  const { now: _, ...undated } = wanted;
  checkRelease(parseRelease(forky), undated);
  const says = (run: () => void, pattern: RegExp) => assert.throws(run, pattern);
  says(() => check(bookworm), /^it answers for forky with "bookworm"|it answers for forky with "bookworm"$/);
  says(() => check(forky, { family: 'ubuntu' }), /a release of "Debian", not of ubuntu/);
  const clock = (day: string) =>
    new RegExp(
      `^Error: its list of forky is .*clock says ${day}.*: set it if it is wrong, else set up another mirror$`,
    );
  const dated = (now: string) =>
    assert.throws(
      () => check(forky, { now: new Date(now) }),
      (error: Error) => clock(now.slice(0, 10)).test(String(error)),
    );
  dated('2026-11-14T00:00:00Z');
  dated('2038-01-19T03:14:08Z');
  dated('1970-01-01T00:00:00Z');
  says(() => check(forky, { seen: new Date('2026-11-06T08:08:02Z') }), /older .* than the one it gave before/);
  const devel = { asked: 'devel', now: new Date('2026-11-30T00:00:00Z') };
  says(() => check(releaseText('x', 'x', 'Fri, 06 Nov 2026 08:08:01 UTC'), devel), /its list of devel is out of date/);
  says(() => check(releaseText('forky', '', 'Fri, 06 Nov 2026 08:08:01 UTC', 'soon')), /out of date/);
  for (const text of ['', 'Suite: x\n', 'Date: x\nSuite: x\n', bookworm.replace(/^Date.*$/m, '')])
    says(() => parseRelease(text), /names no release or no date/);
});

test('the dates of releases are remembered by mirror', () => {
  const root = tree({ 'lists/m_debian_dists_forky_InRelease': forky, 'lists/partial/x': '' });
  const memory = join(root, 'releases.json');
  const check = (text: string, uri = 'http://m/') => {
    fs.writeFileSync(join(root, 'lists/m_debian_dists_forky_InRelease'), text);
    checkReleases(join(root, 'lists'), memory, { uri, suites: ['forky'], family: 'debian' });
  };
  check(forky);
  check(forky);
  const older = forky.replace('06 Nov', '05 Nov');
  assert.throws(() => check(older), /older .* than the one it gave before .*; try again later/);
  check(older, 'http://other/');
  fs.writeFileSync(memory, '{"http://m/ fo');
  check(older);
  fs.rmSync(join(root, 'lists/m_debian_dists_forky_InRelease'));
  const none = { uri: 'u', suites: ['forky'], family: 'debian' } as const;
  assert.throws(() => checkReleases(join(root, 'lists'), memory, none), /no Release file of forky/);
});

/** A small installed driver. */
function smallDriver(): string {
  const folder = join(tree({ 'tapeform/v/lib/a.so': 'aaaa', 'tapeform/v/lib/b.so': 'bb' }), 'tapeform', 'v');
  fs.mkdirSync(join(folder, 'bin'));
  fs.writeFileSync(join(folder, 'bin/node'), '#!/bin/sh\n', { mode: 0o775 });
  fs.symlinkSync('a.so', join(folder, 'lib/a.so.1'));
  recordDriver(folder, { description: 'd', source: 's', megabytes: 1, seconds: 1 });
  return folder;
}

test('a driver that is whole and our own is used, anything else is named', () => {
  assert.equal(verifyDriver(join(tree({}), 'none')), { missing: true });
  const good = smallDriver();
  assert.is((verifyDriver(good) as { facts: { description: string } }).facts.description, 'd');
  assert.ok(fs.existsSync(join(good, 'verified.json')));
  assert.is(fs.statSync(join(good, 'bin/node')).mode & 0o777, 0o755, 'the right to write is taken from others');
  const damages: [pattern: RegExp, harm: (folder: string) => void][] = [
    [/^lib\/a\.so is missing$/, (folder) => fs.rmSync(join(folder, 'lib/a.so'))],
    [/^lib is missing$|^lib\/a\.so/, (folder) => fs.rmSync(join(folder, 'lib'), { recursive: true })],
    [/^lib\/a\.so has 2 bytes, not 4$/, (folder) => fs.truncateSync(join(folder, 'lib/a.so'), 2)],
    [/^lib\/a\.so is not what was installed$/, (folder) => fs.writeFileSync(join(folder, 'lib/a.so'), 'aaab')],
    [/^lib\/c\.so does not belong there$/, (folder) => fs.writeFileSync(join(folder, 'lib/c.so'), '')],
    [/^others may write to lib\/a\.so$/, (folder) => fs.chmodSync(join(folder, 'lib/a.so'), 0o666)],
    [/^others may write to lib$/, (folder) => fs.chmodSync(join(folder, 'lib'), 0o777)],
    [/^others may write to it$/, (folder) => fs.chmodSync(folder, 0o775)],
    [/^driver\.json is missing$/, (folder) => fs.rmSync(join(folder, 'driver.json'))],
    [/^driver\.json is damaged$/, (folder) => fs.truncateSync(join(folder, 'driver.json'), 40)],
    [/^driver\.json is damaged$/, (folder) => fs.writeFileSync(join(folder, 'driver.json'), '')],
    [
      /^lib\/a\.so\.1 is not the link it was$/,
      (folder) => {
        fs.rmSync(join(folder, 'lib/a.so.1'));
        fs.symlinkSync('/tmp/evil.so', join(folder, 'lib/a.so.1'));
      },
    ],
  ];
  for (const [pattern, harm] of damages) {
    const folder = smallDriver();
    verifyDriver(folder);
    harm(folder);
    const verdict = verifyDriver(folder);
    assert.match('damage' in verdict ? verdict.damage : 'nothing', pattern);
  }
});

test('a cache that others could change is not used', () => {
  const open = tree({ 'shared/tapeform/x': '' });
  fs.chmodSync(join(open, 'shared/tapeform'), 0o777);
  checkCache(join(open, 'shared/tapeform'));
  assert.is(fs.statSync(join(open, 'shared/tapeform')).mode & 0o777, 0o755, 'our own is closed');
  fs.chmodSync(join(open, 'shared'), 0o777);
  assert.throws(
    () => checkCache(join(open, 'shared/tapeform')),
    /everybody may write to .*shared, .*; chmod o-w it, or/,
  );
  fs.chmodSync(join(open, 'shared'), 0o1777);
  checkCache(join(open, 'shared/tapeform'));
  if (process.getuid?.() !== 0) return; // only root gives files away
  const planted = smallDriver();
  fs.chownSync(join(planted, 'lib/a.so'), 1001, 1001);
  assert.equal(verifyDriver(planted), { damage: 'lib/a.so belongs to user 1001' });
  fs.chownSync(join(planted, '..'), 1001, 1001);
  assert.throws(
    () => verifyDriver(planted),
    /tapeform belongs to user 1001, who could change what runs here; remove it, or/,
  );
  fs.chownSync(join(planted, '..'), 0, 0);
  fs.chownSync(join(planted, '..', '..'), 1001, 1001);
  assert.throws(() => verifyDriver(planted), /belongs to user 1001, who could replace the driver/);
});

test('a limit of file sizes below the memory is told, since the driver would die of it', () => {
  const limits = (soft: string) =>
    `Limit  Soft Limit  Hard Limit  Units\nMax file size             ${soft}  unlimited  bytes\n`;
  assert.is(memoryFileAdvice(limits('unlimited'), 2 ** 34), undefined);
  assert.is(memoryFileAdvice(limits(String(2 ** 34)), 2 ** 34), undefined);
  assert.is(memoryFileAdvice('', 2 ** 34), undefined);
  assert.match(memoryFileAdvice(limits('8388608'), 2 ** 34)!, /files of 8\.0 MiB \(ulimit -f\).*ulimit -f unlimited/);
});

/** A driver folder around the system's own C library: everything but the driver is real. */
function fakeDriver(): { env: NodeJS.ProcessEnv; script: string; node: string } | undefined {
  const linker = join('/lib64', layout.linkerName());
  if (process.platform !== 'linux' || process.arch !== 'x64' || !fs.existsSync(linker)) return undefined;
  const cache = tree({});
  const { VK_DRIVER_FILES: _, TAPEFORM_SAID: __, TAPEFORM_WHY: ___, ...rest } = process.env;
  const node = rest.TAPEFORM_NODE ?? process.execPath;
  const env = { ...rest, XDG_CACHE_HOME: cache, TAPEFORM_DRIVER: 'software', TAPEFORM_QUIET: '0' };
  const { name } = parseOsRelease(fs.existsSync('/etc/os-release') ? fs.readFileSync('/etc/os-release', 'utf8') : '');
  const folder = layout.cacheFolder('mesa', env, '/', name);
  for (const sub of ['lib', 'bin']) fs.mkdirSync(join(folder, sub), { recursive: true });
  fs.symlinkSync(linker, join(folder, 'lib', layout.linkerName()));
  fs.writeFileSync(layout.manifestPath(folder), '{}');
  fs.writeFileSync(layout.wrapperPath(folder), layout.wrapperScript(node), { mode: 0o755 });
  recordDriver(folder, { description: 'a test driver', source: 's', megabytes: 1, seconds: 1 });
  const script = join(cache, 'program.mts');
  fs.writeFileSync(script, programText);
  return { env, script, node };
}

const driver = fileURLToPath(new URL('../../gpu/driver.ts', import.meta.url));
const programText = `
import { spawnSync } from 'node:child_process';
const { ensureVulkanDriver, describeDriver } = await import(${JSON.stringify(pathToFileURL(driver).href)});
await ensureVulkanDriver();
const child = spawnSync(process.execPath, ['-p', 'process.argv0'], { encoding: 'utf8' });
let interrupts = 0;
process.on('SIGINT', () => setTimeout(() => { console.log(JSON.stringify({ interrupts })); process.exit(7); }, 150));
process.on('SIGINT', () => interrupts++);
console.log(JSON.stringify({
  use: describeDriver().use, args: process.argv.slice(2), manifest: process.env.VK_DRIVER_FILES,
  child: child.stdout.trim(),
  library: process.env.LD_LIBRARY_PATH ?? '',
}));
if (process.argv[2] === 'wait') setInterval(() => {}, 1000);
else process.exitCode = 5;
`;

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly lines: Record<string, unknown>[];
  readonly errors: string;
}

/**
 * Runs the program; `signal` is sent when it has printed its first line. `channel`: with a message channel,
 * as tsx does.
 */
function runProgram(args: string[], channel: boolean, signal?: NodeJS.Signals): Promise<Ended> | undefined {
  const fake = fakeDriver();
  if (!fake) return undefined;
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const stdio = ['ignore', 'pipe', 'pipe', ...(channel ? ['ipc' as const] : [])] as const;
  const child = spawn(fake.node, ['--import', tsx, fake.script, ...args], {
    env: fake.env,
    stdio: [...stdio],
    detached: true, // a group of its own: no terminal's signals, and one kill for all
  });
  return new Promise((resolve) => {
    let output = '';
    let errors = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      if (signal && output === '') child.kill(signal);
      output += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const deadline = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), 30_000);
    child.on('close', (code, ended) => {
      clearTimeout(deadline);
      const lines = output
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      resolve({ code, signal: ended, lines, errors });
    });
  });
}

test('a restarted program sees its arguments, its children and exit code are right, signals arrive once', async () => {
  const [channel, plain, interrupted, killed] = await Promise.all([
    runProgram(['a b', '', '--x'], true),
    runProgram(['a b', '', '--x'], false),
    runProgram(['wait'], true, 'SIGINT'),
    runProgram(['wait'], true, 'SIGTERM'),
  ]);
  if (!channel || !plain || !interrupted || !killed) return;
  for (const { code, lines, errors } of [channel, plain]) {
    assert.is(code, 5, errors);
    const facts = lines[0]!;
    assert.equal(facts.args, ['a b', '', '--x']);
    assert.is(facts.use, 'software');
    assert.is(facts.child, String(facts.manifest).replace('icd.json', 'bin/node'));
    assert.is(facts.library, process.env.LD_LIBRARY_PATH ?? '');
    assert.is(errors.match(/a test driver on the CPU/g)?.length, 1, errors);
  }
  assert.is(interrupted.code, 7, interrupted.errors);
  assert.is(interrupted.lines.at(-1)?.interrupts, 1);
  assert.is(killed.signal, 'SIGTERM');
});

test.run();
