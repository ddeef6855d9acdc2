// kill -9 at random moments of whole commands, which go on, or start again, until they end by themselves.
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../common/random.ts';
import { canResume } from '../../train/trainer/run-state.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { contentsOf, differences } from '../support/folder-contents.ts';
import type { Contents } from '../support/folder-contents.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';
import { openCorpus, openModel, saveCorpus, saveGpt } from '../support/writers.ts';

export const name = 'kill -9 at random moments';

interface Command {
  readonly what: string;
  /** Kills of the full form, and of the short one. */
  readonly kills: readonly [full: number, short: number];
  /** All but --output; `@name` lies beside the output folder. */
  readonly line: (short: boolean) => string;
  /** Keeps what the run that is not killed makes, for later commands, as `@name`. */
  readonly keepAs?: string;
  /**
   * Of a command that starts again instead of resuming: it writes over something older, and whatever the kill
   * leaves opens as that or as the new.
   */
  readonly over?: { readonly save: (folder: string) => Promise<unknown>; readonly open: typeof openModel };
}

const model = '--layers 1 --hidden 16 --heads 2 --dropout 0.1 --warmup-steps 2 --learning-rate 0.01';
const batches = '--no-clean --context 24 --batch-size 4 --accumulate 2 --evaluate-every 20 --save-every 4';
const commands: readonly Command[] = [
  {
    what: 'fine-tuning, then two runs of few labels',
    kills: [26, 0],
    line: () =>
      'train/finetune-classifier.ts --data @reviews.csv --epochs 10 --few-labels 8 --save-every 3 ' +
      smallClassifier.join(' '),
  },
  {
    what: 'pretraining of a GPT-2, weights averaged',
    kills: [16, 2],
    line: (short) =>
      `train/pretrain-gpt.ts --data @texts.jsonl --vocab-size 300 --ema 0.9 ${model} ${batches} ` +
      `--steps ${short ? 20 : 100}`,
    keepAs: 'gpt',
  },
  {
    what: 'pretraining of a BERT, two objectives, mixed precision',
    kills: [16, 0],
    line: () =>
      'train/pretrain-bert.ts --data @texts.jsonl --vocab-size 130 --objective mlm+nsp --no-pack ' +
      `--precision mixed ${model} ${batches} --steps 60`,
  },
  {
    what: 'domain adaptation, words added',
    kills: [10, 0],
    line: () =>
      `train/adapt.ts --model @gpt --data @more.jsonl --old-data @texts.jsonl --new-words 3 ${batches} --steps 60`,
  },
  {
    what: 'export over another model',
    kills: [16, 1],
    line: () => 'train/export.ts --model @gpt',
    over: { save: saveGpt, open: openModel },
  },
  {
    what: 'prepare-data over another corpus',
    kills: [16, 1],
    line: () => 'train/prepare-data.ts all @texts.jsonl @more.jsonl --tokenizer @gpt',
    over: { save: saveCorpus, open: openCorpus },
  },
];
/** What kills left of locks, for the next run to remove: if nothing ever, they are elsewhere now. */
const locksLeft = new Set<string>();
/** Kills of one run, at most; then it ends by itself. */
const killsInARow = 5;

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const outcomes: FaultOutcome[] = [];
  // As a process sees its own folder, by which its locks are known.
  const place = await realpath(await mkdtemp(join(tmpdir(), 'tapeform-')));
  try {
    await makeInputs(place, new Random(seed));
    for (const [i, command] of commands.entries()) {
      const kills = command.kills[short ? 1 : 0];
      if (kills > 0) outcomes.push(await soak(command, place, kills, new Random(seed, 1 + i), short));
    }
  } finally {
    await rm(place, { recursive: true, force: true });
  }
  if (!short && locksLeft.size === 0) throw new Error('no kill left a lock: see where common/lock.ts puts them');
  return outcomes;
}

/** Texts of words that follow no rule, so that no two are near-duplicates, and a table with labels. */
async function makeInputs(place: string, random: Random): Promise<void> {
  const syllables = Array.from({ length: 60 }, (_, i) => `${'bcdfglmnprst'[i % 12]}${'aeiou'[i % 5]}`);
  const word = (): string => `${syllables[random.int(60)]}${syllables[random.int(60)]}${'klmnrst'[random.int(7)]}`;
  const sentence = (): string => `${Array.from({ length: 9 }, word).join(' ')}.`;
  for (const file of ['texts.jsonl', 'more.jsonl']) {
    const texts = Array.from({ length: 150 }, () => Array.from({ length: 5 }, sentence).join(' '));
    await writeFile(join(place, file), texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  }
  await writeFile(join(place, 'reviews.csv'), reviews);
  await mkdir(join(place, 'temporary'));
}

/** What the run that is never killed makes. */
interface Whole {
  readonly contents: Contents;
  /** Of the folder before it. */
  readonly before: Contents;
  /** Names of all that lies beside the output folder, and of what it has made there for a while. */
  readonly beside: string;
  readonly stdout: string;
  readonly milliseconds: number;
}

/**
 * Kills runs of a command so many times in all. Each run, once it ends by itself, must have made what the run
 * that was never killed made, and say the same; else none of its kills has been survived.
 */
async function soak(
  { what, line, keepAs, over }: Command,
  place: string,
  kills: number,
  random: Random,
  short: boolean,
): Promise<FaultOutcome> {
  const at = (folder: string): string => join(place, folder);
  const [output, old, kept] = [at('output'), at('old'), at('kept')];
  const args = `${line(short)} --output ${output}`.replaceAll('@', `${place}/`).split(' ');
  const env = { TMPDIR: at('temporary') };
  const fresh = async (): Promise<void> => {
    await rm(output, { recursive: true, force: true });
    if (over) await cp(old, output, { recursive: true });
  };

  const runWhole = async (): Promise<Whole> => {
    for (const folder of [old, kept]) await rm(folder, { recursive: true, force: true });
    await mkdir(old);
    await over?.save(old);
    await fresh();
    const began = performance.now();
    const { code, stdout, stderr } = await runScript(['--import', './test/support/keep-checkpoints.ts', ...args], {
      env: { ...env, KEEP_FROM: output, KEEP_IN: kept },
    });
    const milliseconds = performance.now() - began;
    if (code !== 0) throw new Error(`${what}: ${stderr}`);
    if (keepAs) await cp(output, at(keepAs), { recursive: true });
    const [contents, before] = [await contentsOf(output), await contentsOf(old)];
    return { contents, before, beside: await namesBeside(place), stdout, milliseconds };
  };

  /** Checks what a kill left: checkpoints as of the run never killed, or the old folder or the new. */
  const checkLeft = async (whole: Whole): Promise<void> => {
    if (over) {
      await over.open(output);
      const left = await contentsOf(output);
      if (differences(left, whole.before).length > 0) mustEqual('neither old nor new', left, whole.contents);
      return;
    }
    const names = await readdir(output, { recursive: true }).catch(() => []);
    for (const checkpoint of names.filter((path) => /(^|\/)checkpoint-\d+$/.test(path)))
      mustEqual(checkpoint, await contentsOf(join(output, checkpoint)), await contentsOf(join(kept, checkpoint)));
  };

  const checkEnd = async (whole: Whole, { code, signal, stdout, stderr }: Finished): Promise<void> => {
    if (code !== 0) throw new Error(`it ended with ${code ?? signal}: ${stderr.trim().split('\n').at(-1)}`);
    mustEqual('the folder', await contentsOf(output), whole.contents);
    if (said(stdout) !== said(whole.stdout)) throw new Error(`it said: ${said(stdout)}`);
    const beside = await namesBeside(place);
    if (beside !== whole.beside) throw new Error(`beside the folder lie ${beside}`);
    const locks = await locksOf(output);
    if (locks.length > 0) throw new Error(`locks are left: ${locks.join(', ')}`);
  };

  const whole = await runWhole();
  let { milliseconds } = whole; // of the latest run from its start to its end, on a machine that may be busy
  /** Starts a run, kills it so many times unless it ends before, and checks it. The moments go to a list. */
  const runKilled = async (times: number, moments: string[]): Promise<void> => {
    await fresh();
    for (;;) {
      const resumes = !over && (await canResume(output));
      const moment = random.uniform() * milliseconds;
      const began = performance.now();
      const run = await runScript(resumes ? [...args, '--resume'] : args, {
        env,
        ...(moments.length < times ? { killAfter: moment } : {}),
      });
      if (moments.length === times || run.signal !== 'SIGKILL') {
        if (!resumes) milliseconds = performance.now() - began;
        return checkEnd(whole, run);
      }
      moments.push(`${seconds(moment)} s${resumes ? ' of a resumed run' : ''}`);
      for (const lock of await locksOf(output)) locksLeft.add(lock);
      await checkLeft(whole);
    }
  };

  const tally = new Tally();
  const report = (text: string): void => (short ? undefined : console.log(`${what}: ${text}`));
  report(`${seconds(whole.milliseconds)} s without a kill`);
  for (let killed = 0; killed < kills;) {
    const moments: string[] = [];
    const times = Math.min(kills - killed, 1 + random.int(killsInARow));
    const problem = await runKilled(times, moments).catch((error: Error) => error);
    killed += moments.length;
    const how = `killed after ${moments.join(', ') || 'nothing'}`;
    report(`${killed} of ${kills}, ${how}: ${problem?.message ?? 'equal'}`);
    for (let i = 0; i < Math.max(moments.length, problem ? 1 : 0); i++)
      await tally.try(how, () => problem && Promise.reject(problem));
    if (problem && moments.length === 0) break;
  }
  return tally.outcome(`${name}: ${what}`);
}

const seconds = (milliseconds: number): string => (milliseconds / 1000).toFixed(2);

function mustEqual(where: string, found: Contents, expected: Contents): void {
  const lines = differences(found, expected);
  if (lines.length > 0) throw new Error(`${where}: ${lines.slice(0, 5).join('; ')} (${lines.length} in all)`);
}

/** A script's result, without what a resumed run need not say again. */
function said(stdout: string): string {
  return stdout.replace(/^step .*\n|^.* was made from the same before; nothing to do\n\n/gm, '');
}

async function namesBeside(place: string): Promise<string> {
  const names = await Promise.all([readdir(place), readdir(join(place, 'temporary'))]);
  // tsx keeps there what it compiles.
  return names
    .flat()
    .filter((name) => !name.startsWith('tsx-'))
    .join(', ');
}

/** Sockets by which an output folder is, or was, locked: see common/lock.ts. */
async function locksOf(output: string): Promise<string[]> {
  const ids = ['output', 'training'].map((use) =>
    createHash('sha256').update(`${use} ${output}`).digest('hex').slice(0, 16),
  );
  const names = await readdir(`/tmp/tapeform-locks-${process.getuid?.()}`).catch(() => []);
  return names.filter((name) => ids.some((id) => name.includes(id)));
}
