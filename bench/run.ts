/**
 * `npm run bench`: our kernels, and whole rows beside other libraries, each in a process of its own on the
 * same adapter, in turn. Figures of one run compare with each other, not with those of another machine or
 * hour. `--help` lists the options.
 */
import { writeFilesAtomic } from '../common/atomic-files.ts';
import { main, parseOptions, UsageError } from '../train/cli/cli.ts';
import { progress } from '../common/progress.ts';
import { canDo, runners as allRunners } from './adapters/index.ts';
import type { Runner } from './adapters/index.ts';
import { coldStart } from './cold.ts';
import { describeMachine } from './header.ts';
import { measureRow } from './measure.ts';
import type { Entrant } from './measure.ts';
import { RunnerProcess } from './process.ts';
import { headerLine, markdownReport, textReport } from './report.ts';
import { ceilingsOf, resultsOf } from './results.ts';
import type { Measured, Result } from './results.ts';
import { ceilingRows, rows, titleOf } from './rows/index.ts';
import { isOwn } from './rows/row.ts';
import type { AnyRow } from './rows/row.ts';

const command = {
  name: 'bench',
  summary: 'Measures our kernels, and whole rows beside other libraries on the same adapter.',
  usage: 'npm run bench --',
  positionals: { name: 'TEXT', help: 'as --filter', min: 0 },
  options: {
    filter: { type: 'list', short: 'f', help: 'only rows whose name, variant or shape contains this; may be repeated' },
    peers: { type: 'boolean', default: true, help: 'measure other libraries too (npm run bench:peers installs them)' },
    only: { type: 'list', help: 'of our modes, or of the other libraries, only this one; may be repeated' },
    kernels: { type: 'boolean', default: true, help: 'measure rows of our own kernels, which no peer has' },
    rounds: { type: 'int', default: 5, min: 1, help: 'rounds of samples, in turn with the peers' },
    seconds: { type: 'number', default: 0.4, min: 0, help: 'time of a round' },
    json: { type: 'path', help: 'write all figures to this file' },
    markdown: { type: 'path', help: 'write the table of peers to this file; --markdown=- prints it' },
    profile: { type: 'boolean', help: 'after each row, where our own time goes on the device' },
    cold: { type: 'boolean', help: 'instead: from the start of a process to the end of its first GPT training step' },
    list: { type: 'boolean', help: 'print the names of rows and libraries' },
  },
} as const;

/** The runners that were asked for. */
function chosenRunners(peers: boolean, only: readonly string[]): Runner[] {
  const unknown = only.find((name) => !allRunners.some((runner) => runner.name === name));
  if (unknown !== undefined)
    throw new UsageError(
      `bench: no library or mode "${unknown}"; there are ${allRunners.map(({ name }) => name).join(', ')}`,
    );
  const named = (list: readonly Runner[]): readonly Runner[] => {
    const some = list.filter(({ name }) => only.includes(name));
    return some.length > 0 ? some : list;
  };
  const ours = named(allRunners.filter(({ kind }) => kind === 'ours'));
  const others = allRunners.filter(({ name, kind }) => kind !== 'ours' && (only.length === 0 || only.includes(name)));
  return peers ? [...ours, ...others] : [...ours];
}

function chosenRows(filters: readonly string[], kernels: boolean): AnyRow[] {
  const found = rows.filter(
    (row) => (kernels || !isOwn(row)) && (filters.length === 0 || filters.some((text) => titleOf(row).includes(text))),
  );
  if (found.length === 0) throw new UsageError(`bench: no row contains ${filters.join(' or ')} (--list prints them)`);
  return [...ceilingRows.filter((row) => !found.includes(row)), ...found];
}

/** Processes are kept from row to row; the control's is started for the first row that has one. */
class Entrants {
  private readonly all: Entrant[];

  constructor(runners: readonly Runner[]) {
    this.all = runners.map((runner) => ({ process: new RunnerProcess(runner), control: false }));
    const ours = runners.find(({ kind }) => kind === 'ours');
    if (ours) this.all.push({ process: new RunnerProcess(ours), control: true });
  }

  /** Who takes part: our own kernels run in our first mode alone. */
  of(row: AnyRow): Entrant[] {
    const ours = this.all.find(({ process: { runner } }) => runner.kind === 'ours');
    if (isOwn(row)) return ours ? [ours] : [];
    return this.all.filter(({ process: { runner }, control }) => (!control || row.control) && canDo(runner, row));
  }

  stop(): void {
    for (const { process } of this.all) process.stop();
  }
}

main(async () => {
  const { values, positionals } = parseOptions(command);
  const runners = chosenRunners(values.peers, values.only);
  if (values.list) {
    console.log([...rows.map(titleOf), '', ...runners.map(({ name }) => name)].join('\n'));
    return;
  }
  const header = await describeMachine();
  if (values.cold) {
    await coldStart(
      header,
      runners.filter(({ trains }) => trains),
    );
    return;
  }
  const chosen = chosenRows([...values.filter, ...positionals], values.kernels);
  const entrants = new Entrants(runners);
  const measured: Measured[] = [];
  const bar = progress({ total: chosen.length });
  const results = (): Result[] => {
    const ceilings = ceilingsOf(measured);
    return measured.flatMap((one) => resultsOf(one, ceilings));
  };
  const save = async (): Promise<void> => {
    if (values.json === undefined) return;
    const data = `${JSON.stringify({ header, ceilings: ceilingsOf(measured), rows: results() }, undefined, 2)}\n`;
    await writeFilesAtomic([{ path: values.json, data }]);
  };
  try {
    for (const [i, row] of chosen.entries()) {
      const label = (text: string): void => bar.update(i, { label: `${titleOf(row)}: ${text}` });
      const outcomes = await measureRow(row, entrants.of(row), {
        rounds: values.rounds,
        seconds: values.seconds,
        profile: values.profile,
        progress: label,
      });
      measured.push({ row, outcomes });
      for (const { runner, profile, time } of outcomes)
        if (profile && time)
          console.log(`${titleOf(row)}, ${runner.name}: ${time.median.toFixed(1)} ms a run\n${profile}\n`);
      await save();
    }
  } finally {
    bar.stop();
    entrants.stop();
  }
  const ceilings = ceilingsOf(measured);
  console.log(`${headerLine(header, ceilings)}\n\n${textReport(results(), runners)}`);
  if (values.markdown === undefined) return;
  const table = markdownReport(header, ceilings, results(), runners);
  if (values.markdown === '-') console.log(`\n${table}`);
  else await writeFilesAtomic([{ path: values.markdown, data: table }]);
});
