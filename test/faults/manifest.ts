// A folder with a manifest: every file cut, grown, removed, and one bit flipped anywhere.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manifestName, verifyManifest, writeManifest } from '../../common/manifest.ts';
import { Random } from '../../common/random.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'files under a manifest: bits flipped, cut, grown, removed';

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome> {
  const random = new Random(seed);
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-'));
  const tally = new Tally();
  const mend = 'copy the folder again';
  try {
    const files = ['weights.bin', 'part/ids.bin', 'config.json'];
    await mkdir(join(folder, 'part'));
    for (const file of files)
      await writeFile(
        join(folder, file),
        Uint8Array.from({ length: 100 }, () => random.int(256)),
      );
    await writeManifest(folder);
    await verifyManifest(folder, { mend });
    const refused = async (file: string, change: (bytes: Buffer) => Uint8Array | undefined): Promise<void> => {
      const path = join(folder, file);
      const bytes = await readFile(path);
      const changed = change(Buffer.from(bytes));
      await (changed ? writeFile(path, changed) : rm(path));
      try {
        const error = await verifyManifest(folder, { mend }).then(
          () => undefined,
          (reason: Error) => reason.message,
        );
        if (error === undefined) throw new Error('it was accepted');
        if (error.includes('\n') || !error.endsWith(mend)) throw new Error(`the message is ${JSON.stringify(error)}`);
        if (file !== manifestName && !error.startsWith(path)) throw new Error(`it does not name the file: ${error}`);
      } finally {
        await writeFile(path, bytes);
      }
    };
    for (const file of files) {
      await tally.try(`${file} cut`, () => refused(file, (bytes) => bytes.subarray(1)));
      await tally.try(`${file} grown`, () => refused(file, (bytes) => Buffer.concat([bytes, Buffer.of(0)])));
      await tally.try(`${file} removed`, () => refused(file, () => undefined));
    }
    for (let i = 0; i < (short ? 50 : 2000); i++) {
      const file = files[random.int(files.length)]!;
      const bit = random.int(800);
      await tally.try(`${file}, bit ${bit}`, () =>
        refused(file, (bytes) => {
          bytes[bit >> 3]! ^= 1 << (bit & 7);
          return bytes;
        }),
      );
    }
    await tally.try('the manifest removed', () => refused(manifestName, () => undefined));
    await tally.try('the manifest cut', () => refused(manifestName, (bytes) => bytes.subarray(0, 90)));
  } finally {
    await rm(folder, { recursive: true });
  }
  return tally.outcome();
}
