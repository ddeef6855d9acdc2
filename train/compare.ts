/**
 * Compares runs: a table of their numbers, with the options in which they differ, and a page with their
 * curves over each other. Runs that differ in their seed alone are one row, the mean with its interval.
 *
 *   node --import tsx train/compare.ts runs/a runs/b
 *   node --import tsx train/compare.ts runs/* --metric f1 --output compare.html
 */
import { writeFileAtomic } from '../common/atomic-files.ts';
import { nearestNames } from '../common/nearest.ts';
import { main, parseOptions, UsageError } from './cli/cli.ts';
import { compareGroups, comparisonHtml, comparisonLines, orderGroups } from './report/compare-runs.ts';
import { findRuns, groupBySeed } from './report/run-groups.ts';

const command = {
  name: 'compare',
  summary: 'Compares runs in a table, and as curves in a page. Seeds of one run are one row, with intervals.',
  usage: 'node --import tsx train/compare.ts',
  positionals: { name: 'folder', help: 'of a run, or of several runs such as a sweep', min: 1 },
  options: {
    metric: { type: 'string', help: 'order by this column, the best first; default the order given' },
    seeds: { type: 'boolean', help: 'a row for each seed' },
    output: { type: 'path', help: 'page to write: compare.html' },
  },
} as const;

main(
  async () => {
    const { values, positionals } = parseOptions(command);
    const { metric, output } = values;
    const { runs, leftOut } = await findRuns(positionals);
    for (const line of leftOut) console.error(`left out: ${line}`);
    if (runs.length === 0) throw new Error(`${command.name}: there is no run to compare`);
    const found = values.seeds
      ? runs.map(({ name, history }) => ({ name, runs: [history] as const }))
      : groupBySeed(runs);
    let groups = found;
    if (metric !== undefined) {
      const ordered = orderGroups(found, metric);
      if ('names' in ordered) {
        const [near] = nearestNames(metric, ordered.names);
        const mend = near ? `did you mean "${near}"?` : `there are ${ordered.names.join(', ')}`;
        throw new UsageError(`${command.name}: --metric "${metric}" is no column; ${mend}`);
      }
      groups = ordered.groups;
    }
    console.log(comparisonLines(compareGroups(groups)));
    if (output === undefined) return;
    await writeFileAtomic(output, comparisonHtml(groups));
    console.log(`saved  ${output}`);
  },
  { device: false },
);
