// Models by their names on the hub, fetched into the page's memory; the browser keeps what its HTTP cache
// keeps.
import type { HubNeeds, HubOptions } from './hub.ts';
import { canonicalName, checkRevision, isHubName } from './hub-names.ts';

export async function findOnHub(
  id: string,
  { revision = 'main', hubUrl = 'https://huggingface.co' }: HubOptions,
  { advice, whatIsMissing, fetched }: HubNeeds,
): Promise<string> {
  if (!isHubName(id))
    throw new Error(`${id} is not in this page's storage: ${advice}, an address, or a name on the hub`);
  checkRevision(revision);
  const folder = await fetched(`${hubUrl.replace(/\/+$/, '')}/${canonicalName(id)}/resolve/${revision}`);
  const missing = await whatIsMissing(folder);
  if (missing) throw new Error(`${id} on the hub ${missing}`);
  return folder;
}
