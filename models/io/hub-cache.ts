// The Hugging Face cache on this disk, laid out as Python's huggingface_hub lays it out:
// <cache>/models--org--name/{refs/<revision>, snapshots/<commit>/<file>, blobs/<etag>}.
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { checkEnvironment } from '../../common/environment.ts';
import { canonicalName, checkRevision, isCommit } from './hub-names.ts';

type Environment = Record<string, string | undefined>;

/** HF_HOME, else $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface. */
function hubHome(env: Environment = process.env): string {
  return env['HF_HOME'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'huggingface');
}

/** HF_HUB_CACHE (or the older HUGGINGFACE_HUB_CACHE), else the `hub` folder of `hubHome`. */
export function hubCacheFolder(env: Environment = process.env): string {
  return env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'] || join(hubHome(env), 'hub');
}

/** Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids the network. */
export function hubIsOffline(env: Environment = process.env): boolean {
  checkEnvironment(env);
  return [env['HF_HUB_OFFLINE'], env['TRANSFORMERS_OFFLINE']].some((value) => /^(1|on|yes|true)$/i.test(value ?? ''));
}

/** The access token: HF_TOKEN, else the file that `hf auth login` writes; undefined where there is none. */
export async function hubToken(env: Environment = process.env): Promise<string | undefined> {
  if (env['HF_TOKEN']) return env['HF_TOKEN'].trim();
  const file = env['HF_TOKEN_PATH'] || join(hubHome(env), 'token');
  return (await readFile(file, 'utf8').catch(() => '')).trim() || undefined;
}

/** The folder of a model in the cache. */
export function repositoryFolder(cache: string, name: string): string {
  return join(cache, `models--${name.replaceAll('/', '--')}`);
}

/**
 * The snapshot folders of `id` at `revision` (a branch, a tag or a commit), best first; they may hold only
 * some of the model's files, and need not exist.
 */
export async function cachedSnapshots(cache: string, id: string, revision: string): Promise<string[]> {
  checkRevision(revision);
  const found: string[] = [];
  for (const name of new Set([canonicalName(id), id])) {
    const folder = repositoryFolder(cache, name);
    const ref = (await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')).trim();
    // A file that names no commit is as good as none.
    found.push(join(folder, 'snapshots', isCommit(ref) ? ref : revision));
  }
  return found;
}
