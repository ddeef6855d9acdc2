/**
 * What several processes may want at once, in one of them; it ends with a line of what it got.
 *
 *   take-turns.ts lock FOLDER       locks a folder, and keeps it
 *   take-turns.ts driver FOLDER     installs a driver
 *   take-turns.ts hub CACHE NAME    downloads a model from HF_ENDPOINT
 */
import { lockFolder } from '../../common/lock.ts';
import { ensureInstalled } from '../../gpu/driver/install.ts';
import { parseOsRelease } from '../../gpu/driver/machine.ts';
import { downloadModel } from '../../models/io/hub-download.ts';

const [what, folder, name] = process.argv.slice(2) as [string, string, string];
const wants: Record<string, () => Promise<unknown>> = {
  lock: () => lockFolder(folder),
  driver: () => ensureInstalled('mesa', folder, parseOsRelease(''), (line) => console.error(line), false),
  hub: () => downloadModel(name, (listing) => listing, { cache: folder }),
};
const result = await wants[what]!().catch((error: Error) => `failed: ${error.message}`);
console.log(typeof result === 'string' ? result : 'taken');
if (what === 'lock') setInterval(() => undefined, 1000);
