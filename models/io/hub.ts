// Models by their names on the hub, through the cache on this disk. In a page hub.browser.ts stands in.
import { canonicalName, isHubName } from './hub-names.ts';
import { pathKind } from '../../common/json-file.ts';
import { cachedSnapshots, hubCacheFolder, hubIsOffline } from './hub-cache.ts';
import type { DownloadProgress } from './hub-download.ts';
import { downloadModel } from './hub-download.ts';

/** What is asked of the hub. */
export interface HubOptions {
  readonly revision?: string;
  readonly onProgress?: (progress: DownloadProgress) => void;
  readonly hubUrl?: string;
}

/** What a model's folder must hold, and how it is fetched. */
export interface HubNeeds {
  /** The way out, as errors name it. */
  readonly advice: string;
  /** The files that a folder lacks, as the rest of a sentence; null where it has all. */
  readonly whatIsMissing: (folder: string) => Promise<string | null>;
  /** Of a listing the files to download. */
  readonly select: (listing: readonly string[]) => readonly string[];
  /** Fetches the model at an address into memory. */
  readonly fetched: (address: string) => Promise<string>;
}

/** The folder of a model in the Hugging Face cache, into which it is downloaded first. Errors: one line. */
export async function findOnHub(
  id: string,
  { revision = 'main', onProgress, hubUrl }: HubOptions,
  { advice, whatIsMissing, select }: HubNeeds,
): Promise<string> {
  const cache = hubCacheFolder();
  if (!isHubName(id))
    throw new Error(`${id} does not exist: ${advice}, or a name such as google-bert/bert-base-uncased`);

  let notHere = `${id} is neither a folder nor in the Hugging Face cache (${cache})`;
  for (const snapshot of await cachedSnapshots(cache, id, revision)) {
    if ((await pathKind(snapshot)) !== 'folder') continue;
    const missing = await whatIsMissing(snapshot);
    if (!missing) return snapshot;
    notHere = `${id} is only partly in the Hugging Face cache (${snapshot} ${missing.split(':')[0]})`;
  }
  if (hubIsOffline()) {
    throw new Error(`${notHere}, and HF_HUB_OFFLINE forbids the network: ${advice}, or unset HF_HUB_OFFLINE`);
  }
  let folder: string;
  try {
    folder = await downloadModel(canonicalName(id), select, { cache, revision, onProgress, hubUrl });
  } catch (error) {
    throw downloadError(error, id, notHere, advice);
  }
  const missing = await whatIsMissing(folder);
  if (missing) throw new Error(`${id} on the hub ${missing}`);
  return folder;
}

function downloadError(error: unknown, id: string, notHere: string, advice: string): Error {
  const status = (error as { statusCode?: number }).statusCode;
  if (status === 401 || status === 403 || status === 404) {
    return new Error(
      `${notHere}, and the hub has no public model ${canonicalName(id)} (HTTP ${status}): check the name, set ` +
        `HF_TOKEN for a private model, or ${advice}`,
      { cause: error },
    );
  }
  if (status !== undefined) {
    return new Error(`${notHere}, and the hub answered HTTP ${status}: try again later, or ${advice}`, {
      cause: error,
    });
  }
  if (error instanceof TypeError && /fetch failed|terminated|network/i.test(error.message)) {
    return new Error(
      `${notHere}, and the hub cannot be reached: ${advice}, or run once with a network (a download is kept in ` +
        'the cache)',
      { cause: error },
    );
  }
  return error instanceof Error ? error : new Error(String(error));
}
