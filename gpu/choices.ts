import { cacheBase } from './driver/layout.ts';

/** Names of kernel variants by the class of work they are best for, as timed on this adapter. */
export type Choices = Map<string, string>;

interface ChoicesFile {
  readonly adapter: string;
  readonly choices: Readonly<Record<string, string>>;
}

/** Where an adapter's choices are kept, beside the drivers; undefined outside of Node. */
export function choicesPath(adapter: string): string | undefined {
  if (typeof process === 'undefined' || !process.versions.node) return undefined;
  const home = process.env.HOME ?? process.env.USERPROFILE ?? '.';
  const slug = adapter
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 80);
  return `${cacheBase(process.env, home)}/tune-${slug}.json`;
}

/** The choices kept for an adapter; none where there is no file, or it cannot be read. */
export async function loadChoices(adapter: string, path = choicesPath(adapter)): Promise<Choices> {
  if (!path) return new Map();
  try {
    const { readFile } = await import('node:fs/promises');
    const { choices } = JSON.parse(await readFile(path, 'utf8')) as ChoicesFile;
    return new Map(Object.entries(choices).filter(([, name]) => typeof name === 'string'));
  } catch {
    return new Map();
  }
}

/**
 * Keeps choices for later processes, whole or not at all. Returns the file's path; undefined outside of Node.
 */
export async function saveChoices(
  adapter: string,
  choices: ReadonlyMap<string, string>,
  path = choicesPath(adapter),
): Promise<string | undefined> {
  if (!path) return undefined;
  const { mkdir, rename, writeFile } = await import('node:fs/promises');
  const file: ChoicesFile = { adapter, choices: Object.fromEntries([...choices].sort()) };
  await mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, `${JSON.stringify(file, undefined, 1)}\n`);
  await rename(temporary, path);
  return path;
}
