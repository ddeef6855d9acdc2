/**
 * Mesa's software Vulkan driver (llvmpipe) from the machine's own Debian or Ubuntu mirror, with the C library
 * it was built for, unpacked into a folder. apt-get runs on private state, so neither root nor the system's
 * package lists are needed and nothing is installed.
 */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { runCommand } from '../../common/run-command.ts';
import type { Distribution } from './machine.ts';
import { checkReleases, clockMend } from './release.ts';

/** One place to take Mesa from: a mirror and the release or releases (base first) on it. */
export interface AptSource {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: string;
}

/** A download that is about to start. */
export interface Download {
  /** Name and version, e.g. "Mesa 26.1.6". */
  readonly version: string;
  readonly megabytes: number;
  /** What the user should know of it. */
  readonly warning?: string;
}

/**
 * Best first. forky (Debian testing, to become 14) and resolute (Ubuntu 26.04 LTS) hold Mesa 26 and settle;
 * sid and devel move daily and are there for the day the others leave the mirrors. trixie-backports has Mesa
 * 26 on LLVM 19, whose kernels with barriers took 1.7 times as long.
 */
const releases = {
  debian: [['forky'], ['trixie', 'trixie-backports'], ['sid']],
  ubuntu: [['resolute', 'resolute-updates'], ['devel'], ['noble', 'noble-updates']],
} as const;

const keyrings = {
  debian: '/usr/share/keyrings/debian-archive-keyring.gpg',
  ubuntu: '/usr/share/keyrings/ubuntu-archive-keyring.gpg',
} as const;

/** `apt-get indextargets` in this form is what `aptSources` reads; it needs no downloaded package lists. */
const targetFormat = '$(REPO_URI) $(RELEASE) $(COMPONENT)';

/** Releases whose Mesa runs on the C library of the release `codename`, best first. */
function ownReleases({ family, codename }: Distribution): string[][] {
  return [[codename, `${codename}-${family === 'debian' ? 'backports' : 'updates'}`], [codename]];
}

/**
 * The places to take Mesa from, best first, on the mirror that the machine's own release comes from. `own`:
 * only what runs on the machine's own C library. `targets`: the output of `apt-get indextargets --format
 * '$(REPO_URI) $(RELEASE) $(COMPONENT)'`.
 */
export function aptSources(distribution: Distribution, targets: string, own = false): AptSource[] {
  const { family, codename } = distribution;
  if (family === 'other') return [];
  const rows = targets
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .map(([uri = '', release = '', component = '']) => ({ uri, release, component }))
    .filter(({ uri, component }) => component === 'main' && !uri.startsWith('cdrom:'));
  const names = [codename, 'stable', 'testing', 'unstable', 'sid', 'devel'].filter(Boolean);
  // Other vendors' repositories use the same release names; only the distribution's mirror has its updates
  // too.
  const updated = (uri: string) => rows.some((row) => row.uri === uri && row.release === `${codename}-updates`);
  const named = (uri: string) => /\/(debian|ubuntu|ubuntu-ports)\/?$/.test(uri);
  const row =
    rows.find(({ uri, release }) => release === codename && updated(uri)) ??
    rows.find(({ uri, release }) => names.includes(release) && named(uri)) ??
    rows.find(({ uri, release }) => names.includes(release) || named(uri));
  if (!row) return [];
  const components = family === 'ubuntu' ? 'main universe' : 'main';
  return (own && codename ? ownReleases(distribution) : releases[family]).map((suites) => ({
    uri: row.uri,
    suites,
    components,
  }));
}

/** `aptSources` of this machine; empty where apt-get is missing. */
export async function findAptSources(distribution: Distribution, own = false): Promise<AptSource[]> {
  if (distribution.family === 'other') return [];
  const args = ['indextargets', '--no-release-info', '--format', targetFormat, 'Created-By: Packages'];
  return aptSources(distribution, await runCommand('apt-get', args), own);
}

/** Sums the files named by `apt-get --print-uris install`: lines of 'URI' name bytes hash. */
export function parsePrintUris(text: string): Download {
  let bytes = 0;
  let version = '';
  for (const line of text.split('\n')) {
    const [, name = '', size = '0'] = /^'[^']*' (\S+) (\d+)/.exec(line) ?? [];
    bytes += Number(size);
    version ||= /^mesa-vulkan-drivers_(?:\d+%3a)?([\d.]+)/.exec(name)?.[1] ?? '';
  }
  if (!version) throw new Error('apt-get names no mesa-vulkan-drivers package');
  return { version: `Mesa ${version}`, megabytes: Math.round(bytes / 1e6) };
}

/**
 * Downloads and unpacks the driver, the Vulkan loader and all the libraries both need into `work`/lib, C
 * library and dynamic linker included. `announce` is called when the size is known, before the download.
 */
export async function fetchMesa(
  source: AptSource,
  family: 'debian' | 'ubuntu',
  work: string,
  announce: (download: Download) => void,
  keyring: string = keyrings[family],
): Promise<void> {
  const state = join(work, 'apt');
  for (const folder of ['lists/partial', 'archives/partial', 'etc', 'root']) {
    mkdirSync(join(state, folder), { recursive: true });
  }
  writeFileSync(join(state, 'status'), '');
  writeFileSync(join(state, 'etc/mesa.sources'), sourceFile(source, keyring));
  const options = aptOptions(state);
  const update = [...options, '-o', 'Acquire::Retries=0', '-qq', 'update'];
  await download(update, state).catch((error: Error) => {
    const late = /is expired|is not valid yet|certificate .*(expired|not yet|activ)/i.test(error.message);
    throw late ? new Error(`${error.message}; ${clockMend(new Date())}`) : error;
  });
  const datesOff = /"(false|0|no|off)"/.test(await runCommand('apt-config', ['dump', 'Acquire::Check-Valid-Until']));
  const now = datesOff ? {} : { now: new Date() };
  checkReleases(join(state, 'lists'), join(dirname(work), 'releases.json'), { ...source, family, ...now });
  // Where there are two releases the second is an add-on, not preferred unless named.
  const target = source.suites.length > 1 ? ['-t', source.suites.at(-1)!] : [];
  const install = ['install', 'mesa-vulkan-drivers', 'libvulkan1', 'libstdc++6', 'libatomic1'];
  const found = parsePrintUris(await runCommand('apt-get', [...options, ...target, '-qq', '--print-uris', ...install]));
  const warning = "this machine's apt is set not to check how old a mirror's lists are (Acquire::Check-Valid-Until)";
  announce(datesOff ? { ...found, warning } : found);
  await download([...options, ...target, '-qq', '-y', '--download-only', ...install], state);
  const root = join(state, 'root');
  for (const name of readdirSync(join(state, 'archives')).filter((name) => name.endsWith('.deb'))) {
    await runCommand('dpkg-deb', ['-x', join(state, 'archives', name), root]);
  }
  keepLibraries(root, join(work, 'lib'));
  rmSync(state, { recursive: true });
}

/**
 * apt-get, given up where less than 32 KiB arrive in 30 s: it waits for ever for a mirror that sends drop by
 * drop, or headers without end.
 */
function download(args: readonly string[], state: string): Promise<string> {
  let bytes = 0;
  let since = Date.now();
  const giveUp = (): string | undefined => {
    const now = bytesBelow(state);
    if (Math.abs(now - bytes) >= 32_768) [bytes, since] = [now, Date.now()];
    return Date.now() - since > 30_000 ? 'timed out: the mirror sent less than 32 KiB in 30 s' : undefined;
  };
  return runCommand('apt-get', args, { giveUp });
}

/** Bytes of the files below a folder, some of which may go while they are counted. */
function bytesBelow(folder: string): number {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.reduce((sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0);
}

function sourceFile({ uri, suites, components }: AptSource, keyring: string): string {
  // Without its keyring file (a stripped image) apt's own list of trusted keys decides.
  const signed = existsSync(keyring) ? `Signed-By: ${keyring}\n` : '';
  return `Types: deb
URIs: ${uri}
Suites: ${suites.join(' ')}
Components: ${components}
Targets: Packages
${signed}`;
}

/**
 * apt-get on private folders, blind to what is installed, pinned or listed on the system; its proxies and
 * certificates stay.
 */
function aptOptions(state: string): string[] {
  const settings: Record<string, string> = {
    'Dir::State': state,
    'Dir::State::status': join(state, 'status'),
    'Dir::State::lists': join(state, 'lists'),
    'Dir::Cache': state,
    'Dir::Cache::archives': join(state, 'archives'),
    'Dir::Etc::SourceList': '/dev/null',
    'Dir::Etc::SourceParts': join(state, 'etc'),
    'Dir::Etc::Preferences': '/dev/null',
    'Dir::Etc::PreferencesParts': '/dev/null',
    'APT::Architecture': debianArchitecture(),
    'APT::Architectures': debianArchitecture(),
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': 'root',
    'APT::Update::Error-Mode': 'any',
    // Whatever the system's own settings allow. Whether dates are checked is theirs to say, as for its
    // packages.
    'APT::Get::AllowUnauthenticated': 'false',
    'Acquire::AllowInsecureRepositories': 'false',
    'Acquire::AllowWeakRepositories': 'false',
    'Acquire::AllowDowngradeToInsecureRepositories': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '20',
    'Acquire::https::Timeout': '20',
    'Debug::NoLocking': 'true',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

function debianArchitecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}

/**
 * Moves the libraries out of an unpacked root into one flat folder, without the drivers of real GPUs (a third
 * of the size). Throws where one is no file, or anything leads out of that folder: what lies elsewhere is
 * neither moved nor run.
 */
function keepLibraries(root: string, lib: string): void {
  mkdirSync(lib);
  const inside = `${realpathSync(root)}/`;
  const triplet = `${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;
  for (const folder of [`usr/lib/${triplet}`, `lib/${triplet}`, 'usr/lib64', 'lib64']) {
    const path = join(root, folder);
    if (!existsSync(path)) continue;
    if (!realpathSync(path).startsWith(inside)) throw new Error(`${folder} leads out of the package`);
    for (const name of readdirSync(path)) {
      if (!name.includes('.so') || /^libvulkan_(?!lvp)/.test(name) || existsSync(join(lib, name))) continue;
      const stat = lstatSync(join(path, name));
      const odd = !stat.isFile() && !stat.isSymbolicLink() ? 'no file' : /^[\w.+-]+$/.test(name) ? '' : 'no name';
      if (odd) throw new Error(`${folder}/${name} in the package is ${odd} of a library`);
      if (stat.isSymbolicLink()) {
        const target = readlinkSync(join(path, name));
        if (!resolve(realpathSync(path), target).startsWith(inside))
          throw new Error(`${folder}/${name} leads out of the package, to ${target}`);
        if (target !== basename(target)) continue; // to what does not come along
      }
      renameSync(join(path, name), join(lib, name));
      if (stat.isFile()) chmodSync(join(lib, name), stat.mode & 0o755); // never with the rights of its owner
    }
  }
  // Links to what was left out.
  for (const name of readdirSync(lib)) if (!existsSync(join(lib, name))) rmSync(join(lib, name));
  if (!existsSync(join(lib, 'libvulkan_lvp.so'))) throw new Error('the packages hold no libvulkan_lvp.so');
  if (!statSync(join(lib, 'libc.so.6'), { throwIfNoEntry: false })?.size)
    throw new Error('the packages hold no C library');
}
