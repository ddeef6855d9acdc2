// Clocks that are set while something runs, or are wrong from the start: the hub's deadlines, a mirror's
// dates.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../common/random.ts';
import { checkRelease, parseRelease } from '../../gpu/driver/release.ts';
import { downloadModel } from '../../models/io/hub-download.ts';
import { FakeHub } from '../support/fake-hub.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'clock jumps';

const year = 366 * 86_400_000;
const release = parseRelease(
  'Origin: Debian\nSuite: testing\nCodename: forky\nDate: Fri, 06 Nov 2026 08:08:01 UTC\n' +
    'Valid-Until: Fri, 13 Nov 2026 08:08:01 UTC\n',
);

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome> {
  const random = new Random(seed);
  const tally = new Tally();
  for (let i = 0; i < (short ? 4 : 40); i++)
    await tally.try(`a download while the clock jumps, ${i}`, () =>
      downloadUnder(() => (random.uniform() - 0.5) * 60 * year),
    );
  const { date, validUntil } = release;
  for (let i = 0; i < 200; i++) {
    const now = new Date(date.getTime() + (random.uniform() - 0.5) * 60 * year * (i % 2 === 0 ? 1 : 0.001));
    await tally.try(`a mirror's list at ${now.toISOString()}`, () => {
      const message = messageOf(() => checkRelease(release, { family: 'debian', asked: 'forky', now }));
      const inTime = now <= validUntil! && now.getTime() >= date.getTime() - 86_400_000;
      if (inTime !== (message === undefined)) throw new Error(message ?? 'it was accepted');
      const says = `clock says ${now.toISOString()}: set it if it is wrong`;
      if (message !== undefined && !message.includes(says)) throw new Error(message);
    });
  }
  return tally.outcome();
}

function messageOf(run: () => void): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Downloads a small model while every look at the clock gives another time. */
async function downloadUnder(jump: () => number): Promise<void> {
  const cache = await mkdtemp(join(tmpdir(), 'hub-'));
  const hub = new FakeHub('a/b', { 'config.json': '{}', 'model.safetensors': 'w'.repeat(100_000) });
  const { now } = Date;
  try {
    const hubUrl = await hub.start();
    Date.now = () => now() + jump();
    const snapshot = await downloadModel('a/b', (listing) => listing, { cache, hubUrl });
    if ((await readFile(join(snapshot, 'model.safetensors'), 'utf8')).length !== 100_000) throw new Error('cut');
  } finally {
    Date.now = now;
    await hub.stop();
    await rm(cache, { recursive: true });
  }
}
