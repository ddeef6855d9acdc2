import { duration } from '../../common/progress.ts';
import { escapeHtml } from '../../common/markup.ts';
import { showText } from '../../common/printable.ts';
import { mean, meanInterval, smooth } from '../../common/statistics.ts';
import { alignTable } from '../../common/text-table.ts';
import { chartsHtml, numberText, pageHtml, tableHtml } from './page.ts';
import type { Panel, Series } from './panel.ts';
import type { RunHistory } from './run-history.ts';
import { evaluated, scoreNames, stepNames, valuesAt } from './run-panels.ts';
import { differingOptions, seedsOf } from './run-groups.ts';
import type { RunGroup } from './run-groups.ts';

/** A number by which runs are compared. */
interface Column {
  readonly name: string;
  /** Of one run; NaN where it has none. */
  of(run: RunHistory): number;
  readonly lower: boolean;
  readonly show: (value: number) => string;
}

/** Options that a table has columns for. */
const mostOptions = 5;

const fixed = (value: number): string => (Math.abs(value) < 10 ? value.toFixed(4) : numberText(value));

/** Whether less of a number is better, by what its run says of it, else by its name. */
export function isLowerBetter(name: string, runs: readonly RunHistory[]): boolean {
  const told = runs.find(({ info }) => info.best?.name === name)?.info.best?.mode;
  return told === undefined ? /loss|perplexity|error|mse|\bter\b|wer|cer$/i.test(name) : told === 'min';
}

const lossOf = (run: RunHistory): number => smooth(valuesAt(run, 'loss')).at(-1)?.[1] ?? NaN;

/** Numbers of the evaluations: those of scores and of losses. */
function validationNames(runs: readonly RunHistory[]): string[] {
  const names = runs.flatMap((run) => [
    ...stepNames(run).filter((name) => evaluated(run, name).length > 0),
    ...scoreNames(run),
  ]);
  return [...new Set(names)];
}

function columnsOf(runs: readonly RunHistory[]): Column[] {
  const validation = validationNames(runs).flatMap((name): Column[] => {
    const lower = isLowerBetter(name, runs);
    const values = (run: RunHistory): number[] => evaluated(run, name).map(([, value]) => value);
    const best = (run: RunHistory): number => {
      const known = values(run).filter(Number.isFinite);
      return known.length === 0 ? NaN : known.reduce((a, b) => (lower ? Math.min(a, b) : Math.max(a, b)));
    };
    return [
      { name, of: (run) => values(run).at(-1) ?? NaN, lower, show: fixed },
      ...(runs.some((run) => values(run).length > 1) ? [{ name: `best ${name}`, of: best, lower, show: fixed }] : []),
    ];
  });
  const tested = (run: RunHistory) => run.result?.scores?.tables[0];
  const test = [...new Set(runs.flatMap((run) => tested(run)?.columns ?? []))].map((name): Column => {
    const of = (run: RunHistory): number => {
      const table = tested(run);
      return table?.rows[0]?.scores[table.columns.indexOf(name)]?.value ?? NaN;
    };
    return { name: `test ${name}`, of, lower: isLowerBetter(name, runs), show: fixed };
  });
  return [{ name: 'training loss', of: lossOf, lower: true, show: fixed }, ...validation, ...test];
}

export interface Comparison {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Columns from this one on are numbers. */
  readonly numbersFrom: number;
  /** Options in which the runs differ, where they are too many for columns: a row each, a column each run. */
  readonly options: readonly (readonly string[])[];
  /** Lines on what keeps the runs from being compared. */
  readonly notes: readonly string[];
}

/**
 * Groups of runs as rows: options that differ, steps, time, and each number: training loss, validation at
 * the end and at its best, test. Of several seeds the mean with half the width of its interval (95 %,
 * Student's t). The best of a column has a star.
 */
export function compareGroups(groups: readonly RunGroup[]): Comparison {
  const runs = groups.flatMap((group) => group.runs);
  const differing = differingOptions(groups);
  const areMany = differing.length > mostOptions;
  const options = areMany ? [] : differing;
  const columns = columnsOf(runs);
  const means = columns.map(({ of }) => groups.map((group) => mean(group.runs.map(of))));
  const bestOf = means.map((values, i) => {
    const known = values.filter(Number.isFinite);
    return known.length < 2 ? NaN : columns[i]!.lower ? Math.min(...known) : Math.max(...known);
  });
  const hasSeeds = groups.some((group) => group.runs.length > 1);
  const rows = groups.map((group, row) => {
    const numbers = columns.map(({ of, show }, i) => {
      const values = group.runs.map(of);
      if (values.some((value) => !Number.isFinite(value))) return '-';
      const star = means[i]![row] === bestOf[i] ? ' *' : '';
      const { middle, half } = meanInterval(values);
      return `${show(middle)}${values.length > 1 ? ` ± ${show(half)}` : ''}${star}`;
    });
    const last = group.runs.map(({ steps }) => steps.at(-1)!);
    return [
      group.name,
      ...(hasSeeds ? [seedsOf(group)] : []),
      ...options.map(({ values }) => values[row]!),
      numberText(Math.round(mean(last.map(({ step }) => step)))),
      duration(mean(last.map(({ seconds }) => seconds))),
      ...numbers,
    ];
  });
  const first = ['run', ...(hasSeeds ? ['seeds'] : []), ...options.map(({ name }) => name)];
  const header = [...first, 'steps', 'time', ...columns.map(({ name }) => name)];
  const table = areMany ? differing.map(({ name, values }) => [name, ...values]) : [];
  return { header, rows, numbersFrom: first.length, options: table, notes: notesOn(runs) };
}

/** A column's number of one run; NaN where it has none. */
export const metricOf = (run: RunHistory, metric: string): number =>
  columnsOf([run])
    .find(({ name }) => name === metric)
    ?.of(run) ?? NaN;

/** Groups by a column of their comparison, the best first; or its names, where it is none of them. */
export function orderGroups<G extends RunGroup>(
  groups: readonly G[],
  metric: string,
): { readonly groups: G[] } | { readonly names: string[] } {
  const columns = columnsOf(groups.flatMap(({ runs }) => runs));
  const column = columns.find(({ name }) => name === metric);
  if (!column) return { names: columns.map(({ name }) => name) };
  const value = ({ runs }: G): number => {
    const all = mean(runs.map(column.of));
    return Number.isNaN(all) ? Infinity : column.lower ? all : -all;
  };
  return { groups: [...groups].sort((a, b) => value(a) - value(b)) };
}

function notesOn(runs: readonly RunHistory[]): string[] {
  const differs = (key: string): boolean =>
    new Set(runs.filter(({ info }) => key in info.identity).map(({ info }) => info.identity[key])).size > 1;
  const own = runs.map((run) => validationNames([run]));
  const shared = own.reduce((a, b) => a.filter((name) => b.includes(name)));
  const tasks = [...new Set(runs.map(({ info }) => info.name))];
  const of = own.some((names) => names.length > 0);
  return [
    ...(tasks.length > 1 ? [`runs of different tasks: ${tasks.join(', ')}`] : []),
    ...(of && shared.length === 0 ? ['no number of the validation is in all runs; "-" where one has none'] : []),
    ...(differs('validation') ? ['the runs were validated on different texts: differences may be those of texts'] : []),
  ];
}

/** A comparison as lines for a terminal. */
export function comparisonLines({ header, rows, numbersFrom, options, notes }: Comparison): string {
  const numbers = new Set(header.map((_, i) => i).filter((i) => i >= numbersFrom));
  const names = ['option', ...rows.map(([name]) => name!)];
  const cut = options.map((row) => row.map((cell) => showText(cell, 40)));
  return [
    alignTable(header, rows, numbers),
    ...(options.length > 0 ? ['', alignTable(names, cut, new Set()), ''] : []),
    ...notes.map((note) => `note: ${note}`),
  ].join('\n');
}

/** A comparison as a page: the table, and the curves of all groups over each other. */
export function comparisonHtml(groups: readonly RunGroup[]): string {
  const { header, rows, options, notes } = compareGroups(groups);
  const runs = groups.flatMap((group) => group.runs);
  const panel = (title: string, of: (run: RunHistory) => Series['points'], more: Partial<Panel> = {}): Panel => ({
    title,
    ...more,
    series: groups.map((group) => together(group, of)),
  });
  const dotted = (each: Panel): Panel => ({ ...each, series: each.series.map((one) => ({ ...one, dots: true })) });
  const yLabel = runs[0]!.info.lossLabel ?? 'cross-entropy, nats';
  const panels = [
    ...validationNames(runs).map((name) => dotted(panel(`Validation: ${name}`, (run) => evaluated(run, name)))),
    panel('Training loss, smoothed', (run) => smooth(valuesAt(run, 'loss')), { yLabel }),
    panel('Learning rate', ({ steps }) => steps.map(({ step, lr }) => [step, lr])),
    panel('Gradient norm, smoothed', ({ steps }) => smooth(steps.map(({ step, gradNorm }) => [step, gradNorm])), {
      yScale: 'log',
    }),
  ];
  const title = `${groups.length} runs compared`;
  const names = ['option', ...groups.map(({ name }) => name)];
  const differences =
    options.length === 0
      ? ''
      : `<section><h2>Options that differ</h2>${tableHtml('options that differ', names, options)}</section>`;
  const bands = groups.some((group) => group.runs.length > 1)
    ? ' Of several seeds: the mean, and around it its interval of 95 %.'
    : '';
  return pageHtml(
    title,
    `<h1>${title}</h1>
<p class="about">${escapeHtml([...new Set(runs.map(({ info }) => info.name))].join(', '))}. * is the best of a
column.${bands}</p>
${notes.map((note) => `<p class="about">Note: ${escapeHtml(note)}.</p>`).join('\n')}
<div class="card">${tableHtml('runs', header, rows, 'numbers')}</div>
${chartsHtml('Curves', panels)}
${differences}`,
  );
}

/** The curve of a group: of several runs their mean at the steps that all have, with its interval. */
function together(group: RunGroup, of: (run: RunHistory) => Series['points']): Series {
  const [first, ...rest] = group.runs.map(of);
  if (rest.length === 0) return { name: group.name, points: first! };
  const others = rest.map((points) => new Map(points));
  const values = first!.flatMap(([x, y]) => {
    const all = [y, ...others.map((each) => each.get(x) ?? NaN)];
    return all.every(Number.isFinite) ? [{ x, ...meanInterval(all) }] : [];
  });
  return {
    name: group.name,
    points: values.map(({ x, middle }) => [x, middle]),
    band: values.map(({ x, middle, half }) => [x, middle - half, middle + half]),
  };
}
