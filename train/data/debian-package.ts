import { readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { disk } from '../../common/file-system.ts';
import { describeHolder, waitForLock } from '../../common/lock.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { messageOf, runCommand } from '../../common/run-command.ts';
import { release, removeAtExit } from '../../common/temporary.ts';
import { cacheBase } from '../../gpu/driver/layout.ts';
import { removeLeftovers, workFolder } from '../../gpu/driver/lock.ts';

/** A package of this machine's own Debian or Ubuntu, unpacked. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Its files lie here as below /. */
  readonly folder: string;
}

/** Says that a folder holds a package as a whole; has its name and version. */
const mark = 'debian-package.json';

/**
 * The user's cache for a name, filled by `fetch` if it is not there: whole or not at all, once however many
 * ask.
 */
async function cached(
  name: string,
  say: (line: string) => void,
  fetch: (name: string, place: string) => Promise<string>,
): Promise<DebianPackage> {
  const folder = join(cacheBase(process.env, homedir()), 'packages', name);
  const held = await waitForLock(`package ${folder}`, (holder) =>
    say(`waiting for ${describeHolder(holder)}, which is fetching ${name}`),
  );
  try {
    if ((await pathKind(join(folder, mark))) === 'none') {
      say(`${name}: fetching it from this machine's Debian or Ubuntu mirror, once`);
      await disk.makeFolder(dirname(folder));
      await removeLeftovers(folder);
      // A package holds links, which only a rename of the whole leaves as they are.
      const place = workFolder(folder);
      removeAtExit(place);
      try {
        const version = await fetch(name, place);
        await writeFileAtomic(join(place, mark), `${JSON.stringify({ name, version })}\n`);
        await disk.remove(folder);
        await disk.rename(place, folder);
      } finally {
        await disk.remove(place);
        release(place);
      }
    }
    const { version } = await readJsonFile(join(folder, mark));
    return { name, version: String(version), folder };
  } finally {
    held.release();
  }
}

/**
 * Downloads a package of texts with apt-get, which checks it against the signed lists of the machine's own
 * mirror, and unpacks it into the user's cache: no root, nothing is installed, no script of the package runs.
 * What is in the cache is used from then on. Errors, each one line: no apt-get here; no such package; no
 * network.
 */
export async function debianPackage(name: string, say: (line: string) => void = console.error): Promise<DebianPackage> {
  if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name)) throw new Error(`"${name}" is no name of a Debian package`);
  return cached(name, say, unpack);
}

async function unpack(name: string, place: string): Promise<string> {
  const apt = await privateApt(join(place, '.apt'));
  await apt
    .run('download', name)
    .catch(async () => {
      // The machine has no lists of what its mirror holds, or old ones.
      await apt.update();
      await apt.run('download', name);
    })
    .catch((error: unknown) => Promise.reject(notFetched(name, error)));
  const file = (await readdir(apt.state)).find((each) => each.endsWith('.deb'))!;
  await runCommand('dpkg-deb', ['-x', join(apt.state, file), place]);
  const version = await runCommand('dpkg-deb', ['-f', join(apt.state, file), 'Version']);
  await disk.remove(apt.state);
  return version.trim();
}

/** A package in a line, and at length. */
export interface PackageDescription {
  readonly name: string;
  readonly synopsis: string;
  /** Paragraphs and list items, a line each. */
  readonly description: string;
}

/**
 * The English descriptions of all packages of the machine's own release, each description once; fetched as
 * `debianPackage` is.
 */
export async function debianDescriptions(
  say: (line: string) => void = console.error,
): Promise<{ readonly origin: string; readonly descriptions: readonly PackageDescription[] }> {
  const { name, version, folder } = await cached('package-descriptions', say, async (name, place) => {
    const apt = await privateApt(join(place, '.apt'));
    await apt.update().catch((error: unknown) => Promise.reject(notFetched(name, error)));
    const targets = await apt.run(
      'indextargets',
      '--format',
      '$(FILENAME)',
      'Created-By: Translations',
      'Language: en',
    );
    const texts = await Promise.all(
      [...new Set(targets.split('\n').filter(Boolean))].map((file) =>
        runCommand('/usr/lib/apt/apt-helper', ['cat-file', file]).catch(() => ''),
      ),
    );
    await writeFileAtomic(join(place, 'descriptions.txt'), texts.join('\n\n'));
    const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
    await disk.remove(apt.state);
    const [, system = 'unknown release'] = /^PRETTY_NAME="?([^"\n]*)/m.exec(release) ?? [];
    return `${system}, ${new Date().toISOString().slice(0, 10)}`;
  });
  const descriptions = readDescriptions(await readFile(join(folder, 'descriptions.txt'), 'utf8'));
  return { origin: `${name} of ${version}`, descriptions };
}

/** Reads the paragraphs of a Translation-en file. */
export function readDescriptions(text: string): PackageDescription[] {
  const seen = new Set<string>();
  return text.split(/\n{2,}/).flatMap((paragraph): PackageDescription[] => {
    const name = /^Package: (.+)$/m.exec(paragraph)?.[1];
    const [, synopsis, rest] = /^Description-en: (.+)\n((?: .*\n?)+)/m.exec(paragraph) ?? [];
    if (name === undefined || synopsis === undefined || rest === undefined) return [];
    // " ." ends a paragraph; a line that is indented further stands by itself, such as an item of a list.
    const description = rest
      .split('\n')
      .map((line) => line.slice(1))
      .reduce(
        (all, line) =>
          line === '.' || /^\s/.test(line) ? `${all}\n${line === '.' ? '' : line.trim()}` : `${all} ${line}`,
        '',
      )
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' ').trim())
      .filter(Boolean)
      .join('\n');
    const key = `${synopsis}\0${description}`;
    if (description === '' || seen.has(key)) return [];
    seen.add(key);
    return [{ name, synopsis: synopsis.trim(), description }];
  });
}

function notFetched(name: string, error: unknown): Error {
  const mend = "it comes from Debian's and Ubuntu's mirrors by apt-get; give data of your own instead";
  return new Error(`${name}: cannot be fetched here (${messageOf(error)}); ${mend}`, { cause: error });
}

/**
 * apt-get as any user: what it downloads and writes goes into `state`. Which mirror and keys is the system's
 * choice.
 */
async function privateApt(state: string) {
  await disk.makeFolder(join(state, 'lists/partial'));
  const options = ['-o', 'APT::Sandbox::User=root', '-o', `Dir::Cache=${state}`, '-o', 'Acquire::Languages=en', '-qq'];
  let lists: readonly string[] = [];
  const run = (...args: readonly string[]): Promise<string> =>
    runCommand('apt-get', [...options, ...lists, ...args], { cwd: state });
  const update = async (): Promise<void> => {
    lists = ['-o', `Dir::State::lists=${join(state, 'lists')}`, '-o', 'Debug::NoLocking=true'];
    await run('update');
  };
  return { state, run, update };
}
