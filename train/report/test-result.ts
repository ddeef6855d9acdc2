import { printable } from '../../common/printable.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import type { RunResult } from './result-file.ts';
import { scoreLines, shownText } from './test-scores.ts';
import type { Digits, ScoreTable } from './test-scores.ts';

/** What was tested, and what it reached: scores by name, those left out that it has none of. */
export interface Scored {
  readonly name: string;
  readonly scores: Readonly<Record<string, number>>;
}

/** A text that was tested, and what was written. */
export interface Written {
  readonly text: string;
  /** By the model that the run began with. */
  readonly before?: string;
  readonly written: string;
  readonly wanted?: string;
}

interface Table {
  /** Default what was tested. */
  readonly title?: string;
  /** What needs no model, then `beforeAndAfter`: the model's own row is the last. */
  readonly rows: readonly Scored[];
  /** Decimals in the terminal, of all scores or by name; default 3. */
  readonly digits?: Digits;
}

interface TestResult extends Table {
  /** What was tested: `1037 texts`. */
  readonly of: string;
  readonly more?: readonly Table[];
  /** A line on how scores were computed. */
  readonly note?: string;
  readonly written?: readonly Written[];
}

/** Samples in the terminal, and in a report. */
const [printed, reported] = [4, 10];

/** How a test ended: lines for a terminal, and the same for the run's report. */
export function testResult(test: TestResult): Pick<RunResult, 'test' | 'scores'> {
  const { of, more = [], note, written = [] } = test;
  const tables = [test, ...more].map((table) => ({ ...table, scores: scoreTable(table) }));
  const lines = tables.map(({ title = `test, ${of}`, digits, scores }) => `\n${scoreLines(scores, digits, title)}`);
  const samples = written.slice(0, printed).flatMap(({ text, before, written, wanted }) => {
    const lines = Object.entries({ text, before, written, wanted });
    const told = lines.flatMap(([name, line]) =>
      line === undefined ? [] : [`  ${name.padEnd(7)}  ${printable(line)}`],
    );
    return ['', ...told];
  });
  const inReport = written.slice(0, reported).map(({ text, before, written, wanted }) => ({
    text: shownText(text),
    ...(before === undefined ? {} : { before: shownText(before) }),
    answer: shownText(written),
    ...(wanted === undefined ? {} : { wanted: shownText(wanted) }),
  }));
  return {
    test: [...lines, ...(note === undefined ? [] : [note]), ...samples, ''].join('\n'),
    scores: {
      of,
      tables: tables.map(({ scores }) => ownFirst(scores)),
      samples: inReport.length > 0 ? [{ title: 'The first ones', samples: inReport }] : [],
    },
  };
}

/** Columns are in the order of the model's own row. */
function scoreTable({ title = 'Scores', rows }: Table): ScoreTable {
  const columns = [...new Set([...rows.slice(-1), ...rows].flatMap(({ scores }) => Object.keys(scores)))];
  const valuesOf = ({ scores }: Scored) => columns.map((each) => ({ value: scores[each] ?? NaN }));
  return { title, columns, rows: rows.map((row) => ({ name: row.name, scores: valuesOf(row) })) };
}

/** As a report has it: the row of the model itself, the last one, comes first. */
export const ownFirst = ({ rows, ...table }: ScoreTable): ScoreTable => ({
  ...table,
  rows: [...rows.slice(-1), ...rows.slice(0, -1)],
});

/** Rows of what was measured of the model that a run began with, and of the one it ended with. */
export const beforeAndAfter = (before: Evaluation, after: Evaluation): Scored[] => [
  { name: 'the model it began as', scores: before },
  { name: 'this model', scores: after },
];
