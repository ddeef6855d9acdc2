// True kills: the process of a command is ended by SIGKILL before an operation on the disk.
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../common/random.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { stateOf } from '../support/saved-state.ts';
import { runScript } from '../support/script.ts';
import { openCorpus, openModel, openTokenizer, saveBert, saveCorpus, saveGpt } from '../support/writers.ts';

export const name = 'kill -9 of commands';

/** A command, what its output folder holds before, and how a reader opens it. */
interface Command {
  readonly what: string;
  readonly args: (parent: string, output: string) => string[];
  readonly before: (folder: string) => Promise<unknown>;
  readonly open: (folder: string) => Promise<unknown>;
}

const commands: readonly Command[] = [
  {
    what: 'export over another model',
    args: (parent, output) => ['train/export.ts', '--model', join(parent, 'model'), '--output', output],
    before: saveGpt,
    open: openModel,
  },
  {
    what: 'train-tokenizer over another',
    args: (parent, output) =>
      `train/train-tokenizer.ts --data ${join(parent, 'texts.txt')} --type bpe --vocab-size 300 --overwrite --output`
        .split(' ')
        .concat(output),
    before: saveGpt,
    open: openTokenizer,
  },
  {
    what: 'prepare-data over another corpus',
    args: (parent, output) =>
      `train/prepare-data.ts all ${join(parent, 'texts.txt')} --split position --tokenizer ${join(parent, 'model')}`
        .split(' ')
        .concat('--output', output),
    before: saveCorpus,
    open: openCorpus,
  },
];

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const random = new Random(seed);
  const outcomes: FaultOutcome[] = [];
  const parent = await mkdtemp(join(tmpdir(), 'tapeform-'));
  try {
    await saveBert(join(parent, 'model'));
    await writeFile(join(parent, 'texts.txt'), 'the quick fox jumps over the lazy dog, quick and quicker\n'.repeat(50));
    // The short form leaves them to the simulated deaths of kill.ts, all but one.
    for (const command of short ? commands.slice(0, 1) : commands)
      outcomes.push(await killEverywhere(command, parent, short ? 1 : 20, random));
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
  return outcomes;
}

/** Kills a command at `tries` of its operations. */
async function killEverywhere(
  { what, args, before, open }: Command,
  parent: string,
  tries: number,
  random: Random,
): Promise<FaultOutcome> {
  const tally = new Tally();
  const old = join(parent, 'old');
  const output = join(parent, 'output');
  await rm(old, { recursive: true, force: true });
  await mkdir(old);
  await before(old);
  const fresh = async (): Promise<void> => {
    await rm(output, { recursive: true, force: true });
    await cp(old, output, { recursive: true });
  };
  const start = (at: number): Promise<{ code: number | null; stderr: string }> =>
    runScript(['--import', './test/support/kill-at.ts', ...args(parent, output)], { env: { KILL_AT: String(at) } });
  const state = (): Promise<string> => stateOf(output, { what, write: () => Promise.resolve(), open });

  await fresh();
  const oldState = await state();
  const whole = await start(0);
  if (whole.code !== 0) throw new Error(`${what}: ${whole.stderr}`);
  const count = Number(/operations on the disk: (\d+)/.exec(whole.stderr)![1]);
  const newState = await state();
  for (let i = 0; i < tries; i++) {
    const at = 1 + random.int(count);
    await fresh();
    const { code } = await start(at);
    await tally.try(`before ${at} of ${count}`, async () => {
      if (code !== null) throw new Error(`it was not killed, but ended with ${code}`);
      const left = await state();
      if (left !== oldState && left !== newState) throw new Error(`neither old nor new:\n${left}`);
      const { code: again, stderr } = await start(0);
      if (again !== 0) throw new Error(`the next run failed: ${stderr}`);
      if ((await state()) !== newState) throw new Error('the next run left something else');
    });
  }
  return tally.outcome(`${name}: ${what}`);
}
