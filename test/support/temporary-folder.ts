import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The hooks of a suite, `test.before.each` and `test.after.each`. */
interface Hooks {
  readonly before: { each(hook: () => Promise<void>): void };
  readonly after: { each(hook: () => Promise<void>): void };
}

/** A new folder for each test of a suite, removed after it; `use` gets its path. */
export function temporaryFolder({ before, after }: Hooks, use: (folder: string) => void): void {
  let folder = '';
  before.each(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tapeform-'));
    use(folder);
  });
  after.each(() => rm(folder, { recursive: true }));
}
