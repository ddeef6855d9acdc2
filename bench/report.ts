import type { Runner } from './adapters/index.ts';
import type { Header } from './header.ts';
import type { Ceilings, Result } from './results.ts';
import { aligned, digits, markdown } from './table.ts';
import type { Table } from './table.ts';

/** A figure for a table: three digits, or a dash where there is none. */
export const cell = (value: number | null | undefined): string => (value == null ? '-' : digits(value));

/** A ratio for a table. */
export const times = (value: number | null): string => (value === null ? '-' : `${value.toFixed(2)}x`);

/** Everything about our own side of each row. */
export function detailTable(results: readonly Result[]): string {
  return aligned({
    head: ['row', 'variant', 'shape', 'ms', 'min', 'max', 'GFLOP/s', 'GB/s', 'of ceiling', 'dispatches', 'control'],
    text: 3,
    rows: results.map((r) => [
      r.name,
      r.variant,
      r.shape,
      cell(r.ms),
      cell(r.min),
      cell(r.max),
      cell(r.gflops),
      cell(r.gbps),
      r.ceiling === null ? '-' : `${(100 * r.ceiling).toFixed(0)}% ${r.bound}`,
      `${r.dispatches ?? '-'}`,
      r.control === null ? '' : times(r.control),
    ]),
  });
}

/** Ours beside the peers, milliseconds. */
export function peerTable(results: readonly Result[], runners: readonly Runner[]): Table {
  const others = runners.filter(({ kind }) => kind !== 'ours');
  const compared = results.filter(({ peers, cpu }) => Object.keys({ ...peers, ...cpu }).length > 0);
  return {
    head: [
      'row',
      'shape',
      'tapeform',
      'ms',
      'best peer / ours',
      'of minima',
      ...others.map(({ name, kind, copies }) => `${name}${copies ? '*' : ''}${kind === 'cpu' ? ' (CPU)' : ''}`),
    ],
    text: 3,
    rows: compared.map((r) => [
      r.name,
      r.shape,
      r.variant,
      cell(r.ms),
      times(r.ratio),
      times(r.ratioOfMinima),
      ...others.map(({ name }) => cell({ ...r.peers, ...r.cpu }[name])),
    ]),
  };
}

const starNote =
  '* uploads its inputs and reads its result back on every call, by design. (CPU): without a driver, for reference.';

export function headerLine({ adapter, driver, node, cores, commit, date }: Header, { gflops, gbps }: Ceilings): string {
  const ceilings = `ceilings of this run: ${digits(gflops)} GFLOP/s (best matrix product), ${digits(gbps)} GB/s (copy)`;
  return `${adapter}, ${driver}, ${cores} cores, Node ${node}, commit ${commit}, ${date}\n${ceilings}`;
}

/** Who failed, why, and in which rows: a line for each reason. */
function failureLines(results: readonly Result[]): string[] {
  const rows = new Map<string, Set<string>>();
  for (const { name, shape, failures } of results) {
    for (const [runner, why] of Object.entries(failures)) {
      const reason = `- ${runner}: ${why}`;
      rows.set(reason, (rows.get(reason) ?? new Set()).add(`${name} ${shape}`));
    }
  }
  return [...rows].map(
    ([reason, names]) => `${reason} (${names.size > 3 ? `${names.size} rows` : [...names].join('; ')})`,
  );
}

/** Controls are a row measured in two processes of ours: what they differ by from 1 is this run's error. */
function controlLine(results: readonly Result[]): string[] {
  const read = results.flatMap(({ control }) => (control === null ? [] : [control]));
  if (read.length === 0) return [];
  const [low, high] = [Math.min(...read), Math.max(...read)];
  const steady = low > 0.9 && high < 1.1;
  const unsteady = 'they should read 1.00x, so something else used the machine and smaller differences mean nothing';
  return [`controls read ${times(low)} to ${times(high)}: ${steady ? 'as they must' : unsteady}`];
}

export function textReport(results: readonly Result[], runners: readonly Runner[]): string {
  const table = peerTable(results, runners);
  const failures = failureLines(results);
  return [
    detailTable(results),
    ...controlLine(results),
    ...(table.rows.length > 0 ? ['', 'milliseconds, medians', aligned(table), starNote] : []),
    ...(failures.length > 0 ? ['', 'no figure (-), and why', ...failures] : []),
  ].join('\n');
}

export function markdownReport(
  header: Header,
  ceilings: Ceilings,
  results: readonly Result[],
  runners: readonly Runner[],
): string {
  const table = peerTable(results, runners);
  return `${headerLine(header, ceilings).replace('\n', '; ')}. Medians, ms.\n\n${markdown(table)}\n\n${starNote}\n`;
}
