/**
 * Saves one folder's files, then another's, then the first's again, into a third, until it is killed:
 * `save-alternately.ts TARGET A B`. Says when the first save is made.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { namesBelow, saveFolder } from '../../common/atomic-folder.ts';
import { StagedFile } from '../../common/staged-file.ts';

const [target, ...sources] = process.argv.slice(2) as [string, ...string[]];
const contents = await Promise.all(
  sources.map(async (source) => {
    const names = await namesBelow(source);
    return Promise.all(names.map(async (name) => [name, await readFile(join(source, name))] as const));
  }),
);
for (let i = 0; ; i++) {
  const fill = async (place: string): Promise<void> => {
    for (const [name, bytes] of contents[i % contents.length]!) {
      const path = join(place, name);
      await (await StagedFile.create(path, path)).fill(bytes);
    }
  };
  await saveFolder(target, fill, () => true);
  if (i === 0) process.send?.('saved');
}
