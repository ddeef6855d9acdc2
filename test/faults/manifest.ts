// A folder with a manifest: every file cut, grown, removed, and one bit flipped anywhere.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manifestName } from '../../common/manifest.ts';
import { Random } from '../../common/random.ts';
import { openPrepared } from '../../train/data/corpus/prepare.ts';
import { openTokenCorpus } from '../../train/data/token-files.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { saveCorpus } from '../support/writers.ts';

export const name = 'one bit flipped, files cut, grown and removed';

interface Subject {
  readonly what: string;
  readonly files: readonly string[];
  open(folder: string): Promise<{ close(): void }>;
}

const split = ['tokens.bin', 'offsets.bin', 'meta.json'];
const below = (folder: string): string[] => split.map((file) => `${folder}/${file}`);
const subjects: readonly Subject[] = [
  {
    what: 'a prepared corpus',
    files: [...below('train'), ...below('validation'), ...below('test'), 'card.json', 'tokenizer.json', manifestName],
    open: (folder) => openPrepared(folder),
  },
  { what: 'a split of it', files: below('train'), open: (folder) => openTokenCorpus(join(folder, 'train')) },
];

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const random = new Random(seed);
  const outcomes: FaultOutcome[] = [];
  for (const { what, files, open } of subjects) {
    const parent = await mkdtemp(join(tmpdir(), 'tapeform-'));
    const folder = join(parent, 'corpus');
    const tally = new Tally();
    try {
      await saveCorpus(folder);
      (await open(folder)).close();
      const refused = async (file: string, change: (bytes: Buffer) => Uint8Array | undefined): Promise<void> => {
        const path = join(folder, file);
        const bytes = await readFile(path);
        const changed = change(Buffer.from(bytes));
        await (changed ? writeFile(path, changed) : rm(path));
        try {
          const error = await open(folder).then(
            () => undefined,
            (reason: Error) => reason.message,
          );
          if (error === undefined) throw new Error('it was accepted');
          if (error.includes('\n')) throw new Error(`the message has more than a line: ${error}`);
          if (!error.includes(file.split('/').at(-1)!) && file !== manifestName)
            throw new Error(`it does not name the file: ${error}`);
        } finally {
          await writeFile(path, bytes);
        }
      };
      for (const file of files) {
        await tally.try(`${file} cut`, () => refused(file, (bytes) => bytes.subarray(0, -2)));
        await tally.try(`${file} grown`, () => refused(file, (bytes) => Buffer.concat([bytes, Buffer.from('0')])));
        await tally.try(`${file} removed`, () => refused(file, () => undefined));
        for (let i = 0; i < (short ? 3 : 100); i++)
          await tally.try(`${file}, one bit`, () =>
            refused(file, (bytes) => {
              const bit = random.int(8 * bytes.length);
              bytes[bit >> 3]! ^= 1 << (bit & 7);
              return bytes;
            }),
          );
      }
    } finally {
      await rm(parent, { recursive: true });
    }
    outcomes.push({ ...tally.outcome(), what: `${name}: ${what}` });
  }
  return outcomes;
}
