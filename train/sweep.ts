/**
 * Tries a script's settings: a grid, random draws, or both, each trial a run in a process and a folder of its
 * own; ends with their comparison. Started again, it goes on where it was stopped.
 *
 *   node --import tsx train/sweep.ts --script finetune-classifier --grid lr=3e-4,1e-3,3e-3 --metric f1
 *   node --import tsx train/sweep.ts --script finetune-classifier --random lr=log:1e-4:1e-2 --trials 9 \
 *     --halving --metric f1 -- --data reviews.csv --epochs 9
 */
import { join } from 'node:path';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { disk } from '../common/file-system.ts';
import { isJsonObject, pathKind, readJsonFile } from '../common/json-file.ts';
import { claimFolder } from '../common/lock.ts';
import { nearestNames } from '../common/nearest.ts';
import { showText } from '../common/printable.ts';
import { duration } from '../common/progress.ts';
import { main, parseOptions, startedBy, UsageError } from './cli/cli.ts';
import { Interrupted, isStopCode, onInterrupt } from './cli/interrupt.ts';
import { compareGroups, comparisonHtml, comparisonLines, metricOf, orderGroups } from './report/compare-runs.ts';
import { groupBySeed } from './report/run-groups.ts';
import type { NamedRun, RunGroup } from './report/run-groups.ts';
import { historyOf } from './report/run-history.ts';
import type { RunHistory } from './report/run-history.ts';
import { helpOf, runTrial, scriptPath } from './sweep/run-trial.ts';
import { flagsInHelp, rungsOf, settingsOf, wordsOf } from './sweep/space.ts';
import type { Rung, ScriptFlags, Settings } from './sweep/space.ts';
import { infoFile } from './trainer/run-info.ts';

const command = {
  name: 'sweep',
  summary: 'Tries settings of a script that trains: a grid, random draws, successive halving; several seeds of each.',
  usage: 'node --import tsx train/sweep.ts',
  positionals: { name: 'flag', help: 'behind --: flags of the script that all trials share', min: 0 },
  options: {
    script: { type: 'string', required: true, help: 'a script of train/ by its name, such as finetune-classifier' },
    grid: { type: 'list', help: 'a flag and values that are all tried: lr=1e-5,2e-5; may be given several times' },
    random: {
      type: 'list',
      help: 'a flag and what is drawn: lr=log:1e-6:1e-3, dropout=0:0.3, batch-size=int:8:64, schedule=linear,cosine',
    },
    trials: { type: 'int', default: 8, min: 1, help: 'draws of --random, each at every point of --grid' },
    seeds: { type: 'int', min: 1, help: 'run each with so many seeds, from 1 up; default the seed of the script' },
    seed: { type: 'int', default: 42, min: 0, help: 'of the draws' },
    metric: { type: 'string', help: 'a column of `compare` that tells which is best; default what the runs go by' },
    halving: {
      type: 'boolean',
      help: 'all for few epochs (or steps), the best third for three times as many, and so on up to all of them',
    },
    output: { type: 'path', help: 'folder for the trials 000, 001, ...; default runs/sweep- and the script' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

/** What sweep.json keeps, so that a sweep is gone on with only as it began. */
interface Kept {
  readonly settings: Readonly<Record<string, unknown>>;
  /** By their numbers: the flags of each, and whether it has ended well. */
  readonly trials: Record<string, { readonly words: readonly string[]; readonly done: boolean }>;
}

// Looks at the driver once, and not in each trial anew.
main(async () => {
  const { values, positionals: shared } = parseOptions(command);
  const flags = await flagsOf(values.script);
  checkShared(shared, values, flags);
  const settings = settingsOf(values, flags);
  checkTwice(shared, settings);
  const budget = values.halving ? budgetOf(shared, flags) : undefined;
  const rungs: (Rung | undefined)[] = budget ? rungsOf(settings.length, budget.whole) : [undefined];
  const output = values.output ?? join('runs', `sweep-${values.script}`);
  await claimFolder(output);
  const kept = await readKept(output, { ...values, output: undefined, shared });
  const total = rungs.reduce((sum, rung) => sum + (rung?.settings ?? settings.length), 0) * (values.seeds ?? 1);
  console.log(`sweep  ${values.script}: ${total} trials into ${output}`);

  let isStopped = false;
  const stopListening = onInterrupt(() => (isStopped = true));
  const runs: NamedRun[] = [];
  let number = 0;
  const keep = async (name: string, words: readonly string[], done: boolean): Promise<void> => {
    kept.trials[name] = { words, done };
    await writeFileAtomic(join(output, keptFile), `${JSON.stringify(kept, null, 2)}\n`);
  };
  const trial = async (words: readonly string[]): Promise<RunHistory | undefined> => {
    const name = String(number++).padStart(3, '0');
    const folder = join(output, name);
    const place = `${String(number).padStart(String(total).length)}/${total}  ${name}  ${words.join(' ')}`;
    const before = kept.trials[name];
    const isSame = before?.words.join(' ') === words.join(' ');
    const isThere = isSame && before!.done && (await pathKind(join(folder, infoFile))) === 'file';
    if (!isThere) {
      // Of other settings, where halving chose anew since a trial that had failed went well.
      if (!isSame) await disk.remove(folder);
      await keep(name, words, false);
      const start = performance.now();
      const all = [...shared, ...words];
      const { code, line } = await runTrial({
        script: values.script,
        words: all,
        folder,
        isStopped: () => isStopped,
      });
      if (isStopped || isStopCode(code)) throw new Interrupted(`stopped in trial ${name}; go on with: ${again()}`);
      if (code === 2) throw new UsageError(`${command.name}: ${line}`);
      const time = duration((performance.now() - start) / 1000);
      if (code !== 0) {
        console.log(`${place}  failed after ${time} (${showText(line, 120)}), see ${folder}.log`);
        return undefined;
      }
      await keep(name, words, true);
    }
    const history = await historyOf(folder);
    ordered([{ name, runs: [history] }], values); // before the others: the metric is one of these runs'
    const metric = metricName(history, values);
    console.log(`${place}  ${metric} ${metricOf(history, metric).toFixed(4)}${isThere ? ' (was there)' : ''}`);
    runs.push({ name, history });
    return history;
  };

  try {
    let left = settings;
    for (const rung of rungs) {
      const more = rung ? [`--${budget!.flag}=${rung.budget}`] : [];
      const tried: (RunGroup & { readonly settings: Settings })[] = [];
      for (const each of left) {
        const histories: RunHistory[] = [];
        for (let seed = 1; seed <= (values.seeds ?? 1); seed++) {
          const own = values.seeds === undefined ? [] : [`--seed=${seed}`];
          const history = await trial([...wordsOf(each), ...more, ...own]);
          if (history) histories.push(history);
        }
        const [first, ...others] = histories;
        if (first) tried.push({ name: wordsOf(each).join(' '), runs: [first, ...others], settings: each });
      }
      const next = rungs[rungs.indexOf(rung) + 1];
      if (next && tried.length > 0)
        left = ordered(tried, values)
          .slice(0, next.settings)
          .map(({ settings }) => settings);
    }
  } finally {
    stopListening();
  }
  if (runs.length === 0) throw new Error(`${command.name}: no trial ended well; see ${join(output, '000.log')}`);
  const groups = ordered(groupBySeed(runs), values);
  console.log(`\n${comparisonLines(compareGroups(groups))}`);
  await writeFileAtomic(join(output, 'compare.html'), comparisonHtml(groups));
  console.log(`saved  ${join(output, 'compare.html')}`);
});

const keptFile = 'sweep.json';

const again = (): string => [startedBy(command.usage), ...process.argv.slice(2)].join(' ');

/** The flags of a script. Error: there is no such script, or it trains nothing. */
async function flagsOf(script: string): Promise<ScriptFlags> {
  const isScript = /^[\w-]+$/.test(script) && (await pathKind(scriptPath(script))) === 'file';
  const flags = isScript && script !== command.name ? flagsInHelp(await helpOf(script)) : undefined;
  if (flags?.has('output') && flags.has('resume')) return flags;
  const [near] = nearestNames(script, ['finetune-classifier', 'finetune-qa', 'finetune-tokens', 'pretrain-gpt', 'sft']);
  throw new UsageError(
    `${command.name}: --script ${script} is no script that trains a run${near ? `; did you mean ${near}?` : ''}`,
  );
}

function checkShared(shared: readonly string[], values: Values, flags: ScriptFlags): void {
  if (values.grid.length + values.random.length === 0 && values.seeds === undefined)
    throw new UsageError(`${command.name}: there is nothing to try; give --grid lr=1e-4,1e-3, --random or --seeds`);
  if (shared.length > 0 && !shared[0]!.startsWith('-'))
    throw new UsageError(`${command.name}: flags of the script go behind --, got "${shared[0]!}"`);
  const own = shared.find((word) => /^--(output|resume)/.test(word));
  if (own) throw new UsageError(`${command.name}: ${own} behind --: each trial has a folder of its own; leave it out`);
  if (values.seeds !== undefined && !flags.has('seed'))
    throw new UsageError(`${command.name}: --seeds: ${values.script} has no --seed`);
}

function checkTwice(shared: readonly string[], [first = []]: readonly Settings[]): void {
  const twice = first.find(([flag]) => shared.some((word) => word.split('=')[0] === `--${flag}`));
  if (twice)
    throw new UsageError(`${command.name}: --${twice[0]} is to be tried and stands behind --, too; leave it out`);
}

/** What halving divides: the flag, and its value for the last round. */
function budgetOf(shared: readonly string[], flags: ScriptFlags): { readonly flag: string; readonly whole: number } {
  const flag = ['epochs', 'steps'].find((name) => flags.has(name));
  if (flag === undefined)
    throw new UsageError(`${command.name}: --halving: the script has neither --epochs nor --steps`);
  const at = shared.findLastIndex((word) => word === `--${flag}` || word.startsWith(`--${flag}=`));
  const given = at < 0 ? flags.get(flag) : (shared[at]!.split('=')[1] ?? shared[at + 1]);
  const whole = Number(given);
  if (!Number.isInteger(whole) || whole < 1)
    throw new UsageError(`${command.name}: --halving: say how many ${flag} the best have, behind --: -- --${flag} 9`);
  return { flag, whole };
}

/** What a sweep in this folder has done; it must be the same one. */
async function readKept(output: string, settings: Readonly<Record<string, unknown>>): Promise<Kept> {
  const path = join(output, keptFile);
  const now = JSON.parse(JSON.stringify(settings)) as Record<string, unknown>;
  if ((await pathKind(path)) !== 'file') return { settings: now, trials: {} };
  const { settings: before, trials } = await readJsonFile(path);
  if (!isJsonObject(before) || !isJsonObject(trials)) throw new Error(`${path} is no sweep's; name another --output`);
  // By another metric the trials are the same, unless it chose among them.
  const parts = Object.keys({ ...before, ...now }).filter((key) => key !== 'metric' || now['halving'] === true);
  const other = parts.find((key) => JSON.stringify(before[key]) !== JSON.stringify(now[key]));
  if (other !== undefined) {
    const what = other === 'shared' ? 'flags behind --' : `--${other}`;
    throw new UsageError(
      `${command.name}: ${output} holds another sweep (${what} differ); name another --output, or remove it`,
    );
  }
  return { settings: now, trials: trials as Kept['trials'] };
}

/** What tells which is best: the metric that is asked for, else what the runs themselves go by. */
const metricName = ({ info }: RunHistory, { metric }: Values): string => metric ?? info.best?.name ?? 'training loss';

/** The best first. Error: a metric that is none of the runs'. */
function ordered<G extends RunGroup>(groups: readonly G[], values: Values): readonly G[] {
  const name = metricName(groups[0]!.runs[0], values);
  const found = orderGroups(groups, name);
  if ('groups' in found) return found.groups;
  throw new UsageError(
    `${command.name}: --metric "${name}" is no number of the runs; there are ${found.names.join(', ')}`,
  );
}
