/** What came of each way to make a classifier smaller: measured, in a table, in a picture, on a page. */
import * as z from 'zod';
import { escapeHtml } from '../../common/markup.ts';
import { mean } from '../../common/statistics.ts';
import { alignTable, meanAndDeviation } from '../../common/text-table.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import { kinds } from '../classifier/kinds.ts';
import { takeRows } from '../metrics/rows.ts';
import { pageHtml, tableHtml } from '../report/page.ts';
import { curvesSvg } from '../report/plot.ts';
import type { Panel } from '../report/panel.ts';
import { scoreOf } from '../report/test-scores.ts';
import { deviceBytes, timed, timesOf } from './compare.ts';
import type { Measured } from './compare.ts';
import { modulesWithWeights } from './smaller.ts';
import type { Trained } from './trained.ts';

export const outcomeSchema = z.object({
  /** Of `points`; "dense" for the classifier as it was. */
  point: z.string(),
  method: z.string(),
  strength: z.string(),
  seed: z.int(),
  parameters: z.int(),
  /** Share of the weights of its layers that are not zero. */
  nonZero: z.number(),
  /** Bytes of the weights in the folder. */
  fileBytes: z.int(),
  deviceBytes: z.int(),
  /** The least time of a text, and that of the classifier as it was, measured in turn with it. */
  milliseconds: z.number(),
  denseMilliseconds: z.number(),
  tokensPerSecond: z.number(),
  loss: z.number(),
  /** By name; between low and high with 95% by resampling the test part's texts. */
  figures: z.record(z.string(), z.object({ value: z.number(), low: z.number(), high: z.number() })),
});

/** A point, measured. */
export type Outcome = z.infer<typeof outcomeSchema>;

interface Found extends Pick<Outcome, 'point' | 'method' | 'strength' | 'seed' | 'fileBytes'> {
  readonly model: SequenceClassificationModel;
  readonly measured: Measured;
  /** The classifier as it was, which times are compared with. */
  readonly dense: Pick<Measured, 'run'>;
}

/** Times a point beside the classifier as it was, and says how far its figures may be trusted. */
export async function outcomeOf(found: Found, { data, test }: Trained): Promise<Outcome> {
  const { model, measured, dense, ...said } = found;
  const [denseMilliseconds, milliseconds] = (await timesOf([dense, measured])) as [number, number];
  const truth = test.map(({ label }) => label);
  const evaluate = (rows: Int32Array) =>
    kinds[data.kind].evaluate(takeRows(truth, rows), takeRows(measured.scores, rows), model.config);
  const figures = Object.keys(measured.figures).map((name) => {
    const { value, low = value, high = value } = scoreOf(test.length, (rows) => evaluate(rows)[name]!);
    return [name, { value, low, high }] as const;
  });
  const timedTest = test.slice(0, timed);
  const tokens = timedTest.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  return {
    ...said,
    parameters: model.numParameters(),
    nonZero: await nonZeroShare(model),
    deviceBytes: deviceBytes(model),
    milliseconds: milliseconds / timedTest.length,
    denseMilliseconds: denseMilliseconds / timedTest.length,
    tokensPerSecond: (1000 * tokens) / milliseconds,
    loss: measured.loss,
    figures: Object.fromEntries(figures),
  };
}

/** Of the weights of its layers. */
async function nonZeroShare(model: SequenceClassificationModel): Promise<number> {
  let [all, some] = [0, 0];
  for (const [, { weight }] of modulesWithWeights('nonZeroShare', model)) {
    if (weight.quantized) continue;
    for (const value of await weight.data()) if (value !== 0) some++;
    all += weight.numel();
  }
  return all === 0 ? 1 : some / all;
}

/** The runs of each point, in the order of the first. */
function byPoint(outcomes: readonly Outcome[]): (readonly [Outcome, ...Outcome[]])[] {
  const groups = new Map<string, [Outcome, ...Outcome[]]>();
  for (const outcome of outcomes) {
    const group = groups.get(outcome.point);
    if (group) group.push(outcome);
    else groups.set(outcome.point, [outcome]);
  }
  return [...groups.values()];
}

const meanOf = (runs: readonly Outcome[], value: (run: Outcome) => number): number => mean(runs.map(value));
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(2);
const bytesOfFile = ({ fileBytes }: Outcome): number => fileBytes;

/** Points that no other one beats: none is as small and better, or as good and smaller. */
export function paretoFront(outcomes: readonly Outcome[], figure: string): string[] {
  const all = byPoint(outcomes).map((runs) => ({
    point: runs[0].point,
    size: meanOf(runs, bytesOfFile),
    value: meanOf(runs, ({ figures }) => figures[figure]!.value),
  }));
  return all
    .filter((a) => !all.some((b) => b.size <= a.size && b.value >= a.value && (b.size < a.size || b.value > a.value)))
    .sort((a, b) => a.size - b.size)
    .map(({ point }) => point);
}

/** Header and cells of the table; points on the front have a star. */
function rowsOf(outcomes: readonly Outcome[]): { readonly head: string[]; readonly rows: string[][] } {
  const names = Object.keys(outcomes[0]!.figures);
  const front = new Set(paretoFront(outcomes, names.at(-1)!));
  const rows = byPoint(outcomes).map((runs) => {
    const [first] = runs;
    const figure = (name: string): string => {
      const values = runs.map(({ figures }) => figures[name]!);
      if (values.length > 1) return meanAndDeviation(values.map(({ value }) => value));
      const [{ value, low, high }] = values as [(typeof values)[0]];
      return `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
    };
    return [
      `${front.has(first.point) ? '*' : ' '} ${first.point}`,
      (first.parameters / 1e6).toFixed(2),
      `${(100 * meanOf(runs, ({ nonZero }) => nonZero)).toFixed(0)}%`,
      megabytes(first.fileBytes),
      megabytes(first.deviceBytes),
      meanOf(runs, ({ milliseconds }) => milliseconds).toFixed(2),
      meanOf(runs, ({ tokensPerSecond }) => tokensPerSecond).toFixed(0),
      `${meanOf(runs, ({ denseMilliseconds, milliseconds }) => denseMilliseconds / milliseconds).toFixed(2)}x`,
      ...names.map(figure),
    ];
  });
  const head = [
    ...['  point', 'M parameters', 'not zero', 'MB in file', 'MB on device', 'ms a text', 'tokens/s', 'faster'],
    ...names,
  ];
  return { head, rows };
}

const note = '* no other point is as small and better';

export function outcomesTable(outcomes: readonly Outcome[]): string {
  const { head, rows } = rowsOf(outcomes);
  return `${alignTable(head, rows, new Set(head.map((_, i) => i).slice(1)))}\n${note}`;
}

/** A figure by megabytes, a curve for each way, and the front. */
export function outcomesPanel(outcomes: readonly Outcome[]): Panel {
  const figure = Object.keys(outcomes[0]!.figures).at(-1)!;
  const groups = byPoint(outcomes);
  const place = (runs: readonly Outcome[]): [number, number] => [
    meanOf(runs, bytesOfFile) / 1e6,
    meanOf(runs, ({ figures }) => figures[figure]!.value),
  ];
  const front = paretoFront(outcomes, figure).map((point) => place(groups.find(([{ point: own }]) => own === point)!));
  const methods = [...new Set(groups.map(([{ method }]) => method))];
  return {
    title: `${figure} by size; pale: the front`,
    xLabel: 'MB of weights in the file',
    yLabel: figure,
    series: [
      ...methods.map((method) => ({
        name: method,
        dots: true,
        points: groups.filter(([first]) => first.method === method).map(place),
      })),
      { name: 'front', points: front, faint: true },
    ],
  };
}

/** The table and the picture as one HTML file that needs no other. */
export function outcomesPage(outcomes: readonly Outcome[], about: readonly string[]): string {
  const { head, rows } = rowsOf(outcomes);
  const cells = (row: readonly string[]): string[] => row.map((cell) => cell.trim());
  return pageHtml(
    'Compression',
    `<h1>Compression</h1>
${about.map((line) => `<p class="about">${escapeHtml(line)}</p>`).join('\n')}
<section>${curvesSvg(outcomesPanel(outcomes))}</section>
<section>${tableHtml('all points', cells(head), rows.map(cells), 'numbers')}
<p class="hint">${escapeHtml(note)}. Times are the least of some, in turn with the classifier as it was.</p></section>`,
  );
}
