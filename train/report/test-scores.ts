import * as z from 'zod';
import { showText } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';
import { bootstrap } from '../metrics/statistics.ts';
import type { RowMetric } from '../metrics/statistics.ts';

/** JSON has no NaN: a score that is none is written as null. */
const number = z
  .number()
  .nullable()
  .transform((value) => value ?? NaN);
const score = z.object({
  value: number,
  /** Where it would lie with other texts of the kind, in 95 of 100 cases. */
  low: z.number().optional(),
  high: z.number().optional(),
});

/** How a test ended, for a run's report: all that a script knows of these. */
export const testSchema = z.object({
  /** What was tested: `1037 texts`. */
  of: z.string(),
  /** Scores by name in columns; the first table's first row is the model's, after it what needs no model. */
  tables: z.array(
    z.object({
      title: z.string(),
      columns: z.array(z.string()),
      rows: z.array(z.object({ name: z.string(), scores: z.array(score) })),
    }),
  ),
  /** Texts of each true class, a row, by the class that they were taken for. */
  confusion: z.object({ labels: z.array(z.string()), counts: z.array(z.array(z.number())) }).optional(),
  /** Mean confidence of the texts in a range of it, share of them that was right; the mean gap (ECE). */
  calibration: z
    .object({
      error: z.number(),
      bins: z.array(z.object({ confidence: z.number(), accuracy: z.number(), count: z.number() })),
    })
    .optional(),
  /** Some of the texts and what came out, in groups. */
  samples: z
    .array(
      z.object({
        title: z.string(),
        samples: z.array(
          z.object({
            text: z.string(),
            /** What the model answered, with how sure it is. */
            answer: z.string(),
            /** What it answered before it was trained. */
            before: z.string().optional(),
            /** What was wanted. */
            wanted: z.string().optional(),
            /** Left out where an answer is neither. */
            right: z.boolean().optional(),
          }),
        ),
      }),
    )
    .default([]),
});

export type TestScores = z.infer<typeof testSchema>;
export type ScoreTable = TestScores['tables'][number];
export type TestScore = z.infer<typeof score>;
export type TestSample = TestScores['samples'][number]['samples'][number];

/** Random numbers that intervals of large tests may take: seconds. */
const draws = 1e7;
/** Rows up to which an interval is corrected for bias and skew, at the cost of the rows' number squared. */
const fewRows = 2000;

/** A metric of so many rows with the interval that it would lie in with others; none where there is none. */
export function scoreOf(rows: number, metric: RowMetric): TestScore {
  const all = metric(Int32Array.from({ length: rows }, (_, row) => row));
  if (rows < 2 || Number.isNaN(all)) return { value: all };
  const resamples = Math.max(200, Math.min(2000, Math.floor(draws / rows)));
  const { low, high } = bootstrap(rows, metric, { resamples, method: rows > fewRows ? 'percentile' : 'BCa' });
  return low < high ? { value: all, low, high } : { value: all };
}

/** Characters of a text that a report shows. */
const shownCharacters = 240;

/** The beginning of a text in one line, as a report shows it. */
export function shownText(text: string): string {
  return showText(text.replace(/\s+/g, ' ').trim(), shownCharacters);
}

/** Decimals of all columns, or by their names; default 3. */
export type Digits = number | Readonly<Record<string, number>>;

/** A table of scores as lines for a terminal. */
export function scoreLines({ columns, rows }: ScoreTable, digits: Digits = 3, head = ''): string {
  const decimals = columns.map((name) => (typeof digits === 'number' ? digits : (digits[name] ?? 3)));
  const cells = rows.map(({ name, scores }) => [
    name,
    ...scores.map(({ value }, i) => (Number.isFinite(value) ? value.toFixed(decimals[i]) : '-')),
  ]);
  return alignTable([head, ...columns], cells, new Set(columns.map((_, i) => i + 1)));
}
