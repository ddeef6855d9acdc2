import type { Reading, TaskRow } from './rows.ts';

/** The figures of one row, as they were when it ran last. */
export interface TaskFigures extends Reading {
  readonly pytorch?: string;
  readonly seeds: readonly number[];
  /** Of one run; null where it was not kept. */
  readonly minutes: number | null;
  /** ISO 8601, the day. */
  readonly date: string;
}

export type TaskRecord = Readonly<Partial<Record<string, TaskFigures>>>;

const [begin, end] = ['<!-- tasks: begin -->', '<!-- tasks: end -->'];

/** The table of tasks in Markdown; rows that never ran have no figures. */
export function taskTable(rows: Readonly<Record<string, TaskRow>>, record: TaskRecord): string {
  const lines = Object.entries(rows).map(([name, { task, data, metric }]) => {
    const figures = record[name];
    const cells = figures
      ? [
          figures.size,
          Object.entries(figures.baselines)
            .map(([baseline, value]) => `${baseline} ${value}`)
            .join(', '),
          figures.ours,
          figures.pytorch ?? '',
          figures.seeds.join(', '),
          figures.minutes === null ? '' : figures.minutes.toFixed(1),
          figures.date,
        ]
      : ['', '', '', '', '', '', ''];
    return `| ${[task, data, metric, ...cells, `\`npm run bench:tasks -- ${name}\``].join(' | ')} |`;
  });
  return [
    '| task | data | metric | to train / test | baseline | ours | PyTorch | seeds | minutes | date | command |',
    '|---|---|---|---:|---|---:|---:|---|---:|---|---|',
    ...lines.map((line) => line.replace(/ {2,}/g, ' ')),
  ].join('\n');
}

/** A document with the table between its marks. Error: they are not there. */
export function withTable(document: string, table: string): string {
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the document has no "${begin}" and "${end}" to put the table between`);
  return `${document.slice(0, from + begin.length)}\n\n${table}\n\n${document.slice(to)}`;
}
