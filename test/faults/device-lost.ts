// The GPU device lost at many dispatches of a fine-tuning: one clear line, and a run that goes on to the
// same bits.
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';

export const name = 'device lost at a dispatch of a fine-tuning';

const preload = new URL('../support/lose-device.ts', import.meta.url).href;

export async function run({ short }: FaultOptions): Promise<FaultOutcome> {
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-'));
  const tally = new Tally();
  try {
    const data = join(folder, 'reviews.csv');
    const subjects = 'film book meal song play trip room game show walk'.split(' ');
    const rows = subjects.flatMap((s) =>
      ['Rome', 'Oslo', 'Lima'].map(
        (p) => `wonderful ${s} from ${p} about ${s}s,good\nterrible ${s} in ${p} without ${p},bad`,
      ),
    );
    await writeFile(data, `text,label\n${rows.join('\n')}\n`);
    const model = '--from-scratch --layers 1 --hidden 8 --heads 2 --max-length 12 --batch-size 8'.split(' ');
    const fineTune = (output: string, at: number, more: string[] = []): Promise<Finished> => {
      const args = ['train/finetune-classifier.ts', '--data', data, '--output', output, '--epochs', '2', ...model];
      const env = { LOSE_DEVICE_AT: String(at) };
      return runScript(['--import', preload, ...args, '--save-every', '2', ...more], { env });
    };
    const whole = join(folder, 'whole');
    const { code, stderr } = await fineTune(whole, 0);
    const dispatches = Number(/^dispatches: ([1-9]\d*)$/m.exec(stderr)?.[1]);
    if (code !== 0 || !dispatches) throw new Error(`the run without a fault failed: ${stderr}`);
    const wanted = await readFile(join(whole, 'model.safetensors'));
    const count = short ? 1 : 50;
    for (let i = 0; i < count; i++) {
      const at = 1 + Math.floor(((dispatches - 1) * (i + 0.5)) / count);
      await tally.try(`dispatch ${at} of ${dispatches}`, async () => {
        const output = join(folder, `lost-${at}`);
        if (!checkEnd(await fineTune(output, at))) {
          const files = existsSync(output) ? await readdir(output) : []; // none before the first step
          const saved = files.some((file) => file.startsWith('checkpoint'));
          const again = await fineTune(output, -1, saved ? ['--resume'] : []);
          if (again.code !== 0) throw new Error(`going on failed: ${again.stderr.trim().split('\n').at(-1)}`);
        }
        if (!wanted.equals(await readFile(join(output, 'model.safetensors')))) throw new Error('other weights');
        await rm(output, { recursive: true });
      });
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return tally.outcome();
}

/** Whether the run was whole: only the explanations were left, which come after all is saved. */
function checkEnd({ code, stdout, stderr }: Finished): boolean {
  const last = stderr.trim().split('\n').at(-1)!;
  if (code === 0 && /^no explanations: the GPU device was (destroyed|lost)/m.test(stdout)) return true;
  if (code !== 1) throw new Error(`exit code ${code}: ${last}`);
  if (!/^the GPU device was (destroyed|lost)/.test(last) || /^ {4}at /m.test(stderr)) throw new Error(stderr);
  return false;
}
