/**
 * Release files of a mirror. apt checks their signatures, which say that they are the distribution's, not
 * that they are the ones asked for: a mirror may answer for one release with another, or with one of years
 * ago.
 */
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The fields of a Release file that are checked. */
export interface Release {
  readonly origin: string;
  readonly suite: string;
  readonly codename: string;
  readonly date: Date;
  /** Undefined where the release has none: those that never change, and all of Ubuntu's. */
  readonly validUntil?: Date;
}

/** Ubuntu's name for whatever comes next: the file bears that one's name, so its age must do. */
const moving = 'devel';
const movingDays = 14;

/** What is asked of a Release file. */
export interface Wanted {
  readonly family: 'debian' | 'ubuntu';
  /** "forky", "noble-updates". */
  readonly asked: string;
  /** Undefined where the machine's own apt is set not to check dates (Acquire::Check-Valid-Until). */
  readonly now?: Date;
  /** The date of the one that this mirror gave before. */
  readonly seen?: Date;
}

/** Reads a Release or InRelease file. Throws where it names no release or no date. */
export function parseRelease(text: string): Release {
  const head = text.split(/^(?:MD5Sum|SHA1|SHA256):/m)[0]!;
  const field = (name: string): string => new RegExp(`^${name}: *(.*?)\\s*$`, 'm').exec(head)?.[1] ?? '';
  const date = new Date(field('Date'));
  const until = field('Valid-Until');
  if (Number.isNaN(date.getTime()) || !(field('Codename') || field('Suite')))
    throw new Error('its Release file names no release or no date');
  return {
    origin: field('Origin'),
    suite: field('Suite'),
    codename: field('Codename'),
    date,
    ...(until ? { validUntil: new Date(until) } : {}),
  };
}

/**
 * Throws unless a Release file is that of the release asked for, in time, and no older than the one seen
 * before (apt's own rule for lists that it keeps).
 */
export function checkRelease(release: Release, { family, asked, now, seen }: Wanted): void {
  const { origin, suite, codename, date, validUntil } = release;
  if (origin.toLowerCase().split(' ')[0] !== family)
    throw new Error(`it answers for ${asked} with a release of ${JSON.stringify(origin)}, not of ${family}`);
  if (asked !== moving && asked !== suite && asked !== codename)
    throw new Error(`it answers for ${asked} with ${JSON.stringify(codename || suite)}`);
  if (now) {
    const days = (now.getTime() - date.getTime()) / 86_400_000;
    // An invalid date is no time to be in.
    if ((asked === moving && days > movingDays) || (validUntil && !(now.getTime() <= validUntil.getTime())))
      throw new Error(`its list of ${asked} is out of date (${date.toISOString()}); ${clockMend(now)}`);
    if (days < -1) throw new Error(`its list of ${asked} is of ${date.toISOString()}; ${clockMend(now)}`);
  }
  if (seen && date.getTime() < seen.getTime())
    throw new Error(
      `its list of ${asked} is older (${date.toISOString()}) than the one it gave before (${seen.toISOString()}); ` +
        'try again later, or set up another mirror',
    );
}

/** What to do where dates do not fit: the clock is wrong, or the mirror. */
export function clockMend(now: Date): string {
  return `this machine's clock says ${now.toISOString()}: set it if it is wrong, else set up another mirror`;
}

/**
 * Checks the Release files that `apt-get update` put into `lists`, one for each suite, and keeps their
 * dates in `memory` (a JSON file) for the next time.
 */
export function checkReleases(
  lists: string,
  memory: string,
  { uri, suites, family, now }: { uri: string; suites: readonly string[] } & Pick<Wanted, 'family' | 'now'>,
): void {
  const seen = readDates(memory);
  const names = readdirSync(lists);
  for (const asked of suites) {
    const name = names.find((it) => it.endsWith(`_dists_${asked}_InRelease`) || it.endsWith(`_dists_${asked}_Release`));
    if (name === undefined) throw new Error(`it has no Release file of ${asked}`);
    const release = parseRelease(readFileSync(join(lists, name), 'utf8'));
    const key = `${uri} ${asked}`;
    const before = new Date(seen[key] ?? '');
    const wanted: Wanted = { family, asked, ...(now ? { now } : {}) };
    checkRelease(release, Number.isNaN(before.getTime()) ? wanted : { ...wanted, seen: before });
    seen[key] = release.date.toISOString();
  }
  try {
    writeFileSync(`${memory}.${process.pid}`, JSON.stringify(seen, undefined, 2), { mode: 0o644 });
    renameSync(`${memory}.${process.pid}`, memory);
  } catch {
    // A full disk: the installation says so soon.
  }
}

function readDates(path: string): Record<string, string> {
  try {
    if (!existsSync(path)) return {};
    const dates: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof dates === 'object' && dates !== null ? { ...(dates as Record<string, string>) } : {};
  } catch {
    return {};
  }
}
